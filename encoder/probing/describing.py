"""Parse FFmpeg's description of an open master, for facts that PyAV does not expose or can't read safely."""

import re
from collections.abc import Mapping
from threading import Lock

import av.logging
from av.container import Container

_LOGGING = Lock()
"""Held while FFmpeg's log level, which all threads share, is raised."""
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
    """The part of a description about one stream; empty if there is none."""
    match = re.search(rf"Stream #0:{index}\b.*(\n(?! *Stream #).*)*", description)
    return match[0] if match else ""


def sound(container: Container, index: int) -> tuple[int, str]:
    """Sample rate in Hz of a stream, and FFmpeg's name of its channel layout; 0 and an empty text if unknown.

    PyAV's channel layout must not be used: for a custom order of channels, PyAV frees memory that belongs to FFmpeg,
    and the process crashes. It is also out of date if FFmpeg has found out more since the file was opened.
    """
    match = _SOUND.search(of_stream(describe(container), index).partition("\n")[0])
    return (int(match[1] or 0), match[2] or match[3]) if match else (0, "")


def programs(description: str) -> Mapping[int, tuple[int, ...]]:
    """The stream numbers of each program of a transport stream; empty if the file has no programs."""
    by_program: dict[int, list[int]] = {}
    inside: int | None = None
    for line in description.splitlines():
        if program := _PROGRAM.match(line):
            inside = int(program[1])
            by_program[inside] = []
        elif line.startswith(_NO_PROGRAM):
            inside = None
        elif inside is not None and (stream := _STREAM.match(line)):
            by_program[inside].append(int(stream[1]))
    return {number: tuple(streams) for number, streams in by_program.items()}
