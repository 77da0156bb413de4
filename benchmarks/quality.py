"""Whether speed is bought with quality, and whether anyone can see where a film was cut.

Three parts. The ladder: what rungs look like for their size, headend's and its peers', by the very work that `encoding`
measures. The cascade: what scaling step by step costs against scaling from the master. The joins: what cutting a film
into chunks costs against encoding it whole, with each video codec.
"""

import operator
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks import charts, clips, encoding, shaka, vmaf, ways
from benchmarks.clips import FRAME_RATE, Mezzanine
from benchmarks.encoding import HEADEND, SHAKA, TOGETHER
from encoder import measuring, sampling
from encoder.measuring import Shown, file_picture
from encoder.picture.colour import bit_depth_of
from headend.core.errors import HeadendError
from headend.core.media import Codec, Effort, VideoRendition
from headend.core.media.quality import HD
from ladders.ladder import RungRange, VideoRung

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CASES = ("prores", "codecs")
"""Of `encoding.CASES`: the rungs that are judged."""
CASCADES = {clips.FILM: (1920, 1080), clips.STREET: None}
"""Films that are scaled, and what they are enlarged to, with grain; the one of a camera stays as it was shot."""
CASCADE_FRAMES, QUICK_CASCADE_FRAMES = 24, 6
JOINS_SIZE_PX = (640, 360)
JOINS, QUICK_JOINS = ((24, 6), (60, 30)), ((8, 4),)
"""Lengths of films and of their chunks in seconds: short ones, to see what happens, and those that are the default."""
EVERY = vmaf.EVERY
CASCADE_TARGET, CHUNKED_TARGET, JOIN_TARGET, SIZE_TARGET = 0.2, 0.2, 2.0, 0.02
"""How much worse, in VMAF, the cascade, the mean of a chunked film, and the worst second at a join may be; and by what
share the sizes of a chunked and a whole film may differ."""
TOGETHER_TARGET, FULL_TARGET, SAMPLED_TARGET = 0.5, 0.5, 0.06
"""What measuring may cost: several renditions on one decode of the master as a share of a process each; all segments,
and a tenth of them, as a share of encoding."""
MEASURED_SIZE_PX = (1920, 1080)
MEASURED_FRAMES, QUICK_MEASURED_FRAMES = 96, 24
MEASURED_TOGETHER = 8
PARTS = ("ladder", "cascade", "joins", "measuring")


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
    """A rung of a ladder.

    Attributes:
        rendition: Its id.
        results: By the way that made it, as in `encoding`.
    """

    rendition: str
    results: dict[str, Result]


@dataclass(frozen=True, slots=True)
class Ladder:
    """A master and its rungs.

    Attributes:
        name: For people.
        frames: Of the master.
        rungs: In order.
        left_out: Ways that could not run, with the reason.
    """

    name: str
    frames: int
    rungs: tuple[Rung, ...]
    left_out: dict[str, str]

    def gain(self, way: str) -> tuple[float, float] | None:
        """How much more VMAF headend's rungs have than those of another way, and how much more bytes, as a share.

        Args:
            way: The other one.

        Returns:
            The mean over all rungs of both; None if it could not run.
        """
        pairs = [(rung.results[HEADEND], rung.results[way]) for rung in self.rungs if way in rung.results]
        if not pairs:
            return None
        return mean(our.vmaf - its.vmaf for our, its in pairs), mean(our.bytes / its.bytes for our, its in pairs) - 1


@dataclass(frozen=True, slots=True)
class Scaled:
    """A size, before encoding.

    Attributes:
        film: The master's pictures.
        width_px: Of what they are scaled to.
        height_px: The same.
        cascade_vmaf: Scaled step by step.
        direct_vmaf: Scaled from the master at once, by the same filter.
    """

    film: str
    width_px: int
    height_px: int
    cascade_vmaf: float
    direct_vmaf: float

    @property
    def loss(self) -> float:
        """What the cascade takes from the picture; negative where it is better."""
        return self.direct_vmaf - self.cascade_vmaf

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.loss < CASCADE_TARGET


@dataclass(frozen=True, slots=True)
class Joined:
    """A rendition, in chunks and whole.

    Attributes:
        rendition: Its id.
        chunk_s: Length of a chunk.
        chunked: In chunks.
        whole: In one piece.
        join_loss: How much worse the worst second around a join is in chunks than in one piece, in VMAF. The same
            second is compared, since neighbours show other pictures.
    """

    rendition: str
    chunk_s: int
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
class Measuring:
    """What it costs to measure, in CPU seconds.

    Attributes:
        effort: Of the encoders.
        renditions: How many were measured.
        frames: Of the master.
        encoded_s: Encoding them.
        together_s: Measuring them, as many at once as go into a process.
        apart_s: Measuring as many as go into a process, with a process for each.
        together_of_those_s: Measuring the same ones in one process.
    """

    effort: Effort
    renditions: int
    frames: int
    encoded_s: float
    together_s: float
    apart_s: float
    together_of_those_s: float

    @property
    def share_of_apart(self) -> float:
        """Cost of one process as a share of a process for each rendition."""
        return self.together_of_those_s / self.apart_s

    @property
    def full(self) -> float:
        """Cost of measuring all segments as a share of encoding."""
        return self.together_s / self.encoded_s

    @property
    def sampled(self) -> float:
        """The same for a tenth of the segments."""
        return 2 * sampling.SHARE * self.full

    @property
    def met(self) -> bool:
        """Whether all targets are reached."""
        cheap = self.full <= FULL_TARGET and self.sampled <= SAMPLED_TARGET
        return cheap and self.share_of_apart <= TOGETHER_TARGET


@dataclass(frozen=True, slots=True)
class Report:
    """All parts; one that has not been run is empty.

    Attributes:
        effort: The encoders' presets.
        model: Of VMAF.
        ladders: By `CASES`.
        cascade: By film, from the largest size down.
        joins: By length of chunks, then by codec.
        measuring: What it costs to measure.
    """

    effort: Effort
    model: str
    ladders: tuple[Ladder, ...] = ()
    cascade: tuple[Scaled, ...] = ()
    joins: tuple[Joined, ...] = ()
    measuring: tuple[Measuring, ...] = ()


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
        earlier: What an earlier run has found; its other parts are kept.
        on_step: Told what runs.

    Raises:
        ConfigError: The film is not installed.
        ToolFailed: FFmpeg failed.
    """
    report = earlier or Report(Effort.DRAFT, vmaf.MODEL)
    if "ladder" in parts:
        report = replace(report, ladders=tuple(_ladder(name, quick, on_step) for name in CASES))
    if "cascade" in parts:
        frames = QUICK_CASCADE_FRAMES if quick else CASCADE_FRAMES
        report = replace(report, cascade=tuple(row for film in CASCADES for row in _cascade(film, frames, on_step)))
    if "joins" in parts:
        lengths = QUICK_JOINS if quick else JOINS
        report = replace(report, joins=tuple(row for each in lengths for row in _joins(*each, on_step)))
    if "measuring" in parts:
        report = replace(report, measuring=(_measuring(QUICK_MEASURED_FRAMES if quick else MEASURED_FRAMES, on_step),))
    return report


# --- measuring ----------------------------------------------------------------------------------------------------


def _measuring(frames: int, on_step: Callable[[str], None]) -> Measuring:
    """All of `studio` from a ProRes master of 1080 lines, encoded and measured by headend's own work."""
    with TemporaryDirectory(prefix="headend-bench-") as scratch:
        folder = Path(scratch)
        on_step("measuring: making the master")
        master = clips.make_master(Mezzanine.PRORES, clips.locate(), folder, frames, MEASURED_SIZE_PX)
        job = ways.job_for(master, "studio", lambda _: True, Effort.STANDARD, chunk_s=Fraction(frames))
        on_step(f"measuring: encoding {len(job.renditions)} renditions")
        encoded = ways.headend(job, folder, slots=1)
        shown = [
            Shown(file_picture(folder / "0" / f"{r.id}.mp4"), r.width_px, r.height_px, bit_depth_of(r), r.rate_divisor)
            for r in job.renditions
        ]
        every = measuring.spacing(job.plan.grid.gop_frames)

        def cost(chosen: Sequence[Shown]) -> float:
            made = measuring.measure(file_picture(master), chosen, HD, frames, every=every, miniatures=True)
            return made.cpu_s

        on_step("measuring: together")
        costs = [cost(shown[at : at + MEASURED_TOGETHER]) for at in range(0, len(shown), MEASURED_TOGETHER)]
        on_step("measuring: apart")
        apart = sum(cost([one]) for one in shown[:MEASURED_TOGETHER])
    return Measuring(Effort.STANDARD, len(shown), frames, encoded.cpu_s, sum(costs), apart, costs[0])


# --- the ladder ---------------------------------------------------------------------------------------------------


def _ladder(name: str, quick: bool, on_step: Callable[[str], None]) -> Ladder:
    """What all ways make of a master."""
    setup = encoding.CASES[name]
    slots = len(os.sched_getaffinity(0))
    peer, why = shaka.find()
    with TemporaryDirectory(prefix="headend-bench-") as scratch:
        folder = Path(scratch)
        on_step(f"{name}: making the master")
        job = setup.prepare(folder, quick=quick)
        frames = job.plan.grid.frame_count
        folders = {way: folder / str(number) for number, way in enumerate((HEADEND, TOGETHER, SHAKA))}
        for each in folders.values():
            each.mkdir()
        on_step(f"{name}: encoding")
        ways.headend(job, folders[HEADEND], slots)
        chunks = sorted({task.chunk.number for task in job.plan.tasks})
        made: dict[str, Mapping[str, Sequence[Path]]] = {
            HEADEND: {r.id: [folders[HEADEND] / str(n) / f"{r.id}.mp4" for n in chunks] for r in job.renditions}
        }
        ways.together(job, folders[TOGETHER])
        made[TOGETHER] = {r.id: [folders[TOGETHER] / f"{r.id}.mp4"] for r in job.renditions}
        left_out = {} if peer else {SHAKA: why}
        if peer:
            try:
                shaka.stream(peer, job.path, job.renditions, job.encoder_options, ways.GOP_S, folders[SHAKA])
                made[SHAKA] = {r.id: [shaka.film(folders[SHAKA], r)] for r in job.renditions}
            except HeadendError as error:
                left_out[SHAKA] = error.message
        rungs = []
        for rendition in job.renditions:
            on_step(f"{name}: scoring {rendition.id}")
            results = {
                way: _judge(paths[rendition.id], job.path, setup.shown_px, frames)[0] for way, paths in made.items()
            }
            rungs.append(Rung(rendition.id, results))
    return Ladder(setup.name, frames, tuple(rungs), left_out)


def _cascade(film: str, frames: int, on_step: Callable[[str], None]) -> Iterator[Scaled]:
    """The frames that H.264's encoders get, of all sizes together and of each alone, by headend's own commands."""
    on_step(f"scaling {film}")
    with TemporaryDirectory(prefix="headend-bench-") as scratch:
        folder = Path(scratch)
        size_px = CASCADES[film]
        master = clips.make_master(Mezzanine.PRORES, clips.locate(film), folder, frames, size_px)
        reference = vmaf.file_input(master)
        plan = partial(ways.job_for, master, "studio", _is_avc, Effort.DRAFT, chunk_s=Fraction(frames))
        together = plan()

        def score(job: ways.Job) -> dict[str, float]:
            """What the encoders get, by the id of one rendition of each size."""
            with TemporaryDirectory(dir=folder) as ready_folder:
                ready = ways.ready_frames(job, Path(ready_folder))
                return {
                    r.id: mean(
                        vmaf.scores([_raw(ready[r.id], r)], reference, (r.width_px, r.height_px), frames, every=EVERY)
                    )
                    for r in {ready[r.id]: r for r in job.renditions}.values()
                }

        cascade = score(together)
        for rendition in together.renditions:
            if rendition.id in cascade:
                alone = score(plan(keep=partial(operator.eq, rendition)))
                yield Scaled(film, rendition.width_px, rendition.height_px, cascade[rendition.id], alone[rendition.id])


def _raw(path: Path, rendition: VideoRendition) -> list[str]:
    return vmaf.raw_input(path, (rendition.width_px, rendition.height_px), rendition.pixel_format)


def _is_avc(rung: VideoRung) -> bool:
    return rung.codec is Codec.AVC


# --- the joins ----------------------------------------------------------------------------------------------------


def _joins(film_s: int, chunk_s: int, on_step: Callable[[str], None]) -> Iterator[Joined]:
    """One rung of each codec."""
    frames = film_s * FRAME_RATE
    with TemporaryDirectory(prefix="headend-bench-") as scratch:
        folder = Path(scratch)
        on_step(f"making a film of {film_s} s")
        film = clips.make_master(Mezzanine.H264, clips.locate(), folder, frames, JOINS_SIZE_PX)
        chunked, whole = (
            ways.job_for(film, "studio", _one_of_each_codec(), Effort.DRAFT, chunk_s=Fraction(length_s))
            for length_s in (chunk_s, film_s)
        )
        for name, job in (("chunked", chunked), ("whole", whole)):
            on_step(f"encoding, {name}")
            (folder / name).mkdir()
            ways.headend(job, folder / name, slots=1)
        chunks = sorted((task.chunk for task in chunked.plan.tasks), key=lambda chunk: chunk.number)
        for rendition in chunked.renditions:
            on_step(f"scoring {rendition.id}")
            name = f"{rendition.id}.mp4"
            paths = [folder / "chunked" / str(chunk.number) / name for chunk in chunks]
            parts, part_scores = _judge(paths, film, JOINS_SIZE_PX, frames)
            one, one_scores = _judge([folder / "whole" / "0" / name], film, JOINS_SIZE_PX, frames)
            half = FRAME_RATE // 2
            around = [slice((c.first_frame - half) // EVERY, (c.first_frame + half) // EVERY) for c in chunks[1:]]
            losses = [mean(one_scores[second]) - mean(part_scores[second]) for second in around]
            yield Joined(rendition.id, chunk_s, parts, one, max(losses))


def _one_of_each_codec() -> Callable[[VideoRung], bool]:
    seen: set[Codec] = set()

    def wanted(rung: VideoRung) -> bool:
        first = rung.height_px == JOINS_SIZE_PX[1] and rung.range is RungRange.SDR and rung.codec not in seen
        if first:
            seen.add(rung.codec)
        return first or rung.default

    return wanted


def _judge(paths: Sequence[Path], master: Path, size_px: tuple[int, int], frames: int) -> tuple[Result, list[float]]:
    shown = [vmaf.file_input(path) for path in paths]
    told = vmaf.scores(shown, vmaf.file_input(master), size_px, frames, every=EVERY)
    return Result(sum(path.stat().st_size for path in paths), mean(told)), told


# --- picture ------------------------------------------------------------------------------------------------------


def draw(report: Report, path: Path) -> None:
    """Draw how rungs differ from those of peers, and what chunks take; of each what was measured.

    Nothing is drawn where none of them was.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    drawings: dict[str, Callable[[Axes], None]] = {}
    for ladder in report.ladders:
        drawings[ladder.name] = partial(_draw_ladder, ladder)
    for chunk_s in dict.fromkeys(row.chunk_s for row in report.joins):
        rows = [row for row in report.joins if row.chunk_s == chunk_s]
        drawings[f"what chunks of {chunk_s} s take"] = partial(_draw_joins, rows)
    if not drawings:
        return
    with charts.panels(path, list(drawings), f"Quality, {report.effort} effort") as axes:
        for axis, drawn in zip(axes, drawings.values(), strict=True):
            drawn(axis)


def _draw_ladder(ladder: Ladder, axis: "Axes") -> None:
    """How headend's rungs differ from each peer's."""
    for way, filled in ((TOGETHER, True), (SHAKA, False)):
        pairs = {r.rendition: (r.results[HEADEND], r.results[way]) for r in ladder.rungs if way in r.results}
        vmaf_more = [our.vmaf - its.vmaf for our, its in pairs.values()]
        percent_more = [100 * (our.bytes / its.bytes - 1) for our, its in pairs.values()]
        for values, marker, colour, what in (
            (vmaf_more, "o", charts.OURS, "VMAF"),
            (percent_more, "^", charts.OTHERS, "size, %"),
        ):
            face, size = (colour, 6) if filled else ("none", 10)
            axis.plot(
                values, list(pairs), marker, color=colour, markerfacecolor=face, markersize=size, label=f"{what}: {way}"
            )
    axis.axvline(0, color=charts.OTHERS, linewidth=0.8, linestyle=":")
    axis.invert_yaxis()
    axis.tick_params(axis="y", labelsize=8)
    axis.set_xlabel("headend's minus the other's")
    axis.legend(frameon=False, fontsize=7)


def _draw_joins(rows: Sequence[Joined], axis: "Axes") -> None:
    names = [row.rendition for row in rows]
    axis.plot(names, [row.loss for row in rows], "o", color=charts.OURS, label="mean, VMAF")
    axis.plot(names, [row.join_loss for row in rows], "s", color=charts.BOUND, label="at joins, VMAF")
    axis.plot(names, [100 * row.growth for row in rows], "^", color=charts.OTHERS, label="size, %")
    axis.axhline(0, color=charts.OTHERS, linewidth=0.8, linestyle=":")
    axis.set_ylabel("lost")
    axis.margins(x=0.15)
    axis.legend(frameon=False, fontsize=8)
