"""Finds and writes boxes of the ISO base media file format (MP4), in headend's own files and in masters.

Searches take time linear in the bytes that they scan, and copy nothing.

Source: ISO/IEC 14496-12, section 4.2 (box structure) and 8.8 (movie fragments).
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from headend.core.errors import PackagingError

HEADER_BYTES, LONG_HEADER_BYTES = 8, 16
"""Size and type; in a box of 4 GB or more, a 64-bit size follows them."""
CONTAINERS = frozenset({"moov", "trak", "mdia", "minf", "stbl", "edts", "mvex", "moof", "traf", "dinf"})
VIDEO_ENTRY_BYTES = 78
"""Fields of VisualSampleEntry before its boxes (section 12.1.3)."""
AUDIO_ENTRY_BYTES = 28
"""Fields of AudioSampleEntry before its boxes (section 12.2.3)."""
ENCRYPTED = frozenset({"encv", "enca"})
"""Sample entries of encrypted video and audio."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box's position in its buffer.

    Attributes:
        kind: Four-character code.
        start: Offset of its size field.
        body: Offset of the first byte after the header.
        end: Offset after the last byte.
    """

    kind: str
    start: int
    body: int
    end: int


@contextmanager
def damage_as_packaging_error() -> Iterator[None]:
    """Convert the errors of reading a damaged box to `PackagingError`; also usable as a decorator.

    Raises:
        PackagingError: A field lies past the end of the data, or can't hold the value written to it.
    """
    try:
        yield
    except (struct.error, IndexError) as error:
        raise PackagingError(f"an MP4 box is cut short or damaged: {error}") from error


def box(kind: bytes, body: bytes) -> bytes:
    """Encode a box of less than 4 GB."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def children(data: bytes | memoryview, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Iterate over the sibling boxes in ``data[start:end]``.

    Raises:
        PackagingError: A box is shorter than its header or reaches past ``end``.
    """
    return walk(lambda offset, count: data[offset : offset + count], start, len(data) if end is None else end)


def walk(read: Callable[[int, int], bytes | memoryview], start: int, end: int) -> Iterator[Box]:
    """Iterate over the sibling boxes between two offsets, reading only their headers.

    Args:
        read: Takes an offset and a byte count; returns at most that many bytes.
        start: Offset of the first box.
        end: Offset after the last one.

    Raises:
        PackagingError: A box is shorter than its header or reaches past ``end``.
    """
    offset = start
    while offset < end:
        header = read(offset, min(LONG_HEADER_BYTES, end - offset))
        if len(header) < HEADER_BYTES:
            raise PackagingError(f"found {len(header)} bytes where an MP4 box was expected", offset=offset)
        size, kind = struct.unpack_from(">I4s", header)
        body = offset + HEADER_BYTES
        if size == 1:
            if len(header) < LONG_HEADER_BYTES:
                raise PackagingError("the header of an MP4 box is cut short", offset=offset)
            (size,) = struct.unpack_from(">Q", header, HEADER_BYTES)
            body = offset + LONG_HEADER_BYTES
        elif size == 0:
            size = end - offset
        if size < body - offset or offset + size > end:
            raise PackagingError(f"MP4 box {kind!r} of {size} bytes does not fit into its parent", offset=offset)
        yield Box(kind.decode("latin-1"), offset, body, offset + size)
        offset += size


def until_damage(boxes: Iterator[Box]) -> Iterator[Box]:
    """Yield boxes up to the first damaged one, to use the intact part of files that headend did not write."""
    with suppress(PackagingError):
        yield from boxes


def find_all(data: bytes | memoryview, path: str, within: Box | None = None) -> Iterator[Box]:
    """Find every box at ``path``, such as ``moov/trak/mdia/mdhd``, in order."""
    head, _, rest = path.partition("/")
    scope = children(data) if within is None else children(data, within.body, within.end)
    for box in scope:
        if box.kind == head:
            if rest:
                yield from find_all(data, rest, box)
            else:
                yield box


def find(data: bytes | memoryview, path: str, within: Box | None = None) -> Box:
    """Find the first box at ``path``.

    Raises:
        PackagingError: There is none.
    """
    for box in find_all(data, path, within):
        return box
    raise PackagingError(f"the required box {path} is missing")


def sample_entry(init: bytes | memoryview) -> Box:
    """The first sample entry of the first track: its kind is the codec's four-character code.

    For an encrypted track, the kind is the original code (``frma``, ISO/IEC 14496-12, section 8.12.2).

    Raises:
        PackagingError: There is no track, or it has no sample entry.
    """
    stsd = find(init, "moov/trak/mdia/minf/stbl/stsd")
    for box in children(init, stsd.body + 8, stsd.end):
        if box.kind in ENCRYPTED:
            original = find(init, "frma", _protection_info(init, box))
            return replace(box, kind=bytes(init[original.body : original.body + 4]).decode("latin-1"))
        return box
    raise PackagingError("the init segment has no sample entry")


def entry_box(init: bytes | memoryview, kind: str) -> Box | None:
    """The box ``kind`` (``avcC``, ``dOps``, …) inside the sample entry, or None."""
    entry = sample_entry(init)
    (handler,) = struct.unpack_from(">4s", init, find(init, "moov/trak/mdia/hdlr").body + 8)
    skip = VIDEO_ENTRY_BYTES if handler == b"vide" else AUDIO_ENTRY_BYTES
    return next((box for box in children(init, entry.body + skip, entry.end) if box.kind == kind), None)


def protection_box(init: bytes, path: str) -> Box:
    """Find a box in the track's protection information (``sinf``), such as ``schi/tenc``; an empty path finds ``sinf``.

    Raises:
        PackagingError: The sample entry is not encrypted, or lacks the box.
    """
    stsd = find(init, "moov/trak/mdia/minf/stbl/stsd")
    entry = next(children(init, stsd.body + 8, stsd.end), None)
    if entry is None or entry.kind not in ENCRYPTED:
        raise PackagingError("its sample entry is not encrypted")
    sinf = _protection_info(init, entry)
    return find(init, path, sinf) if path else sinf


def _protection_info(init: bytes | memoryview, entry: Box) -> Box:
    """The ``sinf`` box of an encrypted sample entry."""
    skip = VIDEO_ENTRY_BYTES if entry.kind == "encv" else AUDIO_ENTRY_BYTES
    sinf = next((box for box in children(init, entry.body + skip, entry.end) if box.kind == "sinf"), None)
    if sinf is None:
        raise PackagingError("an encrypted sample entry has no sinf box")
    return sinf


def timescale(init: bytes | memoryview) -> int:
    """Ticks per second of the first track (``mdhd``)."""
    mdhd = find(init, "moov/trak/mdia/mdhd")
    wide = init[mdhd.body] == 1
    return int(struct.unpack_from(">I", init, mdhd.body + (20 if wide else 12))[0])
