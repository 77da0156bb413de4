"""Quality: the screen and the model that judge a picture, what is measured, and what was found."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

HD_LINES = 1440
"""Masters with more lines are judged on a screen of 2160 lines."""
STANDARD_RATE = 40
"""Frames per second above which the model for high frame rates is taken."""


@dataclass(frozen=True, slots=True)
class Viewing:
    """A screen, and the model of viewers in front of it.

    Attributes:
        name: For people, such as ``hd``.
        model: VMAF's name of the model, with its version.
        width_px: Width of the screen; pictures fill it as far as their shape allows.
        height_px: Its height.
    """

    name: str
    model: str
    width_px: int
    height_px: int

    def fitted(self, width_px: int, height_px: int) -> tuple[int, int]:
        """The size, even, at which a picture of a shape fills the screen as far as it can."""
        scale = min(Fraction(self.width_px, width_px), Fraction(self.height_px, height_px))
        return 2 * round(width_px * scale / 2), 2 * round(height_px * scale / 2)


HD = Viewing("hd", "vmaf_v1.0.16_3d0h", 1920, 1080)
"""1080 lines, seen from three times the screen's height."""
HD_HIGH_RATE = Viewing("hd-hfr", "vmaf_v1.0.16_hfr_3d0h", 1920, 1080)
UHD = Viewing("uhd", "vmaf_v1.0.16_1d5h_2160", 3840, 2160)
"""2160 lines, seen from one and a half times the screen's height."""
UHD_HIGH_RATE = Viewing("uhd-hfr", "vmaf_v1.0.16_hfr_1d5h_2160", 3840, 2160)


def viewing_of(width_px: int, height_px: int, frame_rate: Fraction) -> Viewing:
    """Choose the screen for a master. A smaller one is enlarged, as televisions do: at its own size, scores flatter.

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
    """How much of a title is measured before it is published."""

    OFF = "off"
    SAMPLED = "sampled"
    """A tenth of the segments: half of them spread evenly, half of them where faults are likely."""
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Subject:
    """A rendition to measure.

    Attributes:
        rendition: Its id.
        track: The track that it is in the store.
        width_px: Width that it was encoded at.
        height_px: Height that it was encoded at.
        bit_depth: Bits of its samples.
        rate_divisor: Of how many frames of the grid it has one.
    """

    rendition: str
    track: str
    width_px: int
    height_px: int
    bit_depth: int
    rate_divisor: int = 1


@dataclass(frozen=True, slots=True)
class MeasureTask:
    """One child process: some consecutive segments × a group of renditions, and the master's frames once.

    Attributes:
        id: Digest of everything that decides what is found.
        title: Catalogue entry.
        segments: Numbers of the segments, consecutive.
        first_frame: Their first frame on the grid.
        end_frame: The first frame behind them.
        opening: FFmpeg's options that open the master; ``{master}`` stands for its address.
        frames: The graph that puts the master's frames on the grid.
        master_filters: What is done to these frames before they are compared.
        rendition_filters: What is done to a rendition's frames before they are compared.
        tone_mapped: Whether both are tone-mapped HDR, so that scores only compare renditions with each other.
        subjects: The renditions.
        viewing: The screen.
        every: From one measured frame to the next.
        cost: CPU seconds that it is expected to take.
        memory_bytes: Memory that is to be set aside for it.
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

    @property
    def label(self) -> str:
        """What people call it: its segments, and up to two of its renditions."""
        first, last = self.segments[0], self.segments[-1]
        place = f"segment {first}" if first == last else f"segments {first} to {last}"
        names = ", ".join(subject.rendition for subject in self.subjects[:2])
        return f"quality of {place} of {names}{' …' if len(self.subjects) > 2 else ''}"


@dataclass(frozen=True, slots=True)
class SegmentQuality:
    """How a segment of a rendition looks.

    Attributes:
        number: The segment's, from 1.
        mean: Mean score of its measured frames, 0 to 100.
        worst: Lowest score of a frame.
        worst_frame: That frame, on the grid.
        seconds: Mean score of each second.
        frames: How many frames were measured.
    """

    number: int
    mean: float
    worst: float
    worst_frame: int
    seconds: tuple[float, ...]
    frames: int


@dataclass(frozen=True, slots=True)
class TrackQuality:
    """How a track looks, as far as it was measured.

    Attributes:
        track: Its id.
        segments: In order.
        black: Where it is black and the master is not.
        frozen: Where it stands still and the master moves.
        other: Where it shows another picture than the master.
    """

    track: str
    segments: tuple[SegmentQuality, ...]
    black: tuple[Span, ...] = ()
    frozen: tuple[Span, ...] = ()
    other: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class MasterLook:
    """What the master shows where it was looked at.

    Attributes:
        seen: The frames that were looked at.
        black: Where it is black.
        frozen: Where it stands still.
        cuts: Frames with which a shot begins.
    """

    seen: tuple[Span, ...] = ()
    black: tuple[Span, ...] = ()
    frozen: tuple[Span, ...] = ()
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one task has found.

    Attributes:
        task: The task's id.
        segments: The segments that it measured.
        model: VMAF's name of the model.
        every: From one measured frame to the next.
        tone_mapped: Whether pictures were tone-mapped HDR.
        tracks: One for each rendition.
        master: What the master shows there.
        attempt: Which attempt succeeded, from 1.
        worker: Where it ran.
        cpu_s: CPU seconds.
        wall_s: Seconds from start to end.
    """

    task: str
    segments: tuple[int, ...]
    model: str
    every: int
    tone_mapped: bool
    tracks: tuple[TrackQuality, ...]
    master: MasterLook
    attempt: int
    worker: str
    cpu_s: float
    wall_s: float
