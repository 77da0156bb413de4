"""Data types of quality reports: what was measured of a release, and which rules it violates."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from headend.core.media.kinds import Codec, VideoRange
from headend.core.media.quality import Checking, Lift, MasterSamples, PictureFaults, SegmentQuality, Viewing
from headend.core.media.renditions import VideoRendition
from headend.core.timing import Grid


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Scores that the best SDR rendition of each codec must reach.

    Attributes:
        min_vmaf: Mean score, 0 to 100.
        min_segment: Mean score of its worst segment, 0 to 100.
        are_asked: Whether the user set them. If so, they apply to every title. Otherwise a title fails only if enough
            of it was measured, at a size that is meant for such a screen.
    """

    min_vmaf: float = 75.0
    min_segment: float = 55.0
    are_asked: bool = False


DEFAULT_THRESHOLDS = Thresholds()


class Severity(StrEnum):
    """Consequence of a finding."""

    FAILURE = "failure"
    """The release is not made current."""
    REMARK = "remark"
    """Somebody should check it."""
    NOTE = "note"
    """The master has it, too."""


class Outcome(StrEnum):
    """Overall result of a report."""

    PASSED = "passed"
    REMARKS = "passed with remarks"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A violated rule.

    Attributes:
        rule: The rule's name.
        severity: Its consequence.
        message: What is wrong and where, in one line.
        rendition: The rendition; empty for the master or the title.
        frame: The frame on the grid; None for everywhere.
    """

    rule: str
    severity: Severity
    message: str
    rendition: str = ""
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class PredictedQuality:
    """A rate and its score, as predicted by a title's analysis.

    Attributes:
        bps: Bits per second, over the whole title.
        vmaf: Mean score.
    """

    bps: int
    vmaf: float


@dataclass(frozen=True, slots=True)
class RenditionQuality(PictureFaults):
    """Quality and rate of a video rendition.

    Attributes:
        rendition: Its id.
        track: Its track in the store.
        codec: Its codec.
        width_px: Width.
        height_px: Height.
        rate_divisor: The rendition has one frame for this many frames of the grid.
        video_range: SDR, or the master's own. Scores of HDR can only be compared with each other.
        average_bps: Average rate, measured over all segments.
        peak_bps: The highest rate in any window; see `headend.core.rates`.
        cap_bps: Upper bound of the peak rate.
        mean: Mean score of the evenly spaced segments; None if nothing was measured.
        low: The score that 95 % of all measured seconds exceed; None if nothing was measured.
        segments: Measured segments in order.
        predicted: Prediction of the title's analysis; None without one.
        lifts: Chunks that were encoded again because of the floor.
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
    predicted: PredictedQuality | None = None
    lifts: tuple[Lift, ...] = ()

    @property
    def tone_mapped(self) -> bool:
        """Whether its scores can only be compared with other renditions' scores."""
        return self.video_range is not VideoRange.SDR

    @property
    def worst(self) -> SegmentQuality | None:
        """Its worst segment; None if nothing was measured."""
        return min(self.segments, key=lambda segment: segment.mean, default=None)


Rendition = TypeVar("Rendition", VideoRendition, RenditionQuality)


def with_floor(renditions: Iterable[Rendition]) -> tuple[Rendition, ...]:
    """Select the renditions that a quality floor applies to: SDR, in the largest size of their codec."""
    sdr = [rendition for rendition in renditions if rendition.video_range is VideoRange.SDR]
    largest: dict[Codec, int] = {}
    for rendition in sdr:
        largest[rendition.codec] = max(largest.get(rendition.codec, 0), rendition.width_px * rendition.height_px)
    return tuple(rendition for rendition in sdr if rendition.width_px * rendition.height_px == largest[rendition.codec])


@dataclass(frozen=True, slots=True)
class SoundQuality:
    """Loudness of an audio rendition.

    Attributes:
        rendition: Its id.
        target_lufs: Target of the integrated loudness; None if it was left unchanged.
        result_lufs: Integrated loudness; None for silence.
        result_dbtp: Highest true peak; None for silence.
        raised_most: Whether the maximum gain was applied; sound that is still below the target counts as silence.
        held_by_peaks: Whether the gain is lower than the target requires, since peaks would be limited too much.
    """

    rendition: str
    target_lufs: float | None
    result_lufs: float | None
    result_dbtp: float | None
    raised_most: bool = False
    held_by_peaks: bool = False


@dataclass(frozen=True, slots=True)
class Override:
    """A release was published despite a failed quality check.

    Attributes:
        who: User and host.
        at: UTC, ISO 8601.
    """

    who: str
    at: str


@dataclass(frozen=True, slots=True)
class QualityReport:
    """Measured quality of a release.

    Attributes:
        title: Catalogue entry.
        release: Its id.
        made_at: UTC, ISO 8601.
        software: Version of headend that wrote it.
        checking: How much was to be measured.
        viewing: The screen and the model.
        every: Interval of measured frames, in frames.
        grid: The title's grid.
        evenly: Numbers of the evenly spaced segments; all segments if the whole title was measured.
        suspects: Numbers of the segments in which faults were likely.
        thresholds: Required scores.
        video: Video renditions in order.
        audio: Audio renditions in order.
        master: Observations about the master's measured frames.
        loudness_lufs: Short-term loudness of the default sound at even intervals over the title; None for silence.
            Empty if there is no sound.
        shortfalls: Violated rules, the worst first.
        not_measured: What was not measured and why, one line each.
        cpu_s: CPU seconds of measuring.
        overrides: Publications despite the result.
        hulls: Best score for each rate, by codec, from the title's analysis.
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
        """The overall result."""
        severities = {shortfall.severity for shortfall in self.shortfalls}
        if Severity.FAILURE in severities:
            return Outcome.FAILED
        return Outcome.REMARKS if Severity.REMARK in severities else Outcome.PASSED

    @property
    def failures(self) -> tuple[Shortfall, ...]:
        """The violations that prevent publication."""
        return tuple(shortfall for shortfall in self.shortfalls if shortfall.severity is Severity.FAILURE)
