"""Data types of quality measurement: viewing conditions, measurement tasks and results."""

from dataclasses import dataclass, fields
from enum import StrEnum
from fractions import Fraction

from headend.core.media.protection import TrackKeys

HD_LINES = 1440
"""Masters with more lines are measured for a 2160-line screen."""
STANDARD_RATE = 40
"""Frames per second above which the model for high frame rates is used."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """A screen, and the VMAF model of viewers in front of it.

    Attributes:
        name: Name for display, such as ``hd``.
        model: VMAF's name of the model, with its version.
        width_px: Width of the screen; pictures are scaled to fit.
        height_px: Its height.
    """

    name: str
    model: str
    width_px: int
    height_px: int

    def fitted(self, width_px: int, height_px: int) -> tuple[int, int]:
        """The largest size in even numbers at which a picture of this aspect ratio fits the screen."""
        scale = min(Fraction(self.width_px, width_px), Fraction(self.height_px, height_px))
        return 2 * round(width_px * scale / 2), 2 * round(height_px * scale / 2)


HD = Viewing("hd", "vmaf_v1.0.16_3d0h", 1920, 1080)
"""1080 lines, watched from three times the screen's height."""
HD_HIGH_RATE = Viewing("hd-hfr", "vmaf_v1.0.16_hfr_3d0h", 1920, 1080)
UHD = Viewing("uhd", "vmaf_v1.0.16_1d5h_2160", 3840, 2160)
"""2160 lines, watched from one and a half times the screen's height."""
UHD_HIGH_RATE = Viewing("uhd-hfr", "vmaf_v1.0.16_hfr_1d5h_2160", 3840, 2160)


def viewing_of(width_px: int, height_px: int, frame_rate: Fraction) -> Viewing:
    """Choose the screen for a master.

    Smaller masters are upscaled to the screen, as televisions do; measuring them at their own size would give too high
    scores.

    Args:
        width_px: Width of the upright picture.
        height_px: Its height.
        frame_rate: Frames per second.
    """
    if min(width_px, height_px) > HD_LINES:
        return UHD_HIGH_RATE if frame_rate > STANDARD_RATE else UHD
    return HD_HIGH_RATE if frame_rate > STANDARD_RATE else HD


Span = tuple[int, int]
"""Frames of the grid, half-open."""


class Checking(StrEnum):
    """How much of a title is measured before publishing."""

    OFF = "off"
    SAMPLED = "sampled"
    """A tenth of the segments: half of these are evenly spaced, the others are those where faults are likely."""
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Subject:
    """A rendition to measure.

    Attributes:
        rendition: Its id.
        track: Its track in the store.
        width_px: Encoded width.
        height_px: Encoded height.
        bit_depth: Bits per sample.
        rate_divisor: The rendition has one frame for this many frames of the grid.
        keys: Keys of the track; None if it is not encrypted.
    """

    rendition: str
    track: str
    width_px: int
    height_px: int
    bit_depth: int
    rate_divisor: int = 1
    keys: TrackKeys | None = None


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """Measures a group of renditions in consecutive segments, in one child process that decodes the master once.

    Attributes:
        id: Digest of everything that determines the result.
        title: Catalogue entry.
        segments: Numbers of the segments, consecutive.
        first_frame: Their first frame on the grid.
        end_frame: The frame after their last.
        opening: FFmpeg's input options for the master; ``{master}`` stands for its address.
        frames: Filter graph that puts the master's frames on the grid.
        master_filters: Filters for these frames before the comparison.
        rendition_filters: Filters for a rendition's frames before the comparison.
        tone_mapped: Whether both are tone-mapped HDR; scores then only compare renditions with each other.
        subjects: The renditions.
        viewing: The screen.
        every: Interval of measured frames, in frames.
        skipped_frames: Frames of the grid between the start of the first segment and ``first_frame``. If not 0, the
            task measures a part of one segment.
        cost: Expected CPU seconds.
        memory_bytes: Memory to reserve.
    """

    id: str
    title: str
    segments: tuple[int, ...]
    first_frame: int
    end_frame: int
    opening: tuple[str, ...]
    frames: str
    master_filters: str
    rendition_filters: str
    tone_mapped: bool
    subjects: tuple[Subject, ...]
    viewing: Viewing
    every: int
    cost: float
    memory_bytes: int
    skipped_frames: int = 0

    @property
    def label(self) -> str:
        """Its label for display: its segments, and up to two of its renditions."""
        first, last = self.segments[0], self.segments[-1]
        place = f"segment {first}" if first == last else f"segments {first} to {last}"
        names = ", ".join(subject.rendition for subject in self.subjects[:2])
        return f"quality of {place} of {names}{' …' if len(self.subjects) > 2 else ''}"


@dataclass(frozen=True, slots=True)
class SegmentQuality:
    """Measured quality of a rendition's segment.

    Attributes:
        number: The segment's number, from 1.
        mean: Mean score of its measured frames, 0 to 100.
        worst: Lowest score of a frame.
        worst_frame: That frame, on the grid.
        seconds: Mean score of each second that has measured frames.
        frames: Number of measured frames.
        is_part: Whether only a part of the segment was measured.
    """

    number: int
    mean: float
    worst: float
    worst_frame: int
    seconds: tuple[float, ...]
    frames: int
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class Floor:
    """The quality floor of a video task.

    Attributes:
        vmaf: Lowest accepted mean score of a segment, 0 to 100.
        checks: Measurements of the renditions that the floor applies to, run before they are stored.
    """

    vmaf: float
    checks: tuple[MeasureTask, ...]


@dataclass(frozen=True, slots=True)
class Lift:
    """A chunk of a rendition that was encoded again because of the floor, and improved.

    Attributes:
        chunk: The chunk's number.
        segment: Number of its worst segment in the first encode.
        before: Mean score of that segment.
        after: Mean score of the chunk's worst segment now.
    """

    chunk: int
    segment: int
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureFaults:
    """The frames at which a rendition differs from its master.

    Attributes:
        black: Spans that are black while the master is not; they also count as another picture.
        frozen: Spans that are frozen while the master is not.
        other: Spans that show a different picture than the master.
        recoloured: Spans in other colours than the master's.
        lined: Spans with a line along an edge that the master does not have.
        stray: Single frames, or a few, that show a different picture than the master.
        shifted: Spans that show the master's pictures too early or too late.
    """

    black: tuple[Span, ...] = ()
    frozen: tuple[Span, ...] = ()
    other: tuple[Span, ...] = ()
    recoloured: tuple[Span, ...] = ()
    lined: tuple[Span, ...] = ()
    stray: tuple[Span, ...] = ()
    shifted: tuple[Span, ...] = ()

    def by_kind(self) -> dict[str, tuple[Span, ...]]:
        """The spans by the names of their attributes."""
        return {name: getattr(self, name) for name in FAULT_KINDS}


FAULT_KINDS = tuple(fault.name for fault in fields(PictureFaults))
"""The attributes of `PictureFaults`."""


@dataclass(frozen=True, slots=True)
class TrackQuality(PictureFaults):
    """Measured quality of a track, with its faults.

    Attributes:
        track: Its id.
        segments: Measured segments in order.
        lifts: Chunks that were encoded again because of the floor.
    """

    track: str
    segments: tuple[SegmentQuality, ...]
    lifts: tuple[Lift, ...] = ()


@dataclass(frozen=True, slots=True)
class MasterSamples:
    """Observations about the master's measured frames.

    Attributes:
        seen: Measured spans.
        black: Black spans.
        frozen: Frozen spans.
        cuts: First frames of shots.
    """

    seen: tuple[Span, ...] = ()
    black: tuple[Span, ...] = ()
    frozen: tuple[Span, ...] = ()
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result of a measurement task.

    Attributes:
        task: The task's id.
        segments: The segments that it measured.
        model: VMAF's name of the model.
        every: Interval of measured frames, in frames.
        tone_mapped: Whether pictures were tone-mapped HDR.
        tracks: One for each rendition.
        master: Observations about the master's frames.
        attempt: Number of the attempt that succeeded, from 1.
        worker: Worker that ran it.
        cpu_s: CPU seconds.
        wall_s: Seconds from start to end.
    """

    task: str
    segments: tuple[int, ...]
    model: str
    every: int
    tone_mapped: bool
    tracks: tuple[TrackQuality, ...]
    master: MasterSamples
    attempt: int
    worker: str
    cpu_s: float
    wall_s: float
