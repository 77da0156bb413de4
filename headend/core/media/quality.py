"""Quality: the screen and the model that judge a picture, what is measured, and what was found."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import TypeVar

from headend.core.media.kinds import Codec, VideoRange
from headend.core.media.protection import TrackKeys
from headend.core.media.renditions import VideoRendition
from headend.core.timing import Grid

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
        rate_divisor: It keeps one frame of the grid in this many.
        keys: What the track is encrypted with; None for a clear one.
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
        skipped_frames: Frames of the grid from the start of the first segment to the first frame. Where there are any,
            the task measures a stretch of one segment.
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
    skipped_frames: int = 0

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
        seconds: Mean score of each second that has measured frames.
        frames: How many frames were measured.
        is_part: Whether only a stretch of the segment was looked at.
    """

    number: int
    mean: float
    worst: float
    worst_frame: int
    seconds: tuple[float, ...]
    frames: int
    is_part: bool = False


Rendition = TypeVar("Rendition", VideoRendition, "RenditionQuality")


def floored(renditions: Iterable[Rendition]) -> tuple[Rendition, ...]:
    """The renditions that a floor is for: SDR, in the largest size of their codec; smaller ones are to look worse."""
    sdr = [one for one in renditions if one.video_range is VideoRange.SDR]
    largest: dict[Codec, int] = {}
    for one in sdr:
        largest[one.codec] = max(largest.get(one.codec, 0), one.width_px * one.height_px)
    return tuple(one for one in sdr if one.width_px * one.height_px == largest[one.codec])


@dataclass(frozen=True, slots=True)
class Floor:
    """What a task of video does about segments that look worse than a floor.

    Attributes:
        vmaf: The floor: mean score of a segment, 0 to 100.
        checks: How those of the task's renditions are measured that the floor is for, before they are stored.
    """

    vmaf: float
    checks: tuple[MeasureTask, ...]


@dataclass(frozen=True, slots=True)
class Lift:
    """A chunk of a rendition that was encoded again for the floor, and looks better now.

    Attributes:
        chunk: The chunk's number.
        segment: Number of its worst segment, as it was encoded first.
        before: Mean score of that segment.
        after: Mean score of the chunk's worst segment now.
    """

    chunk: int
    segment: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class TrackQuality:
    """How a track looks, as far as it was measured.

    Attributes:
        track: Its id.
        segments: In order.
        black: Where it is black and the master is not.
        frozen: Where it stands still and the master moves.
        other: Where it shows another picture than the master.
        lifts: Chunks that were encoded again for the floor.
    """

    track: str
    segments: tuple[SegmentQuality, ...]
    black: tuple[Span, ...] = ()
    frozen: tuple[Span, ...] = ()
    other: tuple[Span, ...] = ()
    lifts: tuple[Lift, ...] = ()


@dataclass(frozen=True, slots=True)
class MasterSamples:
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
    master: MasterSamples
    attempt: int
    worker: str
    cpu_s: float
    wall_s: float


# --- what is said of a release ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What the best SDR rendition of each codec has to reach.

    Attributes:
        min_vmaf: Mean score, 0 to 100.
        min_segment: Mean score of its worst segment, 0 to 100.
        are_asked: Whether a person has asked for them. Then they hold for any title. Otherwise they refuse only titles
            of which enough was measured, in sizes that are meant for such a screen.
    """

    min_vmaf: float = 75.0
    min_segment: float = 55.0
    are_asked: bool = False


DEFAULT_THRESHOLDS = Thresholds()


class Severity(StrEnum):
    """What something that was found means."""

    FAILURE = "failure"
    """The release is not made current."""
    REMARK = "remark"
    """Somebody should look at it."""
    NOTE = "note"
    """It is as the master has it."""


class Outcome(StrEnum):
    """What a report says in all."""

    PASSED = "passed"
    REMARKS = "passed with remarks"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Something that is not as a rule wants it.

    Attributes:
        rule: The rule's name.
        severity: What it means.
        message: What is wrong and where, in a line.
        rendition: Whose; empty for the master or the title.
        frame: Where on the grid; None for everywhere.
    """

    rule: str
    severity: Severity
    message: str
    rendition: str = ""
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class PredictedQuality:
    """A rate and the score that it gives, as an analysis of the title has predicted it.

    Attributes:
        bps: Bits per second, over the whole title.
        vmaf: Mean score.
    """

    bps: int
    vmaf: float


@dataclass(frozen=True, slots=True)
class RenditionQuality:
    """How a video rendition looks and what it takes.

    Attributes:
        rendition: Its id.
        track: The track that it is in the store.
        codec: Its codec.
        width_px: Width.
        height_px: Height.
        rate_divisor: It keeps one frame of the grid in this many.
        video_range: SDR, or the master's own; scores of HDR only compare renditions with each other.
        average_bps: As measured over all segments.
        peak_bps: The highest rate in any window, see `headend.core.rates`.
        cap_bps: What bounds it.
        mean: Mean score of the segments that are spread evenly; None where nothing was measured.
        low: The score that 95 % of all measured seconds exceed; None likewise.
        segments: As far as they were measured, in order.
        black: Where it is black and the master is not.
        frozen: Where it stands still and the master moves.
        other: Where it shows another picture than the master.
        predicted: What an analysis of the title has predicted for it; None without one.
        lifts: Chunks that were encoded again for the floor.
    """

    rendition: str
    track: str
    codec: Codec
    width_px: int
    height_px: int
    rate_divisor: int
    video_range: VideoRange
    average_bps: int
    peak_bps: int
    cap_bps: int
    mean: float | None
    low: float | None
    segments: tuple[SegmentQuality, ...]
    black: tuple[Span, ...] = ()
    frozen: tuple[Span, ...] = ()
    other: tuple[Span, ...] = ()
    predicted: PredictedQuality | None = None
    lifts: tuple[Lift, ...] = ()

    @property
    def tone_mapped(self) -> bool:
        """Whether its scores only compare it with other renditions."""
        return self.video_range is not VideoRange.SDR

    @property
    def worst(self) -> SegmentQuality | None:
        """Its worst segment; None where nothing was measured."""
        return min(self.segments, key=lambda segment: segment.mean, default=None)


@dataclass(frozen=True, slots=True)
class SoundQuality:
    """How loud an audio rendition is.

    Attributes:
        rendition: Its id.
        target_lufs: Integrated loudness that it was to have; None where it was left as it is.
        result_lufs: Integrated loudness; None for silence.
        result_dbtp: Highest true peak; None for silence.
        raised_most: Whether it was raised as far as anything is: what is still below its target is taken for silence.
    """

    rendition: str
    target_lufs: float | None
    result_lufs: float | None
    result_dbtp: float | None
    raised_most: bool = False


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody has published a release although it failed.

    Attributes:
        who: User and machine.
        at: UTC, ISO 8601.
    """

    who: str
    at: str


@dataclass(frozen=True, slots=True)
class QualityReport:
    """How a release looks and sounds, as far as it was measured.

    Attributes:
        title: Catalogue entry.
        release: Its id.
        made_at: UTC, ISO 8601.
        software: The headend that wrote it.
        checking: How much was to be measured.
        viewing: The screen and the model.
        every: From one measured frame to the next.
        grid: The title's grid.
        evenly: Numbers of the segments that are spread evenly, or of all.
        suspects: Numbers of the segments in which faults were likely.
        thresholds: What was asked for.
        video: Video renditions in their order.
        audio: Audio renditions in their order.
        master: What the master shows where it was looked at.
        loudness_lufs: Short-term loudness of the default sound at even distances over the title; None for silence.
            Empty where there is no sound.
        shortfalls: What was found, the worst first.
        not_measured: What was not measured and why, in a line each.
        cpu_s: CPU seconds of measuring.
        overrides: Who has published it although it failed.
        hulls: By codec: the best score for each rate, as an analysis of the title has found it.
        floor_vmaf: The score below which chunks were encoded again; None for no floor.
    """

    title: str
    release: str
    made_at: str
    software: str
    checking: Checking
    viewing: Viewing
    every: int
    grid: Grid
    evenly: tuple[int, ...]
    suspects: tuple[int, ...]
    thresholds: Thresholds
    video: tuple[RenditionQuality, ...]
    audio: tuple[SoundQuality, ...]
    master: MasterSamples
    loudness_lufs: tuple[float | None, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    not_measured: tuple[str, ...] = ()
    cpu_s: float = 0.0
    overrides: tuple[Override, ...] = ()
    hulls: dict[str, tuple[PredictedQuality, ...]] = field(default_factory=dict)
    floor_vmaf: float | None = None

    @property
    def outcome(self) -> Outcome:
        """What it says in all."""
        found = {shortfall.severity for shortfall in self.shortfalls}
        if Severity.FAILURE in found:
            return Outcome.FAILED
        return Outcome.REMARKS if Severity.REMARK in found else Outcome.PASSED

    @property
    def failures(self) -> tuple[Shortfall, ...]:
        """What keeps the release from being made current."""
        return tuple(one for one in self.shortfalls if one.severity is Severity.FAILURE)
