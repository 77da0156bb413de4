"""Cuts the encoder's fragmented MP4 into CMAF segments.

Samples are neither changed nor reordered; only the few bytes around them are rewritten.

Video: FFmpeg writes one fragment per GOP, with times from the chunk's start. Fragments get their times in the title,
    and composition offsets that are never negative: with negative ones, players based on FFmpeg or GStreamer show the
    picture frames late. The init segment's edit list compensates the shift.

Sound: FFmpeg writes a programme's codec frames in long fragments. They are cut again at the codec frame nearest to each
    video boundary, so that errors don't accumulate, and every segment has one fragment.

Source: ISO/IEC 14496-12, sections 8.6.6 (``elst``), 8.8.5 (``mfhd``), 8.8.7 (``tfhd``), 8.8.8 (``trun``) and 8.8.12
(``tfdt``); ISO/IEC 23000-19, section 7.5.13 (offset edit lists).
"""

import hashlib
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from mmap import MADV_DONTNEED, mmap
from typing import BinaryIO, ClassVar, NamedTuple, Protocol

from headend.core import boxes
from headend.core.errors import ChunkRejected, PlanMismatch
from headend.core.media import EncodedTrack, Loudness, Segment
from headend.core.timing import SOUND_TAIL_SAMPLES, Chunk, Grid, timescale

_TRUN_OFFSET, _TRUN_FIRST_FLAGS = 0x1, 0x4
_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_CTS = 0x100, 0x200, 0x400, 0x800
_TFHD_BASE, _TFHD_DESCRIPTION, _TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS = 0x1, 0x2, 0x8, 0x10, 0x20
_BASE_IS_MOOF = 0x20000
_NOT_SYNC = 0x10000
_IS_SYNC_SAMPLE = 0x02000000
_IS_OTHER_SAMPLE = 0x01010000
_SAIO_BYTES, _SENC_HEADER_BYTES, _SENC_MAPS = 20, 16, 2
_PROGRAM_LOUDNESS, _BS_1770, _UNVERIFIED, _ACCURATE = 1, 2, 1, 3
"""Method, system and reliability of a loudness measurement: ISO/IEC 23003-4, annex A."""

REORDER_FRAMES = 2
"""How many frames after its decoding a frame may be shown: B-frames used as references need two."""
_REORDERED = frozenset({"avc1", "hvc1"})
"""Sample entries of codecs with frame reordering; AV1 and VP9 hide it inside samples."""


class Sample(NamedTuple):
    """A sample of a fragment. A tuple, since a title of two hours has more than a million.

    Attributes:
        duration_ticks: Its duration, in the track's timescale.
        size_bytes: Its size in ``mdat``.
        sync: Whether decoding can start here.
        composition_ticks: Presentation time minus decode time.
    """

    duration_ticks: int
    size_bytes: int
    sync: bool
    composition_ticks: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """A ``moof`` and its ``mdat``.

    Attributes:
        start: Offset of the ``moof`` in its buffer.
        end: Offset after the ``mdat``.
        media: Offset of the first sample.
        sequence: Sequence number from ``mfhd``.
        decode_ticks: Decode time of the first sample.
        samples: In decoding order.
        description: Index of the sample entry that describes the samples, from 1.
    """

    start: int
    end: int
    media: int
    sequence: int
    decode_ticks: int
    samples: tuple[Sample, ...]
    description: int = 1

    @property
    def duration_ticks(self) -> int:
        """Sum of the samples' durations."""
        return sum(sample.duration_ticks for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Cut:
    """A task's segments of one rendition, ready for the store.

    Attributes:
        init: The init segment.
        bodies: Bytes of the media segments described in ``track``; created during iteration, since a chunk may be a
            whole film.
        track: The receipt's entry.
        later_inits: The init segments of later periods, if encryption keys change.
    """

    init: bytes
    bodies: Iterable[bytes]
    track: EncodedTrack
    later_inits: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """Decryption data of each sample of a fragment (``senc``).

    Attributes:
        rows: For each sample: its initialisation vector and its map, if the scheme has them.
        has_maps: Whether rows have maps of clear and encrypted bytes.
    """

    rows: Sequence[bytes]
    has_maps: bool


class Protector(Protocol):
    """Encrypts a track while it is being cut; see `packager.protecting`."""

    @property
    def init(self) -> bytes:
        """The init segment of the encrypted track."""

    @property
    def later_inits(self) -> tuple[bytes, ...]:
        """The init segments of later periods, if keys change."""

    @property
    def codec_string(self) -> str:
        """The codec string, if the init segment is encrypted as a whole; else empty."""

    def fragment(
        self,
        sequence: int,
        decode_ticks: int,
        samples: Sequence[Sample],
        media: bytes | memoryview,
        *,
        first: int,
        segment: int,
    ) -> bytes:
        """Encrypt and write a fragment, like `fragment_bytes`.

        ``first`` is the index of its first sample in the title, ``segment`` the number of its segment.
        """

    def segment(self, body: bytes, number: int) -> bytes:
        """Encrypt a segment as a whole, if the scheme does that; otherwise return it unchanged."""


Protect = Callable[[bytes], Protector]
"""Creates a track's protector from its clear init segment."""


@dataclass(frozen=True, slots=True)
class Clear:
    """Leaves a track unencrypted.

    Attributes:
        init: The init segment.
        codec_string: Empty, as the init segment can be read.
        later_inits: Empty.
    """

    init: bytes
    codec_string: ClassVar[str] = ""
    later_inits: ClassVar[tuple[bytes, ...]] = ()

    def fragment(
        self,
        sequence: int,
        decode_ticks: int,
        samples: Sequence[Sample],
        media: bytes | memoryview,
        *,
        first: int,
        segment: int,
    ) -> bytes:
        """Write a fragment; see `Protector`."""
        del first, segment
        return fragment_bytes(sequence, decode_ticks, samples, media)

    def segment(self, body: bytes, number: int) -> bytes:
        """Return the segment unchanged; see `Protector`."""
        del number
        return body


@dataclass(frozen=True, slots=True)
class _Bodies:
    """An iterable that creates its items again in each iteration."""

    make: Callable[[], Iterator[bytes]]

    def __iter__(self) -> Iterator[bytes]:
        return self.make()


def fragments(data: memoryview | bytes) -> Iterator[Fragment]:
    """Parse all fragments of a single-track file or segment.

    Raises:
        PackagingError: The boxes are damaged.
        ChunkRejected: A fragment describes samples outside its ``mdat``.
        PlanMismatch: A fragment does not have the form of FFmpeg's ``cmaf`` and ``default_base_moof``.
    """
    moof: boxes.Box | None = None
    for box in boxes.children(data):
        if box.kind == "moof":
            moof = box
        elif box.kind == "mdat" and moof is not None:
            with boxes.damage_reported():
                fragment = _fragment(data, moof, box)
            yield fragment
            moof = None


@boxes.damage_reported()
def cut_video(
    data: memoryview,
    *,
    rendition: str,
    grid: Grid,
    chunk: Chunk,
    rate_divisor: int,
    vp9_level: str | None = None,
    protect: Protect = Clear,
) -> Cut:
    """Cut an encoded chunk into segments, with times in the title.

    Args:
        data: The encoder's complete file.
        rendition: Id of the rendition, for the receipt and errors.
        grid: The title's grid.
        chunk: The encoded frames.
        rate_divisor: One frame of the grid in this many was kept.
        vp9_level: Level to state in ``vpcC``: FFmpeg's muxer derives one from the size alone, which is too low at high
            frame rates.
        protect: Encrypts the segments.

    Returns:
        The init segment, the segments and their description.

    Raises:
        ChunkRejected: Frames are missing.
        PlanMismatch: There are too many frames, a GOP does not start on the grid, or a fragment has no sync frame at
            its start, or more than one.
        PackagingError: The file is damaged.
    """
    init, gops = _read(data, rendition)
    if vp9_level is not None:
        init = _with_vp9_level(init, vp9_level)
    ticks = timescale(grid.frame_rate)
    frame_ticks = ticks.frame_ticks * rate_divisor
    if boxes.timescale(init) != ticks.ticks_per_second:
        raise PlanMismatch(f"{rendition}: the encoder chose another timescale than the plan", chunk=chunk.number)
    gop_frames = grid.gop_frames // rate_divisor
    expected = _ceil_div(chunk.frame_count, rate_divisor)
    actual = sum(len(gop.samples) for gop in gops)
    if actual != expected:
        # Missing frames may be due to a master that could not be read completely; extra frames can't.
        kind = ChunkRejected if actual < expected else PlanMismatch
        raise kind(f"{rendition}: chunk {chunk.number} has {actual} frames, not {expected}")
    for number, fragment in enumerate(gops):
        rest = expected - number * gop_frames
        aligned = (
            len(fragment.samples) == min(gop_frames, rest)
            and fragment.samples[0].sync
            and not any(sample.sync for sample in fragment.samples[1:])
            and all(sample.duration_ticks == frame_ticks for sample in fragment.samples)
            and fragment.decode_ticks == number * gop_frames * frame_ticks
        )
        if not aligned:
            raise PlanMismatch(f"{rendition}: GOP {number} of chunk {chunk.number} is not on the grid")

    reordered = gop_frames > 1 and boxes.sample_entry(init).kind in _REORDERED
    shift_ticks = REORDER_FRAMES * frame_ticks if reordered else 0
    if shift_ticks:
        init = _with_offset_edit(init, shift_ticks)
    protector = protect(init)
    bounds = grid.bounds_of(chunk)
    first_gop = chunk.first_frame // grid.gop_frames
    offset_ticks = chunk.first_frame * ticks.frame_ticks
    if gop_frames == 1:  # the picture of a short last GOP ends with the GOP
        shown_frames = chunk.end_frame - (first_gop + len(gops) - 1) * grid.gop_frames
        (picture,) = gops[-1].samples
        gops[-1] = replace(gops[-1], samples=(picture._replace(duration_ticks=shown_frames * ticks.frame_ticks),))

    def fragments_of(number: int, first: int, end: int) -> Iterator[bytes]:
        for index in range(first // grid.gop_frames, _ceil_div(end, grid.gop_frames)):
            gop = gops[index - first_gop]
            samples = [s._replace(composition_ticks=s.composition_ticks + shift_ticks) for s in gop.samples]
            if min(sample.composition_ticks for sample in samples) < 0:
                raise PlanMismatch(f"{rendition}: frames of chunk {chunk.number} are reordered further than planned")
            media = data[gop.media : gop.media + sum(sample.size_bytes for sample in samples)]
            yield protector.fragment(
                index + 1,
                gop.decode_ticks + offset_ticks,
                samples,
                media,
                first=index * gop_frames,
                segment=number,
            )

    segments = []
    for number, (first, end) in enumerate(pairwise(bounds), start=chunk.first_segment):
        segment_gops = gops[first // grid.gop_frames - first_gop : _ceil_div(end, grid.gop_frames) - first_gop]
        parts = list(fragments_of(number, first, end))
        _release_pages(data)
        body = protector.segment(b"".join(parts), number)
        segments.append(
            Segment(
                number=number,
                start_ticks=first * ticks.frame_ticks,
                duration_ticks=sum(gop.duration_ticks for gop in segment_gops),
                samples=sum(len(gop.samples) for gop in segment_gops),
                size_bytes=len(body),
                sha256=hashlib.sha256(body).hexdigest(),
                sync=tuple(sync_ranges(parts, segment_gops)),
            )
        )

    def segment_body(number: int, first: int, end: int) -> bytes:
        body = b"".join(fragments_of(number, first, end))
        _release_pages(data)
        return protector.segment(body, number)

    bodies = _Bodies(lambda: (segment_body(n, *bound) for n, bound in enumerate(pairwise(bounds), chunk.first_segment)))
    cut = joined(rendition, protector.init, bodies, segments, ticks.ticks_per_second, priming_samples=0)
    return _protected(cut, protector)


@boxes.damage_reported()
def cut_audio(
    data: memoryview,
    *,
    rendition: str,
    grid: Grid,
    sample_rate_hz: int,
    frame_samples: int,
    loudness: Loudness | None = None,
    protect: Protect = Clear,
) -> Cut:
    """Cut a programme's sound at the codec frames nearest to the video's segment boundaries.

    The programme's length is exact: the last codec frame gets the duration with which the programme ends together with
    the picture, whatever padding the encoder added to fill that frame.

    Uses a few bytes of memory per codec frame. Segments are created one at a time during iteration.

    Args:
        data: The encoder's complete file.
        rendition: Id of the rendition, for the receipt and errors.
        grid: The title's grid.
        sample_rate_hz: Samples per second; also the track's timescale.
        frame_samples: Samples per codec frame, from the codec's standard.
        loudness: The programme's loudness, for the init segment; not stated for silence.
        protect: Encrypts the segments.

    Returns:
        The init segment, whose edit list makes players drop the priming, the segments and their description.

    Raises:
        ChunkRejected: The encoder's output is shorter than the picture.
        PlanMismatch: It is longer than padding explains, has a gap, or codec frames of another length.
        PackagingError: The file is damaged.
    """
    init, sizes, offsets = _codec_frames(data, rendition, sample_rate_hz, frame_samples)
    priming = _priming(init)
    end = round(grid.duration_s * sample_rate_hz) + priming
    actual = len(sizes) * frame_samples
    message = (
        f"{rendition}: {len(sizes)} codec frames of {frame_samples} samples don't match the picture's {end - priming}"
    )
    if actual < end:
        raise ChunkRejected(message)
    if actual > end + SOUND_TAIL_SAMPLES + 2 * frame_samples:
        raise PlanMismatch(message)
    kept = _ceil_div(end, frame_samples)
    last = end - (kept - 1) * frame_samples

    starts = [round((start * sample_rate_hz + priming) / frame_samples) for start in grid.segment_starts_s()[1:-1]]
    bounds = [0, *starts, kept]
    if loudness is not None and loudness.result_lufs is not None:
        init = _with_loudness(init, loudness.result_lufs, loudness.result_dbtp)
    protector = protect(init)

    def durations(first: int, stop: int) -> list[int]:
        return [frame_samples] * (stop - first - 1) + [last if stop == kept else frame_samples]

    def segment_body(number: int, first: int, stop: int) -> bytes:
        sized = zip(sizes[first:stop], durations(first, stop), strict=True)
        samples = [Sample(duration, size, True, 0) for size, duration in sized]
        media = b"".join(data[offsets[n] : offsets[n] + sizes[n]] for n in range(first, stop))
        _release_pages(data)
        fragment = protector.fragment(number, first * frame_samples, samples, media, first=first, segment=number)
        return protector.segment(fragment, number)

    spans = [(number, first, stop) for number, (first, stop) in enumerate(pairwise(bounds), start=1)]
    segments = []
    for number, first, stop in spans:
        body = segment_body(number, first, stop)
        segments.append(
            Segment(
                number=number,
                start_ticks=first * frame_samples,
                duration_ticks=sum(durations(first, stop)),
                samples=stop - first,
                size_bytes=len(body),
                sha256=hashlib.sha256(body).hexdigest(),
            )
        )
    bodies = _Bodies(lambda: (segment_body(*span) for span in spans))
    cut = joined(rendition, protector.init, bodies, segments, sample_rate_hz, priming_samples=priming)
    return _protected(replace(cut, track=replace(cut.track, loudness=loudness)), protector)


def _protected(cut: Cut, protector: Protector) -> Cut:
    """Complete a cut with the protector's data."""
    track = replace(
        cut.track,
        codec_string=protector.codec_string,
        later_inits=tuple(hashlib.sha256(init).hexdigest() for init in protector.later_inits),
    )
    return replace(cut, track=track, later_inits=protector.later_inits)


def _codec_frames(
    data: memoryview, rendition: str, sample_rate_hz: int, frame_samples: int
) -> tuple[bytes, "array[int]", "array[int]"]:
    """Parse a file of sound: its init segment, and the size and offset of each codec frame."""
    init = b""
    sizes, offsets = array("I"), array("Q")
    duration = frame_samples
    for fragment in fragments(data):
        if not init:
            init = bytes(data[: fragment.start])
            if boxes.timescale(init) != sample_rate_hz:
                raise PlanMismatch(f"{rendition}: the encoder chose another sample rate than the plan")
        at = fragment.media
        expected = len(sizes) * frame_samples
        if fragment.decode_ticks != expected:
            raise PlanMismatch(f"{rendition}: sound at {fragment.decode_ticks} samples should be at {expected}")
        for sample in fragment.samples:
            # Only the last codec frame may be shorter, at the end of the sound.
            if duration != frame_samples:
                raise PlanMismatch(
                    f"{rendition}: codec frame {len(sizes)} lasts {duration} samples, but the codec's {frame_samples}"
                )
            duration = sample.duration_ticks
            sizes.append(sample.size_bytes)
            offsets.append(at)
            at += sample.size_bytes
        _release_pages(data)
    if not init:
        raise ChunkRejected(f"{rendition}: the encoder wrote no frames")
    return init, sizes, offsets


def _release_pages(data: memoryview) -> None:
    """Drop the pages of a mapped file from this process's resident memory, after the needed data was copied.

    Otherwise the whole file counts, however large, and Dask kills the worker for it.
    """
    if isinstance(data.obj, mmap):
        data.obj.madvise(MADV_DONTNEED)


def _read(data: memoryview, rendition: str) -> tuple[bytes, list[Fragment]]:
    gops = list(fragments(data))
    if not gops:
        raise ChunkRejected(f"{rendition}: the encoder wrote no frames")
    return bytes(data[: gops[0].start]), gops


def joined(
    rendition: str,
    init: bytes,
    bodies: Iterable[bytes],
    segments: list[Segment],
    ticks_per_second: int,
    *,
    priming_samples: int,
) -> Cut:
    """Describe the segments of a rendition for its receipt."""
    rates = [Fraction(8 * s.size_bytes * ticks_per_second, s.duration_ticks) for s in segments]
    total_ticks = sum(s.duration_ticks for s in segments)
    track = EncodedTrack(
        rendition=rendition,
        init_sha256=hashlib.sha256(init).hexdigest(),
        init_bytes=len(init),
        timescale=ticks_per_second,
        priming_samples=priming_samples,
        average_bps=_ceil_div(8 * sum(s.size_bytes for s in segments) * ticks_per_second, total_ticks),
        peak_bps=_ceil_div(max(rates).numerator, max(rates).denominator),
        segments=tuple(segments),
    )
    return Cut(init, bodies, track)


@boxes.damage_reported()
def splice(data: memoryview, first_gop: int, other: memoryview, out: BinaryIO) -> None:
    """Replace some GOPs of an encoder's file by other encodes of them.

    Args:
        data: The encoder's complete file.
        first_gop: Index of the first GOP to replace.
        other: The encoder's file of the replacements, as many as GOPs to replace; its times begin at 0.
        out: Receives the new file.

    Raises:
        ChunkRejected: The files have different init segments.
        PackagingError: A file is damaged.
    """
    old, new = list(fragments(data)), list(fragments(other))
    if not old or not new or data[: old[0].start] != other[: new[0].start]:
        raise ChunkRejected("GOPs that were encoded again have another init segment than the others")
    out.write(data[: old[first_gop].start])
    for fragment in new:
        body = bytearray(other[fragment.start : fragment.end])
        tfdt = boxes.find(memoryview(body), "moof/traf/tfdt").body
        ticks = fragment.decode_ticks + old[first_gop].decode_ticks
        struct.pack_into(">Q" if body[tfdt] == 1 else ">I", body, tfdt + 4, ticks)
        out.write(body)
    rest = first_gop + len(new)
    out.write(data[old[rest].start if rest < len(old) else old[-1].end :])


def _fragment(data: memoryview | bytes, moof: boxes.Box, mdat: boxes.Box) -> Fragment:
    (sequence,) = struct.unpack_from(">I", data, boxes.find(data, "mfhd", moof).body + 4)
    traf = boxes.find(data, "traf", moof)
    tfhd = boxes.find(data, "tfhd", traf).body
    (flags,) = struct.unpack_from(">I", data, tfhd)
    at = tfhd + 8 + (8 if flags & _TFHD_BASE else 0)
    description = 1
    if flags & _TFHD_DESCRIPTION:
        (description,) = struct.unpack_from(">I", data, at)
        at += 4
    defaults = {}
    for flag in (_TFHD_DURATION, _TFHD_SIZE, _TFHD_FLAGS):
        if flags & flag:
            (defaults[flag],) = struct.unpack_from(">I", data, at)
            at += 4
    tfdt = boxes.find(data, "tfdt", traf).body
    (decode_ticks,) = struct.unpack_from(">Q" if data[tfdt] == 1 else ">I", data, tfdt + 4)
    runs = list(boxes.find_all(data, "trun", traf))
    if len(runs) != 1 or flags & _TFHD_BASE or not flags & _BASE_IS_MOOF:
        raise PlanMismatch("the encoder's fragments do not have the form that CMAF requires")
    media, samples = _run(data, moof, runs[0], defaults, most=mdat.end - mdat.body)
    if media < mdat.body or media + sum(sample.size_bytes for sample in samples) > mdat.end:
        raise ChunkRejected("a fragment's samples lie outside of its mdat")
    return Fragment(moof.start, mdat.end, media, sequence, decode_ticks, samples, description)


def _run(
    data: memoryview | bytes, moof: boxes.Box, trun: boxes.Box, defaults: dict[int, int], *, most: int
) -> tuple[int, tuple[Sample, ...]]:
    version_flags, count = struct.unpack_from(">II", data, trun.body)
    flags = version_flags & 0xFFFFFF
    at = trun.body + 8
    if not flags & _TRUN_OFFSET:
        raise PlanMismatch("a fragment does not state the offset of its samples")
    (offset,) = struct.unpack_from(">i", data, at)
    at += 4
    first_flags = None
    if flags & _TRUN_FIRST_FLAGS:
        (first_flags,) = struct.unpack_from(">I", data, at)
        at += 4
    fields = [f for f in (_TRUN_DURATION, _TRUN_SIZE, _TRUN_FLAGS, _TRUN_CTS) if flags & f]
    row = struct.Struct(">" + "".join("i" if f == _TRUN_CTS and version_flags >> 24 else "I" for f in fields))
    if at + count * row.size > trun.end or count > most:
        raise ChunkRejected("a fragment describes more samples than its boxes can hold")
    rows = row.iter_unpack(data[at : at + count * row.size]) if fields else ()
    columns = dict(zip(fields, zip(*rows, strict=True), strict=False))

    def column(field: int, default: int) -> Sequence[int]:
        values: Sequence[int] = columns.get(field, (default,) * count)
        return values

    sample_flags = list(column(_TRUN_FLAGS, defaults.get(_TFHD_FLAGS, 0)))
    if first_flags is not None and count:
        sample_flags[0] = first_flags
    samples = zip(
        column(_TRUN_DURATION, defaults.get(_TFHD_DURATION, 0)),
        column(_TRUN_SIZE, defaults.get(_TFHD_SIZE, 0)),
        [not each & _NOT_SYNC for each in sample_flags],
        column(_TRUN_CTS, 0),
        strict=True,
    )
    return moof.start + offset, tuple(map(Sample._make, samples))


def _with_vp9_level(init: bytes, level: str) -> bytes:
    """Set the level in ``vpcC`` (VP Codec ISO Media File Format Binding, section 2.2)."""
    config = boxes.entry_box(init, "vpcC")
    if config is None:
        raise PlanMismatch("a VP9 init segment without vpcC")
    at = config.body + 5  # after version, flags and profile
    return init[:at] + bytes([round(float(level) * 10)]) + init[at + 1 :]


def _priming(init: bytes) -> int:
    """Samples that the init segment's edit list skips."""
    for elst in boxes.find_all(init, "moov/trak/edts/elst"):
        wide = init[elst.body] == 1
        (media_time,) = struct.unpack_from(">q" if wide else ">i", init, elst.body + (16 if wide else 12))
        return max(0, int(media_time))
    return 0


def _with_offset_edit(init: bytes, media_ticks: int) -> bytes:
    """Add an edit list that starts presentation at ``media_ticks``; there must be no other."""
    trak = boxes.find(init, "moov/trak")
    if any(boxes.find_all(init, "edts", trak)):
        raise PlanMismatch("the encoder wrote an edit list")
    edts = boxes.box(b"edts", boxes.box(b"elst", struct.pack(">IIIiI", 0, 1, 0, media_ticks, 1 << 16)))
    return _in_track(init, edts, at=boxes.find(init, "tkhd", trak).end)


def _with_loudness(init: bytes, integrated_lufs: float, true_peak_dbtp: float | None) -> bytes:
    """State the loudness of the whole track (``ludt``), so that players can match titles from different sources.

    Source:
        ISO/IEC 14496-12, section 12.2.7; ISO/IEC 23003-4, annex A: steps of 1/32 dB down from 20 dBTP, 0 where the
        peak is not known, and of 1/4 LU up from -57.75 LKFS.
    """
    peak = 0 if true_peak_dbtp is None else min(0x7FF, max(1, round(32 * (20 - true_peak_dbtp))))
    value = min(0xFF, max(0, round(4 * (integrated_lufs + 57.75))))
    tlou = struct.pack(
        ">IHBBBBBBBB",
        0,  # version and flags
        0,  # of the track itself: no downmix, no dynamic range control
        0,  # no sample peak (12 bits) …
        peak >> 8,  # … and a true peak (12 bits)
        peak & 0xFF,
        _BS_1770 << 4 | _UNVERIFIED,  # of the peak: coding changes it slightly
        1,  # one measurement:
        _PROGRAM_LOUDNESS,
        value,
        _BS_1770 << 4 | _ACCURATE,
    )
    if any(boxes.find_all(init, "moov/trak/udta")):
        raise PlanMismatch("the encoder wrote user data")
    udta = boxes.box(b"udta", boxes.box(b"ludt", boxes.box(b"tlou", tlou)))
    return _in_track(init, udta, at=boxes.find(init, "moov/trak").end)


def _in_track(init: bytes, box: bytes, *, at: int) -> bytes:
    """Insert a box into the only track, at an offset between two of its boxes."""
    grown = bytearray(init[:at] + box + init[at:])
    for parent in (boxes.find(init, "moov"), boxes.find(init, "moov/trak")):
        struct.pack_into(">I", grown, parent.start, parent.end - parent.start + len(box))
    return bytes(grown)


def sync_ranges(bodies: Sequence[bytes], gops: Sequence[Fragment]) -> Iterator[tuple[int, int]]:
    """For each GOP, the offset of its ``moof`` in the segment, and the length to the end of its first frame."""
    at = 0
    for body, gop in zip(bodies, gops, strict=True):
        media_bytes = sum(sample.size_bytes for sample in gop.samples)
        yield at, len(body) - media_bytes + gop.samples[0].size_bytes
        at += len(body)


def fragment_bytes(
    sequence: int,
    decode_ticks: int,
    samples: Sequence[Sample],
    media: bytes | bytearray | memoryview,
    auxiliary: Auxiliary | None = None,
    *,
    description: int = 1,
) -> bytes:
    """Write a ``moof`` and its ``mdat``. The first sample is a sync sample; of the others, all or none are.

    Args:
        sequence: Sequence number (``mfhd``).
        decode_ticks: Decode time of the first sample.
        samples: In decoding order.
        media: Their data.
        auxiliary: Decryption data of encrypted samples; None for clear ones, and if decryption needs none.
        description: Index of the sample entry that describes them, from 1.
    """
    frame = samples[0].duration_ticks
    others = _IS_SYNC_SAMPLE if all(sample.sync for sample in samples) else _IS_OTHER_SAMPLE
    flags = _TRUN_OFFSET | _TRUN_FIRST_FLAGS | _TRUN_SIZE
    if any(sample.duration_ticks != frame for sample in samples):
        flags |= _TRUN_DURATION
    if any(sample.composition_ticks for sample in samples):
        flags |= _TRUN_CTS
    values: list[int] = []
    for sample in samples:
        values += (sample.duration_ticks,) if flags & _TRUN_DURATION else ()
        values.append(sample.size_bytes)
        values += (sample.composition_ticks,) if flags & _TRUN_CTS else ()
    rows = struct.pack(f">{len(values)}I", *values)
    mfhd = boxes.box(b"mfhd", struct.pack(">II", 0, sequence))
    # Every traf repeats the defaults, so that a segment needs nothing but its init segment (CMAF, 7.5.16).
    tfhd_flags = _BASE_IS_MOOF | _TFHD_DESCRIPTION | _TFHD_DURATION | _TFHD_FLAGS
    tfhd = boxes.box(b"tfhd", struct.pack(">IIIII", tfhd_flags, 1, description, frame, others))
    tfdt = boxes.box(b"tfdt", struct.pack(">IQ", 1 << 24, decode_ticks))
    trun_bytes = 24 + len(rows)
    extra_at = 8 + len(mfhd) + 8 + len(tfhd) + len(tfdt) + trun_bytes
    extra = _auxiliary_boxes(auxiliary, extra_at) if auxiliary is not None else b""
    offset = extra_at + len(extra) + 8
    trun = boxes.box(b"trun", struct.pack(">IIII", flags, len(samples), offset, _IS_SYNC_SAMPLE) + rows)
    return b"".join(
        (
            boxes.box(b"moof", mfhd + boxes.box(b"traf", tfhd + tfdt + trun + extra)),
            struct.pack(">I4s", 8 + len(media), b"mdat"),
            media,
        )
    )


def _auxiliary_boxes(auxiliary: Auxiliary, at: int) -> bytes:
    """``saiz``, ``saio`` and ``senc``, at an offset from their ``moof``.

    Source: ISO/IEC 14496-12, sections 8.7.8 and 8.7.9; ISO/IEC 23001-7, section 7.2.
    """
    sizes = bytes(map(len, auxiliary.rows))
    same = sizes[0] if len(set(sizes)) == 1 else 0
    saiz = boxes.box(b"saiz", struct.pack(">IBI", 0, same, len(sizes)) + (b"" if same else sizes))
    senc_at = at + len(saiz) + _SAIO_BYTES
    saio = boxes.box(b"saio", struct.pack(">III", 0, 1, senc_at + _SENC_HEADER_BYTES))
    flags = _SENC_MAPS if auxiliary.has_maps else 0
    senc = boxes.box(b"senc", struct.pack(">II", flags, len(sizes)) + b"".join(auxiliary.rows))
    return saiz + saio + senc


def _ceil_div(value: int, by: int) -> int:
    return -(-value // by)
