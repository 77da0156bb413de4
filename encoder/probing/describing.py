"""FFmpeg's own description of an open master, which tells what PyAV has no attributes for, or no safe ones."""

import re
from collections.abc import Mapping
from threading import Lock

import av.logging
from av.container import Container

_LOGGING = Lock()
"""Held while FFmpeg's log level, which all threads share, is turned up."""
_STREAM = re.compile(r"^ +Stream #0:(\d+)\b")
_PROGRAM = re.compile(r"^  Program (\d+)")
_NO_PROGRAM = "  No Program"
_SOUND = re.compile(r": Audio: .*?, (?:(\d+) Hz, ([^,]+)|(\d+ channels?)(?:,|$))")


def describe(container: Container) -> str:
    """The description of all streams, as FFmpeg prints it when it opens a file."""
    with _LOGGING:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        av.logging.set_libav_level(av.logging.VERBOSE)
        try:
            return container.dumps_format()  # type: ignore[attr-defined,no-any-return]  # missing in its stubs only
        finally:
            av.logging.set_libav_level(av.logging.INFO)
            av.logging.set_level(level)


def of_stream(description: str, index: int) -> str:
    """The part of a description that is of one stream; empty where there is none."""
    found = re.search(rf"Stream #0:{index}\b.*(\n(?! *Stream #).*)*", description)
    return found[0] if found else ""


def sound(container: Container, index: int) -> tuple[int, str]:
    """Samples per second of a stream of sound, and its channels by FFmpeg's name; 0 and an empty text if unknown.

    PyAV must not be asked for the channels: where they stand in an order of their own, it frees what is FFmpeg's, and
    the process crashes. It also knows nothing of what has come to light since the file was opened.
    """
    found = _SOUND.search(of_stream(describe(container), index).partition("\n")[0])
    return (int(found[1] or 0), found[2] or found[3]) if found else (0, "")


def programs(description: str) -> Mapping[int, tuple[int, ...]]:
    """The stream numbers of each program of a transport stream; nothing where a file has no programs."""
    found: dict[int, list[int]] = {}
    inside: int | None = None
    for line in description.splitlines():
        if program := _PROGRAM.match(line):
            inside = int(program[1])
            found[inside] = []
        elif line.startswith(_NO_PROGRAM):
            inside = None
        elif inside is not None and (stream := _STREAM.match(line)):
            found[inside].append(int(stream[1]))
    return {number: tuple(streams) for number, streams in found.items()}
