"""Whether speed is bought with quality: headend beside one FFmpeg with all outputs, rung by rung.

Three questions: what the renditions look like for their size; what the scaling cascade costs against scaling from the
master; and what cutting the film into chunks costs against encoding it whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from benchmarks import charts, clips, vmaf, ways
from benchmarks.clips import Mezzanine
from headend.media import Effort, VideoRendition

SIZE_PX = (1920, 1080)
FRAMES, QUICK_FRAMES = 144, 96
SCALING_FRAMES = 24
EVERY = 3
"""Each third frame is scored."""
CASCADE_TARGET, CHUNKED_TARGET, JOIN_TARGET, SIZE_TARGET = 0.2, 0.2, 2.0, 0.02
"""How much worse, in VMAF, the cascade, the mean of a chunked film, and the worst second at a join may be; and by what
share the sizes of a chunked and a whole film may differ."""


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
class Row:
    """A rung.

    Attributes:
        rendition: Its id.
        headend: In chunks, as headend works.
        whole: By headend, in one piece.
        peer: By one FFmpeg with all outputs.
        join_loss: How much worse the worst second around a join is in chunks than in one piece, in VMAF.
        cascade_vmaf: Before encoding, scaled step by step.
        direct_vmaf: Before encoding, scaled from the master by the same filter.
    """

    rendition: str
    headend: Result
    whole: Result
    peer: Result
    join_loss: float
    cascade_vmaf: float
    direct_vmaf: float

    @property
    def cascade_loss(self) -> float:
        """What the cascade takes from the picture; negative where it is better."""
        return self.direct_vmaf - self.cascade_vmaf

    @property
    def chunked_loss(self) -> float:
        """What chunks take from the mean."""
        return self.whole.vmaf - self.headend.vmaf

    @property
    def chunked_growth(self) -> float:
        """By what share chunks make the rendition larger."""
        return self.headend.bytes / self.whole.bytes - 1

    @property
    def met(self) -> bool:
        """Whether all targets are reached."""
        return (
            self.cascade_loss < CASCADE_TARGET
            and self.chunked_loss < CHUNKED_TARGET
            and self.join_loss < JOIN_TARGET
            and self.chunked_growth < SIZE_TARGET
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All rungs.

    Attributes:
        effort: The encoders' presets.
        frames: Frames of the master.
        model: Of VMAF.
        rows: In order of the ladder.
    """

    effort: Effort
    frames: int
    model: str
    rows: tuple[Row, ...]


def measure(*, quick: bool, on_step: Callable[[str], None] = lambda _: None) -> Report:
    """Encode six H.264 rungs of a ProRes master in three ways and score all of them.

    Args:
        quick: A shorter film.
        on_step: Told what runs.

    Raises:
        ConfigError: The film is not installed.
        ToolFailed: FFmpeg failed.
    """
    frames = QUICK_FRAMES if quick else FRAMES
    with TemporaryDirectory(prefix="headend-bench-") as name:
        folder = Path(name)
        on_step("making the master")
        master = clips.make_master(Mezzanine.PRORES, clips.locate(), folder, frames, SIZE_PX)
        job = ways.job_for(master, "web", lambda _: True, Effort.DRAFT)
        whole = ways.job_for(master, "web", lambda _: True, Effort.DRAFT, chunk_s=Fraction(frames))
        on_step("encoding")
        for way in ("headend", "whole", "peer", "ready"):
            (folder / way).mkdir()
        ways.headend(job, folder / "headend", slots=1)
        ways.headend(whole, folder / "whole", slots=1)
        ways.together(job, folder / "peer")
        ready = ways.ready_frames(job, folder / "ready")
        rows = tuple(_rows(job, folder, ready, frames, on_step))
    return Report(Effort.DRAFT, frames, vmaf.MODEL, rows)


def _rows(
    job: ways.Job, folder: Path, ready: dict[str, Path], frames: int, on_step: Callable[[str], None]
) -> Iterator[Row]:
    reference = vmaf.file_input(job.path)
    chunks = sorted(task.chunk.number for task in job.plan.tasks)
    for rendition in job.renditions:
        on_step(f"scoring {rendition.id}")

        def judge(*paths: Path) -> tuple[Result, list[float]]:
            told = vmaf.scores([vmaf.file_input(path) for path in paths], reference, SIZE_PX, frames, every=EVERY)
            return Result(sum(path.stat().st_size for path in paths), mean(told)), told

        name = f"{rendition.id}.mp4"
        chunked, chunked_scores = judge(*(folder / "headend" / str(number) / name for number in chunks))
        whole, whole_scores = judge(folder / "whole" / "0" / name)
        peer, _ = judge(folder / "peer" / name)
        second = round(job.plan.grid.frame_rate)
        joins = [task.chunk.first_frame for task in job.plan.tasks if task.chunk.number]
        around = [slice((join - second // 2) // EVERY, (join + second // 2) // EVERY) for join in joins]
        yield Row(
            rendition.id,
            chunked,
            whole,
            peer,
            join_loss=max(mean(whole_scores[part]) - mean(chunked_scores[part]) for part in around),
            cascade_vmaf=_scaled(rendition, ready[rendition.id], reference),
            direct_vmaf=_scaled(rendition, job.path, reference),
        )


def _scaled(rendition: VideoRendition, source: Path, reference: list[str]) -> float:
    """Score frames before encoding: raw ones as they are, the master's after scaling them in one step."""
    size_px = (rendition.width_px, rendition.height_px)
    raw = source.suffix == ".yuv"
    shown = vmaf.raw_input(source, size_px, rendition.pixel_format) if raw else vmaf.file_input(source)
    step = f"zscale={size_px[0]}:{size_px[1]}:filter=lanczos:dither=ordered,format={rendition.pixel_format}"
    filters = f"trim=end_frame={SCALING_FRAMES}" + ("" if raw else f",{step}")
    return mean(vmaf.scores([shown], reference, SIZE_PX, SCALING_FRAMES, filters, every=EVERY))


def draw(report: Report, path: Path) -> None:
    """Draw VMAF against size, and what the cascade and the chunks cost.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    titles = ["six rungs of H.264", "what the cascade and the chunks take"]
    with charts.panels(path, titles, f"Quality of a ladder, {report.effort} effort, {report.frames} frames") as axes:
        for name, colour, results in (
            ("headend", charts.OURS, [row.headend for row in report.rows]),
            ("one FFmpeg, all outputs", charts.OTHERS, [row.peer for row in report.rows]),
        ):
            kilobytes = [result.bytes / 1000 for result in results]
            axes[0].plot(kilobytes, [result.vmaf for result in results], "o-", color=colour, label=name)
        axes[0].set_xscale("log")
        axes[0].set_xlabel("kB")
        axes[0].set_ylabel("VMAF")
        axes[0].legend(frameon=False)
        names = [row.rendition.removeprefix("avc-") for row in report.rows]
        axes[1].plot(names, [row.cascade_loss for row in report.rows], "s-", color=charts.BOUND, label="cascade")
        axes[1].plot(names, [row.chunked_loss for row in report.rows], "o-", color=charts.OURS, label="chunks, mean")
        axes[1].plot(names, [row.join_loss for row in report.rows], "o:", color=charts.OURS, label="chunks, at joins")
        axes[1].axhline(CASCADE_TARGET, color=charts.OTHERS, linewidth=0.8, linestyle=":")
        axes[1].tick_params(axis="x", rotation=20)
        axes[1].set_ylabel("VMAF lost")
        axes[1].legend(frameon=False)
