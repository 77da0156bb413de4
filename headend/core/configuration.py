"""Configuration files: defaults and named profiles for all command-line options.

Files are read in this order; options in a later file override those in an earlier one: the user's
(``$XDG_CONFIG_HOME/headend/headend.toml``, usually below ``~/.config``), the project's (``headend.toml`` in the current
folder or the nearest one above it), and the one that ``HEADEND_CONFIG`` names. A profile overrides all defaults, the
environment overrides files, and the command line overrides everything.

    [defaults]
    store = "s3://films/vod"
    scheduler = "tcp://10.0.0.5:8786"

    [profiles.trailer]
    ladder = "web"
    effort = "draft"
"""

import os
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from headend.core.errors import ConfigError
from headend.core.paths import expanded

FILE = "headend.toml"
VARIABLE = "HEADEND_CONFIG"
Value = str | int | float | bool | list[str]
_EXCLUSIVE = {"workers": "scheduler", "scheduler": "workers"}
"""Mutually exclusive options: if one is set with higher precedence, the other is ignored."""


@dataclass(frozen=True, slots=True)
class Setting:
    """An option's value, and where it was set.

    Attributes:
        option: The option's long name without leading dashes, such as ``segment-seconds``.
        value: The value in the file.
        source: The file and its table.
    """

    option: str
    value: Value
    source: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The merged content of all configuration files.

    Attributes:
        files: The files, lowest precedence first.
        defaults: Settings without a profile, by option.
        profiles: Settings of each profile, by option.
    """

    files: tuple[Path, ...]
    defaults: Mapping[str, Setting]
    profiles: Mapping[str, Mapping[str, Setting]]

    def settings(self, profile: str | None) -> Mapping[str, Setting]:
        """The effective settings, by option.

        Args:
            profile: A profile's name; None for the defaults alone.

        Raises:
            ConfigError: No file has a profile of this name.
        """
        if profile is None:
            return self.defaults
        if profile not in self.profiles:
            known = ", ".join(sorted(self.profiles)) or "none"
            raise ConfigError(f"there is no profile {profile!r}; headend.toml has: {known}")
        return _overlaid(self.defaults, self.profiles[profile])


def load(own: Collection[str], all_options: Callable[[], Collection[str]]) -> Configuration:
    """Read all configuration files.

    Args:
        own: Long names of the running command's options.
        all_options: Returns the long names of all commands' options; called only for a name that is not in ``own``.

    Raises:
        ConfigError: A file can't be read, or sets an unknown option; the message names the file and the key.
    """
    return merge(((path, _read(path)) for path in find()), own, all_options)


def find(folder: Path | None = None) -> tuple[Path, ...]:
    """Find the files that apply in a folder, by default the current one; lowest precedence first.

    Raises:
        ConfigError: ``HEADEND_CONFIG`` names a file that does not exist.
    """
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    start = (folder or Path.cwd()).absolute()
    project = next((above / FILE for above in (start, *start.parents) if (above / FILE).is_file()), None)
    paths = [path for path in (base / "headend" / FILE, project) if path is not None and path.is_file()]
    if named := os.environ.get(VARIABLE):
        path = expanded(named)
        if not path.is_file():
            raise ConfigError(f"{VARIABLE} names {path}, which is not a file; correct or unset it")
        paths.append(path)
    return tuple(dict.fromkeys(paths))


def merge(
    files: Iterable[tuple[Path, Mapping[str, Any]]], own: Collection[str], all_options: Callable[[], Collection[str]]
) -> Configuration:
    """Merge files, lowest precedence first; raises `ConfigError` for unknown options and invalid values."""
    paths: list[Path] = []
    defaults: dict[str, Setting] = {}
    profiles: dict[str, dict[str, Setting]] = {}
    for path, document in files:
        paths.append(path)
        for name in document:
            if name not in ("defaults", "profiles"):
                raise ConfigError(f"{path}: {name!r} is outside a table; write options below [defaults]")
        defaults = _overlaid(defaults, _settings(path, "defaults", document.get("defaults", {}), own, all_options))
        tables = document.get("profiles", {})
        if not isinstance(tables, Mapping):
            raise ConfigError(f"{path}: profiles are tables: write [profiles.NAME]")
        for name, table in tables.items():
            higher = _settings(path, f"profiles.{name}", table, own, all_options)
            profiles[name] = _overlaid(profiles.get(name, {}), higher)
    return Configuration(tuple(paths), defaults, profiles)


def _overlaid(lower: Mapping[str, Setting], higher: Mapping[str, Setting]) -> dict[str, Setting]:
    kept = {option: setting for option, setting in lower.items() if _EXCLUSIVE.get(option) not in higher}
    return {**kept, **higher}


def _settings(
    path: Path, name: str, table: Any, own: Collection[str], all_options: Callable[[], Collection[str]]
) -> dict[str, Setting]:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: {name} is not a table: write [{name}]")
    settings = {}
    for key, value in table.items():
        option = key.replace("_", "-")
        if option not in own and option not in all_options():
            near = get_close_matches(option, all_options(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; 'headend COMMAND --help' lists the options"
            raise ConfigError(f"{path}: [{name}] sets {key!r}, which is not an option{hint}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{path}: {key!r} in [{name}] has an item in its list that is not text; quote each item")
        if not isinstance(value, str | int | float | bool | list):
            raise ConfigError(f"{path}: {key!r} in [{name}] is not text, a number, true, false or a list of text")
        settings[option] = Setting(option, value, f"[{name}] in {path}")
    return settings


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}; correct its permissions") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
