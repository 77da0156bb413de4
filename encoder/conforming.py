"""Conform a master's frames to the grid: deinterlacing, inverse telecine and uneven frame rates.

The decision is made once, from the probe and from samples. Every chunk applies the same filters, with extra frames
before and after the chunk if a filter needs neighbours. The flags of a file are only a hint.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from encoder import timestamps, tool
from encoder.probing import STANDARD_RATES, input_options
from headend.core.errors import MasterError
from headend.core.media import Crop, FieldOrder, VideoTrack
from headend.core.process import run
from headend.core.settings import DEFAULT_LIMITS, Limits
from headend.core.timing import ceil_div

CYCLE_FRAMES, FILM_FRAMES = 5, 4
"""3:2 pull-down: four film frames become five video frames."""
NEIGHBOURS_FRAMES = 2
"""The deinterlacer uses this many frames before each frame, and as many after it."""
SAMPLE_COUNT, SAMPLE_FRAMES = 3, 96
"""How many samples of a master are decoded to find fields, and frames in each."""
INTERLACED_RATES = (Fraction(25), Fraction(30000, 1001), Fraction(30))
INTERLACED_LINES = (480, 486, 512, 576, 608, 1080)
"""Usual heights of interlaced video; masters with other heights are sampled only if they are flagged interlaced."""

MAX_VARIABLE_RATE = Fraction(60)
"""Maximum frame rate of the grid if the master's rate is variable, in frames per second; players don't need more."""
MIN_VIDEO_RATE = Fraction(23, 2)
"""Masters with fewer frames per second are treated as slides, and each frame is repeated. The value is a little less
than 12000/1001, the slowest standard rate."""
MIN_SLIDES_RATE = Fraction(24)
"""Minimum frame rate of the grid for slides and stills."""
_MAX_COUNTED_REPEATS = 2
"""When rates are compared, no frame counts as repeated more often, since a long frame is repeated at any rate."""


class Cadence(StrEnum):
    """How the frames of the grid are made from the master's."""

    PROGRESSIVE = "progressive"
    INTERLACED = "interlaced"
    TELECINE = "telecine"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True)
class FieldCounts:
    """Number of sampled frames with each kind of fields.

    Source: FFmpeg's ``idet`` filter, multiple-frame detection and repeated fields.
    """

    top_first: int
    bottom_first: int
    progressive: int
    repeated: int

    @property
    def classified(self) -> int:
        """Number of frames with a clear result."""
        return self.top_first + self.bottom_first + self.progressive

    def order(self, *, flagged: bool) -> FieldOrder:
        """Decide the order of fields.

        Most frames must have the same order: fine lines in a picture look like fields too, but in either order.

        Args:
            flagged: Whether the master is flagged interlaced. If not, nearly all frames must show fields, because
                deinterlacing progressive frames does more harm than the reverse.
        """
        fields = self.top_first + self.bottom_first
        most = max(self.top_first, self.bottom_first)
        if not self.classified or fields < self.classified * (0.5 if flagged else 0.8) or most < 0.8 * fields:
            return FieldOrder.PROGRESSIVE
        return FieldOrder.TOP_FIRST if most == self.top_first else FieldOrder.BOTTOM_FIRST


@dataclass(frozen=True)
class Conformed:
    """The master's picture on the grid.

    Attributes:
        track: The master's picture.
        cadence: How the frames of the grid are made.
        field_order: Order of fields; progressive if there are none.
        frame_rate: Frames of the grid per second.
        decisions: The decisions, a line each.
        crop: The part of the picture to keep; None for the whole.
        conceal: Whether a frame that can't be decoded is replaced by a neighbour. Otherwise, a chunk with such a frame
            is too short and is rejected.
    """

    track: VideoTrack
    cadence: Cadence
    field_order: FieldOrder
    frame_rate: Fraction
    decisions: tuple[str, ...] = ()
    crop: Crop | None = None
    conceal: bool = False

    @property
    def kept(self) -> VideoTrack:
        """The picture with its size after cropping."""
        if self.crop is None:
            return self.track
        return replace(self.track, width_px=self.crop.width_px, height_px=self.crop.height_px)

    @property
    def gop_multiple(self) -> int:
        """The GOP length must be a multiple of this, so that no chunk starts between two fields or within a cycle."""
        return FILM_FRAMES if self.cadence is Cadence.TELECINE else 2

    @property
    def frame_count(self) -> int:
        """Number of frames of the grid."""
        count = self.track.frame_count
        if self.cadence is Cadence.INTERLACED:
            return 2 * count
        if self.cadence is Cadence.TELECINE:
            cycles, rest = divmod(count, CYCLE_FRAMES)
            return cycles * FILM_FRAMES + rest
        if self.cadence is Cadence.VARIABLE:
            return len(self._source_of_tick)
        return count

    def source_range(self, first: int, end: int) -> tuple[int, int]:
        """The master's frames, half-open, from which the grid's frames ``first`` to ``end`` are made."""
        count = self.track.frame_count
        if self.cadence is Cadence.INTERLACED:
            return max(0, first // 2 - NEIGHBOURS_FRAMES), min(count, ceil_div(end, 2) + NEIGHBOURS_FRAMES)
        if self.cadence is Cadence.TELECINE:
            cycle, last = first // FILM_FRAMES - 1, ceil_div(end, FILM_FRAMES) + 1
            return max(0, cycle * CYCLE_FRAMES), min(count, last * CYCLE_FRAMES)
        if self.cadence is Cadence.VARIABLE:
            return int(self._source_of_tick[first]), int(self._source_of_tick[end - 1]) + 1
        return first, end

    def apply(self, stream: Any, first: int, end: int) -> Any:
        """Add the filters that turn the frames of `source_range` into the grid's frames ``first`` to ``end``.

        Args:
            stream: The master's frames of that range, with their own times.
            first: First frame of the grid to make.
            end: The frame after the last one.

        Returns:
            Exactly ``end - first`` frames, at the grid's rate, their times from 0.
        """
        source_first, source_end = self.source_range(first, end)
        # If damage is concealed, frames before the range arrive, too: their times tell which ones they are.
        single = self.track.frame_count == 1 if self.conceal else source_end - source_first == 1
        if self.cadence is Cadence.VARIABLE and single:
            # The only frame may have started and ended before the chunk, so its time would have it dropped.
            stream = _pad_or_cut(timestamps.numbered_frames(stream, self.frame_rate), end - first)
        elif self.cadence is Cadence.VARIABLE:
            stream = self._at_constant_rate(stream, self.frame_rate, first, end)
        elif self.conceal:
            stream = self._at_constant_rate(stream, self.track.frame_rate, source_first, source_end)
        else:
            stream = timestamps.numbered_frames(stream, self.track.frame_rate)
        if self.cadence is Cadence.INTERLACED:
            # Every field becomes a frame, to keep motion at 50 or 59.94 Hz (Apple's HLS spec, 1.15).
            stream = stream.filter("bwdif", mode="send_field", parity=self.field_order.value, deint="all")
            stream = _trim(stream, first - 2 * source_first, end - first)
        elif self.cadence is Cadence.TELECINE:
            stream = stream.filter("fieldmatch", order=self.field_order.value, combmatch="full")
            # For frames that matching could not repair, such as a cut between fields.
            stream = stream.filter("bwdif", mode="send_frame", parity=self.field_order.value, deint="interlaced")
            stream = stream.filter("decimate", cycle=CYCLE_FRAMES)
            stream = _trim(stream, first - source_first * FILM_FRAMES // CYCLE_FRAMES, end - first)
        stream = timestamps.numbered_frames(stream, self.frame_rate)
        if self.crop is not None:
            # After deinterlacing, which needs the lines of the uncropped picture.
            crop = self.crop
            stream = stream.filter("crop", crop.width_px, crop.height_px, crop.left_px, crop.top_px)
        return stream

    def _at_constant_rate(self, stream: Any, rate: Fraction, first: int, end: int) -> Any:
        start = self.track.start_s + first / rate
        base = timestamps.common_ticks_per_s(self.track.time_base, start)
        shown = timestamps.clamp_to_start(timestamps.count_from(stream, start, base))
        return _pad_or_cut(shown.filter("fps", timestamps.fraction(rate), start_time=0, round="near"), end - first)

    @cached_property
    def _source_of_tick(self) -> npt.NDArray[np.int64]:
        """For each tick of the grid, the number of the master's frame that is shown there."""
        ticks = _ticks(self.track, self.frame_rate)
        grid = np.arange(_tick_count(self.track, self.frame_rate, ticks))
        return np.searchsorted(ticks, grid, side="right") - 1


def conform(track: VideoTrack, fields: FieldCounts | None = None, limits: Limits = DEFAULT_LIMITS) -> Conformed:
    """Decide how to make the frames of the grid from the master's.

    Args:
        track: The master's picture.
        fields: Fields detected in samples; None if none were decoded.
        limits: How many frames may be dropped and repeated.

    Raises:
        MasterError: The spacing of frames is too uneven.
    """
    if track.frames.is_counted:
        decision = f"times of frames contradict each other → frames are counted at {float(track.frame_rate):.3f}"
        conformed = conform(replace(track, frames=replace(track.frames, origin="packets")), fields, limits)
        return replace(conformed, track=track, decisions=(decision, *conformed.decisions))
    if not track.constant_rate:
        return _conform_variable(track, limits)
    if track.frame_rate < MIN_VIDEO_RATE or (track.frame_count == 1 and track.frames.end_ticks is not None):
        return _conform_slides(track, limits)
    flagged = track.field_order in (FieldOrder.TOP_FIRST, FieldOrder.BOTTOM_FIRST)
    if fields is not None:
        order = fields.order(flagged=flagged)
    else:
        order = track.field_order if flagged else FieldOrder.PROGRESSIVE
    name = {FieldOrder.TOP_FIRST: "tff", FieldOrder.BOTTOM_FIRST: "bff"}.get(order, "")
    if not name:
        decisions = ("flagged interlaced, but its frames are progressive → kept as they are",) if flagged else ()
        if _last_frame_repeats(track, track.frame_rate):
            return _place_on_grid(track, track.frame_rate, limits, decisions)
        return Conformed(track, Cadence.PROGRESSIVE, FieldOrder.PROGRESSIVE, track.frame_rate, decisions)
    if fields and fields.repeated > fields.classified / 4:
        rate = track.frame_rate * FILM_FRAMES / CYCLE_FRAMES
        return Conformed(track, Cadence.TELECINE, order, rate, (f"3:2 telecine {name} → {float(rate):.3f}p film",))
    rate = 2 * track.frame_rate
    how = "" if flagged else ", though not flagged"
    decision = f"interlaced {name}{how} → bwdif to {float(rate):.4g}p"
    return Conformed(track, Cadence.INTERLACED, order, rate, (decision,))


def may_be_interlaced(track: VideoTrack) -> bool:
    """Whether samples must be decoded to find out if there are fields."""
    flagged = track.field_order in (FieldOrder.TOP_FIRST, FieldOrder.BOTTOM_FIRST)
    usual = track.frame_rate in INTERLACED_RATES and track.height_px in INTERLACED_LINES
    return track.constant_rate and (flagged or usual)


def detect_fields(track: VideoTrack, input_url: str) -> FieldCounts:
    """Decode samples of a master and count frames that are made of fields.

    Raises:
        ToolFailed: FFmpeg is missing or can't decode the master.
    """
    counts = [_count_fields(track, input_url, first) for first in _sample_starts(track)]
    return FieldCounts(*(sum(values) for values in zip(*counts, strict=True)))


def _sample_starts(track: VideoTrack) -> Iterator[int]:
    spare = max(0, track.frame_count - SAMPLE_FRAMES)
    samples = SAMPLE_COUNT if spare >= SAMPLE_FRAMES else 1
    for number in range(samples):
        yield spare * (2 * number + 1) // (2 * samples)


def _count_fields(track: VideoTrack, input_url: str, first: int) -> tuple[int, int, int, int]:
    start_us = round(track.frames.pts_ticks[first] * track.time_base * 1_000_000)
    inputs = [word for name, value in input_options(input_url).items() for word in (f"-{name}", value)]
    report = run(
        [
            tool.ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-loglevel", "info", *inputs,
            # Keep all lines: without the first one, the order of fields would be reversed.
            "-apply_cropping", "codec",
            "-seek_timestamp", "1", "-ss", timestamps.seconds(start_us), "-i", input_url, "-map", f"0:{track.index}",
            "-vf", "idet", "-frames:v", str(SAMPLE_FRAMES), "-f", "null", "-",
        ],
    ).stderr  # fmt: skip
    repeated = _idet_counts(report, "Repeated Fields")
    frames = _idet_counts(report, "Multi frame detection")
    return (
        frames.get("TFF", 0),
        frames.get("BFF", 0),
        frames.get("Progressive", 0),
        repeated.get("Top", 0) + repeated.get("Bottom", 0),
    )


def _idet_counts(report: str, heading: str) -> dict[str, int]:
    """The numbers under a heading of idet's report; FFmpeg may print one without frames before it."""
    lines = [line.partition(f"{heading}:")[2] for line in report.splitlines() if f"{heading}:" in line]
    return {name: int(value) for name, value in re.findall(r"(\w+):\s*(\d+)", lines[-1])} if lines else {}


def _pad_or_cut(stream: Any, count: int) -> Any:
    """Exactly this many frames; the last is repeated if there are fewer."""
    return stream.filter("tpad", stop=count, stop_mode="clone").filter("trim", end_frame=count)


def _conform_slides(track: VideoTrack, limits: Limits) -> Conformed:
    """Repeat the frames of slides, or a still, up to a rate that all screens support."""
    multiples = (
        rate for rate in STANDARD_RATES if rate >= MIN_SLIDES_RATE and (rate / track.frame_rate).denominator == 1
    )
    rate = MIN_SLIDES_RATE if track.frame_count == 1 else next(multiples, MIN_SLIDES_RATE)
    return _place_on_grid(track, rate, limits)


def _conform_variable(track: VideoTrack, limits: Limits) -> Conformed:
    def cost(rate: Fraction) -> tuple[int, bool, Fraction]:
        ticks = _ticks(track, rate)
        dropped, repeats = _dropped_and_repeated(track, rate, ticks)
        # Dropped frames are lost, so they cost more.
        return (
            3 * dropped + int(np.minimum(repeats, _MAX_COUNTED_REPEATS).sum()),
            rate < MIN_SLIDES_RATE,
            abs(rate - track.frame_rate),
        )

    rate = min((rate for rate in STANDARD_RATES if rate <= MAX_VARIABLE_RATE), key=cost)
    return _place_on_grid(track, rate, limits)


def _place_on_grid(track: VideoTrack, rate: Fraction, limits: Limits, decisions: tuple[str, ...] = ()) -> Conformed:
    """Place each frame on the nearest tick of a grid, and repeat it until the next one or, for the last, until its end.

    Raises:
        MasterError: More frames would be dropped or repeated than the limits allow.
    """
    ticks = _ticks(track, rate)
    dropped, repeats = _dropped_and_repeated(track, rate, ticks)
    total = _tick_count(track, rate, ticks)
    repeated = int(repeats.sum())
    lost, held = 100 * dropped / track.frame_count, 100 * repeated / total
    for percent, most, what, option in (
        (lost, limits.dropped_percent, "dropped", "--max-dropped-frames"),
        (held, limits.repeated_percent, "repeated", "--max-repeated-frames"),
    ):
        if percent > most:
            raise MasterError(
                f"the master's frames are spaced so unevenly that {percent:.0f} % would be {what} at the best rate, "
                f"{float(rate):.3f}; deliver it at a constant rate, or raise {option} from {most:g}"
            )
    if track.constant_rate and not repeated:
        decision = f"a single frame → kept as one frame at {float(rate):.3f}p"
    elif track.constant_rate and track.frame_rate == rate:
        decision = f"last frame is held for {float(_last_frame_s(track)):.3f} s → repeated {repeated} times"
    elif track.constant_rate:
        decision = f"{_describe_slides(track)} → {float(rate):.3f}p: {repeated} frames repeated"
    else:
        decision = f"variable frame rate → {float(rate):.3f}p: {repeated} frames repeated, {dropped} dropped"
        longest = int(np.argmax(repeats))
        if (shown_s := Fraction(int(repeats[longest]) + 1) / rate) > 1:
            from_s = Fraction(int(np.unique(ticks)[longest])) / rate
            decision += f"; the longest frame is held for {float(shown_s):.3f} s from {float(from_s):.3f} s"
    return Conformed(track, Cadence.VARIABLE, FieldOrder.PROGRESSIVE, rate, (*decisions, decision))


def _describe_slides(track: VideoTrack) -> str:
    if track.frame_count == 1:
        return f"a still of {float(track.end_s - track.start_s):.3f} s"
    return f"{track.frame_count} pictures, one every {float(1 / track.frame_rate):.3f} s"


def _dropped_and_repeated(
    track: VideoTrack, rate: Fraction, ticks: npt.NDArray[np.int64]
) -> tuple[int, npt.NDArray[np.int64]]:
    """Number of dropped frames, and how often each of the others is repeated."""
    kept = np.unique(ticks)
    ends = np.append(kept[1:], _tick_count(track, rate, ticks))
    return len(ticks) - len(kept), ends - kept - 1


def _tick_count(track: VideoTrack, rate: Fraction, ticks: npt.NDArray[np.int64]) -> int:
    """Ticks of the grid up to the end of the last frame."""
    return int(ticks[-1]) + 1 + _last_frame_repeats(track, rate)


def _last_frame_repeats(track: VideoTrack, rate: Fraction) -> int:
    """How often the last frame is repeated because it lasts for more than one tick."""
    held_ticks = _last_frame_s(track) * rate
    # Because of rounding, a little more than one frame counts as one.
    return int(held_ticks + Fraction(1, 2)) - 1 if held_ticks > Fraction(3, 2) else 0


def _last_frame_s(track: VideoTrack) -> Fraction:
    return track.end_s - track.frames.pts_ticks[-1] * track.time_base


def _ticks(track: VideoTrack, rate: Fraction) -> npt.NDArray[np.int64]:
    """The nearest tick of the grid for each of the master's frames, from 0 for the first."""
    pts = np.asarray(track.frames.pts_ticks, dtype=np.int64) - track.frames.pts_ticks[0]
    scale = rate * track.time_base
    # Integers only, rounded half up like FFmpeg's fps filter.
    return np.asarray((2 * pts * scale.numerator + scale.denominator) // (2 * scale.denominator), dtype=np.int64)


def _trim(stream: Any, skip: int, count: int) -> Any:
    return stream.filter("trim", start_frame=skip, end_frame=skip + count)
