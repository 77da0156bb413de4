"""Read WebVTT files as browsers do; blocks that are not cues are skipped.

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
    """The content of a subtitle file.

    Attributes:
        cues: The cues in the order of the file; each has text and ends after it starts.
        skipped_lines: Number of the first line, from 1, of each block that should be a cue but can't be read.
    """

    cues: tuple[Cue, ...]
    skipped_lines: tuple[int, ...] = ()


def is_webvtt(text: str) -> bool:
    """Whether a file starts with WebVTT's signature."""
    return _SIGNATURE.match(text.replace("\r", "\n", 1) if "\r" in text[:200] else text) is not None


def parse(text: str) -> Parsed:
    """Read a file.

    Args:
        text: The whole file, without a byte order mark; its first line is ignored.
    """
    lines = unified(text).replace("\0", "�").split("\n")
    cues: list[Cue] = []
    skipped: list[int] = []
    at = next((number for number, line in enumerate(lines) if not line), len(lines))
    # Without an empty line after the header, it ends at the first cue's times, or before its identifier.
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
    """Convert all line ends to newlines."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def clean(text: str) -> str:
    """Remove blank lines and arrows from a cue's text, which WebVTT does not allow."""
    lines = (line.rstrip() for line in text.replace("\0", "").replace(ARROW, "--&gt;").splitlines())
    return "\n".join(line for line in lines if line)


_BROKEN, _INVISIBLE = "broken", "invisible"


def _block_end(lines: list[str], first: int) -> int:
    """The end of a block: an empty line, or a line with times after its first two lines.

    Times in the second line belong to the block unless its first line has times.
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
    """A block's cue, or `_BROKEN` or `_INVISIBLE`."""
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
