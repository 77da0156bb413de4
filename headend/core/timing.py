"""Exact time: frames, ticks and the one grid that all renditions share.

Frame index to time is rational throughout. Seconds appear only where people or HTTP need them.
Ranges are half-open: ``first`` is in, ``end`` is out.
"""

from dataclasses import dataclass
from fractions import Fraction

from headend.core.errors import ConfigError

GOP_SECONDS = Fraction(2)
"""Nominal distance of sync frames: Apple's HLS Authoring Specification, 1.13."""

SOUND_TAIL_SAMPLES = 2048
"""Silence that encoders get after a programme's end: the AC-3 encoder keeps its last 256 samples to itself otherwise.
More than any codec's delay; what comes of it is cut off again."""

SHORTEST_SEGMENT_S = Fraction(1, 4)
"""Nothing shorter is asked for by any player, and codec frames of sound must fit in."""

SHORTEST_TAIL_S = Fraction(1, 2)
"""A shorter rest at the end of a title makes no segment of its own."""


@dataclass(frozen=True, slots=True)
class Timescale:
    """Ticks in which a frame rate is whole.

    Attributes:
        ticks_per_second: The track's timescale.
        frame_ticks: Ticks of one frame.
    """

    ticks_per_second: int
    frame_ticks: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The frames of the output grid that are encoded as one task.

    Attributes:
        number: From 0, in presentation order.
        first_frame: First frame in.
        end_frame: First frame out.
        first_segment: Number of the chunk's first segment; segments are numbered from 1.
    """

    number: int
    first_frame: int
    end_frame: int
    first_segment: int

    @property
    def frame_count(self) -> int:
        """Frames in the chunk, at least 1."""
        return self.end_frame - self.first_frame


@dataclass(frozen=True, slots=True)
class Grid:
    """Where every rendition of a title has its sync frames, segments and chunks.

    Attributes:
        frame_rate: Frames per second of full-rate renditions.
        frame_count: Frames of the whole title, at least 1.
        gop_frames: Frames from one sync frame to the next; even, so that half-rate renditions share the grid.
        segment_frames: Frames of one segment, whole GOPs.
        chunk_frames: Frames of one chunk, whole segments.
    """

    frame_rate: Fraction
    frame_count: int
    gop_frames: int
    segment_frames: int
    chunk_frames: int

    @property
    def duration_s(self) -> Fraction:
        """Seconds from the first frame's start to the last frame's end."""
        return self.frame_count / self.frame_rate

    @property
    def segment_count(self) -> int:
        """Segments of the title, at least 1.

        The last may be short, but not a sliver: a tail below `SHORTEST_TAIL_S` belongs to the segment before it, since
        players that wait for a buffered tenth of a second never reach the end of a segment of one frame.
        """
        whole, tail = divmod(self.frame_count, self.segment_frames)
        return max(1, whole + (tail / self.frame_rate >= SHORTEST_TAIL_S))

    def segment_bounds(self) -> tuple[int, ...]:
        """First frame of each segment and, last, the title's frame count: segment n is ``[n - 1]`` to ``[n]``."""
        return (*range(0, self.segment_count * self.segment_frames, self.segment_frames), self.frame_count)

    def bounds_of(self, chunk: Chunk) -> tuple[int, ...]:
        """First frame of each segment of a chunk and, last, the chunk's end."""
        return tuple(bound for bound in self.segment_bounds() if chunk.first_frame <= bound <= chunk.end_frame)

    def segment_starts_s(self) -> tuple[Fraction, ...]:
        """Start of each segment and, last, the title's end, in seconds."""
        return tuple(frame / self.frame_rate for frame in self.segment_bounds())

    def chunks(self) -> tuple[Chunk, ...]:
        """Cut the title into the chunks that every rendition shares.

        Chunks hold whole GOPs and whole segments, so that no segment spans two chunks and all renditions change at the
        same frames.

        Returns:
            Chunks in presentation order, half-open, without gaps; the last may be short.

        Source:
            RFC 8216, section 6.2.4: matching content has matching timestamps.
        """
        bounds = self.segment_bounds()
        per_chunk = self.chunk_frames // self.segment_frames
        firsts = range(0, self.segment_count, per_chunk)
        return tuple(
            Chunk(number, bounds[first], bounds[min(first + per_chunk, self.segment_count)], first_segment=first + 1)
            for number, first in enumerate(firsts)
        )


def timescale(frame_rate: Fraction) -> Timescale:
    """Choose the ticks in which ``frame_rate`` is whole.

    24000/1001 gives 24000 and 1001; 25 gives 25000 and 1000, so that every rate has about a thousand ticks a frame.
    """
    if frame_rate.denominator >= 1000:
        return Timescale(frame_rate.numerator, frame_rate.denominator)
    factor = -(-1000 // frame_rate.denominator)
    return Timescale(frame_rate.numerator * factor, frame_rate.denominator * factor)


def lay_grid(
    frame_rate: Fraction, frame_count: int, *, segment_s: Fraction, chunk_s: Fraction, gop_multiple: int = 2
) -> Grid:
    """Lay the grid of a title.

    Args:
        frame_rate: Frames per second, above 0.
        frame_count: Frames of the title, at least 1.
        segment_s: Wanted length of a segment; the nearest whole number of GOPs is taken.
        chunk_s: Wanted length of a chunk; rounded down to whole segments, at least one.
        gop_multiple: What the frames of a GOP must be a multiple of; even.

    Returns:
        The grid; at 24000/1001 and 6 s it has GOPs of 48 and segments of 144 frames.

    Raises:
        ConfigError: A length is too short, or a segment would hold fewer frames than a GOP must.
    """
    if segment_s < SHORTEST_SEGMENT_S or chunk_s <= 0:
        raise ConfigError(
            f"segments last {float(SHORTEST_SEGMENT_S):g} seconds or more, and chunks more than 0: 6 and 30 are usual"
        )
    gops = max(1, round(segment_s / GOP_SECONDS))
    gop_frames = gop_multiple * round(segment_s / gops * frame_rate / gop_multiple)
    if gop_frames < gop_multiple:
        raise ConfigError(
            f"a segment of {float(segment_s):g} s holds less than {gop_multiple} frames "
            f"at {float(frame_rate):.3f} frames/s; ask for a longer one"
        )
    segment_frames = gop_frames * gops
    segments = max(1, int(chunk_s * frame_rate) // segment_frames)
    # A chunk asked for as "5 × 6 s" at 23.976 holds five segments of 6.006 s, although these last 30.03 s.
    segments = max(segments, int(chunk_s / segment_s))
    return Grid(frame_rate, frame_count, gop_frames, segment_frames, segment_frames * segments)
