"""Plans to and from JSON; text that commands share is written once.

A long film has thousands of tasks, whose commands differ in a few words: when a chunk begins and ends. So a plan's
document has a table of commands, and a task names one of them and fills its places::

    "commands": [["ffmpeg", "-ss", ["", ""], "-i", "{master}", "-filter_complex", ["[0:0]trim=end_pts=", "[s0]"], …]],
    "tasks": [{"id": "…", "command": 0, "filled": ["150.150000", "4320:start_pts=3600"], …}]

A word of a command is a text, or two texts between which a task puts one of its own; the first place gets the first
text of ``filled``, and so on. All else is as `headend.core.documents` writes it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from headend.core import documents
from headend.core.errors import StorageError
from headend.core.media import EncodePlan, EncodeTask

KIND = EncodePlan.__name__
VERSION = 2
"""Version 1 had every command written out."""

Word = str | list[str]
"""A word of a command: a text, or what stands before and behind a place."""


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
    """Read a plan back.

    Args:
        data: The document.
        key: Where it came from, for the error.

    Raises:
        StorageError: It is not JSON, no plan, of another version, or damaged.
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
            f"{key} is a plan of version {version!r}, and this headend reads version {VERSION}: make it again with "
            "'headend plan'",
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
    """The commands that tasks share, and for each task the number of its command and what fills its places."""
    alike: dict[object, list[int]] = {}
    for number, task in enumerate(tasks):
        alike.setdefault((task.renditions, len(task.argv), task.argv[-1:]), []).append(number)
    commands: list[list[Word]] = []
    used: dict[int, tuple[int, list[str]]] = {}
    for numbers in alike.values():
        columns = [_word(column) for column in zip(*(tasks[number].argv for number in numbers), strict=True)]
        places = [(at, len(word[0]), len(word[1])) for at, word in enumerate(columns) if isinstance(word, list)]
        for number in numbers:
            argv = tasks[number].argv
            used[number] = len(commands), [argv[at][before : len(argv[at]) - behind] for at, before, behind in places]
        commands.append(columns)
    return commands, [used[number] for number in range(len(tasks))]


def _word(words: Sequence[str]) -> Word:
    """What words of several commands have in common."""
    if len(set(words)) == 1:
        return words[0]
    before = _common(words)
    behind = _common([word[len(before) :][::-1] for word in words])[::-1]
    return [before, behind]


def _common(words: Sequence[str]) -> str:
    """What all words begin with."""
    first, last = min(words), max(words)
    differs = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:differs]


def _filled(command: Iterable[Word], filled: Iterable[str]) -> Iterator[str]:
    """The words of a command, with its places filled; raises `ValueError` where these are more or fewer."""
    left = iter(filled)
    for word in command:
        if isinstance(word, str):
            yield word
            continue
        before, behind = word
        text = next(left, None)
        if text is None:
            raise ValueError
        yield f"{before}{text}{behind}"
    if next(left, None) is not None:
        raise ValueError
