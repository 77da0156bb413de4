"""Loads ladders from built-in presets and users' files."""

import tomllib
from collections.abc import Iterator
from dataclasses import fields
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from headend.core.errors import ConfigError
from headend.core.media import AudioRung
from ladders.ladder import Family, Ladder, VideoRung
from ladders.rules import check

_SUFFIX = ".toml"
_TABLES = {"families": Family, "video": VideoRung, "audio": AudioRung}


def presets() -> tuple[str, ...]:
    """Names of the built-in ladders, sorted."""
    return tuple(
        sorted(entry.name.removesuffix(_SUFFIX) for entry in _folder().iterdir() if entry.name.endswith(_SUFFIX))
    )


def load(name_or_path: str) -> Ladder:
    """Read a ladder and check it against the rules.

    Args:
        name_or_path: Name of a preset, or path of a ``.toml`` file.

    Returns:
        A valid ladder; `ladders.rules.check` may still have advice.

    Raises:
        ConfigError: There is no such ladder, a key is missing, unknown or of the wrong type, or a rule is violated. The
            message says where and how to fix it; the facts have all findings.
    """
    return _valid(_read(name_or_path), name_or_path)


@lru_cache(
    maxsize=64
)  # all titles of a long list may name the same ladder, and parsing and checking takes milliseconds
def _valid(data: bytes, source: str) -> Ladder:
    ladder = _convert(_parse(data, source), source)
    findings = [str(finding) for finding in check(ladder) if not finding.advice]
    if findings:
        raise ConfigError(f"ladder {source}: {'; '.join(findings)}", findings=findings)
    return ladder


def _folder() -> Any:
    return files("ladders") / "presets"


def _read(name_or_path: str) -> bytes:
    if name_or_path in presets():
        return bytes((_folder() / f"{name_or_path}{_SUFFIX}").read_bytes())
    if not name_or_path.endswith(_SUFFIX):
        close = get_close_matches(name_or_path, presets(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(
            f"no ladder {name_or_path!r}: {hint}presets are {', '.join(presets())}; a file's name must end in {_SUFFIX}"
        )
    try:
        return Path(name_or_path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"ladder {name_or_path} can't be read ({error.strerror}); give a readable file or "
            f"one of {', '.join(presets())}"
        ) from error


def _parse(data: bytes, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"ladder {source} is not TOML: {error}; correct that line") from error


def _convert(document: dict[str, Any], source: str) -> Ladder:
    unknown = list(_unknown_keys(document))
    if unknown:
        raise ConfigError(f"ladder {source}: {'; '.join(unknown)}", findings=unknown)
    try:
        return msgspec.convert(document, Ladder)
    except msgspec.ValidationError as error:
        # msgspec's messages say what is wrong and where: "Expected `int`, got `str` - at `$.video[3].width_px`".
        raise ConfigError(f"ladder {source}: {str(error).replace('`$.', '`')}; correct that key") from error


def _unknown_keys(document: dict[str, Any]) -> Iterator[str]:
    """Find misspelt keys, which msgspec ignores in dataclasses."""
    tables: list[tuple[str, dict[str, Any], type[Any]]] = [("", document, Ladder)]
    for key, kind in _TABLES.items():
        rows = document.get(key)
        if isinstance(rows, list):
            tables += [(f"{key}[{n}].", row, kind) for n, row in enumerate(rows) if isinstance(row, dict)]
    for place, table, kind in tables:
        known = [field.name for field in fields(kind)]
        for key in table:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                yield f"unknown key `{place}{key}`; " + (
                    f"did you mean {close[0]!r}?" if close else f"use {', '.join(known)}"
                )
