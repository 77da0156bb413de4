"""Cuts the encoder's fragmented MP4 into CMAF segments.

Samples are neither changed nor reordered; only the few bytes around them are rewritten.

Video: FFmpeg writes one fragment per GOP, with times from the chunk's start. Fragments get their times in the title,
and composition offsets that are never negative: with negative ones, players based on FFmpeg or GStreamer show the
picture frames late. The init segment's edit list compensates the shift.

Sound: FFmpeg writes a programme's codec frames in long fragments. They are cut again at the codec frame nearest to each
video boundary, so that errors don't accumulate, and every segment has one fragment.
"""

import hashlib
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from mmap import MADV_DONTNEED, mmap
from typing import BinaryIO, ClassVar, Protocol

from headend.core import boxes
from headend.core.errors import ChunkRejected, PlanMismatch
from headend.core.media import EncodedTrack, Loudness, Segment
from headend.core.timing import SOUND_TAIL_SAMPLES, Chunk, Grid, timescale
from packager import init_segments
from packager.fragments import Fragment, Sample, fragment_bytes, read_fragments, sync_ranges

REORDER_FRAMES = 2
"""Most frames between the decoding and the presentation of a frame: B-frames used as references need two."""
_REORDERED = frozenset({"avc1", "hvc1"})
"""Sample entries of codecs with frame reordering; AV1 and VP9 hide it inside samples."""


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


@boxes.damage_as_packaging_error()
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
        init = init_segments.with_vp9_level(init, vp9_level)
    ticks = timescale(grid.frame_rate)
    frame_ticks = ticks.frame_ticks * rate_divisor
    if boxes.timescale(init) != ticks.ticks_per_second:
        raise PlanMismatch(f"{rendition}: the encoder chose another timescale than the plan", chunk=chunk.number)
    gop_frames = grid.gop_frames // rate_divisor
    _check_gops(gops, rendition, chunk, gop_frames=gop_frames, frame_ticks=frame_ticks, rate_divisor=rate_divisor)

    reordered = gop_frames > 1 and boxes.sample_entry(init).kind in _REORDERED
    shift_ticks = REORDER_FRAMES * frame_ticks if reordered else 0
    if shift_ticks:
        init = init_segments.with_offset_edit(init, shift_ticks)
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


def _check_gops(
    gops: Sequence[Fragment], rendition: str, chunk: Chunk, *, gop_frames: int, frame_ticks: int, rate_divisor: int
) -> None:
    """Check the number of a chunk's frames, and that each GOP is on the grid."""
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


@boxes.damage_as_packaging_error()
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
    priming = init_segments.priming(init)
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
        init = init_segments.with_loudness(init, loudness.result_lufs, loudness.result_dbtp)
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
    for fragment in read_fragments(data):
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
    gops = list(read_fragments(data))
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


@boxes.damage_as_packaging_error()
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
    old, new = list(read_fragments(data)), list(read_fragments(other))
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


def _ceil_div(value: int, by: int) -> int:
    return -(-value // by)
