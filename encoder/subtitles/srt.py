"""Read and write SubRip files; blocks that are not cues are skipped.

The format has no specification. This reads what players agree on: an optional number, a line of times, and text up to
an empty line.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from encoder.subtitles.webvtt import ARROW, ParsedFile, with_line_feeds
from headend.core.media import Cue

_TIMESTAMP = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[,.:](\d{1,3})"
_TIMES = re.compile(rf"[ \t]*{_TIMESTAMP}[ \t]*-->[ \t]*{_TIMESTAMP}(?![\d:])", re.ASCII)
_NUMBER = re.compile(r"[ \t]*\d{1,9}[ \t]*", re.ASCII)
_SNIFFED_LINES = 100


def is_srt(text: str) -> bool:
    """Whether a line of times in SubRip's syntax is among the first lines of a file."""
    return any(_TIMES.match(line) for line in with_line_feeds(text).split("\n", _SNIFFED_LINES)[:_SNIFFED_LINES])


def parse(text: str) -> ParsedFile:
    """Read a file; the text of cues keeps SubRip's markup.

    Args:
        text: The whole file, without a byte order mark.
    """
    cues: list[Cue] = []
    skipped: list[int] = []
    for first, block in _blocks(with_line_feeds(text).split("\n")):
        for line_number, part in _split(block, first):
            cue = _read_cue(part)
            if cue:
                cues.append(cue)
            elif not _is_empty(part):
                skipped.append(line_number)
    return ParsedFile(tuple(cues), tuple(skipped))


def write(cues: Iterable[Cue]) -> str:
    """Write cues as a strict SubRip file that every reader accepts."""
    return "\n".join(
        f"{number}\n{_timestamp(cue.start_ms)} --> {_timestamp(cue.end_ms)}\n{cue.text}\n"
        for number, cue in enumerate(cues, start=1)
    )


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Runs of non-empty lines, each with the number of its first line, from 1."""
    for has_text, run in groupby(enumerate(lines, start=1), key=lambda numbered: bool(numbered[1].strip())):
        if has_text:
            numbered = list(run)
            yield numbered[0][0], [line for _, line in numbered]


def _split(block: list[str], first: int) -> Iterator[tuple[int, list[str]]]:
    """Split a block that holds several cues: each starts at its line of times, or at the number above that line."""
    starts = [0]
    for position, line in enumerate(block):
        if ARROW in line:
            has_number = position > 0 and _NUMBER.fullmatch(block[position - 1])
            start = position - 1 if has_number else position
            if start > starts[-1]:
                starts.append(start)
    for start, end in zip(starts, [*starts[1:], len(block)], strict=True):
        yield first + start, block[start:end]


def _read_cue(block: list[str]) -> Cue | None:
    has_number = len(block) > 1 and ARROW not in block[0] and _NUMBER.fullmatch(block[0])
    times_at = 1 if has_number else 0
    times = _TIMES.match(block[times_at])
    if times is None:
        return None
    start_ms, end_ms = _milliseconds(times.groups()[:4]), _milliseconds(times.groups()[4:])
    text = "\n".join(block[times_at + 1 :])
    return Cue(start_ms, end_ms, text) if text and start_ms < end_ms else None


def _is_empty(block: list[str]) -> bool:
    """Whether a block is a cue without text, or only a number: such blocks are dropped without a warning."""
    *numbers, last = block
    has_no_text = len(block) <= 2 and all(map(_NUMBER.fullmatch, numbers))
    return has_no_text and bool(_TIMES.match(last) or _NUMBER.fullmatch(last))


def _milliseconds(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, fraction = parts
    ms = int((fraction or "0").ljust(3, "0"))
    return ((int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)) * 1000 + ms


def _timestamp(time_ms: int) -> str:
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{ms:03}"
