"""Whether speed is bought with quality, and whether anyone can see where a film was cut.

Two parts. The ladder: what six rungs look like for their size beside one FFmpeg with all outputs, and what the scaling
cascade costs against scaling from the master. The joins: what cutting a film into chunks costs against encoding it
whole, with each video codec.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import charts, clips, vmaf, ways
from benchmarks.clips import FRAME_RATE, Mezzanine
from headend.media import Codec, Effort, VideoRendition
from ladders.ladder import RungRange, VideoRung

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE_PX = (1920, 1080)
FRAMES, QUICK_FRAMES = 96, 48
SCALING_FRAMES = 24
JOINS_SIZE_PX = (640, 360)
JOINS_FRAMES, QUICK_JOINS_FRAMES = 24 * FRAME_RATE, 8 * FRAME_RATE
CHUNK_S, QUICK_CHUNK_S = 6, 4
EVERY = 3
"""Each third frame is scored."""
CASCADE_TARGET, CHUNKED_TARGET, JOIN_TARGET, SIZE_TARGET = 0.2, 0.2, 2.0, 0.02
"""How much worse, in VMAF, the cascade, the mean of a chunked film, and the worst second at a join may be; and by what
share the sizes of a chunked and a whole film may differ."""
PARTS = ("ladder", "joins")


@dataclass(frozen=True, slots=True)
class Result:
    """What a way has made of a rung.

    Attributes:
        bytes: Size.
        vmaf: Mean over time.
    """

    bytes: int
    vmaf: float


@dataclass(frozen=True, slots=True)
class Rung:
    """A rung of the ladder.

    Attributes:
        rendition: Its id.
        headend: As headend makes it.
        peer: By one FFmpeg with all outputs.
        cascade_vmaf: Before encoding, scaled step by step.
        direct_vmaf: Before encoding, scaled from the master by the same filter.
    """

    rendition: str
    headend: Result
    peer: Result
    cascade_vmaf: float
    direct_vmaf: float

    @property
    def cascade_loss(self) -> float:
        """What the cascade takes from the picture; negative where it is better."""
        return self.direct_vmaf - self.cascade_vmaf

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.cascade_loss < CASCADE_TARGET


@dataclass(frozen=True, slots=True)
class Joined:
    """A rendition, in chunks and whole.

    Attributes:
        rendition: Its id.
        chunked: In chunks.
        whole: In one piece.
        join_loss: How much worse the worst second around a join is in chunks than in one piece, in VMAF. The same
            second is compared, since neighbours show other pictures.
    """

    rendition: str
    chunked: Result
    whole: Result
    join_loss: float

    @property
    def loss(self) -> float:
        """What chunks take from the mean."""
        return self.whole.vmaf - self.chunked.vmaf

    @property
    def growth(self) -> float:
        """By what share chunks make the rendition larger."""
        return self.chunked.bytes / self.whole.bytes - 1

    @property
    def met(self) -> bool:
        """Whether all targets are reached."""
        return self.loss < CHUNKED_TARGET and self.join_loss < JOIN_TARGET and abs(self.growth) < SIZE_TARGET


@dataclass(frozen=True, slots=True)
class Report:
    """Both parts; one that has not been run is empty.

    Attributes:
        effort: The encoders' presets.
        model: Of VMAF.
        ladder: In order of the ladder.
        joins: By codec.
    """

    effort: Effort
    model: str
    ladder: tuple[Rung, ...] = ()
    joins: tuple[Joined, ...] = ()


def measure(
    parts: Collection[str],
    *,
    quick: bool,
    earlier: Report | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Encode and score.

    Args:
        parts: Some of `PARTS`.
        quick: Shorter films.
        earlier: What an earlier run has found; its other part is kept.
        on_step: Told what runs.

    Raises:
        ConfigError: The film is not installed.
        ToolFailed: FFmpeg failed.
    """
    ladder, joins = (earlier.ladder, earlier.joins) if earlier else ((), ())
    with TemporaryDirectory(prefix="headend-bench-") as name:
        if "ladder" in parts:
            ladder = tuple(_ladder(Path(name), QUICK_FRAMES if quick else FRAMES, on_step))
    with TemporaryDirectory(prefix="headend-bench-") as name:
        if "joins" in parts:
            lengths = (QUICK_JOINS_FRAMES, QUICK_CHUNK_S) if quick else (JOINS_FRAMES, CHUNK_S)
            joins = tuple(_joins(Path(name), *lengths, on_step))
    return Report(Effort.DRAFT, vmaf.MODEL, ladder, joins)


# --- the ladder ---------------------------------------------------------------------------------------------------


def _ladder(folder: Path, frames: int, on_step: Callable[[str], None]) -> Iterator[Rung]:
    """Six H.264 rungs of a ProRes master."""
    on_step("making the master")
    master = clips.make_master(Mezzanine.PRORES, clips.locate(), folder, frames, SIZE_PX)
    job = ways.job_for(master, "web", lambda _: True, Effort.DRAFT, chunk_s=Fraction(frames))
    on_step("encoding")
    for way in ("headend", "peer", "ready"):
        (folder / way).mkdir()
    ways.headend(job, folder / "headend", slots=1)
    ways.together(job, folder / "peer")
    ready = ways.ready_frames(job, folder / "ready")
    reference = vmaf.file_input(master)
    for rendition in job.renditions:
        on_step(f"scoring {rendition.id}")
        name = f"{rendition.id}.mp4"
        yield Rung(
            rendition.id,
            _judge([folder / "headend" / "0" / name], reference, SIZE_PX, frames)[0],
            _judge([folder / "peer" / name], reference, SIZE_PX, frames)[0],
            cascade_vmaf=_scaled(rendition, ready[rendition.id], reference),
            direct_vmaf=_scaled(rendition, master, reference),
        )


def _scaled(rendition: VideoRendition, source: Path, reference: list[str]) -> float:
    """Score frames before encoding: raw ones as they are, the master's after scaling them in one step."""
    size_px = (rendition.width_px, rendition.height_px)
    raw = source.suffix == ".yuv"
    shown = vmaf.raw_input(source, size_px, rendition.pixel_format) if raw else vmaf.file_input(source)
    step = f"zscale={size_px[0]}:{size_px[1]}:filter=lanczos:dither=ordered,format={rendition.pixel_format}"
    filters = f"trim=end_frame={SCALING_FRAMES}" + ("" if raw else f",{step}")
    return mean(vmaf.scores([shown], reference, SIZE_PX, SCALING_FRAMES, filters, every=EVERY))


# --- the joins ----------------------------------------------------------------------------------------------------


def _joins(folder: Path, frames: int, chunk_s: int, on_step: Callable[[str], None]) -> Iterator[Joined]:
    """One rung of each codec."""
    on_step("making the film")
    film = clips.make_master(Mezzanine.H264, clips.locate(), folder, frames, JOINS_SIZE_PX)
    chunked, whole = (
        ways.job_for(film, "studio", _one_of_each_codec(), Effort.DRAFT, chunk_s=Fraction(length_s))
        for length_s in (chunk_s, frames)
    )
    for name, job in (("chunked", chunked), ("whole", whole)):
        on_step(f"encoding, {name}")
        (folder / name).mkdir()
        ways.headend(job, folder / name, slots=1)
    reference = vmaf.file_input(film)
    chunks = sorted((task.chunk for task in chunked.plan.tasks), key=lambda chunk: chunk.number)
    for rendition in chunked.renditions:
        on_step(f"scoring {rendition.id}")
        name = f"{rendition.id}.mp4"
        paths = [folder / "chunked" / str(chunk.number) / name for chunk in chunks]
        parts, part_scores = _judge(paths, reference, JOINS_SIZE_PX, frames)
        one, one_scores = _judge([folder / "whole" / "0" / name], reference, JOINS_SIZE_PX, frames)
        half = FRAME_RATE // 2
        around = [slice((c.first_frame - half) // EVERY, (c.first_frame + half) // EVERY) for c in chunks[1:]]
        losses = [mean(one_scores[second]) - mean(part_scores[second]) for second in around]
        yield Joined(rendition.id, parts, one, max(losses))


def _one_of_each_codec() -> Callable[[VideoRung], bool]:
    seen: set[Codec] = set()

    def wanted(rung: VideoRung) -> bool:
        first = rung.height_px == JOINS_SIZE_PX[1] and rung.range is RungRange.SDR and rung.codec not in seen
        if first:
            seen.add(rung.codec)
        return first or rung.default

    return wanted


def _judge(
    paths: list[Path], reference: list[str], size_px: tuple[int, int], frames: int
) -> tuple[Result, list[float]]:
    told = vmaf.scores([vmaf.file_input(path) for path in paths], reference, size_px, frames, every=EVERY)
    return Result(sum(path.stat().st_size for path in paths), mean(told)), told


# --- picture ------------------------------------------------------------------------------------------------------


def draw(report: Report, path: Path) -> None:
    """Draw VMAF against size, and what chunks take; of each what was measured.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    parts = [
        *([("six rungs of H.264", _draw_ladder)] if report.ladder else []),
        *([("what chunks take, by codec", _draw_joins)] if report.joins else []),
    ]
    titles = [title for title, _ in parts]
    with charts.panels(path, titles, f"Quality, {report.effort} effort") as axes:
        for axis, (_, drawn) in zip(axes, parts, strict=False):
            drawn(axis, report)


def _draw_ladder(axis: "Axes", report: Report) -> None:
    for name, colour, results in (
        ("headend", charts.OURS, [rung.headend for rung in report.ladder]),
        ("one FFmpeg, all outputs", charts.OTHERS, [rung.peer for rung in report.ladder]),
    ):
        kilobytes = [result.bytes / 1000 for result in results]
        axis.plot(kilobytes, [result.vmaf for result in results], "o-", color=colour, label=name)
    axis.set_xscale("log")
    axis.set_xlabel("kB")
    axis.set_ylabel("VMAF")
    axis.legend(frameon=False)


def _draw_joins(axis: "Axes", report: Report) -> None:
    names = [row.rendition for row in report.joins]
    axis.plot(names, [row.loss for row in report.joins], "o", color=charts.OURS, label="mean, VMAF")
    axis.plot(names, [row.join_loss for row in report.joins], "s", color=charts.BOUND, label="at joins, VMAF")
    axis.plot(names, [100 * row.growth for row in report.joins], "^", color=charts.OTHERS, label="size, %")
    axis.axhline(0, color=charts.OTHERS, linewidth=0.8, linestyle=":")
    axis.set_ylabel("lost")
    axis.margins(x=0.15)
    axis.legend(frameon=False)
