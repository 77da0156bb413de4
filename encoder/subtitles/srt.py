"""Read and write SubRip files; blocks that are not cues are skipped.

The format has no specification. This reads what players agree on: an optional number, a line of times, and text up to
an empty line.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from encoder.subtitles.webvtt import ARROW, Parsed, unified
from headend.core.media import Cue

_CLOCK = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})[,.:](\d{1,3})"
_TIMES = re.compile(rf"[ \t]*{_CLOCK}[ \t]*-->[ \t]*{_CLOCK}(?![\d:])", re.ASCII)
_NUMBER = re.compile(r"[ \t]*\d{1,9}[ \t]*", re.ASCII)
_SNIFFED_LINES = 100


def is_srt(text: str) -> bool:
    """Whether one of a file's first lines has SubRip's times."""
    return any(_TIMES.match(line) for line in unified(text).split("\n", _SNIFFED_LINES)[:_SNIFFED_LINES])


def parse(text: str) -> Parsed:
    """Read a file; the text of cues keeps SubRip's markup.

    Args:
        text: The whole file, without a byte order mark.
    """
    cues: list[Cue] = []
    skipped: list[int] = []
    for first, block in _blocks(unified(text).split("\n")):
        for line_number, part in _split(block, first):
            cue = _cue(part)
            if cue:
                cues.append(cue)
            elif not _is_empty(part):
                skipped.append(line_number)
    return Parsed(tuple(cues), tuple(skipped))


def write(cues: Iterable[Cue]) -> str:
    """Write cues as a strict SubRip file that every reader accepts."""
    return "\n".join(
        f"{number}\n{_clock(cue.start_ms)} --> {_clock(cue.end_ms)}\n{cue.text}\n"
        for number, cue in enumerate(cues, start=1)
    )


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Runs of non-empty lines, each with the number of its first line, from 1."""
    for filled, run in groupby(enumerate(lines, start=1), key=lambda numbered: bool(numbered[1].strip())):
        if filled:
            numbered = list(run)
            yield numbered[0][0], [line for _, line in numbered]


def _split(block: list[str], first: int) -> Iterator[tuple[int, list[str]]]:
    """Split a block with several cues before each line of times, or before the number on the line above."""
    starts = [0]
    for at, line in enumerate(block):
        if ARROW in line:
            begins = at - 1 if at and _NUMBER.fullmatch(block[at - 1]) else at
            if begins > starts[-1]:
                starts.append(begins)
    for start, end in zip(starts, [*starts[1:], len(block)], strict=True):
        yield first + start, block[start:end]


def _cue(block: list[str]) -> Cue | None:
    at = 1 if len(block) > 1 and ARROW not in block[0] and _NUMBER.fullmatch(block[0]) else 0
    times = _TIMES.match(block[at])
    if times is None:
        return None
    start_ms, end_ms = _milliseconds(times.groups()[:4]), _milliseconds(times.groups()[4:])
    text = "\n".join(block[at + 1 :])
    return Cue(start_ms, end_ms, text) if text and start_ms < end_ms else None


def _is_empty(block: list[str]) -> bool:
    """Whether a block is a cue without text, or only a number: such blocks are dropped without a warning."""
    *numbers, last = block
    shaped = len(block) <= 2 and all(map(_NUMBER.fullmatch, numbers))
    return shaped and bool(_TIMES.match(last) or _NUMBER.fullmatch(last))


def _milliseconds(parts: tuple[str | None, ...]) -> int:
    hours, minutes, seconds, fraction = parts
    ms = int((fraction or "0").ljust(3, "0"))
    return ((int(hours or 0) * 60 + int(minutes or 0)) * 60 + int(seconds or 0)) * 1000 + ms


def _clock(time_ms: int) -> str:
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{ms:03}"
