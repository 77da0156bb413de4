"""Configuration files: defaults and named profiles for every option of the command line.

Files are read in this order, and a later one wins option by option: the user's
(``$XDG_CONFIG_HOME/headend/headend.toml``, usually below ``~/.config``), the project's (``headend.toml`` in the current
folder or the nearest one above it), and the one that ``HEADEND_CONFIG`` names. A profile wins over all defaults; the
environment wins over files, and what is written on the command line wins over everything.

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
_EITHER = {"workers": "scheduler", "scheduler": "workers"}
"""Options of which only one is taken: setting one in a stronger place takes back the other in a weaker one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value for an option, and where it stands.

    Attributes:
        option: The option's long name without dashes in front, such as ``segment-seconds``.
        value: As the file has it.
        source: The file, and the table in it.
    """

    option: str
    value: Value
    source: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """What all files say together.

    Attributes:
        files: The files that were read, the weakest first.
        defaults: Settings for whoever names no profile, by option.
        profiles: Settings of each profile by option.
    """

    files: tuple[Path, ...]
    defaults: Mapping[str, Setting]
    profiles: Mapping[str, Mapping[str, Setting]]

    def settings(self, profile: str | None) -> Mapping[str, Setting]:
        """The settings that hold, by option.

        Args:
            profile: A profile's name; None for the defaults alone.

        Raises:
            ConfigError: No file has such a profile.
        """
        if profile is None:
            return self.defaults
        if profile not in self.profiles:
            known = ", ".join(sorted(self.profiles)) or "none"
            raise ConfigError(f"there is no profile {profile!r}; headend.toml has: {known}")
        return _over(self.defaults, self.profiles[profile])


def load(own: Collection[str], every: Callable[[], Collection[str]]) -> Configuration:
    """Read all configuration files.

    Args:
        own: Long names of the options of the command that runs.
        every: Gives the long names of all commands' options; only asked for a name that is not in ``own``.

    Raises:
        ConfigError: A file can't be read, or holds what is no option; the message names the file and the key.
    """
    return merge(((path, _read(path)) for path in find()), own, every)


def find(folder: Path | None = None) -> tuple[Path, ...]:
    """The files that apply in a folder, the current one by default; the weakest first.

    Raises:
        ConfigError: ``HEADEND_CONFIG`` names a file that is not there.
    """
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    here = (folder or Path.cwd()).absolute()
    project = next((above / FILE for above in (here, *here.parents) if (above / FILE).is_file()), None)
    found = [path for path in (base / "headend" / FILE, project) if path is not None and path.is_file()]
    if named := os.environ.get(VARIABLE):
        path = expanded(named)
        if not path.is_file():
            raise ConfigError(f"{VARIABLE} names {path}, which is not a file; correct or unset it")
        found.append(path)
    return tuple(dict.fromkeys(found))


def merge(
    files: Iterable[tuple[Path, Mapping[str, Any]]], own: Collection[str], every: Callable[[], Collection[str]]
) -> Configuration:
    """Put files together, the weakest first; raises `ConfigError` for what is no option or no value of one."""
    paths: list[Path] = []
    defaults: dict[str, Setting] = {}
    profiles: dict[str, dict[str, Setting]] = {}
    for path, document in files:
        paths.append(path)
        for name in document:
            if name not in ("defaults", "profiles"):
                raise ConfigError(f"{path}: {name!r} stands outside a table; write options below [defaults]")
        defaults = _over(defaults, _settings(path, "defaults", document.get("defaults", {}), own, every))
        tables = document.get("profiles", {})
        if not isinstance(tables, Mapping):
            raise ConfigError(f"{path}: profiles are tables: write [profiles.NAME]")
        for name, table in tables.items():
            stronger = _settings(path, f"profiles.{name}", table, own, every)
            profiles[name] = _over(profiles.get(name, {}), stronger)
    return Configuration(tuple(paths), defaults, profiles)


def _over(weaker: Mapping[str, Setting], stronger: Mapping[str, Setting]) -> dict[str, Setting]:
    kept = {option: setting for option, setting in weaker.items() if _EITHER.get(option) not in stronger}
    return {**kept, **stronger}


def _settings(
    path: Path, name: str, table: Any, own: Collection[str], every: Callable[[], Collection[str]]
) -> dict[str, Setting]:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: {name} is not a table: write [{name}]")
    found = {}
    for key, value in table.items():
        option = key.replace("_", "-")
        if option not in own and option not in every():
            near = get_close_matches(option, every(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else "; 'headend COMMAND --help' lists the options"
            raise ConfigError(f"{path}: [{name}] sets {key!r}, which is not an option{hint}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{path}: {key!r} in [{name}] has something else than text in its list")
        if not isinstance(value, str | int | float | bool | list):
            raise ConfigError(f"{path}: {key!r} in [{name}] is not text, a number, true, false or a list of text")
        found[option] = Setting(option, value, f"[{name}] in {path}")
    return found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}; correct its permissions") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
