"""Read sidecars, the subtitle files that are delivered with a master.

Sidecars are untrusted and are checked before a job is planned. Their format is detected from their content, they are
decoded strictly, and files that are not subtitles are rejected.
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

MAX_BYTES = 16 << 20
"""Maximum size of a sidecar, far more than any film's text."""
MAX_CUE_CHARACTERS = 1 << 16
"""Maximum length of a cue with its tags, far more than a screen holds."""
SRT, WEBVTT, ASS, TTML = "srt", "webvtt", "ass", "ttml"
MAX_OUTSIDE_SHARE = Fraction(1, 20)
"""Maximum share of a sidecar's cues outside the film; with more, it probably belongs to another film or version."""
_HOUR_S = 3600
_MAX_HOURS = 24
"""Maximum number of whole hours that ``auto`` subtracts."""

_ASS = re.compile(r"^\s*(?:;[^\n]*\n\s*)*\[(?:Script Info|V4\+? Styles)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A sidecar that was read.

    Attributes:
        file: Its location and the digest of its bytes.
        codec: Its format: ``srt``, ``webvtt``, ``ass`` or ``ttml``.
        times_ms: Start and end of each cue, in the file's time; at least one.
        skipped_lines: Number of the first line, from 1, of each block that should be a cue but can't be read.
        start_s: When the film's first frame is shown, in the file's time.
    """

    file: Master
    codec: str
    times_ms: tuple[tuple[int, int], ...]
    skipped_lines: tuple[int, ...] = ()
    start_s: Fraction = Fraction(0)


def identify(url: str, endpoint_url: str | None = None) -> Sidecar:
    """Read a sidecar, and detect its format.

    Args:
        url: A path, or ``s3://bucket/key``.
        endpoint_url: S3 endpoint; None for the SDK's default.

    Raises:
        MasterError: It can't be read, is too large, has an unknown encoding or format, is broken, or has no cue or one
            that is too long.
        StorageError: S3 refuses or can't be reached.
    """
    file = masters.identify(url, endpoint_url)
    data = read(file, endpoint_url)
    codec = _format(data, url)
    try:
        parsed = _parse(data, codec, url)
    except (av.FFmpegError, IndexError) as error:
        raise MasterError(f"{url} looks like {codec}, but can't be read; export it again") from error
    if not parsed.cues:
        raise MasterError(f"{url} has no cue: it is empty or damaged; export it again")
    if long := next((cue for cue in parsed.cues if len(cue.text) > MAX_CUE_CHARACTERS), None):
        raise MasterError(
            f"{url}: the cue at {cues.format_time(long.start_ms)} has {len(long.text):,} characters, probably because "
            "an empty line or a time is missing; export it again"
        )
    times_ms = tuple((cue.start_ms, cue.end_ms) for cue in parsed.cues)
    return Sidecar(replace(file, digest=_digest(data)), codec, times_ms, parsed.skipped_lines)


def align(sidecar: Sidecar, offset: SubtitleOffset, duration_s: Fraction) -> Sidecar:
    """Decide where the film starts in a sidecar's time.

    Args:
        sidecar: A sidecar from `identify`.
        offset: Seconds to add to its times. None (``auto``) subtracts the smallest number of whole hours with which the
            cues are within the film, since time codes often start at 1 or 10 hours.
        duration_s: Duration of the film.

    Raises:
        MasterError: More than `MAX_OUTSIDE_SHARE` of its cues would be outside the film.
    """
    hours = [Fraction(hour * _HOUR_S) for hour in range(_MAX_HOURS + 1)]
    starts_s = hours if offset is None else [-offset]
    for start_s in starts_s:
        if count_outside(replace(sidecar, start_s=start_s), duration_s).share <= MAX_OUTSIDE_SHARE:
            return replace(sidecar, start_s=start_s)
    counts = count_outside(replace(sidecar, start_s=starts_s[0]), duration_s)
    advice = (
        "no number of whole hours corrects that: give --subtitle-offset SECONDS"
        if offset is None
        else "if its times start at another hour, give --subtitle-offset auto; else give the seconds to add to them"
    )
    raise MasterError(
        f"{sidecar.file.url}: {counts.count} of {counts.of} cues are outside the film, which lasts "
        f"{cues.format_time(cues.milliseconds(duration_s))}, the first at {cues.format_time(counts.first_ms)}; {advice}"
    )


def count_outside(sidecar: Sidecar, duration_s: Fraction) -> cues.Outside:
    """Count the cues of a sidecar that are outside the film."""
    return cues.outside(sidecar.times_ms, start_s=sidecar.start_s, duration_s=duration_s)


def read(sidecar: Master, endpoint_url: str | None = None) -> bytes:
    """Read the bytes of a sidecar.

    Raises:
        MasterError: It can't be read, is too large, or has changed since its SHA-256 was computed.
        StorageError: S3 refuses or can't be reached.
    """
    if sidecar.size_bytes > MAX_BYTES:
        raise MasterError(
            f"{sidecar.url} has {sidecar.size_bytes:,} bytes, too many for subtitles; use SRT, WebVTT, ASS or TTML"
        )
    data = masters.read(sidecar, endpoint_url)
    if len(data) != sidecar.size_bytes or (sidecar.digest.startswith("sha256:") and _digest(data) != sidecar.digest):
        raise MasterError(f"{sidecar.url} has changed since the job was planned; submit it again")
    return data


def decode_text(data: bytes, url: str) -> str:
    """Decode a sidecar from UTF-8, or from UTF-16 with a byte order mark.

    Raises:
        MasterError: It has another encoding, or is binary.
    """
    has_utf16_mark = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if has_utf16_mark else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise MasterError(f"{url} is not in UTF-8 (byte {error.start:,}); save it in that encoding") from None
    if "\0" in text:
        raise MasterError(f"{url} is binary, not text; use SRT, WebVTT, ASS or TTML")
    return text


def prepare(data: bytes, codec: str, url: str) -> bytes:
    """Convert a sidecar for a task's command: to UTF-8, and SRT to valid blocks only. TTML is not changed."""
    if codec == TTML:
        return data
    text = decode_text(data, url)
    return (srt.write(srt.parse(text).cues) if codec == SRT else text).encode()


def _parse(data: bytes, codec: str, url: str) -> webvtt.ParsedFile:
    parsed: Iterable[Cue]
    match codec:
        case "ttml":
            parsed = ttml.cues(ttml.read(data, url))
        case "webvtt":
            return webvtt.parse(decode_text(data, url))
        case "srt":
            return srt.parse(decode_text(data, url))
        case _:
            parsed = cues.read(decode_text(data, url).encode(), file_format=ASS)
    return webvtt.ParsedFile(tuple(parsed))


def _format(data: bytes, url: str) -> str:
    # XML declares its own encoding.
    if data[:200].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<") or data[:4] in (
        b"\xff\xfe<\0",
        b"\xfe\xff\0<",
    ):
        return TTML
    head = decode_text(data, url)[:4096]
    if webvtt.is_webvtt(head):
        return WEBVTT
    if _ASS.match(head):
        return ASS
    if srt.is_srt(head):
        return SRT
    raise MasterError(f"{url} is none of SRT, WebVTT, ASS and TTML; export it as one of these")


def _digest(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"
