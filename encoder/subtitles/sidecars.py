"""Sidecars: subtitle files beside a master, read before anything is planned.

They are another user's files. What they are is told by their content; they are decoded strictly, and what is no text
of films is refused in one line.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256

import av

from encoder.subtitles import cues, srt, ttml, webvtt
from headend.core.errors import MasterError
from headend.core.media import Cue, Master
from headend.core.settings import SubtitleOffset
from headend.core.storage import masters

MOST_BYTES = 16 << 20
"""Far beyond the text of any film, whatever its styles."""
MOST_CUE_CHARACTERS = 1 << 16
"""Far beyond what a screen can hold, with all its tags."""
SRT, WEBVTT, ASS, TTML = "srt", "webvtt", "ass", "ttml"
MOST_OUTSIDE = Fraction(1, 20)
"""Share of a sidecar's cues that may lie outside of the film; more, and it is another film's, or its times are."""
_HOUR_S = 3600
_MOST_HOURS = 24

_ASS = re.compile(r"^\s*(?:;[^\n]*\n\s*)*\[(?:Script Info|V4\+? Styles)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What is known of a sidecar.

    Attributes:
        file: Where it is, with the digest of its bytes.
        codec: Its format: ``srt``, ``webvtt``, ``ass`` or ``ttml``.
        times_ms: When each cue starts and ends, in the file's own time; at least one.
        skipped_lines: First line, from 1, of each block that should be a cue but can't be read.
        start_s: When the film's first frame is shown, in the file's own time.
    """

    file: Master
    codec: str
    times_ms: tuple[tuple[int, int], ...]
    skipped_lines: tuple[int, ...] = ()
    start_s: Fraction = Fraction(0)


def identify(url: str, endpoint_url: str | None = None) -> Sidecar:
    """Read a sidecar and say what it is.

    Args:
        url: A path, or ``s3://bucket/key``.
        endpoint_url: S3 endpoint; None for the SDK's own choice.

    Raises:
        MasterError: It can't be read, is too large, in no known encoding or format, broken, or has no cue, or a cue
            that is too long.
        StorageError: S3 refuses or can't be reached.
    """
    file = masters.identify(url, endpoint_url)
    data = read(file, endpoint_url)
    codec = _format(data, url)
    try:
        parsed = _parsed(data, codec, url)
    except (av.FFmpegError, IndexError) as error:
        raise MasterError(f"{url} begins as {codec}, but can't be read; have it exported again") from error
    if not parsed.cues:
        raise MasterError(f"{url} has no cue: it is empty or damaged; have it exported again")
    if long := next((cue for cue in parsed.cues if len(cue.text) > MOST_CUE_CHARACTERS), None):
        raise MasterError(
            f"{url}: the cue at {cues.clock(long.start_ms)} has {len(long.text):,} characters, more than a screen "
            "holds; an empty line or a time is missing in it: have it exported again"
        )
    times_ms = tuple((cue.start_ms, cue.end_ms) for cue in parsed.cues)
    return Sidecar(replace(file, digest=_digest(data)), codec, times_ms, parsed.skipped_lines)


def aligned(sidecar: Sidecar, offset: SubtitleOffset, duration_s: Fraction) -> Sidecar:
    """Decide where the film starts in a sidecar's time.

    Args:
        sidecar: As `identify` returns it.
        offset: Seconds that are added to its times; ``auto`` takes off as few whole hours as put its cues on the film,
            since time codes of programmes start at 1 or 10 hours.
        duration_s: How long the film lasts.

    Raises:
        MasterError: More than `MOST_OUTSIDE` of its cues would lie outside of the film.
    """
    hours = [Fraction(hour * _HOUR_S) for hour in range(_MOST_HOURS + 1)]
    starts_s = hours if offset is None else [-offset]
    for start_s in starts_s:
        if outside(replace(sidecar, start_s=start_s), duration_s).share <= MOST_OUTSIDE:
            return replace(sidecar, start_s=start_s)
    there = outside(replace(sidecar, start_s=starts_s[0]), duration_s)
    mend = (
        "no number of whole hours puts it on the film: give --subtitle-offset SECONDS"
        if offset is None
        else "if its times start at another hour, give --subtitle-offset auto; else give the seconds to add to them"
    )
    raise MasterError(
        f"{sidecar.file.url}: {there.count} of {there.of} cues lie outside of the film, which lasts "
        f"{cues.clock(cues.milliseconds(duration_s))}, the first at {cues.clock(there.first_ms)}; {mend}"
    )


def outside(sidecar: Sidecar, duration_s: Fraction) -> cues.Outside:
    """Count the cues of a sidecar that lie outside of the film."""
    return cues.outside(sidecar.times_ms, start_s=sidecar.start_s, duration_s=duration_s)


def read(sidecar: Master, endpoint_url: str | None = None) -> bytes:
    """Read a sidecar whole.

    Raises:
        MasterError: It can't be read, is too large, or is not the file any more whose SHA-256 is known.
        StorageError: S3 refuses or can't be reached.
    """
    if sidecar.size_bytes > MOST_BYTES:
        raise MasterError(
            f"{sidecar.url} has {sidecar.size_bytes:,} bytes, too many for the text of a film; "
            "give SRT, WebVTT, ASS or TTML"
        )
    data = masters.read(sidecar, endpoint_url)
    if len(data) != sidecar.size_bytes or (sidecar.digest.startswith("sha256:") and _digest(data) != sidecar.digest):
        raise MasterError(f"{sidecar.url} has changed since the job was planned; start the job anew")
    return data


def text_of(data: bytes, url: str) -> str:
    """Decode a sidecar: UTF-8, or UTF-16 with its mark.

    Raises:
        MasterError: It is neither, or binary.
    """
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise MasterError(f"{url} is not in UTF-8 (byte {error.start:,}); save it in that encoding") from None
    if "\0" in text:
        raise MasterError(f"{url} is no text, but binary; give SRT, WebVTT, ASS or TTML")
    return text


def prepared(data: bytes, codec: str, url: str) -> bytes:
    """A sidecar as a task's command reads it: in UTF-8, of SRT the cues alone; TTML stays as it is."""
    if codec == TTML:
        return data
    text = text_of(data, url)
    return (srt.write(srt.parse(text).cues) if codec == SRT else text).encode()


def _parsed(data: bytes, codec: str, url: str) -> webvtt.Parsed:
    found: Iterable[Cue]
    match codec:
        case "ttml":
            found = ttml.cues(ttml.read(data, url))
        case "webvtt":
            return webvtt.parse(text_of(data, url))
        case "srt":
            return srt.parse(text_of(data, url))
        case _:
            found = cues.read(text_of(data, url).encode(), file_format=ASS)
    return webvtt.Parsed(tuple(found))


def _format(data: bytes, url: str) -> str:
    # XML says itself how it is encoded.
    if data[:200].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<") or data[:4] in (
        b"\xff\xfe<\0",
        b"\xfe\xff\0<",
    ):
        return TTML
    head = text_of(data, url)[:4096]
    if webvtt.is_webvtt(head):
        return WEBVTT
    if _ASS.match(head):
        return ASS
    if srt.is_srt(head):
        return SRT
    raise MasterError(f"{url} is none of SRT, WebVTT, ASS and TTML; have it exported as one of these")


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"
