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

CYCLE_FRAMES, FILM_FRAMES = 5, 4
"""3:2 pull-down: five frames of video carry four of film."""
NEIGHBOURS_FRAMES = 2
"""Number of frames before and after a frame that the deinterlacer uses."""
SAMPLE_STRETCHES, SAMPLE_FRAMES = 3, 96
"""Samples of a master: number of stretches, and frames of each."""
INTERLACED_RATES = (Fraction(25), Fraction(30000, 1001), Fraction(30))
INTERLACED_LINES = (480, 486, 512, 576, 608, 1080)
"""Usual heights of interlaced video; masters with other heights are sampled only if they are flagged interlaced."""


FASTEST = Fraction(60)
"""Maximum frame rate of the grid for variable rates; players don't need more."""
SLOWEST = Fraction(23, 2)
"""Slower pictures are slides, which are repeated: a little less than 12000/1001, the slowest standard rate."""
SLIDES_RATE = Fraction(24)
"""Minimum frame rate of repeated pictures."""
_HELD_REPEATS = 2


class Cadence(StrEnum):
    """How the frames of the grid are made from the master's."""

    PROGRESSIVE = "progressive"
    INTERLACED = "interlaced"
    TELECINE = "telecine"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True)
class Fields:
    """Numbers of frames by their fields, measured in samples.

    Source: FFmpeg's ``idet`` filter, multiple-frame detection and repeated fields.
    """

    top_first: int
    bottom_first: int
    progressive: int
    repeated: int

    @property
    def seen(self) -> int:
        """Number of frames with a clear result."""
        return self.top_first + self.bottom_first + self.progressive

    def order(self, *, flagged: bool) -> FieldOrder:
        """The order of fields. Most frames must have the same order, since fine lines look like fields.

        Args:
            flagged: Whether the master is flagged interlaced. If not, nearly all frames must show fields, because
                deinterlacing progressive frames does more harm than the reverse.
        """
        fields = self.top_first + self.bottom_first
        most = max(self.top_first, self.bottom_first)
        if not self.seen or fields < self.seen * (0.5 if flagged else 0.8) or most < 0.8 * fields:
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
        mended: Whether to replace frames that can't be decoded by their neighbours. Otherwise, a chunk with such frames
            is too short and is rejected.
    """

    track: VideoTrack
    cadence: Cadence
    field_order: FieldOrder
    frame_rate: Fraction
    decisions: tuple[str, ...] = ()
    crop: Crop | None = None
    mended: bool = False

    @property
    def kept(self) -> VideoTrack:
        """The picture with its size after cropping."""
        if self.crop is None:
            return self.track
        return replace(self.track, width_px=self.crop.width_px, height_px=self.crop.height_px)

    @property
    def gop_multiple(self) -> int:
        """Frames of a GOP must be a multiple of this, so that chunks start at whole frames or cycles of the master."""
        return FILM_FRAMES if self.cadence is Cadence.TELECINE else 2

    @property
    def frame_count(self) -> int:
        """Frames of the grid."""
        count = self.track.frame_count
        if self.cadence is Cadence.INTERLACED:
            return 2 * count
        if self.cadence is Cadence.TELECINE:
            cycles, rest = divmod(count, CYCLE_FRAMES)
            return cycles * FILM_FRAMES + rest
        if self.cadence is Cadence.VARIABLE:
            return len(self._shown)
        return count

    def source_range(self, first: int, end: int) -> tuple[int, int]:
        """The master's frames, half-open, from which the grid's frames ``first`` to ``end`` are made."""
        count = self.track.frame_count
        if self.cadence is Cadence.INTERLACED:
            return max(0, first // 2 - NEIGHBOURS_FRAMES), min(count, -(-end // 2) + NEIGHBOURS_FRAMES)
        if self.cadence is Cadence.TELECINE:
            cycle, last = first // FILM_FRAMES - 1, -(-end // FILM_FRAMES) + 1
            return max(0, cycle * CYCLE_FRAMES), min(count, last * CYCLE_FRAMES)
        if self.cadence is Cadence.VARIABLE:
            return int(self._shown[first]), int(self._shown[end - 1]) + 1
        return first, end

    def apply(self, stream: Any, first: int, end: int) -> Any:
        """Add the filters that turn the frames of `source_range` into the grid's frames ``first`` to ``end``.

        Args:
            stream: The master's frames of that range, with their own times.
            first: First frame of the grid, in.
            end: First frame of the grid, out.

        Returns:
            Exactly ``end - first`` frames, at the grid's rate, their times from 0.
        """
        source_first, source_end = self.source_range(first, end)
        alone = self.track.frame_count == 1 if self.mended else source_end - source_first == 1
        if self.cadence is Cadence.VARIABLE and alone:
            # Its time and its end may be before the chunk, where it would be dropped.
            stream = _held(timestamps.numbered_frames(stream, self.frame_rate), end - first)
        elif self.cadence is Cadence.VARIABLE:
            stream = self._evenly(stream, self.frame_rate, first, end)
        elif self.mended:
            stream = self._evenly(stream, self.track.frame_rate, source_first, source_end)
        else:
            stream = timestamps.numbered_frames(stream, self.track.frame_rate)
        if self.cadence is Cadence.INTERLACED:
            # Every field becomes a frame, to keep motion at 50 or 59.94 Hz (Apple's HLS spec, 1.15).
            stream = stream.filter("bwdif", mode="send_field", parity=self.field_order.value, deint="all")
            stream = _part(stream, first - 2 * source_first, end - first)
        elif self.cadence is Cadence.TELECINE:
            stream = stream.filter("fieldmatch", order=self.field_order.value, combmatch="full")
            # For frames that matching could not repair, such as a cut between fields.
            stream = stream.filter("bwdif", mode="send_frame", parity=self.field_order.value, deint="interlaced")
            stream = stream.filter("decimate", cycle=CYCLE_FRAMES)
            stream = _part(stream, first - source_first * FILM_FRAMES // CYCLE_FRAMES, end - first)
        stream = timestamps.numbered_frames(stream, self.frame_rate)
        if self.crop is not None:
            # Last, since fields are in the lines of the uncropped picture.
            place = self.crop
            stream = stream.filter("crop", place.width_px, place.height_px, place.left_px, place.top_px)
        return stream

    def _evenly(self, stream: Any, rate: Fraction, first: int, end: int) -> Any:
        start = self.track.start_s + first / rate
        base = timestamps.base_of(self.track.time_base, start)
        shown = timestamps.not_before_start(timestamps.counted_from(stream, start, base))
        return _held(shown.filter("fps", timestamps.fraction(rate), start_time=0, round="near"), end - first)

    @cached_property
    def _shown(self) -> npt.NDArray[np.int64]:
        """For each tick of the grid, the number of the master's frame that is shown there."""
        ticks = _ticks(self.track, self.frame_rate)
        grid = np.arange(_tick_count(self.track, self.frame_rate, ticks))
        return np.searchsorted(ticks, grid, side="right") - 1


def conform(track: VideoTrack, fields: Fields | None = None, limits: Limits = DEFAULT_LIMITS) -> Conformed:
    """Decide how to make the frames of the grid from the master's.

    Args:
        track: The master's picture.
        fields: Fields detected in samples; None if none were decoded.
        limits: How many frames may be dropped and repeated.

    Raises:
        MasterError: The spacing of frames is too uneven.
    """
    if not track.constant_rate:
        return _variable(track, limits)
    if track.frame_rate < SLOWEST or (track.frame_count == 1 and track.frames.end_ticks is not None):
        return _slides(track, limits)
    flagged = track.field_order in (FieldOrder.TOP_FIRST, FieldOrder.BOTTOM_FIRST)
    if fields is not None:
        order = fields.order(flagged=flagged)
    else:
        order = track.field_order if flagged else FieldOrder.PROGRESSIVE
    name = {FieldOrder.TOP_FIRST: "tff", FieldOrder.BOTTOM_FIRST: "bff"}.get(order, "")
    if not name:
        decisions = ("flagged interlaced, but its frames are progressive → kept as they are",) if flagged else ()
        if _held_frames(track, track.frame_rate):
            return _repeated(track, track.frame_rate, limits, decisions)
        return Conformed(track, Cadence.PROGRESSIVE, FieldOrder.PROGRESSIVE, track.frame_rate, decisions)
    if fields and fields.repeated > fields.seen / 4:
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


def detect_fields(track: VideoTrack, input_url: str) -> Fields:
    """Decode samples of a master and count frames that are made of fields.

    Raises:
        ToolFailed: FFmpeg is missing or can't decode the master.
    """
    counts = [_stretch(track, input_url, first) for first in _stretch_starts(track)]
    return Fields(*(sum(values) for values in zip(*counts, strict=True)))


def _stretch_starts(track: VideoTrack) -> Iterator[int]:
    spare = max(0, track.frame_count - SAMPLE_FRAMES)
    stretches = SAMPLE_STRETCHES if spare >= SAMPLE_FRAMES else 1
    for number in range(stretches):
        yield spare * (2 * number + 1) // (2 * stretches)


def _stretch(track: VideoTrack, input_url: str, first: int) -> tuple[int, int, int, int]:
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
    repeated = _counts(report, "Repeated Fields")
    frames = _counts(report, "Multi frame detection")
    return (
        frames.get("TFF", 0),
        frames.get("BFF", 0),
        frames.get("Progressive", 0),
        repeated.get("Top", 0) + repeated.get("Bottom", 0),
    )


def _counts(report: str, heading: str) -> dict[str, int]:
    """The numbers under a heading of idet's last report; it prints an earlier one for an empty graph."""
    lines = [line.partition(f"{heading}:")[2] for line in report.splitlines() if f"{heading}:" in line]
    return {name: int(value) for name, value in re.findall(r"(\w+):\s*(\d+)", lines[-1])} if lines else {}


def _held(stream: Any, count: int) -> Any:
    """Exactly this many frames; the last is repeated if there are fewer."""
    return stream.filter("tpad", stop=count, stop_mode="clone").filter("trim", end_frame=count)


def _slides(track: VideoTrack, limits: Limits) -> Conformed:
    """Repeat a still, or slides, since few screens support such low rates."""
    multiples = (rate for rate in STANDARD_RATES if rate >= SLIDES_RATE and (rate / track.frame_rate).denominator == 1)
    rate = SLIDES_RATE if track.frame_count == 1 else next(multiples, SLIDES_RATE)
    return _repeated(track, rate, limits)


def _variable(track: VideoTrack, limits: Limits) -> Conformed:
    def cost(rate: Fraction) -> tuple[int, bool, Fraction]:
        ticks = _ticks(track, rate)
        dropped, repeats = _changes(track, rate, ticks)
        # Dropped frames are lost, so they cost more. Repeats are capped, since a long frame is repeated at any rate.
        return (
            3 * dropped + int(np.minimum(repeats, _HELD_REPEATS).sum()),
            rate < SLIDES_RATE,
            abs(rate - track.frame_rate),
        )

    rate = min((rate for rate in STANDARD_RATES if rate <= FASTEST), key=cost)
    return _repeated(track, rate, limits)


def _repeated(track: VideoTrack, rate: Fraction, limits: Limits, decisions: tuple[str, ...] = ()) -> Conformed:
    """Place frames on the nearest ticks of a grid, and hold each until the next one, and the last until its end.

    Raises:
        MasterError: More frames would be dropped or repeated than the limits allow.
    """
    ticks = _ticks(track, rate)
    dropped, repeats = _changes(track, rate, ticks)
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
        decision = f"one frame → a title of one frame at {float(rate):.3f}p"
    elif track.constant_rate and track.frame_rate == rate:
        decision = f"last frame is held for {float(_held_s(track)):.3f} s → repeated {repeated} times"
    elif track.constant_rate:
        decision = f"{_pictures(track)} → {float(rate):.3f}p: {repeated} frames repeated"
    else:
        decision = f"variable frame rate → {float(rate):.3f}p: {repeated} frames repeated, {dropped} dropped"
        longest = int(np.argmax(repeats))
        if (shown_s := Fraction(int(repeats[longest]) + 1) / rate) > 1:
            from_s = Fraction(int(np.unique(ticks)[longest])) / rate
            decision += f"; the longest is held for {float(shown_s):.3f} s from {float(from_s):.3f} s"
    return Conformed(track, Cadence.VARIABLE, FieldOrder.PROGRESSIVE, rate, (*decisions, decision))


def _pictures(track: VideoTrack) -> str:
    if track.frame_count == 1:
        return f"a still of {float(track.end_s - track.start_s):.3f} s"
    return f"{track.frame_count} pictures, one every {float(1 / track.frame_rate):.3f} s"


def _changes(track: VideoTrack, rate: Fraction, ticks: npt.NDArray[np.int64]) -> tuple[int, npt.NDArray[np.int64]]:
    """Number of dropped frames, and how often each of the others is repeated."""
    kept = np.unique(ticks)
    ends = np.append(kept[1:], _tick_count(track, rate, ticks))
    return len(ticks) - len(kept), ends - kept - 1


def _tick_count(track: VideoTrack, rate: Fraction, ticks: npt.NDArray[np.int64]) -> int:
    """Ticks of the grid up to the end of the last frame."""
    return int(ticks[-1]) + 1 + _held_frames(track, rate)


def _held_frames(track: VideoTrack, rate: Fraction) -> int:
    """How often the last frame is repeated because of its own duration."""
    held_ticks = _held_s(track) * rate
    # Because of rounding, a little more than one frame counts as one.
    return int(held_ticks + Fraction(1, 2)) - 1 if held_ticks > Fraction(3, 2) else 0


def _held_s(track: VideoTrack) -> Fraction:
    return track.end_s - track.frames.pts_ticks[-1] * track.time_base


def _ticks(track: VideoTrack, rate: Fraction) -> npt.NDArray[np.int64]:
    """The nearest tick of the grid for each of the master's frames, from 0 for the first."""
    pts = np.asarray(track.frames.pts_ticks, dtype=np.int64) - track.frames.pts_ticks[0]
    scale = rate * track.time_base
    # Integers only, rounded half up like FFmpeg's fps filter.
    return np.asarray((2 * pts * scale.numerator + scale.denominator) // (2 * scale.denominator), dtype=np.int64)


def _part(stream: Any, skip: int, count: int) -> Any:
    return stream.filter("trim", start_frame=skip, end_frame=skip + count)
