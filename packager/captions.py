"""Splits cues into text segments, on the same grid as all other renditions.

WebVTT is written in two formats: one file per segment for HLS, and samples in fragmented MP4 for DASH. IMSC is written
as one document per segment in MP4. A cue is repeated in every segment that it overlaps. In files and documents, cues
keep their own times; samples in MP4 are cut at segment boundaries.

Sources: RFC 8216, section 3.5 (WebVTT in HLS); ISO/IEC 14496-30 (timed text in MP4), sections 5 and 7; W3C, WebVTT;
ISO/IEC 23000-19, section 11 (text in CMAF).
"""

import hashlib
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter
from typing import Generic, TypeVar
from xml.etree import ElementTree as Xml

from langcodes import Language

from headend.core.boxes import box
from headend.core.errors import PackagingError
from headend.core.media import Codec, Cue, Segment, TextRendition
from headend.core.timing import Grid, timescale
from packager.fragments import Sample, fragment_bytes
from packager.segmenting.cut import Cut, cut_of

HEADER = "WEBVTT"
CLOCK = "X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000"
"""Cue times count from the title's start, as in all media (RFC 8216, section 3.5)."""

_TTML = "http://www.w3.org/ns/ttml"

_Item = TypeVar("_Item")
_Time = Fraction | int


@dataclass(frozen=True, slots=True)
class _Part:
    """The content of a text segment, before its number and time are known.

    Attributes:
        body: The file; for MP4, the samples' data, concatenated.
        samples: Number of cues of a file; for MP4, the samples.
    """

    body: bytes
    samples: tuple[Sample, ...] | int


def cut(rendition: TextRendition, cues: Sequence[Cue], document: bytes | None, grid: Grid) -> Cut:
    """Make the segments of a text rendition.

    Args:
        rendition: The text rendition.
        cues: All cues of the title, sorted by time.
        document: For IMSC: the document of the whole title, with clock times on its elements.
        grid: Segment boundaries.

    Returns:
        The init segment (empty for WebVTT files), the segments and their description.

    Raises:
        PackagingError: There is no document for IMSC.
    """
    if rendition.codec is Codec.VTT:
        return _cut(rendition, b"", _vtt_parts(cues, grid), grid)
    if rendition.codec is Codec.WVTT:
        return _cut(rendition, _init(rendition, grid), _wvtt_parts(cues, grid), grid)
    if document is None:
        raise PackagingError(f"{rendition.id}: only TTML can be converted to IMSC")
    return _cut(rendition, _init(rendition, grid), _imsc_parts(document, grid), grid)


def _cut(rendition: TextRendition, init: bytes, parts: Iterator[_Part], grid: Grid) -> Cut:
    ticks = timescale(grid.frame_rate)
    bodies, segments = [], []
    for number, ((first, end), part) in enumerate(zip(pairwise(grid.segment_bounds()), parts, strict=True), start=1):
        start_ticks = first * ticks.frame_ticks
        samples = part.samples
        body = part.body if isinstance(samples, int) else fragment_bytes(number, start_ticks, samples, part.body)
        bodies.append(body)
        segments.append(
            Segment(
                number=number,
                start_ticks=start_ticks,
                duration_ticks=(end - first) * ticks.frame_ticks,
                samples=samples if isinstance(samples, int) else len(samples),
                size_bytes=len(body),
                sha256=hashlib.sha256(body).hexdigest(),
            )
        )
    return cut_of(rendition.id, init, bodies, segments, ticks.ticks_per_second, priming_samples=0)


class _Sweep(Generic[_Item]):
    """Finds the items that overlap consecutive time ranges.

    Each item is added and removed once, so the time depends only on the number of items and results.

    Args:
        spans: Start, end and item, in any order; an end of None is never reached.
    """

    def __init__(self, spans: Iterable[tuple[_Time, _Time | None, _Item]]) -> None:
        numbered = [(begin, number, end, item) for number, (begin, end, item) in enumerate(spans)]
        self._upcoming = deque(sorted(numbered, key=itemgetter(0)))
        self._active: list[tuple[int, _Time | None, _Item]] = []

    def between(self, start: _Time, stop: _Time) -> list[_Item]:
        """The items that overlap a range, in their given order. Ranges must be requested in ascending order."""
        active = [span for span in self._active if span[1] is None or span[1] > start]
        kept = len(active)
        while self._upcoming and self._upcoming[0][0] < stop:
            _, number, end, item = self._upcoming.popleft()
            if end is None or end > start:
                active.append((number, end, item))
        if len(active) > kept:
            active.sort(key=itemgetter(0))
        self._active = active
        return [item for _, _, item in active]


# --- WebVTT files -------------------------------------------------------------------------------------------------


def _vtt_parts(cues: Sequence[Cue], grid: Grid) -> Iterator[_Part]:
    sweep = _Sweep((cue.start_ms, cue.end_ms, cue) for cue in cues)
    for start_s, end_s in pairwise(grid.segment_starts_s()):
        shown = sweep.between(start_s * 1000, end_s * 1000)
        blocks = [f"{HEADER}\n{CLOCK}\n", *map(_block, shown)]
        yield _Part("\n".join(blocks).encode(), len(shown))


def _block(cue: Cue) -> str:
    identifier = f"{cue.identifier}\n" if cue.identifier else ""
    settings = f" {cue.settings}" if cue.settings else ""
    return f"{identifier}{clock(cue.start_ms)} --> {clock(cue.end_ms)}{settings}\n{cue.text}\n"


def clock(time_ms: int) -> str:
    """Format a time for WebVTT."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{ms:03}"


# --- WebVTT in MP4 ------------------------------------------------------------------------------------------------


_Timed = tuple[int, int, int, Cue]
"""A cue with its number in the title, and its start and end in ticks."""


def _wvtt_parts(cues: Sequence[Cue], grid: Grid) -> Iterator[_Part]:
    ticks = timescale(grid.frame_rate)
    timed = [
        (number, _ticks(cue.start_ms, ticks.ticks_per_second), _ticks(cue.end_ms, ticks.ticks_per_second), cue)
        for number, cue in enumerate(cues, start=1)
    ]
    sweep = _Sweep((item[1], item[2], item) for item in timed)
    for first, end in pairwise(grid.segment_bounds()):
        bounds = first * ticks.frame_ticks, end * ticks.frame_ticks
        yield _samples(sweep.between(*bounds), bounds)


def _samples(cues: Sequence[_Timed], bounds: tuple[int, int]) -> _Part:
    """Make one sample for each time range in which the same cues, or none, are shown."""
    edges = {time for _, start, end, _ in cues for time in (start, end) if bounds[0] < time < bounds[1]}
    bodies, samples = [], []
    sweep = _Sweep((begins, ends, _cue_box(number, cue)) for number, begins, ends, cue in cues)
    for start, end in pairwise(sorted({*bounds, *edges})):
        body = b"".join(sweep.between(start, end)) or box(b"vtte", b"")
        bodies.append(body)
        samples.append(Sample(end - start, len(body), sync=True, composition_ticks=0))
    return _Part(b"".join(bodies), tuple(samples))


def _cue_box(number: int, cue: Cue) -> bytes:
    # Samples of the same cue have the same source id, in all segments.
    parts = [box(b"vsid", struct.pack(">I", number))]
    parts += [box(b"iden", cue.identifier.encode())] if cue.identifier else []
    parts += [box(b"sttg", cue.settings.encode())] if cue.settings else []
    return box(b"vttc", b"".join((*parts, box(b"payl", cue.text.encode()))))


def _ticks(time_ms: int, ticks_per_second: int) -> int:
    return round(Fraction(time_ms * ticks_per_second, 1000))


# --- IMSC ---------------------------------------------------------------------------------------------------------


def _imsc_parts(document: bytes, grid: Grid) -> Iterator[_Part]:
    """Reduce the document to the paragraphs of each segment; times stay relative to the title's start."""
    root = Xml.fromstring(document)
    ticks = timescale(grid.frame_rate)
    bodies = {body: _Div(body, Fraction(0)) for body in root.findall(f"{{{_TTML}}}body")}
    for first, end in pairwise(grid.segment_bounds()):
        bounds = first / grid.frame_rate, end / grid.frame_rate
        part = _empty(root)
        part.extend(bodies[child].between(*bounds) if child in bodies else child for child in root)
        data = bytes(Xml.tostring(part, encoding="utf-8", xml_declaration=True))
        yield _Part(data, (Sample((end - first) * ticks.frame_ticks, len(data), sync=True, composition_ticks=0),))


class _Div:
    """A ``body`` or ``div`` and its content over time.

    Args:
        element: The element; it is not changed.
        parent_s: The time that its own times are relative to.
    """

    def __init__(self, element: Xml.Element, parent_s: Fraction) -> None:
        self._element = element
        base_s = parent_s + _seconds(element.get("begin", "0"))
        self._children = _Sweep(_child_span(child, base_s) for child in element)

    def between(self, start_s: Fraction, end_s: Fraction) -> Xml.Element:
        """A copy of the element with the content shown in a range. Ranges must be requested in ascending order."""
        part = _empty(self._element)
        for child in self._children.between(start_s, end_s):
            part.append(child.between(start_s, end_s) if isinstance(child, _Div) else child)
        return part


def _child_span(child: Xml.Element, base_s: Fraction) -> tuple[Fraction, Fraction | None, Xml.Element | _Div]:
    ends = child.get("end")
    whole = _Div(child, base_s) if child.tag == f"{{{_TTML}}}div" else child
    return base_s + _seconds(child.get("begin", "0")), None if ends is None else base_s + _seconds(ends), whole


def _empty(element: Xml.Element) -> Xml.Element:
    """Copy an element without its children."""
    copied = Xml.Element(element.tag, element.attrib)
    copied.text, copied.tail = element.text, element.tail
    return copied


def _seconds(clock: str) -> Fraction:
    """Parse ``00:00:01.500``, the form that the IMSC writer uses."""
    seconds = Fraction(0)
    for field in clock.split(":"):
        seconds = seconds * 60 + Fraction(field)
    return seconds


# --- init segments ------------------------------------------------------------------------------------------------


def _wvtt_entry() -> bytes:
    return box(b"wvtt", bytes(6) + struct.pack(">H", 1) + box(b"vttC", HEADER.encode()))


def _imsc_entry() -> bytes:
    return box(b"stpp", bytes(6) + struct.pack(">H", 1) + _TTML.encode() + b"\0\0\0")


_KINDS: Mapping[Codec, tuple[bytes, bytes, bytes, Callable[[], bytes]]] = {
    Codec.WVTT: (b"text", b"nmhd", b"cwvt", _wvtt_entry),
    Codec.IMSC: (b"subt", b"sthd", b"im1t", _imsc_entry),
}
"""Handler, media header, CMAF brand and sample entry of each MP4 format."""


def _init(rendition: TextRendition, grid: Grid) -> bytes:
    """The init segment of a text track."""
    handler, media_header, brand, entry = _KINDS[rendition.codec]
    matrix = struct.pack(">9I", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    media_ticks = timescale(grid.frame_rate).ticks_per_second
    tables = b"".join(_full(kind, bytes(4)) for kind in (b"stts", b"stsc", b"stco"))
    sample_table = box(b"stbl", _full(b"stsd", struct.pack(">I", 1) + entry()) + tables + _full(b"stsz", bytes(8)))
    data_information = box(b"dinf", _full(b"dref", struct.pack(">I", 1) + _full(b"url ", b"", flags=1)))
    media = b"".join(
        (
            _full(b"mdhd", struct.pack(">IIIIHH", 0, 0, media_ticks, 0, _packed_language(rendition.language), 0)),
            _full(b"hdlr", bytes(4) + handler + bytes(12) + b"\0"),
            box(b"minf", _full(media_header, b"") + data_information + sample_table),
        )
    )
    # Enabled, in movie and preview; without a size.
    track_header = _full(b"tkhd", struct.pack(">IIIII", 0, 0, 1, 0, 0) + bytes(16) + matrix + bytes(8), flags=7)
    movie_header = struct.pack(">IIIIIH", 0, 0, 1000, 0, 1 << 16, 0) + bytes(10) + matrix + bytes(24)
    movie = b"".join(
        (
            _full(b"mvhd", movie_header + struct.pack(">I", 2)),
            box(b"trak", track_header + box(b"mdia", media)),
            box(b"mvex", _full(b"trex", struct.pack(">IIIII", 1, 1, 0, 0, 0))),
        )
    )
    return box(b"ftyp", b"cmfc" + bytes(4) + b"iso6" + b"cmfc" + brand) + box(b"moov", movie)


def _full(kind: bytes, body: bytes, *, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", flags) + body)


def _packed_language(tag: str) -> int:
    """Three letters of ISO 639-2/T in fifteen bits (ISO/IEC 14496-12, section 8.4.2)."""
    try:
        code = Language.get(tag).to_alpha3()
    except (LookupError, ValueError):
        code = "und"
    return sum((ord(letter) - 0x60) << shift for letter, shift in zip(code, (10, 5, 0), strict=True))
