"""Compares encoder presets: CPU per frame and size at equal VMAF.

Each preset encodes raw frames of real clips at several constant rate factors, without a cap. Two presets are compared
over the range of VMAF that both reach: the mean log ratio of their sizes, interpolated linearly between the points (log
of size over VMAF), as in G. Bjøntegaard, VCEG-M33, but with lines instead of cubics.
"""

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import charts, clips, renditions, vmaf
from encoder.families import Options
from headend.core.media import Codec, Effort

FRAMES, QUICK_FRAMES = 48, 8
SCORE_EVERY = vmaf.SCORE_EVERY
"""Score one frame in this many."""
CLIPS = {clips.FILM: (960, 540), clips.STREET: (640, 272)}
"""Films and their encoded sizes."""
CRFS: Mapping[Codec, tuple[int, ...]] = {
    Codec.AVC: (20, 25, 30),
    Codec.HEVC: (22, 27, 32),
    Codec.AV1: (30, 42, 54),
    Codec.VP9: (30, 42, 54),
}


def _x26x_presets(*names: str) -> dict[str, Options]:
    return {name: {"preset": name} for name in names}


PRESETS: Mapping[Codec, dict[str, Options]] = {
    Codec.AVC: _x26x_presets("superfast", "veryfast", "faster", "fast", "medium", "slow", "slower"),
    Codec.HEVC: _x26x_presets("ultrafast", "superfast", "veryfast", "fast", "medium", "slow"),
    Codec.AV1: {str(preset): {"preset": preset} for preset in (9, 8, 7, 6, 5, 4)},
    Codec.VP9: {
        **{f"realtime {speed}": {"deadline": "realtime", "cpu-used": speed} for speed in (8, 7, 6)},
        **{f"good {speed}": {"deadline": "good", "cpu-used": speed} for speed in (5, 4, 3, 2)},
    },
}
"""Compared presets, fastest first."""
REFERENCE = {Codec.AVC: "medium", Codec.HEVC: "medium", Codec.AV1: "7", Codec.VP9: "good 4"}
"""Reference preset of each codec."""
CAP_OPTIONS = ("maxrate", "bufsize", "pass")
"""Options that limit the rate; they are left out, so that only the constant rate factor counts."""
FRAME_RATE = Fraction(clips.FRAME_RATE)


@dataclass(frozen=True, slots=True)
class Point:
    """One encode.

    Attributes:
        clip: The film.
        crf: Constant rate factor.
        cpu_s: CPU seconds.
        bytes: Size.
        vmaf: Mean VMAF.
    """

    clip: str
    crf: int
    cpu_s: float
    bytes: int
    vmaf: float


@dataclass(frozen=True, slots=True)
class Row:
    """Result of a preset.

    Attributes:
        codec: Codec.
        preset: Name of the preset.
        efforts: Efforts that use it.
        cpu_ms: CPU milliseconds per frame and million pixels, mean of all encodes.
        size: Size at equal VMAF relative to the reference preset; mean of the clips.
        against_avc: Size at equal VMAF relative to H.264's reference preset.
        best: Whether no other preset of the codec is both faster and smaller.
        points: All encodes.
    """

    codec: Codec
    preset: str
    efforts: tuple[Effort, ...]
    cpu_ms: float
    size: float
    against_avc: float
    best: bool
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """All presets.

    Attributes:
        frames: Frames per clip.
        model: VMAF model.
        rows: Presets by codec, fastest first.
    """

    frames: int
    model: str
    rows: tuple[Row, ...]


def measure(
    codecs: Collection[Codec],
    *,
    quick: bool,
    earlier: Report | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Encode and score all presets of some codecs, with one encode per core.

    Args:
        codecs: Codecs, at least one.
        quick: Use a third of a second per clip: a functional check, not a measurement.
        earlier: Result of an earlier run, whose other codecs are kept.
        on_step: Called with a description of each step.

    Raises:
        ConfigError: The clips are not installed.
        ToolFailed: FFmpeg failed.
    """
    frames = QUICK_FRAMES if quick else FRAMES
    kept = earlier.rows if earlier and earlier.frames == frames else ()
    points = {(row.codec, row.preset): row.points for row in kept if row.codec not in codecs}
    cores = len(os.sched_getaffinity(0))
    with TemporaryDirectory(prefix="headend-bench-") as name, ThreadPoolExecutor(cores) as pool:
        # All presets are also compared with H.264's reference, so it always has to run.
        for codec in codecs if (Codec.AVC, REFERENCE[Codec.AVC]) in points else sorted({Codec.AVC, *codecs}):
            raw_clips = {clip: _raw_frames(clip, codec, frames, Path(name)) for clip in CLIPS}
            for preset, options in PRESETS[codec].items():
                if codec in codecs or preset == REFERENCE[codec]:
                    on_step(f"{codec} {preset}")
                    encode = partial(_encode, codec, options, frames)
                    settings = [(clip, path, crf) for clip, path in raw_clips.items() for crf in CRFS[codec]]
                    points[codec, preset] = tuple(pool.map(encode, *zip(*settings, strict=True)))
    ordered = {key: points[key] for key in ((c, p) for c in PRESETS for p in PRESETS[c]) if key in points}
    return Report(frames, vmaf.MODEL, tuple(_rows(ordered, frames)))


def _raw_frames(clip: str, codec: Codec, frames: int, folder: Path) -> Path:
    width, height = CLIPS[clip]
    path = folder / f"{clip}-{renditions.pixel_format_of(codec)}.yuv"
    steps = f"zscale={width}:{height}:filter=lanczos,format={renditions.pixel_format_of(codec)}"
    film = str(clips.locate(clip))
    clips.ffmpeg("-i", film, "-map", "0:v", "-frames:v", str(frames), "-vf", steps, "-f", "rawvideo", str(path))
    return path


def _encode(codec: Codec, preset: Options, frames: int, clip: str, raw_clip: Path, crf: int) -> Point:
    size_px, pixel_format = CLIPS[clip], renditions.pixel_format_of(codec)
    source = vmaf.raw_input(raw_clip, size_px, pixel_format)
    encoded = raw_clip.with_suffix(f".{crf}.mp4")
    chosen = renditions.options(renditions.rendition(codec, size_px, FRAME_RATE, crf), Effort.STANDARD, vmaf.GOP_FRAMES)
    uncapped = {name: value for name, value in chosen.items() if name not in CAP_OPTIONS} | preset
    if codec is Codec.VP9:
        uncapped["b:v"] = 0
    done = clips.ffmpeg("-r", str(FRAME_RATE), *source, *renditions.words(uncapped), str(encoded))
    scores = vmaf.scores([vmaf.file_input(encoded)], source, size_px, frames, every=SCORE_EVERY)
    return Point(clip, crf, done.cpu_s, encoded.stat().st_size, mean(scores))


def _rows(points: Mapping[tuple[Codec, str], tuple[Point, ...]], frames: int) -> list[Row]:
    avc = points[Codec.AVC, REFERENCE[Codec.AVC]]
    rows = [
        Row(
            codec,
            preset,
            tuple(effort for effort in Effort if _preset_options_of(codec, effort) == PRESETS[codec][preset]),
            cpu_ms=mean(1e9 * p.cpu_s / frames / math.prod(CLIPS[p.clip]) for p in mine),
            size=relative_size(mine, points[codec, REFERENCE[codec]]),
            against_avc=relative_size(mine, avc),
            best=False,
            points=mine,
        )
        for (codec, preset), mine in points.items()
    ]
    return [replace(row, best=not any(_dominates(other, row) for other in rows)) for row in rows]


def _preset_options_of(codec: Codec, effort: Effort) -> Options:
    chosen = renditions.options(renditions.rendition(codec, (640, 360), FRAME_RATE), effort, vmaf.GOP_FRAMES)
    return {name: chosen[name] for name in ("preset", "deadline", "cpu-used") if name in chosen}


def _dominates(other: Row, row: Row) -> bool:
    return other.codec is row.codec and other.cpu_ms < row.cpu_ms and other.size < row.size


def relative_size(mine: Sequence[Point], theirs: Sequence[Point]) -> float:
    """Return the size at equal VMAF relative to another preset: the geometric mean over the clips that both encoded.

    Clips whose ranges of VMAF don't overlap are skipped; the result is 1 if no clip is left.
    """
    logs = [
        ratio
        for clip in dict.fromkeys(point.clip for point in mine)
        if (ratio := _log_ratio([p for p in mine if p.clip == clip], [p for p in theirs if p.clip == clip])) is not None
    ]
    return math.exp(mean(logs)) if logs else 1.0


def _log_ratio(mine: Sequence[Point], theirs: Sequence[Point]) -> float | None:
    if not theirs:
        return None
    low = max(min(p.vmaf for p in mine), min(p.vmaf for p in theirs))
    high = min(max(p.vmaf for p in mine), max(p.vmaf for p in theirs))
    if high <= low:
        return None
    at = np.linspace(low, high, 50)

    def log_sizes(points: Sequence[Point]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        ordered = sorted(points, key=lambda point: point.vmaf)
        return np.interp(at, [p.vmaf for p in ordered], [math.log(p.bytes) for p in ordered])

    return float(np.mean(log_sizes(mine) - log_sizes(theirs)))


def draw(report: Report, path: Path) -> None:
    """Draw each codec's presets and their Pareto frontier.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    codecs = list(dict.fromkeys(row.codec for row in report.rows))
    names = {Codec.AVC: "H.264", Codec.HEVC: "H.265", Codec.AV1: "AV1", Codec.VP9: "VP9"}
    titles = [f"{names[codec]}: size at equal VMAF over CPU" for codec in codecs]
    with charts.panels(path, titles, "Cost and size of encoder presets") as axes:
        for axis, codec in zip(axes, codecs, strict=True):
            rows = [row for row in report.rows if row.codec is codec]
            frontier = sorted((row for row in rows if row.best), key=lambda row: row.cpu_ms)
            axis.plot([row.cpu_ms for row in frontier], [row.size for row in frontier], "-", color=charts.OTHERS)
            for index, row in enumerate(sorted(rows, key=lambda row: row.cpu_ms)):
                colour = charts.OURS if row.efforts else charts.OTHERS
                axis.plot(row.cpu_ms, row.size, "o", color=colour)
                label = row.preset + "".join(f" ({effort})" for effort in row.efforts)
                # Alternate labels above and below the points.
                aside = (-5, -11) if index % 2 else (5, 4)
                side = "right" if index % 2 else "left"
                axis.annotate(label, (row.cpu_ms, row.size), aside, textcoords="offset points", fontsize=8, ha=side)
            axis.set_xscale("log")
            axis.margins(x=0.2, y=0.15)
            low, high = axis.get_xlim()
            axis.set_xticks(ticks := [ms for ms in (25, 50, 100, 200, 400, 800) if low < ms < high], map(str, ticks))
            axis.minorticks_off()
            axis.set_xlabel("CPU ms per frame and million pixels")
            axis.set_ylabel(f"size relative to {REFERENCE[codec]}")
