"""Exact time: frames, ticks, and the grid that all renditions share.

All conversions between frames and time use fractions; floating-point seconds are only for display and HTTP. Ranges are
half-open: ``first`` is included, ``end`` is not.
"""

from dataclasses import dataclass
from fractions import Fraction

from headend.core.errors import ConfigError

GOP_SECONDS = Fraction(2)
"""Nominal distance of sync frames; Apple's HLS Authoring Specification, 1.13."""

SOUND_TAIL_SAMPLES = 2048
"""Silence that is appended to each programme for the encoders, longer than the delay of any of them; the excess is cut
off. Without it, the AC-3 encoder does not output the last 256 samples."""

MIN_SEGMENT_S = Fraction(1, 4)
"""Minimum length of a segment: no player needs shorter ones, and segments must hold whole codec frames of sound."""

MIN_TAIL_S = Fraction(1, 2)
"""Minimum length of a title's last segment; a shorter remainder is added to the segment before it."""


@dataclass(frozen=True, slots=True)
class Timescale:
    """A timescale in which a frame lasts a whole number of ticks.

    Attributes:
        ticks_per_second: The track's timescale.
        frame_ticks: Ticks of one frame.
    """

    ticks_per_second: int
    frame_ticks: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """The frames of the grid that are encoded as one task.

    Attributes:
        number: From 0, in presentation order.
        first_frame: Its first frame.
        end_frame: The frame after its last.
        first_segment: Number of the chunk's first segment; segments are numbered from 1.
    """

    number: int
    first_frame: int
    end_frame: int
    first_segment: int

    @property
    def frame_count(self) -> int:
        """Number of frames, at least 1."""
        return self.end_frame - self.first_frame


@dataclass(frozen=True, slots=True)
class Grid:
    """Positions of sync frames, segments and chunks in all renditions of a title.

    Attributes:
        frame_rate: Frames per second of full-rate renditions.
        frame_count: Frames of the whole title, at least 1.
        gop_frames: Frames from one sync frame to the next; even, so that half-rate renditions share the grid.
        segment_frames: Frames per segment; whole GOPs.
        chunk_frames: Frames per chunk; whole segments.
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
        """Number of segments, at least 1.

        The last one may be short, but if it would be shorter than `MIN_TAIL_S`, its frames are added to the segment
        before it: players that want at least a tenth of a second in their buffer would never play a last segment of
        one frame.
        """
        whole, tail = divmod(self.frame_count, self.segment_frames)
        return max(1, whole + (tail / self.frame_rate >= MIN_TAIL_S))

    def segment_bounds(self) -> tuple[int, ...]:
        """First frame of each segment, and the title's frame count: segment n is from ``[n - 1]`` to ``[n]``."""
        return (*range(0, self.segment_count * self.segment_frames, self.segment_frames), self.frame_count)

    def bounds_of(self, chunk: Chunk) -> tuple[int, ...]:
        """First frame of each segment of a chunk, and the chunk's end."""
        return tuple(bound for bound in self.segment_bounds() if chunk.first_frame <= bound <= chunk.end_frame)

    def segment_starts_s(self) -> tuple[Fraction, ...]:
        """Start of each segment, and the title's end, in seconds."""
        return tuple(frame / self.frame_rate for frame in self.segment_bounds())

    def chunks(self) -> tuple[Chunk, ...]:
        """Split the title into the chunks that all renditions share.

        Chunks hold whole GOPs and whole segments, so that no segment spans two chunks and all renditions can switch at
        the same frames.

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


def ceil_div(value: int, divisor: int) -> int:
    """Divide and round up."""
    return -(-value // divisor)


def timescale(frame_rate: Fraction) -> Timescale:
    """Choose a timescale in which a frame lasts a whole number of ticks.

    24000/1001 gives 24000 and 1001; 25 gives 25000 and 1000: every rate has about a thousand ticks per frame.
    """
    if frame_rate.denominator >= 1000:
        return Timescale(frame_rate.numerator, frame_rate.denominator)
    factor = ceil_div(1000, frame_rate.denominator)
    return Timescale(frame_rate.numerator * factor, frame_rate.denominator * factor)


def plan_grid(
    frame_rate: Fraction, frame_count: int, *, segment_s: Fraction, chunk_s: Fraction, gop_multiple: int = 2
) -> Grid:
    """Compute the grid of a title.

    Args:
        frame_rate: Frames per second, above 0.
        frame_count: Frames of the title, at least 1.
        segment_s: Desired length of a segment; rounded to the nearest number of GOPs.
        chunk_s: Desired length of a chunk; rounded down to whole segments, at least one.
        gop_multiple: An even number; the number of frames per GOP is a multiple of it.

    Returns:
        The grid; at 24000/1001 and 6 s it has GOPs of 48 and segments of 144 frames.

    Raises:
        ConfigError: A length is too short, or a segment would have fewer frames than ``gop_multiple``.
    """
    if segment_s < MIN_SEGMENT_S or chunk_s <= 0:
        raise ConfigError(
            f"segments must last at least {float(MIN_SEGMENT_S):g} s, and chunks more than 0: 6 and 30 are usual"
        )
    gops = max(1, round(segment_s / GOP_SECONDS))
    gop_frames = gop_multiple * round(segment_s / gops * frame_rate / gop_multiple)
    if gop_frames < gop_multiple:
        raise ConfigError(
            f"a segment of {float(segment_s):g} s holds fewer than {gop_multiple} frames "
            f"at {float(frame_rate):.3f} frames/s; ask for a longer one"
        )
    segment_frames = gop_frames * gops
    segments = max(1, int(chunk_s * frame_rate) // segment_frames)
    # "5 × 6 s" at 23.976 means five segments of 6.006 s, although these last 30.03 s.
    segments = max(segments, int(chunk_s / segment_s))
    return Grid(frame_rate, frame_count, gop_frames, segment_frames, segment_frames * segments)
