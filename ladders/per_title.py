"""A ladder for one title: rungs placed along the hulls of its own trial encodes.

It takes a ladder as the pattern, the hull of each of its codecs, and the targets. It returns a `Ladder`, so that the
rules check it and `ladders.fitting` applies it. Its averages are the trials' predictions for this title, so no factor
for size or frame rate applies to them. Pure.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from headend.core.codecs import VIDEO
from headend.core.errors import ConfigError
from headend.core.media import Codec, Probe, VideoRendition
from headend.core.settings import Targets
from headend.core.timing import ceil_div
from ladders.fitting import Fitted, divisor_of, fit
from ladders.geometry import Geometry, fit_box, upright
from ladders.hull import CurvePoint, Hull, estimated, inverted, rate_saving
from ladders.ladder import (
    Ladder,
    RungRange,
    VideoRung,
    rate_factor,
)
from ladders.placing import MIN_RUNGS, MIN_STEP_RATIO, MIN_STEP_VMAF, Wanted, place, whole_kbps
from ladders.rules import CELLULAR_KBPS

BOXES = (
    (3840, 2160), (2560, 1440), (1920, 1080), (1280, 720), (960, 540), (768, 432), (640, 360), (512, 288), (416, 234),
)  # fmt: skip
"""Sizes of trials, as far as the master has the pixels. Without 288 lines, titles of 400 to 720 lines took 1 to 2 %
more bits."""
SMALL_BOX, FEW_SIZES = (320, 180), 4
"""One more size, if fewer of `BOXES` fit: soft pictures of 360 lines took 3 % more bits without it."""
NATIVE_BELOW = 0.9
"""The master's own size gets trials, too, if the largest of `BOXES` that fits is narrower than this share of it."""
CRF_SCALE = {video.codec: video.crf_scale for video in VIDEO}
"""How to interpolate between the factors of trials; see `ladders.hull.hull`."""
BOUNDED = frozenset(video.codec for video in VIDEO if video.bound_shapes_quality)
"""Codecs whose cap changes how they spend bits."""
WORTH = 0.01
"""Smallest predicted saving, as a share of the bits, for which a codec gets its own rungs. Predictions have errors of
about one per cent, so for less than this the pattern's rungs are the safer choice."""
WORTH_BOUNDED = 0.03
"""The same for codecs whose cap changes how they spend bits, so that predictions are less certain."""
CAP, BUFFER = 2.0, 4 / 3
"""Smallest ratio of cap to average, and ratio of buffer to cap. A lower cap takes bits from the sync frames of static
pictures, which then look worse until the next one (docs/adr/0086). Apple's HLS Authoring Specification allows twice the
average."""
MIN_CAP = 1.1
MIN_AVC_CAP_KBPS = 128
"""Together with the lowest audio rung, this keeps the lowest H.264 variant within 192 kb/s: Apple, 9.21."""
NAME = "fitted"


@dataclass(frozen=True, slots=True)
class PerTitleLadder:
    """A ladder for one title.

    Attributes:
        ladder: The ladder.
        points: By codec, the point on the hull of each rung, ascending; empty if the pattern's rungs are kept.
        decisions: One line per decision.
    """

    ladder: Ladder
    points: Mapping[Codec, tuple[CurvePoint, ...]]
    decisions: tuple[str, ...]


def check_renditions(ladder: Ladder, targets: Targets) -> None:
    """Check that a requested number of renditions is enough for all codecs.

    Raises:
        ConfigError: There would be fewer than three for a codec.
    """
    codecs = _codecs(ladder)
    if targets.renditions is not None and targets.renditions < MIN_RUNGS * len(codecs):
        raise ConfigError(
            f"--renditions {targets.renditions} is too few for {', '.join(codecs)}: give at least "
            f"{MIN_RUNGS * len(codecs)}, or choose a ladder of fewer codecs"
        )


def candidates(ladder: Ladder, geometry: Geometry) -> Ladder:
    """The sizes to try for a title, as a ladder with one rung for each codec and size.

    Args:
        ladder: The pattern.
        geometry: Geometry of the master's picture.

    Returns:
        Rungs without HDR and sound. No size of a codec is above its largest rung in the pattern. Cap and frame policy
        are those of the pattern's nearest rung.
    """
    fitting_boxes = [box for box in BOXES if _fits(box, geometry)]
    if len(fitting_boxes) < FEW_SIZES and _fits(SMALL_BOX, geometry):
        fitting_boxes.append(SMALL_BOX)
    widest = max((fit_box(geometry.aspect, *box)[0] for box in fitting_boxes), default=0)
    boxes = list(fitting_boxes)
    if widest < NATIVE_BELOW * geometry.width_px:
        boxes.append(_own_box(geometry))
    rungs: list[VideoRung] = []
    for codec in _codecs(ladder):
        pattern = [rung for rung in ladder.video if rung.codec is codec and rung.range is RungRange.SDR]
        largest = max(rung.height_px for rung in pattern)
        own = {(rung.width_px, rung.height_px) for rung in pattern}
        codec_boxes = [box for box in boxes if box[1] <= largest]
        codec_boxes = codec_boxes or [box for box in own if _fits(box, geometry)] or boxes[:1]
        for width_px, height_px in sorted(codec_boxes, key=lambda box: box[1]):
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
        The candidates, and a rendition for each in the same order, without those that no level allows.
    """
    assert probe.video is not None
    tried = candidates(ladder, upright(probe.video))
    renditions = fit(tried, replace(probe, audio=()), frame_rate=frame_rate).video
    by_size = {(r.codec, r.width_px, r.height_px): r for r in renditions}
    geometry = upright(probe.video)
    pairs = [
        (rung, by_size[size])
        for rung in tried.video
        if (size := (rung.codec, *fit_box(geometry.aspect, rung.width_px, rung.height_px))) in by_size
    ]
    return replace(tried, video=tuple(rung for rung, _ in pairs)), tuple(rendition for _, rendition in pairs)


def wanted_of(fixed: Fitted, *, renditions: int | None, top_vmaf: float) -> dict[Codec, Wanted]:
    """The targets of each codec, from the pattern's renditions of the same master.

    Args:
        fixed: The pattern applied to the master.
        renditions: Total number of SDR video renditions, divided evenly; None for as many as the pattern has.
        top_vmaf: VMAF that is good enough.
    """
    groups: dict[Codec, list[VideoRendition]] = {}
    for rendition in fixed.video:
        if not rendition.id.endswith("-hdr"):
            groups.setdefault(rendition.codec, []).append(rendition)
    counts = [len(group) for group in groups.values()]
    if renditions is not None:
        share, rest = divmod(renditions, len(groups))
        counts = [share + (index < rest) for index in range(len(groups))]
    return {
        codec: Wanted(
            max(MIN_RUNGS, count),
            min(rendition.average_bps for rendition in group) / 1000,
            max(rendition.average_bps for rendition in group) / 1000,
            top_vmaf,
        )
        for (codec, group), count in zip(groups.items(), counts, strict=True)
    }


def make_ladder(
    ladder: Ladder,
    tried: Ladder,
    hulls: Mapping[Codec, Hull],
    wanted: Mapping[Codec, Wanted],
    fixed: Fitted,
    *,
    frame_rate: Fraction,
    cap: float = CAP,
) -> PerTitleLadder:
    """Place the rungs of a title.

    Args:
        ladder: The pattern: provides sound, HDR, families, and the rung where players start.
        tried: The result of `fit_candidates`; a hull's lines are the heights of these boxes.
        hulls: By codec, in the order of the pattern.
        wanted: Targets by codec.
        fixed: The pattern applied to the master. A codec that would gain little or nothing keeps these rungs.
        frame_rate: Frames per second of the title.
        cap: Ratio of cap to average.

    Returns:
        The ladder; it complies with the rules.
    """
    boxes = {(rung.codec, rung.height_px): rung for rung in tried.video}
    rungs: list[VideoRung] = []
    points: dict[Codec, tuple[CurvePoint, ...]] = {}
    decisions: list[str] = []
    for codec, want in wanted.items():
        pattern = of_pattern(tried, hulls.get(codec), fixed, codec)
        placed = place(hulls[codec], codec, want) if codec in hulls else ()
        if reason := _reason_to_keep(placed, pattern, want, WORTH_BOUNDED if codec in BOUNDED else WORTH):
            decisions.append(f"{codec}: {reason}, so the rungs of {ladder.name} are kept")
            rungs += _of_pattern(ladder, [codec], RungRange.SDR, fixed.geometry.aspect, frame_rate)
            points[codec] = ()
            continue
        if len(placed) < want.count:
            decisions.append(
                f"{codec}: {len(placed)} rungs instead of {want.count}: adjacent rungs would differ by less than "
                f"{MIN_STEP_VMAF} VMAF or {MIN_STEP_RATIO - 1:.0%} of the rate"
            )
        rungs += [_rung(boxes[codec, point.lines], point, cap) for point in placed]
        points[codec] = placed
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
    return PerTitleLadder(fitted, points, tuple(decisions))


def of_pattern(tried: Ladder, hull: Hull | None, fixed: Fitted, codec: Codec) -> tuple[CurvePoint, ...]:
    """The predicted results of the pattern's SDR rungs of a codec, by ascending rate.

    Args:
        tried: The result of `fit_candidates`.
        hull: The codec's hull; None gives no predictions.
        fixed: The pattern applied to the master.
        codec: The codec.
    """
    if hull is None:
        return ()
    aspect = fixed.geometry.aspect
    lines = {
        fit_box(aspect, rung.width_px, rung.height_px): rung.height_px for rung in tried.video if rung.codec is codec
    }
    points = [
        estimated(hull, lines.get((r.width_px, r.height_px), _box_lines(r)), r.crf, r.cap_bps / 1000)
        for r in fixed.video
        if r.codec is codec and not r.id.endswith("-hdr")
    ]
    return tuple(sorted(points, key=lambda point: point.kbps))


def _reason_to_keep(placed: Sequence[CurvePoint], pattern: Sequence[CurvePoint], wanted: Wanted, worth: float) -> str:
    """Why to keep the pattern's rungs; empty if they should be replaced."""
    if len(placed) < MIN_RUNGS:
        return "trials of all sizes look the same"
    beyond = pattern[-1].vmaf >= wanted.top_vmaf and pattern[-1].kbps * (1 - worth) > placed[-1].kbps
    if len(pattern) != wanted.count or beyond or inverted(pattern, tolerance=MIN_STEP_VMAF):
        return ""
    saving = -rate_saving(placed, pattern)
    if saving >= worth:
        return ""
    # Rounded down, so that it never reads like the limit.
    return f"rungs of its own would save {math.floor(max(0.0, saving) * 1000) / 1000:.1%} of the bits at equal VMAF"


def _rung(box: VideoRung, point: CurvePoint, cap: float) -> VideoRung:
    average = whole_kbps(point)
    cap_kbps = max(math.ceil(MIN_CAP * average), math.floor(cap * average))
    if box.codec is Codec.AVC and MIN_CAP * average <= MIN_AVC_CAP_KBPS < cap_kbps and average < CELLULAR_KBPS:
        cap_kbps = MIN_AVC_CAP_KBPS
    return replace(
        box,
        average_kbps=average,
        cap_kbps=cap_kbps,
        buffer_kb=max(average, round(BUFFER * cap_kbps)),
        crf=point.crf,
        default=False,
    )


def _of_pattern(
    ladder: Ladder, codecs: Iterable[Codec], range: RungRange, aspect: Fraction, frame_rate: Fraction
) -> Iterator[VideoRung]:
    """Rungs of the pattern, with its factors for the title's picture applied."""
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
    """Mark the rung where players start: the one nearest in rate to the pattern's."""
    start = next(rendition for rendition in fixed.video if rendition.default)
    same_codec = [rung for rung in rungs if rung.codec is start.codec and rung.range is RungRange.SDR]
    near = min(same_codec, key=lambda rung: abs(math.log(rung.average_kbps * 1000 / start.average_bps)))
    return tuple(replace(rung, default=rung is near) for rung in rungs)


def _codecs(ladder: Ladder) -> tuple[Codec, ...]:
    return tuple(dict.fromkeys(rung.codec for rung in ladder.video if rung.range is RungRange.SDR))


def _fits(box: tuple[int, int], geometry: Geometry) -> bool:
    width_px, height_px = fit_box(geometry.aspect, *box)
    return width_px <= geometry.width_px + 2 and height_px <= geometry.height_px + 2


def _box_lines(rendition: VideoRendition) -> int:
    """Height of the 16:9 box that a picture fills, in landscape orientation: the unit of a hull's sizes."""
    wide, high = sorted((rendition.width_px, rendition.height_px), reverse=True)
    return max(high, round(wide * 9 / 16))


def _own_box(geometry: Geometry) -> tuple[int, int]:
    """The smallest 16:9 box that holds the master's own size in landscape orientation."""
    wide, high = sorted((geometry.width_px, geometry.height_px), reverse=True)
    high = max(high, ceil_div(wide * 9, 16))
    return 2 * ceil_div(high * 16, 18), high + high % 2
