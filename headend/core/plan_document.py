"""Reads and writes plans as JSON, in which the common parts of commands are stored once.

A long film has thousands of tasks, whose commands differ only in a few values such as the start and end of a chunk. So
a plan's document has a table of commands; each task refers to one of them and has its own values::

    "commands": [["ffmpeg", "-ss", ["", ""], "-i", "{master}", "-filter_complex", ["[0:0]trim=end_pts=", "[s0]"], …]],
    "tasks": [{"id": "…", "command": 0, "filled": ["150.150000", "4320:start_pts=3600"], …}]

A word of a command is a string, or a pair of strings with a placeholder between them. Placeholders are filled with the
values of ``filled``, in order. Everything else is as written by `headend.core.documents`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from headend.core import documents
from headend.core.errors import StorageError
from headend.core.media import EncodePlan, EncodeTask

KIND = EncodePlan.__name__
VERSION = 2
"""Version 1 stored every command in full."""

Word = str | list[str]
"""A word of a command: a string, or the strings before and after a placeholder."""


def as_plain(plan: EncodePlan) -> dict[str, Any]:
    """The document of a plan, as dicts, lists, strings and numbers."""
    body = documents.as_plain(plan)
    commands, used = _commands(plan.tasks)
    tasks = []
    for task, (command, filled) in zip(body["tasks"], used, strict=True):
        del task["argv"]
        tasks.append({**task, "command": command, "filled": filled})
    return {"kind": KIND, "version": VERSION, "body": {**body, "commands": commands, "tasks": tasks}}


def write(plan: EncodePlan) -> bytes:
    """The document of a plan."""
    return msgspec.json.encode(as_plain(plan))


def read(data: bytes, *, key: str = "plan") -> EncodePlan:
    """Parse a plan.

    Args:
        data: The document.
        key: The document's key, for errors.

    Raises:
        StorageError: It is not JSON, not a plan, of another version, or damaged.
    """
    try:
        document = msgspec.json.decode(data)
        kind, version = document["kind"], document["version"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as error:
        raise StorageError(f"{key} is not a plan: {error}", key=key) from None
    if kind != KIND:
        raise StorageError(f"{key} is not a plan, but a document of kind {kind!r}", key=key)
    if version != VERSION:
        raise StorageError(
            f"{key} is a plan of version {version!r}, but this version of headend reads only {VERSION}: make it again "
            "with 'headend plan'",
            key=key,
        )
    try:
        body = document["body"]
        commands = body.pop("commands")
        for task in body["tasks"]:
            task["argv"] = list(_filled(commands[task.pop("command")], task.pop("filled")))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise StorageError(f"{key} can't be read: {type(error).__name__} in its commands", key=key) from None
    whole = {"kind": KIND, "version": documents.VERSION, "body": body}
    return documents.read(EncodePlan, msgspec.json.encode(whole), key=key)


def _commands(tasks: Sequence[EncodeTask]) -> tuple[list[list[Word]], list[tuple[int, list[str]]]]:
    """The commands that tasks share, and for each task its command's number and its values."""
    similar: dict[object, list[int]] = {}
    for number, task in enumerate(tasks):
        similar.setdefault((task.renditions, len(task.argv), task.argv[-1:]), []).append(number)
    commands: list[list[Word]] = []
    used: dict[int, tuple[int, list[str]]] = {}
    for numbers in similar.values():
        columns = [_word(column) for column in zip(*(tasks[number].argv for number in numbers), strict=True)]
        placeholders = [(at, len(word[0]), len(word[1])) for at, word in enumerate(columns) if isinstance(word, list)]
        for number in numbers:
            argv = tasks[number].argv
            values = [argv[at][before : len(argv[at]) - after] for at, before, after in placeholders]
            used[number] = len(commands), values
        commands.append(columns)
    return commands, [used[number] for number in range(len(tasks))]


def _word(words: Sequence[str]) -> Word:
    """The common part of a word in several commands."""
    if len(set(words)) == 1:
        return words[0]
    before = _common_prefix(words)
    after = _common_prefix([word[len(before) :][::-1] for word in words])[::-1]
    return [before, after]


def _common_prefix(words: Sequence[str]) -> str:
    first, last = min(words), max(words)
    pairs = enumerate(zip(first, last, strict=False))
    differs = next((at for at, (left, right) in pairs if left != right), len(first))
    return first[:differs]


def _filled(command: Iterable[Word], values: Iterable[str]) -> Iterator[str]:
    """Fill a command's placeholders; raises `ValueError` if their number differs from that of ``values``."""
    remaining = iter(values)
    for word in command:
        if isinstance(word, str):
            yield word
            continue
        before, after = word
        value = next(remaining, None)
        if value is None:
            raise ValueError
        yield f"{before}{value}{after}"
    if next(remaining, None) is not None:
        raise ValueError
