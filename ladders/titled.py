"""A ladder for one title: rungs placed along the hulls of its own trial encodes.

Comes in: a ladder that serves as the pattern, the hull of each of its codecs, and what is wanted of the result. Goes
out: a `Ladder` like any other, so that the rules check it and `ladders.fitting` applies it. Its averages are what the
trials predict for this title, so no factor for size or frame rate applies to them. Pure.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from headend.core.codecs import VIDEO
from headend.core.errors import ConfigError
from headend.core.media import Codec, Probe, VideoRendition
from headend.core.settings import Targets
from ladders.fitting import Fitted, Geometry, divisor_of, fit, fit_box, upright
from ladders.hull import CurvePoint, Hull, estimated, inverted, rate_saving
from ladders.ladder import (
    CRF_LIMITS,
    WHOLE_CRF,
    Ladder,
    RungRange,
    VideoRung,
    rate_factor,
)
from ladders.rules import CELLULAR_KBPS

BOXES = ((3840, 2160), (2560, 1440), (1920, 1080), (1280, 720), (960, 540), (768, 432), (640, 360), (416, 234))
"""Sizes that are tried, as far as the master has the pixels."""
NATIVE_BELOW = 0.9
"""The master's own size is tried too, if the largest of `BOXES` that fits is narrower than this share of it."""
SMALL_LINES = 432
"""The lowest rung has at most so many lines, for small screens and old devices."""
APART_RATE, APART_VMAF = 1.12, 0.5
"""How far neighbours of a codec lie apart in rate, as a ratio, and in VMAF."""
COVERAGE = 2.1
"""Least ratio of a codec's highest and lowest rate."""
DOUBLING_VMAF = 1.0
"""A rate from which twice the bits gain less than this is high enough."""
FINEST_CRF = {one.codec: one.finest_crf for one in VIDEO}
"""Lowest constant rate factor of a rung: below, only bits grow."""
BEYOND_TRIALS = {one.codec: one.beyond_trials_crf for one in VIDEO}
"""How far above the coarsest trial of a size, or below the finest, a rung's constant rate factor may lie."""
SMALLEST_BEYOND = 4
"""How many times as far for the smallest size: there is no smaller one to go to."""
ENOUGH_VMAF = 0.5
"""A rung this far below the VMAF wanted is good enough. Predictions are off by as much, nobody sees the difference, and
the last half point takes a tenth of the bits."""
WORTH = 0.02
"""Share of the bits that rungs of its own must be expected to save a codec. Of savings that are predicted, one or two
per cent may be an error; so for less than this, the pattern's rungs are the safer choice."""
LEAST_RUNGS = 3
"""Fewer rungs than this are no ladder."""
CAP, BUFFER = 2.0, 4 / 3
"""Cap over the average, at least, and buffer over the cap. A lower cap takes bits from the sync frames of pictures that
stand still, which then look worse until the next one (docs/adr/0086). Apple's HLS Authoring Specification allows twice
the average."""
LEAST_CAP = 1.1
LOWEST_AVC_CAP_KBPS = 128
"""With the lowest rung of sound this keeps the lowest H.264 variant within 192 kb/s: Apple, 9.21."""
NAME = "fitted"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one codec's rungs.

    Attributes:
        count: Number of rungs.
        lowest_kbps: Rate of the lowest one.
        highest_kbps: Rate that the highest one does not exceed.
        top_vmaf: VMAF that is good enough.
    """

    count: int
    lowest_kbps: float
    highest_kbps: float
    top_vmaf: float


@dataclass(frozen=True, slots=True)
class Titled:
    """A ladder for one title.

    Attributes:
        ladder: The ladder.
        spots: By codec, the place on the hull of each rung, ascending; empty where the pattern's rungs are kept.
        decisions: One line per decision.
    """

    ladder: Ladder
    spots: Mapping[Codec, tuple[CurvePoint, ...]]
    decisions: tuple[str, ...]


def check_renditions(ladder: Ladder, targets: Targets) -> None:
    """Refuse a number of renditions that is no ladder for each codec.

    Raises:
        ConfigError: There would be fewer than three for a codec.
    """
    codecs = _codecs(ladder)
    if targets.renditions is not None and targets.renditions < LEAST_RUNGS * len(codecs):
        raise ConfigError(
            f"--renditions {targets.renditions} is too few for {', '.join(codecs)}: give at least "
            f"{LEAST_RUNGS * len(codecs)}, or choose a ladder of fewer codecs"
        )


def candidates(ladder: Ladder, geometry: Geometry) -> Ladder:
    """The sizes that are tried of a title, as a ladder with one rung for each codec and size.

    Args:
        ladder: The pattern.
        geometry: Of the master's picture.

    Returns:
        Rungs without HDR and sound. A codec gets no size above its largest rung in the pattern. Cap and frame policy
        are those of the pattern's nearest rung.
    """
    fitting_boxes = [box for box in BOXES if _fits(box, geometry)]
    widest = max((fit_box(geometry.aspect, *box)[0] for box in fitting_boxes), default=0)
    boxes = list(fitting_boxes)
    if widest < NATIVE_BELOW * geometry.width_px:
        boxes.append(_own_box(geometry))
    rungs: list[VideoRung] = []
    for codec in _codecs(ladder):
        pattern = [rung for rung in ladder.video if rung.codec is codec and rung.range is RungRange.SDR]
        largest = max(rung.height_px for rung in pattern)
        own = {(rung.width_px, rung.height_px) for rung in pattern}
        mine = [box for box in boxes if box[1] <= largest] or [box for box in own if _fits(box, geometry)] or boxes[:1]
        for width_px, height_px in sorted(mine, key=lambda box: box[1]):
            near = min(pattern, key=lambda rung: (abs(math.log(rung.height_px / height_px)), -rung.average_kbps))
            rungs.append(replace(near, width_px=width_px, height_px=height_px, default=False))
    first = rungs[0]
    return replace(
        ladder,
        area_exponent=0.0,
        families=tuple(replace(family, at_most_25p=1.0, above_30p=1.0) for family in ladder.families),
        video=(replace(first, default=True), *rungs[1:]),
        audio=(),
        measured=True,
    )


def fit_candidates(ladder: Ladder, probe: Probe, frame_rate: Fraction) -> tuple[Ladder, tuple[VideoRendition, ...]]:
    """Apply `candidates` to a master.

    Returns:
        The candidates, and a rendition for each in the same order. Those that no level allows are left out of both.
    """
    assert probe.video is not None
    tried = candidates(ladder, upright(probe.video))
    made = fit(tried, replace(probe, audio=()), frame_rate=frame_rate).video
    by_place = {(r.codec, r.width_px, r.height_px): r for r in made}
    geometry = upright(probe.video)
    pairs = [
        (rung, by_place[place])
        for rung in tried.video
        if (place := (rung.codec, *fit_box(geometry.aspect, rung.width_px, rung.height_px))) in by_place
    ]
    return replace(tried, video=tuple(rung for rung, _ in pairs)), tuple(rendition for _, rendition in pairs)


def wanted_of(fixed: Fitted, *, renditions: int | None, top_vmaf: float) -> dict[Codec, Wanted]:
    """What is wanted of each codec, from what the pattern gives the same master.

    Args:
        fixed: The pattern applied to the master.
        renditions: SDR renditions of picture in all, shared out evenly; None for as many as the pattern gives.
        top_vmaf: VMAF that is good enough.
    """
    groups: dict[Codec, list[VideoRendition]] = {}
    for rendition in fixed.video:
        if not rendition.id.endswith("-hdr"):
            groups.setdefault(rendition.codec, []).append(rendition)
    counts = [len(group) for group in groups.values()]
    if renditions is not None:
        share, rest = divmod(renditions, len(groups))
        counts = [share + (place < rest) for place in range(len(groups))]
    return {
        codec: Wanted(
            max(LEAST_RUNGS, count),
            min(rendition.average_bps for rendition in group) / 1000,
            max(rendition.average_bps for rendition in group) / 1000,
            top_vmaf,
        )
        for (codec, group), count in zip(groups.items(), counts, strict=True)
    }


def titled(
    ladder: Ladder,
    tried: Ladder,
    hulls: Mapping[Codec, Hull],
    wanted: Mapping[Codec, Wanted],
    fixed: Fitted,
    *,
    frame_rate: Fraction,
    cap: float = CAP,
) -> Titled:
    """Place the rungs of a title.

    Args:
        ladder: The pattern: it gives sound, HDR, families, and where players start.
        tried: What `fit_candidates` returned; a hull's lines are the heights of these boxes.
        hulls: By codec, in the order of the pattern.
        wanted: By codec.
        fixed: The pattern applied to the master. A codec that would gain little or nothing by others keeps these rungs.
        frame_rate: Frames per second of the title.
        cap: Highest rate over the average.

    Returns:
        The ladder, sound by the rules.
    """
    boxes = {(rung.codec, rung.height_px): rung for rung in tried.video}
    rungs: list[VideoRung] = []
    spots: dict[Codec, tuple[CurvePoint, ...]] = {}
    decisions: list[str] = []
    for codec, want in wanted.items():
        placed = place(hulls[codec], codec, want) if codec in hulls else ()
        if reason := _reason_to_keep(placed, of_pattern(tried, hulls.get(codec), fixed, codec), want):
            decisions.append(f"{codec}: {reason}, so the rungs of {ladder.name} are kept")
            rungs += _of_pattern(ladder, [codec], RungRange.SDR, fixed.geometry.aspect, frame_rate)
            spots[codec] = ()
            continue
        if len(placed) < want.count:
            decisions.append(
                f"{codec}: {len(placed)} rungs instead of {want.count}: neighbours would differ by less than "
                f"{APART_VMAF} VMAF or {APART_RATE - 1:.0%} of the rate"
            )
        rungs += [_rung(boxes[codec, spot.lines], spot, cap) for spot in placed]
        spots[codec] = placed
    rungs += _of_pattern(ladder, set(Codec), RungRange.HDR, fixed.geometry.aspect, frame_rate)
    fitted = replace(
        ladder,
        name=f"{ladder.name}-{NAME}",
        summary=f"{ladder.name}, placed along the hulls of one title's trial encodes.",
        area_exponent=0.0,
        families=tried.families,
        video=_with_start(rungs, fixed),
        measured=True,
    )
    return Titled(fitted, spots, tuple(decisions))


def of_pattern(tried: Ladder, found: Hull | None, fixed: Fitted, codec: Codec) -> tuple[CurvePoint, ...]:
    """What the pattern's SDR rungs of a codec are predicted to come to, by rising rate.

    Args:
        tried: What `fit_candidates` returned.
        found: The codec's hull; nothing is predicted without one.
        fixed: The pattern applied to the master.
        codec: The codec.
    """
    if found is None:
        return ()
    aspect = fixed.geometry.aspect
    lines = {
        fit_box(aspect, rung.width_px, rung.height_px): rung.height_px for rung in tried.video if rung.codec is codec
    }
    spots = [
        estimated(found, lines.get((r.width_px, r.height_px), _box_lines(r)), r.crf, r.cap_bps / 1000)
        for r in fixed.video
        if r.codec is codec and not r.id.endswith("-hdr")
    ]
    return tuple(sorted(spots, key=lambda spot: spot.kbps))


def outline(hull: Hull, codec: Codec, steps: int) -> tuple[CurvePoint, ...]:
    """Places along the hull, ascending, for drawing: those that a rung may have and that no cheaper one beats."""
    front = _Table(hull, codec).front
    low, high = front[0].kbps, front[-1].kbps
    rates = [low * (high / low) ** (step / steps) for step in range(steps + 1)]
    places = [max(0, bisect_right(front, rate * 1.0001, key=lambda spot: spot.kbps) - 1) for rate in rates]
    return tuple(front[place] for place in dict.fromkeys(places))


# --- one codec ----------------------------------------------------------------------------------------------------


def place(hull: Hull, codec: Codec, wanted: Wanted) -> tuple[CurvePoint, ...]:
    """Place the rungs of one codec along its hull.

    The highest rung has the lowest of three rates: the one that reaches the VMAF wanted but for `ENOUGH_VMAF`, the
    highest that the pattern has, and the one from which a doubling gains next to nothing. The others follow in equal
    ratios of the rate. Sizes never fall as rates rise; among all such choices the one with the highest sum of VMAF is
    taken. Last, rungs that lie too close to the one above move down.

    Returns:
        Ascending; fewer than wanted where the hull has no room, and possibly none.
    """
    table = _Table(hull, codec)
    low, high = _range(table, wanted)
    rates = [low * (high / low) ** (step / (wanted.count - 1)) for step in range(wanted.count)]
    return _apart(table, _by_size(table, rates))


def _reason_to_keep(placed: Sequence[CurvePoint], pattern: Sequence[CurvePoint], wanted: Wanted) -> str:
    """Why the pattern's rungs are better kept than replaced; empty where they are not."""
    if len(placed) < LEAST_RUNGS:
        return "trials of all sizes look the same"
    beyond = pattern[-1].vmaf >= wanted.top_vmaf and pattern[-1].kbps * (1 - WORTH) > placed[-1].kbps
    if len(pattern) != wanted.count or beyond or inverted(pattern, tolerance=APART_VMAF):
        return ""
    saving = rate_saving(placed, pattern)
    if saving <= -WORTH:
        return ""
    return f"rungs of its own would save {max(0.0, -saving):.1%} of the bits at equal VMAF"


class _Table:
    """All places that a rung may have: each size at each constant rate factor that the encoder knows."""

    def __init__(self, hull: Hull, codec: Codec) -> None:
        self.sizes: list[list[CurvePoint]] = []
        step = 1.0 if codec in WHOLE_CRF else 0.1
        for number, curve in enumerate(hull.curves):
            beyond = BEYOND_TRIALS[codec]
            finest = max(FINEST_CRF[codec], curve.crfs[0] - beyond)
            further = beyond if number else SMALLEST_BEYOND * beyond
            coarsest = min(float(CRF_LIMITS[codec]), curve.crfs[-1] + further)
            count = round((coarsest - finest) / step)
            crfs = [round(coarsest - place * step, 1) for place in range(count + 1)]
            # Ascending by rate.
            self.sizes.append([curve.at(crf) for crf in crfs])
        self.spots = sorted((spot for size in self.sizes for spot in size), key=lambda spot: spot.kbps)
        self.front: list[CurvePoint] = []
        """Those that no cheaper one beats."""
        for spot in self.spots:
            if not self.front or spot.vmaf > self.front[-1].vmaf:
                self.front.append(spot)

    def nearest(self, size: int, kbps: float) -> CurvePoint | None:
        """The place of a size with about a rate; None where it can't have that."""
        spots = self.sizes[size]
        if not spots[0].kbps / 1.02 <= kbps <= spots[-1].kbps * 1.02:
            return None
        return min(spots, key=lambda spot: abs(math.log(spot.kbps / kbps)))

    def best_vmaf(self, kbps: float) -> float:
        """The highest quality that a rate buys."""
        return self.front[max(0, bisect_right(self.front, kbps, key=lambda spot: spot.kbps) - 1)].vmaf


def _range(table: _Table, wanted: Wanted) -> tuple[float, float]:
    """The lowest and the highest rate of a codec's rungs."""
    least, most = table.spots[0].kbps, table.front[-1].kbps
    enough = [spot.kbps for spot in table.front if spot.vmaf >= wanted.top_vmaf - ENOUGH_VMAF]
    high = min([most, wanted.highest_kbps, *enough[:1]])
    # From above: at low rates, quality may rest for a while before it rises again.
    ratio = 2 ** (1 / 8)
    while high / ratio > least and table.best_vmaf(2 * high / ratio) - table.best_vmaf(high / ratio) < DOUBLING_VMAF:
        high /= ratio
    high = max(high, least)
    low = max(least, min(wanted.lowest_kbps, high))
    span = max(COVERAGE, APART_RATE ** (wanted.count - 1))
    return max(least, min(low, high / span)), high


def _by_size(table: _Table, rates: Sequence[float]) -> list[CurvePoint]:
    """Choose a size for each rate by dynamic programming: never falling, the sum of VMAF highest."""
    nothing = -math.inf
    count = len(table.sizes)
    best: list[list[tuple[float, int]]] = []
    places: list[list[CurvePoint | None]] = []
    smallest = table.sizes[0][0].lines
    for rate in rates:
        row: list[tuple[float, int]] = []
        here = [table.nearest(size, rate) for size in range(count)]
        for size in range(count):
            spot = here[size]
            lines = table.sizes[size][0].lines
            if spot is None or (not best and lines > max(SMALL_LINES, smallest)):
                row.append((nothing, 0))
                continue
            if not best:
                row.append((spot.vmaf, size))
                continue
            before = max(range(size + 1), key=lambda smaller: (best[-1][smaller][0], -smaller))
            row.append((best[-1][before][0] + spot.vmaf, before))
        if all(value == nothing for value, _ in row):
            continue  # between the highest rate of a size and the lowest of the next
        best.append(row)
        places.append(here)
    if not best:
        return []
    size = max(range(count), key=lambda size: (best[-1][size][0], -size))
    chosen: list[CurvePoint] = []
    for row, here in zip(reversed(best), reversed(places), strict=True):
        spot = here[size]
        assert spot is not None
        chosen.append(spot)
        size = row[size][1]
    return chosen[::-1]


def _apart(table: _Table, chosen: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """Move rungs down that lie too close to the one above; what finds no place is left out."""
    if not chosen:
        return ()
    kept = [chosen[-1]]
    smallest = table.sizes[0][0].lines
    for number, spot in reversed(list(enumerate(chosen[:-1]))):
        above = kept[-1]
        # Averages are whole kb/s.
        limit = _kbps(above) / APART_RATE - 0.5
        if spot.kbps > limit or spot.vmaf > above.vmaf - APART_VMAF or spot.lines > above.lines:
            most_lines = max(SMALL_LINES, smallest) if number == 0 else above.lines
            lower = [
                other
                for other in table.spots
                if other.kbps <= min(limit, spot.kbps)
                and other.vmaf <= above.vmaf - APART_VMAF
                and other.lines <= min(above.lines, most_lines)
                and other.kbps >= 1
            ]
            if not lower:
                break
            finest = max(other.vmaf for other in lower)
            spot = min((other for other in lower if other.vmaf >= finest - 0.05), key=lambda other: other.kbps)
        kept.append(spot)
    kept = _with_small(table, kept[::-1])
    return tuple(kept)


def _with_small(table: _Table, kept: list[CurvePoint]) -> list[CurvePoint]:
    """Make sure that the lowest rung is small, and low enough beside the highest one."""
    small = max(SMALL_LINES, table.sizes[0][0].lines)
    while kept and (kept[0].lines > small or kept[0].kbps > kept[-1].kbps / COVERAGE):
        above = kept[1] if len(kept) > 1 else kept[0]
        limit = min(_kbps(above) / APART_RATE - 0.5, kept[-1].kbps / COVERAGE)
        lower = [
            spot
            for spot in table.spots
            if 1 <= spot.kbps <= limit
            and spot.lines <= min(small, above.lines)
            and spot.vmaf <= above.vmaf - APART_VMAF
        ]
        if lower:
            return [max(lower, key=lambda spot: spot.vmaf), *kept[1:]]
        kept = kept[1:]
    return kept


# --- rungs --------------------------------------------------------------------------------------------------------


def _kbps(spot: CurvePoint) -> int:
    return max(1, round(spot.kbps))


def _rung(box: VideoRung, spot: CurvePoint, cap: float) -> VideoRung:
    average = _kbps(spot)
    cap_kbps = max(math.ceil(LEAST_CAP * average), math.floor(cap * average))
    if box.codec is Codec.AVC and LEAST_CAP * average <= LOWEST_AVC_CAP_KBPS < cap_kbps and average < CELLULAR_KBPS:
        cap_kbps = LOWEST_AVC_CAP_KBPS
    return replace(
        box,
        average_kbps=average,
        cap_kbps=cap_kbps,
        buffer_kb=max(average, round(BUFFER * cap_kbps)),
        crf=spot.crf,
        default=False,
    )


def _of_pattern(
    ladder: Ladder, codecs: Iterable[Codec], range: RungRange, aspect: Fraction, frame_rate: Fraction
) -> Iterator[VideoRung]:
    """Rungs of the pattern as they stand, with all factors applied that it has for a title's picture."""
    wanted = frozenset(codecs)
    for rung in ladder.video:
        if rung.codec not in wanted or rung.range is not range:
            continue
        width_px, height_px = fit_box(aspect, rung.width_px, rung.height_px)
        share = width_px * height_px / (rung.width_px * rung.height_px)
        factor = rate_factor(ladder.family(rung.codec), float(frame_rate / divisor_of(rung, frame_rate)))
        average = max(1, round(rung.average_kbps * share**ladder.area_exponent * factor))
        cap = round(rung.cap_kbps * factor)
        buffer = max(average, min(round(rung.buffer_kb * factor), 2 * cap))
        yield replace(rung, average_kbps=average, cap_kbps=cap, buffer_kb=buffer, default=False)


def _with_start(rungs: Sequence[VideoRung], fixed: Fitted) -> tuple[VideoRung, ...]:
    """Mark where players start: at the rate at which they start in the pattern."""
    start = next(rendition for rendition in fixed.video if rendition.default)
    among = [rung for rung in rungs if rung.codec is start.codec and rung.range is RungRange.SDR]
    near = min(among, key=lambda rung: abs(math.log(rung.average_kbps * 1000 / start.average_bps)))
    return tuple(replace(rung, default=rung is near) for rung in rungs)


def _codecs(ladder: Ladder) -> tuple[Codec, ...]:
    return tuple(dict.fromkeys(rung.codec for rung in ladder.video if rung.range is RungRange.SDR))


def _fits(box: tuple[int, int], geometry: Geometry) -> bool:
    width_px, height_px = fit_box(geometry.aspect, *box)
    return width_px <= geometry.width_px + 2 and height_px <= geometry.height_px + 2


def _box_lines(rendition: VideoRendition) -> int:
    """Height of the box of 16:9, on its side for a portrait picture, that a picture fills: hulls count in these."""
    wide, high = sorted((rendition.width_px, rendition.height_px), reverse=True)
    return max(high, round(wide * 9 / 16))


def _own_box(geometry: Geometry) -> tuple[int, int]:
    """The smallest box of 16:9 that holds the master's own size, on its side."""
    wide, high = sorted((geometry.width_px, geometry.height_px), reverse=True)
    high = max(high, -(-wide * 9 // 16))
    return 2 * -(-high * 16 // 18), high + high % 2
