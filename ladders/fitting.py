"""Fitting: applies the rungs of a ladder to one master.

Everything is computed from the probe, without I/O. Each decision has a line in `Fitted.decisions`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from headend.core.codecs import Level
from headend.core.errors import MasterError
from headend.core.media import AudioRendition, Probe, VideoRange, VideoRendition, VideoTrack
from ladders.geometry import Geometry, fit_box, upright
from ladders.ladder import (
    CRF_LIMITS,
    WHOLE_CRF,
    Family,
    FramePolicy,
    Ladder,
    RungRange,
    VideoRung,
    is_hdr,
    rate_factor,
    rungs_text,
    video_id,
)
from ladders.levels import smallest_level
from ladders.programmes import fit_programmes

UPSCALE_TOLERANCE_PX = 2
"""How much a rendition may exceed the master's size, because sizes are rounded to even numbers."""
NATIVE_BELOW = Fraction(9, 10)
"""If the largest rung of a codec is narrower than this share of the master, rungs of the master's size are added."""
SECOND_NATIVE_RATIO = 0.7
"""Rate of the second rung of the master's size, relative to the first. Apple requires two variants at the highest
resolution (9.10)."""
RATE_STEP = 1.33
"""Rate ratio of adjacent added rungs, similar to that of the presets."""
MIN_LAST_STEP = 0.75
"""Minimum size of the last step of added rungs, as a share of a full step; a smaller one is spread over the others."""
MIN_CAP_SHARE = 0.8
"""A rung's cap is lowered to this share at most so that a lower level suffices; beyond that, it gets a higher level."""
LOWER_CAPS_FROM_LEVEL = 5.0
"""Lowest level for which caps are lowered: every device plays all levels below it."""

_DELIVERY = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg2video", "mpeg4"})


@dataclass(frozen=True, slots=True)
class Fitted:
    """A ladder applied to a master.

    Attributes:
        video: Best first within a codec and range; never empty.
        audio: By programme, in the master's order; empty if the master has none.
        decisions: One line per decision.
        geometry: How the encoder converts the master's picture before scaling.
    """

    video: tuple[VideoRendition, ...]
    audio: tuple[AudioRendition, ...]
    decisions: tuple[str, ...]
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class _Step:
    """A rung, with the size of the master's picture fitted into it. ``label`` stands for the size in the id."""

    rung: VideoRung
    label: str
    width_px: int
    height_px: int

    @property
    def area_px(self) -> int:
        return self.width_px * self.height_px


def fit(ladder: Ladder, probe: Probe, *, frame_rate: Fraction | None = None) -> Fitted:
    """Choose and compute the renditions of a master.

    Rungs stay unchanged even if the master's own bit rate is below their averages. With a constant rate factor, the
    encoder spends only what the picture needs, so such renditions come out below their averages and still differ from
    each other. Lower averages would merge rungs, and lower caps would degrade demanding scenes.

    Args:
        ladder: A valid ladder, as returned by `ladders.loading.load`.
        probe: Probe of the master.
        frame_rate: Frames per second of the output's grid, if different from the master's: fields per second of
            deinterlaced material.

    Returns:
        Renditions, decisions and geometry.

    Raises:
        MasterError: There is no picture, its size, pixel shape or frame rate is not above 0, a programme's channels are
            unknown, or no level of any codec allows the picture.

    Source:
        Apple, HLS Authoring Specification: 1.18 (keep the frame rate), 1.33 (one aspect ratio), 9.10 (two variants at
        the highest resolution).
    """
    track = probe.video
    if track is None:
        raise MasterError(f"{probe.master.url} has no picture; give a file with a video track")
    geometry = upright(track)
    rate = track.frame_rate if frame_rate is None else frame_rate
    if rate <= 0:
        raise MasterError(f"the picture has {rate} frames per second; give a master with a frame rate")
    decisions = [*_describe_geometry(track, geometry)]
    video = _fit_video(ladder, track, geometry, rate, decisions)
    audio = fit_programmes(ladder.audio, probe.audio, decisions)
    return Fitted(video, audio, tuple(decisions), geometry)


def _fit_video(
    ladder: Ladder, track: VideoTrack, geometry: Geometry, rate: Fraction, decisions: list[str]
) -> tuple[VideoRendition, ...]:
    applicable = [rung for rung in ladder.video if rung.range is RungRange.SDR or is_hdr(track.video_range)]
    if len(applicable) < len(ladder.video):
        decisions.append(f"SDR master: {rungs_text(len(ladder.video) - len(applicable))} for HDR dropped")
    steps: list[_Step] = []
    groups = dict.fromkeys((rung.codec, rung.range) for rung in applicable)
    dropped = 0
    for group in groups:
        all_steps = [_step(rung, geometry) for rung in applicable if (rung.codec, rung.range) == group]
        fitting = [step for step in all_steps if _fits(step, geometry)]
        too_large = [step for step in all_steps if not _fits(step, geometry)]
        added = _added(ladder, geometry, fitting, too_large)
        dropped += len(too_large)
        steps += sorted(fitting + added, key=lambda step: (step.area_px, step.rung.average_kbps), reverse=True)
        if added:
            decisions.append(f"{rungs_text(len(added))} of {_size(added[0])} added for {_group(added[0].rung)}")
    if dropped:
        decisions.append(
            f"source {geometry.width_px}x{geometry.height_px}: {rungs_text(dropped)} larger than it dropped"
        )
    rendered = [(step, _rendition(ladder, step, track.video_range, rate, decisions)) for step in steps]
    renditions = [(step.rung, rendition) for step, rendition in rendered if rendition]
    if not renditions:
        raise MasterError(
            f"no level of any codec allows {geometry.width_px}x{geometry.height_px} at {_fps(rate)} frames per second; "
            "conform the master to a lower rate"
        )
    decisions += _describe_rates(rate, [rendition for _, rendition in renditions])
    decisions += _describe_master_rate(track, [rendition for _, rendition in renditions])
    return _mark_default(ladder, renditions, decisions)


def _step(rung: VideoRung, geometry: Geometry) -> _Step:
    return _Step(rung, f"{rung.height_px}p", *fit_box(geometry.aspect, rung.width_px, rung.height_px))


def _fits(step: _Step, geometry: Geometry) -> bool:
    return (
        step.width_px <= geometry.width_px + UPSCALE_TOLERANCE_PX
        and step.height_px <= geometry.height_px + UPSCALE_TOLERANCE_PX
    )


def _added(ladder: Ladder, geometry: Geometry, fitting: Sequence[_Step], too_large: Sequence[_Step]) -> list[_Step]:
    """Rungs to add for a codec that loses rungs because they are larger than the master.

    The lost rungs are those with the best quality. Rungs of the largest size that fits replace them, with quality up to
    the finest ``crf`` of the lost ones. If no rung has about the master's size, the added ones get the master's size.
    """
    if not too_large:
        return []
    best = max(fitting, key=lambda step: (step.area_px, step.rung.average_kbps), default=None)
    family = ladder.family(too_large[0].rung.codec)
    finest = min(step.rung.crf for step in (*fitting, *too_large))
    if best and best.width_px >= NATIVE_BELOW * geometry.width_px:
        return _finer(best, family, finest)
    size_px = (geometry.width_px, geometry.height_px)
    above = min(too_large, key=lambda step: (step.area_px, step.rung.average_kbps))
    share = min(1.0, geometry.width_px * geometry.height_px / above.area_px)
    average, crf = _average_kbps(ladder, above) * share**ladder.area_exponent, above.rung.crf

    def native(average_kbps: float, crf: float) -> _Step:
        rung = _resized(above.rung, size_px, average_kbps, crf)
        return _Step(rung, f"{size_px[0]}x{size_px[1]}", *size_px)

    if best is None:
        # The master is smaller than the smallest rung, so this is the only one.
        return [native(average * 2 ** ((crf - finest) / family.crf_per_halving), finest)]
    least = RATE_STEP * _average_kbps(ladder, best)
    if average < least:
        average, crf = least, max(finest, crf - family.crf_per_halving * math.log2(least / average))
    first = native(average, crf)
    if finer := _finer(first, family, finest):
        return [first, *finer]
    # Two variants at the highest resolution, neither cheaper than the next smaller size.
    ratio = (
        SECOND_NATIVE_RATIO
        if SECOND_NATIVE_RATIO * average >= RATE_STEP * _average_kbps(ladder, best)
        else 1 / SECOND_NATIVE_RATIO
    )
    return [first, native(ratio * average, crf - family.crf_per_halving * math.log2(ratio))]


def _finer(step: _Step, family: Family, finest: float) -> list[_Step]:
    """Rungs of the step's size with better quality, down to the ``finest`` crf; the coarsest first."""
    span = step.rung.crf - finest
    added = int(span / (family.crf_per_halving * math.log2(RATE_STEP)) + 1 - MIN_LAST_STEP)
    rungs = []
    for number in range(1, added + 1):
        crf = round(step.rung.crf - span * number / added, 0 if family.codec in WHOLE_CRF else 1)
        average_kbps = step.rung.average_kbps * 2 ** ((step.rung.crf - crf) / family.crf_per_halving)
        rungs.append(_resized(step.rung, (step.rung.width_px, step.rung.height_px), average_kbps, crf))
    return [replace(step, rung=rung) for rung in rungs]


def _resized(like: VideoRung, size_px: tuple[int, int], average_kbps: float, crf: float) -> VideoRung:
    """A rung with another size and rate; its cap and buffer keep their ratio to the average."""
    factor = average_kbps / like.average_kbps
    width_px, height_px = sorted(size_px, reverse=True)
    return replace(
        like,
        width_px=width_px,
        height_px=height_px,
        average_kbps=max(1, round(average_kbps)),
        cap_kbps=max(2, round(like.cap_kbps * factor)),
        buffer_kb=max(2, round(like.buffer_kb * factor)),
        crf=min(float(CRF_LIMITS[like.codec]), round(crf, 0 if like.codec in WHOLE_CRF else 1)),
        default=False,
    )


def _average_kbps(ladder: Ladder, step: _Step) -> float:
    """The rung's average at 30 frames per second, for the share of the box's area that the picture fills."""
    share = step.area_px / (step.rung.width_px * step.rung.height_px)
    return float(step.rung.average_kbps * share**ladder.area_exponent)


def _rendition(
    ladder: Ladder, step: _Step, master_range: VideoRange, rate: Fraction, decisions: list[str]
) -> VideoRendition | None:
    rung, family = step.rung, ladder.family(step.rung.codec)
    divisor = divisor_of(rung, rate)
    frame_rate = rate / divisor
    factor = rate_factor(family, float(frame_rate))
    average_kbps = max(1, round(_average_kbps(ladder, step) * factor))
    cap_kbps = max(average_kbps + 1, round(rung.cap_kbps * factor))
    hdr = rung.range is RungRange.HDR
    id = video_id(rung.codec, step.label, average_kbps, hdr=hdr)
    level = _level(step, frame_rate, average_kbps, cap_kbps)
    if level is None:
        decisions.append(f"{id}: dropped, no level of {rung.codec} allows {_size(step)} at {_fps(frame_rate)}p")
        return None
    if cap_kbps > level.bit_rate_kbps:
        decisions.append(f"{id}: cap {cap_kbps} kb/s lowered to {level.bit_rate_kbps}, the limit of level {level.name}")
    return VideoRendition(
        id=id,
        codec=rung.codec,
        width_px=step.width_px,
        height_px=step.height_px,
        frame_rate=frame_rate,
        rate_divisor=divisor,
        average_bps=1000 * average_kbps,
        cap_bps=1000 * min(cap_kbps, level.bit_rate_kbps),
        # The rate model's buffer may not exceed that of the level's decoder.
        buffer_bits=1000 * min(round(rung.buffer_kb * factor), level.buffer_kb),
        crf=rung.crf,
        profile=family.profile,
        level=level.name,
        pixel_format="yuv420p10le" if family.bit_depth == 10 else "yuv420p",
        video_range=master_range if hdr else VideoRange.SDR,
    )


def divisor_of(rung: VideoRung, rate: Fraction) -> int:
    """2 for masters above 60 frames per second, and for low rungs of masters above 30; else 1."""
    nominal = round(rate)
    return 2 if nominal > 60 or (nominal > 30 and rung.frame_rate is FramePolicy.AT_MOST_30) else 1


def _level(step: _Step, frame_rate: Fraction, average_kbps: int, cap_kbps: int) -> Level | None:
    """The smallest level that allows the cap, or a slightly lower one.

    Devices declare the levels that they play. If the cap of a UHD rung is a few per cent above the limit of HEVC's
    level 5.0, lowering the cap is better than raising the level, because more devices play the result.
    """
    size = (step.rung.codec, step.width_px, step.height_px, frame_rate)
    level = smallest_level(*size)
    if (
        level
        and float(level.name) >= LOWER_CAPS_FROM_LEVEL
        and level.bit_rate_kbps >= max(MIN_CAP_SHARE * cap_kbps, 1.1 * average_kbps)
    ):
        return level
    return smallest_level(*size, cap_kbps)


def _mark_default(
    ladder: Ladder, renditions: Sequence[tuple[VideoRung, VideoRendition]], decisions: list[str]
) -> tuple[VideoRendition, ...]:
    """Mark the ladder's default rung; if it was dropped, the one with the nearest rate in its codec and range."""
    default = next(rung for rung in ladder.video if rung.default)

    def distance(number: int) -> tuple[bool, bool, float]:
        rung = renditions[number][0]
        same_group = (rung.codec, rung.range) == (default.codec, default.range)
        return rung is not default, not same_group, abs(math.log(rung.average_kbps / default.average_kbps))

    chosen = min(range(len(renditions)), key=distance)
    if renditions[chosen][0] is not default:
        decisions.append(f"default rung {default.id} was dropped: players start with {renditions[chosen][1].id}")
    return tuple(replace(rendition, default=n == chosen) for n, (_, rendition) in enumerate(renditions))


def _describe_geometry(track: VideoTrack, geometry: Geometry) -> Iterator[str]:
    if track.sample_aspect_ratio != 1:
        shape = f"{track.sample_aspect_ratio.numerator}:{track.sample_aspect_ratio.denominator}"
        square = f"{geometry.square_width_px}x{geometry.square_height_px}"
        yield f"source {track.width_px}x{track.height_px} with {shape} pixels: converted to square pixels, {square}"
    if track.mirrored:
        yield "picture mirrored: left and right are swapped"
    if geometry.rotation_deg:
        yield f"picture rotated by {geometry.rotation_deg} degrees: {geometry.width_px}x{geometry.height_px} upright"
    if geometry.aspect < 1:
        yield f"portrait picture {geometry.width_px}x{geometry.height_px}: boxes are rotated"


def _describe_rates(rate: Fraction, renditions: Sequence[VideoRendition]) -> Iterator[str]:
    halved = [rendition for rendition in renditions if rendition.rate_divisor == 2]
    if halved:
        largest = max(halved, key=lambda rendition: rendition.width_px * rendition.height_px)
        some = "" if len(halved) == len(renditions) else f" up to {largest.width_px}x{largest.height_px}"
        yield f"{_fps(rate)}p: {rungs_text(len(halved))}{some} at {_fps(rate / 2)}p, every second frame"


def _describe_master_rate(track: VideoTrack, renditions: Sequence[VideoRendition]) -> Iterator[str]:
    if track.codec not in _DELIVERY or track.intra_only or not track.bit_rate_bps:
        return
    above = [rendition for rendition in renditions if rendition.average_bps > track.bit_rate_bps]
    if above:
        yield (
            f"master is {track.codec} at {track.bit_rate_bps // 1000} kb/s: {rungs_text(len(above))} with higher "
            "averages kept, as encoders spend only what the picture needs"
        )


def _fps(rate: Fraction) -> str:
    return f"{float(rate):.2f}".rstrip("0").rstrip(".")


def _size(step: _Step) -> str:
    return f"{step.width_px}x{step.height_px}"


def _group(rung: VideoRung) -> str:
    return f"{rung.codec} {rung.range.upper()}" if rung.range is RungRange.HDR else str(rung.codec)
