"""Cuts a programme's sound into segments.

FFmpeg writes a programme's codec frames in long fragments. They are cut again at the codec frame nearest to each video
boundary, so that errors don't accumulate, and every segment has one fragment.
"""

import hashlib
from array import array
from dataclasses import replace
from itertools import pairwise

from headend.core import boxes
from headend.core.errors import ChunkRejected, PlanMismatch
from headend.core.media import Loudness, Segment
from headend.core.timing import SOUND_TAIL_SAMPLES, Grid, ceil_div
from packager import init_segments
from packager.fragments import Sample, read_fragments
from packager.segmenting.cut import Bodies, Cut, cut_of, release_pages
from packager.segmenting.protection import Clear, Protect, protected


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
    kept = ceil_div(end, frame_samples)
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
        release_pages(data)
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
    bodies = Bodies(lambda: (segment_body(*span) for span in spans))
    cut = cut_of(rendition, protector.init, bodies, segments, sample_rate_hz, priming_samples=priming)
    return protected(replace(cut, track=replace(cut.track, loudness=loudness)), protector)


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
        offset = fragment.media
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
            offsets.append(offset)
            offset += sample.size_bytes
        release_pages(data)
    if not init:
        raise ChunkRejected(f"{rendition}: the encoder wrote no frames")
    return init, sizes, offsets
