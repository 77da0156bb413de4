"""WebVTT files, read as a browser reads them: a block that is no cue is skipped, and the rest of the file is read.

Source: W3C, WebVTT: The Web Video Text Tracks Format, section 6 (parsing).
"""

import re
from dataclasses import dataclass

from headend.core.media import Cue

_TIMESTAMP = re.compile(r"(?:(\d{1,9}):)?([0-5]\d):([0-5]\d)\.(\d{3})(?!\d)", re.ASCII)
_SIGNATURE = re.compile(r"WEBVTT(?:[ \t][^\n]*)?(?:\n|$)")
_NO_CUE = re.compile(r"(?:NOTE(?:[ \t]|$)|(?:STYLE|REGION)[ \t]*$)", re.MULTILINE)
ARROW = "-->"


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a file of subtitles holds.

    Attributes:
        cues: In the order of the file; each has a text and ends after it starts.
        skipped_lines: First line, from 1, of each block that is no cue though it should be one.
    """

    cues: tuple[Cue, ...]
    skipped_lines: tuple[int, ...] = ()


def is_webvtt(text: str) -> bool:
    """Whether a file begins as WebVTT does."""
    return _SIGNATURE.match(text.replace("\r", "\n", 1) if "\r" in text[:200] else text) is not None


def parse(text: str) -> Parsed:
    """Read a file.

    Args:
        text: The whole file, without a byte order mark; its first line is not looked at.
    """
    lines = unified(text).replace("\0", "�").split("\n")
    cues: list[Cue] = []
    skipped: list[int] = []
    at = next((number for number, line in enumerate(lines) if not line), len(lines))
    # A header that runs straight into the first cue ends at its times, or before its identifier.
    if early := next((number for number, line in enumerate(lines[1:at], start=1) if ARROW in line), None):
        at = early
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        first, at = at, _block_end(lines, at)
        cue = _cue(lines[first:at])
        if isinstance(cue, Cue):
            cues.append(cue)
        elif cue is _BROKEN:
            skipped.append(first + 1)
    return Parsed(tuple(cues), tuple(skipped))


def unified(text: str) -> str:
    """A text whose lines all end alike."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def clean(text: str) -> str:
    """One cue's text as a WebVTT file can hold it: no blank line, no arrow."""
    lines = (line.rstrip() for line in text.replace("\0", "").replace(ARROW, "--&gt;").splitlines())
    return "\n".join(line for line in lines if line)


_BROKEN, _INVISIBLE = "broken", "invisible"


def _block_end(lines: list[str], first: int) -> int:
    """Where a block ends: at an empty line, or before times that are not in its first two lines.

    The second line's times belong to the block unless its first line had some.
    """
    has_times = ARROW in lines[first]
    for at in range(first + 1, len(lines)):
        if not lines[at]:
            return at
        if ARROW in lines[at]:
            if has_times or at > first + 1:
                return at
            has_times = True
    return len(lines)


def _cue(block: list[str]) -> Cue | str:
    """A block's cue, or what it is instead."""
    place = next((number for number, line in enumerate(block[:2]) if ARROW in line), None)
    if place is None:
        return _INVISIBLE if _NO_CUE.match(block[0]) else _BROKEN
    times = _times(block[place])
    if times is None:
        return _BROKEN
    start_ms, end_ms, settings = times
    text = clean("\n".join(block[place + 1 :]))
    if not text:
        return _INVISIBLE
    if end_ms <= start_ms:
        return _BROKEN
    identifier = " ".join(block[0].split()) if place else ""
    return Cue(start_ms, end_ms, text, settings, identifier)


def _times(line: str) -> tuple[int, int, str] | None:
    line = line.lstrip(" \t\f")
    start = _TIMESTAMP.match(line)
    if start is None:
        return None
    rest = line[start.end() :].lstrip(" \t\f")
    if not rest.startswith(ARROW):
        return None
    rest = rest.removeprefix(ARROW).lstrip(" \t\f")
    end = _TIMESTAMP.match(rest)
    if end is None:
        return None
    settings = " ".join(rest[end.end() :].replace(ARROW, "").split())
    return _milliseconds(start), _milliseconds(end), settings


def _milliseconds(found: re.Match[str]) -> int:
    hours, minutes, seconds, ms = (int(number or 0) for number in found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
