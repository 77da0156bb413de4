"""Conform a master's frames to the grid: deinterlacing, inverse telecine and uneven frame rates.

Decided once, from the probe and from samples, and carried out in every chunk by the same filters, with frames
before and behind the chunk where a filter looks at neighbours. What the flags of a file say is a hint only.
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
"""What the deinterlacer sees before and behind a frame."""
SAMPLE_STRETCHES, SAMPLE_FRAMES = 3, 96
"""How much of a master is sampled: stretches, and frames of each."""
INTERLACED_RATES = (Fraction(25), Fraction(30000, 1001), Fraction(30))
INTERLACED_LINES = (480, 486, 512, 576, 608, 1080)
"""What interlaced material comes in; other material is sampled only if its flags say so."""


FASTEST = Fraction(60)
"""No player asks for more frames per second."""
SLOWEST = Fraction(23, 2)
"""Slower pictures are slides, which are repeated: a little less than 12000/1001, the slowest standard rate."""
SLIDES_RATE = Fraction(24)
"""The least that repeated pictures come at."""
_HELD_REPEATS = 2


class Cadence(StrEnum):
    """How the master's frames make the grid's."""

    PROGRESSIVE = "progressive"
    INTERLACED = "interlaced"
    TELECINE = "telecine"
    VARIABLE = "variable"


@dataclass(frozen=True, slots=True)
class Fields:
    """What samples have shown, in frames.

    Source: FFmpeg's ``idet`` filter, multiple-frame detection and repeated fields.
    """

    top_first: int
    bottom_first: int
    progressive: int
    repeated: int

    @property
    def seen(self) -> int:
        """Frames that told something."""
        return self.top_first + self.bottom_first + self.progressive

    def order(self, *, flagged: bool) -> FieldOrder:
        """The verdict: most frames must have fields that agree on their order, since fine lines look like fields.

        Args:
            flagged: Whether the master says that it is interlaced; where it does not, nearly all frames must show it,
                as taking a film for fields does more harm than the reverse.
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
        cadence: How frames are made.
        field_order: Order of fields; progressive where there are none.
        frame_rate: Frames of the grid per second.
        decisions: A line for each thing that is done.
        crop: The part of the picture that is kept; None for the whole.
        mended: Whether frames that don't come out of the decoder are made up for by those beside them; otherwise a
            chunk comes out short, and is refused.
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
        """The picture in the size that is kept of it."""
        if self.crop is None:
            return self.track
        return replace(self.track, width_px=self.crop.width_px, height_px=self.crop.height_px)

    @property
    def gop_multiple(self) -> int:
        """What a GOP's frames must be a multiple of, so that chunks start with whole frames or cycles of the master."""
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
            # Its own time and end may lie before the chunk, where nothing would be left of it.
            stream = _held(timestamps.numbered_frames(stream, self.frame_rate), end - first)
        elif self.cadence is Cadence.VARIABLE:
            stream = self._evenly(stream, self.frame_rate, first, end)
        elif self.mended:
            stream = self._evenly(stream, self.track.frame_rate, source_first, source_end)
        else:
            stream = timestamps.numbered_frames(stream, self.track.frame_rate)
        if self.cadence is Cadence.INTERLACED:
            # Every field becomes a frame: what moves at 50 or 59.94 Hz keeps moving so (Apple's HLS spec, 1.15).
            stream = stream.filter("bwdif", mode="send_field", parity=self.field_order.value, deint="all")
            stream = _part(stream, first - 2 * source_first, end - first)
        elif self.cadence is Cadence.TELECINE:
            stream = stream.filter("fieldmatch", order=self.field_order.value, combmatch="full")
            # What matching could not mend, such as a cut between fields.
            stream = stream.filter("bwdif", mode="send_frame", parity=self.field_order.value, deint="interlaced")
            stream = stream.filter("decimate", cycle=CYCLE_FRAMES)
            stream = _part(stream, first - source_first * FILM_FRAMES // CYCLE_FRAMES, end - first)
        stream = timestamps.numbered_frames(stream, self.frame_rate)
        if self.crop is not None:
            # Last, since fields lie in the lines of the whole picture.
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
        """For each tick of the grid, the number of the master's frame that is shown."""
        ticks = _ticks(self.track, self.frame_rate)
        grid = np.arange(_tick_count(self.track, self.frame_rate, ticks))
        return np.searchsorted(ticks, grid, side="right") - 1


def conform(track: VideoTrack, fields: Fields | None = None, limits: Limits = DEFAULT_LIMITS) -> Conformed:
    """Decide how the master's frames make the grid's.

    Args:
        track: The master's picture.
        fields: What samples have shown; None if none were decoded.
        limits: How much may be dropped and repeated.

    Raises:
        MasterError: The frames are spaced too unevenly.
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
        decisions = ("flagged interlaced, but its frames are whole → taken as progressive",) if flagged else ()
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


def worth_a_look(track: VideoTrack) -> bool:
    """Whether samples must be decoded to know if there are fields."""
    flagged = track.field_order in (FieldOrder.TOP_FIRST, FieldOrder.BOTTOM_FIRST)
    usual = track.frame_rate in INTERLACED_RATES and track.height_px in INTERLACED_LINES
    return track.constant_rate and (flagged or usual)


def detect_fields(track: VideoTrack, input_url: str) -> Fields:
    """Decode stretches of a master and see whether its frames are made of fields.

    Raises:
        ToolFailed: FFmpeg is missing or can't decode the master.
    """
    found = [_stretch(track, input_url, first) for first in _stretch_starts(track)]
    return Fields(*(sum(values) for values in zip(*found, strict=True)))


def _stretch_starts(track: VideoTrack) -> Iterator[int]:
    spare = max(0, track.frame_count - SAMPLE_FRAMES)
    stretches = SAMPLE_STRETCHES if spare >= SAMPLE_FRAMES else 1
    for number in range(stretches):
        yield spare * (2 * number + 1) // (2 * stretches)


def _stretch(track: VideoTrack, input_url: str, first: int) -> tuple[int, int, int, int]:
    start_us = round(track.frames.pts_ticks[first] * track.time_base * 1_000_000)
    inputs = [word for name, value in input_options(input_url).items() for word in (f"-{name}", value)]
    said = run(
        [
            tool.ffmpeg_path(), "-hide_banner", "-nostdin", "-nostats", "-loglevel", "info", *inputs,
            # All lines of the picture: without the first one, the other field would seem to be first.
            "-apply_cropping", "codec",
            "-seek_timestamp", "1", "-ss", timestamps.seconds(start_us), "-i", input_url, "-map", f"0:{track.index}",
            "-vf", "idet", "-frames:v", str(SAMPLE_FRAMES), "-f", "null", "-",
        ],
    ).stderr  # fmt: skip
    repeated = _counts(said, "Repeated Fields")
    seen = _counts(said, "Multi frame detection")
    return (
        seen.get("TFF", 0),
        seen.get("BFF", 0),
        seen.get("Progressive", 0),
        repeated.get("Top", 0) + repeated.get("Bottom", 0),
    )


def _counts(said: str, heading: str) -> dict[str, int]:
    """The last line under a heading of idet's report, which it gives for an empty graph, too."""
    lines = [line.partition(f"{heading}:")[2] for line in said.splitlines() if f"{heading}:" in line]
    return {name: int(value) for name, value in re.findall(r"(\w+):\s*(\d+)", lines[-1])} if lines else {}


def _held(stream: Any, count: int) -> Any:
    """Exactly so many frames, of which the last is repeated where there are fewer."""
    return stream.filter("tpad", stop=count, stop_mode="clone").filter("trim", end_frame=count)


def _slides(track: VideoTrack, limits: Limits) -> Conformed:
    """A still, or pictures that follow each other slowly: each is repeated, as few screens show so low rates."""
    multiples = (rate for rate in STANDARD_RATES if rate >= SLIDES_RATE and (rate / track.frame_rate).denominator == 1)
    rate = SLIDES_RATE if track.frame_count == 1 else next(multiples, SLIDES_RATE)
    return _repeated(track, rate, limits)


def _variable(track: VideoTrack, limits: Limits) -> Conformed:
    def cost(rate: Fraction) -> tuple[int, bool, Fraction]:
        ticks = _ticks(track, rate)
        dropped, repeats = _changes(track, rate, ticks)
        # A dropped frame is lost to the viewer. Of a frame that is held for long, every rate repeats many.
        return (
            3 * dropped + int(np.minimum(repeats, _HELD_REPEATS).sum()),
            rate < SLIDES_RATE,
            abs(rate - track.frame_rate),
        )

    rate = min((rate for rate in STANDARD_RATES if rate <= FASTEST), key=cost)
    return _repeated(track, rate, limits)


def _repeated(track: VideoTrack, rate: Fraction, limits: Limits, decisions: tuple[str, ...] = ()) -> Conformed:
    """Put frames on the nearest ticks of a grid, and hold each until the next one, the last until its own end.

    Raises:
        MasterError: More is dropped or repeated than the limits allow.
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
    """How many frames are dropped, and how often each of the others is repeated."""
    kept = np.unique(ticks)
    ends = np.append(kept[1:], _tick_count(track, rate, ticks))
    return len(ticks) - len(kept), ends - kept - 1


def _tick_count(track: VideoTrack, rate: Fraction, ticks: npt.NDArray[np.int64]) -> int:
    """Ticks of the grid up to the end of the last frame."""
    return int(ticks[-1]) + 1 + _held_frames(track, rate)


def _held_frames(track: VideoTrack, rate: Fraction) -> int:
    """How often the last frame is repeated, for its own duration's sake."""
    held_ticks = _held_s(track) * rate
    # A little more than a frame, as rounding leaves it, is one frame.
    return int(held_ticks + Fraction(1, 2)) - 1 if held_ticks > Fraction(3, 2) else 0


def _held_s(track: VideoTrack) -> Fraction:
    return track.end_s - track.frames.pts_ticks[-1] * track.time_base


def _ticks(track: VideoTrack, rate: Fraction) -> npt.NDArray[np.int64]:
    """The nearest tick of the grid for each of the master's frames, the first frame's being 0."""
    pts = np.asarray(track.frames.pts_ticks, dtype=np.int64) - track.frames.pts_ticks[0]
    scale = rate * track.time_base
    # Whole numbers throughout, halves up, as FFmpeg's fps filter rounds.
    return np.asarray((2 * pts * scale.numerator + scale.denominator) // (2 * scale.denominator), dtype=np.int64)


def _part(stream: Any, skip: int, count: int) -> Any:
    return stream.filter("trim", start_frame=skip, end_frame=skip + count)
