"""Read WebVTT files as browsers do; blocks that are not cues are skipped.

Source: W3C, WebVTT: The Web Video Text Tracks Format, section 6 (parsing).
"""

import re
from dataclasses import dataclass

from headend.core.media import Cue

_TIMESTAMP = re.compile(r"(?:(\d{1,9}):)?([0-5]\d):([0-5]\d)\.(\d{3})(?!\d)", re.ASCII)
_SIGNATURE = re.compile(r"WEBVTT(?:[ \t][^\n]*)?(?:\n|$)")
_OTHER_BLOCK = re.compile(r"(?:NOTE(?:[ \t]|$)|(?:STYLE|REGION)[ \t]*$)", re.MULTILINE)
ARROW = "-->"
_INVALID, _NOT_SHOWN = "invalid", "not shown"
"""What a block is if it is no cue: one that should be a cue, or one that shows nothing, such as a comment."""


@dataclass(frozen=True, slots=True)
class ParsedFile:
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


def parse(text: str) -> ParsedFile:
    """Read a file.

    Args:
        text: The whole file, without a byte order mark; its first line is ignored.
    """
    lines = with_line_feeds(text).replace("\0", "�").split("\n")
    cues: list[Cue] = []
    skipped: list[int] = []
    at = next((number for number, line in enumerate(lines) if not line), len(lines))
    # If no empty line follows the header, the header ends at the times of the first cue.
    if early := next((number for number, line in enumerate(lines[1:at], start=1) if ARROW in line), None):
        at = early
    while at < len(lines):
        if not lines[at]:
            at += 1
            continue
        first, at = at, _block_end(lines, at)
        cue = _read_cue(lines[first:at])
        if isinstance(cue, Cue):
            cues.append(cue)
        elif cue is _INVALID:
            skipped.append(first + 1)
    return ParsedFile(tuple(cues), tuple(skipped))


def with_line_feeds(text: str) -> str:
    """Convert all line ends to newlines."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def clean(text: str) -> str:
    """Remove blank lines and arrows from a cue's text, which WebVTT does not allow."""
    lines = (line.rstrip() for line in text.replace("\0", "").replace(ARROW, "--&gt;").splitlines())
    return "\n".join(line for line in lines if line)


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


def _read_cue(block: list[str]) -> Cue | str:
    """A block's cue, or `_INVALID` or `_NOT_SHOWN`."""
    times_at = next((number for number, line in enumerate(block[:2]) if ARROW in line), None)
    if times_at is None:
        return _NOT_SHOWN if _OTHER_BLOCK.match(block[0]) else _INVALID
    times = _read_times(block[times_at])
    if times is None:
        return _INVALID
    start_ms, end_ms, settings = times
    text = clean("\n".join(block[times_at + 1 :]))
    if not text:
        return _NOT_SHOWN
    if end_ms <= start_ms:
        return _INVALID
    identifier = " ".join(block[0].split()) if times_at else ""
    return Cue(start_ms, end_ms, text, settings, identifier)


def _read_times(line: str) -> tuple[int, int, str] | None:
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
