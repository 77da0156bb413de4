"""Lists of titles: CSV, JSON or TOML, whose columns are the options of ``headend submit``.

master,title,ladder,audio
/in/one.mov,one,web,1:en;2:fr

[[titles]]
master = "/in/one.mov"
title = "one"
audio = ["1:en", "2:fr"]
"""

import csv
import io
import json
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from headend.core.errors import ConfigError
from headend.core.paths import check_text

MAX_BYTES = 16 << 20
SEPARATOR = ";"
"""Separates values in a CSV cell, for options that may be given more than once."""


@dataclass(frozen=True, slots=True)
class Row:
    """A title of a list.

    Attributes:
        place: The file, and the line or entry in it.
        arguments: Arguments of ``headend submit``: the title's options, then the master.
    """

    place: str
    arguments: tuple[str, ...]


def read(path: Path, columns: Collection[str] | None = None) -> tuple[Row, ...]:
    """Read a list.

    Args:
        path: The file.
        columns: Allowed columns beside ``master``; None for any.

    Raises:
        ConfigError: The file can't be read, is empty or malformed; the message names the line or entry.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES >> 20} MiB: split the list")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}; check its name") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: save it as such") from error
    kinds = {".csv": _csv, ".json": _json, ".toml": _toml}
    if path.suffix.lower() not in kinds:
        raise ConfigError(f"{path} does not end in .csv, .json or .toml")
    rows = []
    for where, row in kinds[path.suffix.lower()](text, path):
        place = f"{path}, {where}"
        if columns is not None:
            check(row, columns, place)
        rows.append(Row(place, arguments(row, place)))
    if not rows:
        raise ConfigError(f"{path} lists no titles")
    return tuple(rows)


def check(row: Mapping[str, Any], columns: Collection[str], place: str) -> None:
    """Raise `ConfigError`, naming ``place``, if a row has a column other than ``master`` and ``columns``."""
    for name in row:
        if name != "master" and name not in columns:
            near = get_close_matches(name, ("master", *columns), 1)
            hint = f"did you mean {near[0]!r}?" if near else "'headend submit --help' lists the options"
            raise ConfigError(f"{place} has {name[:60]!r}, which is not an option of a title: {hint}")


def arguments(row: Mapping[str, Any], place: str) -> tuple[str, ...]:
    """Return the arguments of ``headend submit`` for a row; raise `ConfigError`, naming ``place``, if it is invalid."""
    options: list[str] = []
    master = ""
    for name, value in row.items():
        if name == "master":
            if not isinstance(value, str):
                raise ConfigError(f"{place}: master is not text: give the path or address of one film")
            check_text(value)
            master = value
        elif isinstance(value, bool):
            options += [f"--{name}"] if value else []
        elif isinstance(value, list):
            options += [f"--{name}={_text(item, name, place)}" for item in value]
        elif value not in ("", None):
            options.append(f"--{name}={_text(value, name, place)}")
    if not master:
        raise ConfigError(f"{place} has no master")
    return (*options, "--", master)


def _text(value: Any, name: str, place: str) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise ConfigError(f"{place}: {name} is neither text nor a number")


def _csv(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                raise ConfigError(f"{path}, {place} does not have as many cells as the first line")
            cells = ((name.strip(), value.strip()) for name, value in row.items())
            # A file's name may contain a separator, or be a word such as "true".
            yield place, {name: value if name == "master" else _cell(value) for name, value in cells if value}
        names = reader.fieldnames or ()
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigError(f"{path} has the column {twice[0]!r} twice")
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num} is not CSV: {error}") from error


def _cell(value: str) -> str | bool | list[str]:
    flags = {"true": True, "false": False}
    if value.lower() in flags:
        return flags[value.lower()]
    return [item.strip() for item in value.split(SEPARATOR)] if SEPARATOR in value else value


def _json(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    yield from _entries(document.get("titles") if isinstance(document, dict) else document, path)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; raises `ValueError` if a name occurs twice, of which `json` would keep the last one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"an object has {twice[:60]!r} twice")
    return found


def _toml(text: str, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for numbers of more than 4,300 digits
        raise ConfigError(f"{path} is not TOML: {error}") from error
    yield from _entries(document.get("titles"), path)


def _entries(titles: Any, path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(titles, list) or not all(isinstance(row, dict) for row in titles):
        raise ConfigError(f"{path} is not a list of titles: write [[titles]] in TOML, or an array of objects in JSON")
    for number, row in enumerate(titles, 1):
        renamed = {str(name).replace("_", "-"): value for name, value in row.items()}
        if len(renamed) < len(row):
            raise ConfigError(f"{path}, title {number} has an option twice, once with '_' and once with '-'")
        yield f"title {number}", renamed
