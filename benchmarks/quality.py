"""Measures picture quality: whether speed costs quality, and whether joins between chunks are visible.

The part ``ladder`` compares size and VMAF of rungs made by headend and by other methods, with the jobs of `encoding`.
``cascade`` compares scaling step by step with scaling from the master. ``joins`` compares a film encoded in chunks with
the whole film, for each video codec. ``measuring`` measures the cost of VMAF.
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
from benchmarks.encoding import HEADEND, SHAKA, SINGLE_PROCESS
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
"""Cases of `encoding.CASES` in the part ``ladder``."""
CASCADES = {clips.FILM: (1920, 1080), clips.STREET: None}
"""Films in the part ``cascade``, and the size to upscale them to, with grain; None keeps the film's size."""
CASCADE_FRAMES, QUICK_CASCADE_FRAMES = 24, 6
JOINS_SIZE_PX = (640, 360)
JOINS, QUICK_JOINS = ((24, 6), (60, 30)), ((8, 4),)
"""Lengths of films and of their chunks in seconds: short ones with many joins, and the default length."""
SCORE_EVERY = vmaf.SCORE_EVERY
CASCADE_TARGET, CHUNKED_TARGET, JOIN_TARGET, SIZE_TARGET = 0.2, 0.2, 2.0, 0.02
"""Maximum loss of VMAF by the cascade, by chunks on average, and by chunks in the worst second at a join; and maximum
relative difference in size between a chunked and a whole film."""
PER_PROCESS_TARGET, FULL_TARGET, SAMPLED_TARGET = 0.5, 0.5, 0.06
"""Maximum cost of measuring: several renditions in one process relative to one process each; all segments, and a tenth
of them, relative to encoding."""
MEASURED_SIZE_PX = (1920, 1080)
MEASURED_FRAMES, QUICK_MEASURED_FRAMES = 96, 24
RENDITIONS_PER_PROCESS = 8
PARTS = ("ladder", "cascade", "joins", "measuring")


@dataclass(frozen=True, slots=True)
class Result:
    """A rung encoded by a method.

    Attributes:
        bytes: Size.
        vmaf: Mean VMAF.
    """

    bytes: int
    vmaf: float


@dataclass(frozen=True, slots=True)
class Rung:
    """A rung of a ladder.

    Attributes:
        rendition: Id of the rendition.
        results: Results by method, as in `encoding`.
    """

    rendition: str
    results: dict[str, Result]


@dataclass(frozen=True, slots=True)
class Ladder:
    """A master and its rungs.

    Attributes:
        name: Name for people.
        frames: Frames of the master.
        rungs: The rungs, in order.
        left_out: Methods that could not run, with the reason.
    """

    name: str
    frames: int
    rungs: tuple[Rung, ...]
    left_out: dict[str, str]

    def gain(self, way: str) -> tuple[float, float] | None:
        """Return the mean difference between headend's rungs and another method's: in VMAF, and in bytes as a share.

        Args:
            way: The other method.

        Returns:
            The means over the rungs of both; None if the method could not run.
        """
        pairs = [(rung.results[HEADEND], rung.results[way]) for rung in self.rungs if way in rung.results]
        if not pairs:
            return None
        return mean(our.vmaf - its.vmaf for our, its in pairs), mean(our.bytes / its.bytes for our, its in pairs) - 1


@dataclass(frozen=True, slots=True)
class Scaled:
    """A scaled picture before encoding.

    Attributes:
        film: The film.
        width_px: Width after scaling.
        height_px: Height after scaling.
        cascade_vmaf: VMAF when scaled step by step.
        direct_vmaf: VMAF when scaled directly from the master with the same filter.
    """

    film: str
    width_px: int
    height_px: int
    cascade_vmaf: float
    direct_vmaf: float

    @property
    def loss(self) -> float:
        """Loss of VMAF by the cascade; negative if it is better."""
        return self.direct_vmaf - self.cascade_vmaf

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.loss < CASCADE_TARGET


@dataclass(frozen=True, slots=True)
class Joined:
    """A rendition encoded in chunks and as a whole.

    Attributes:
        rendition: Id of the rendition.
        chunk_s: Length of a chunk.
        chunked: Result in chunks.
        whole: Result as a whole.
        join_loss: Maximum loss of VMAF in a second around a join, compared with the same second of the whole.
    """

    rendition: str
    chunk_s: int
    chunked: Result
    whole: Result
    join_loss: float

    @property
    def loss(self) -> float:
        """Loss of mean VMAF by chunks."""
        return self.whole.vmaf - self.chunked.vmaf

    @property
    def growth(self) -> float:
        """Additional size caused by chunks, as a share."""
        return self.chunked.bytes / self.whole.bytes - 1

    @property
    def met(self) -> bool:
        """Whether all targets are reached."""
        return self.loss < CHUNKED_TARGET and self.join_loss < JOIN_TARGET and abs(self.growth) < SIZE_TARGET


@dataclass(frozen=True, slots=True)
class Measuring:
    """Cost of measuring VMAF, in CPU seconds.

    Attributes:
        effort: Effort of the encoders.
        renditions: Number of renditions.
        frames: Frames of the master.
        encoded_s: Encoding all renditions.
        together_s: Measuring all renditions, up to `RENDITIONS_PER_PROCESS` per process.
        apart_s: Measuring the first `RENDITIONS_PER_PROCESS` renditions in one process each.
        together_of_those_s: Measuring these renditions in a single process.
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
        """Cost of a single process relative to one process per rendition."""
        return self.together_of_those_s / self.apart_s

    @property
    def full(self) -> float:
        """Cost of measuring all segments, relative to encoding."""
        return self.together_s / self.encoded_s

    @property
    def sampled(self) -> float:
        """Cost of measuring a tenth of the segments, relative to encoding."""
        return 2 * sampling.SHARE * self.full

    @property
    def met(self) -> bool:
        """Whether all targets are reached."""
        cheap = self.full <= FULL_TARGET and self.sampled <= SAMPLED_TARGET
        return cheap and self.share_of_apart <= PER_PROCESS_TARGET


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark; parts that did not run are empty.

    Attributes:
        effort: Effort of the encoders.
        model: VMAF model.
        ladders: Ladders, in the order of `CASES`.
        cascade: Scaled pictures by film, the largest first.
        joins: Renditions by chunk length, then by codec.
        measuring: Cost of measuring.
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
        quick: Use shorter films: a functional check, not a measurement.
        earlier: Result of an earlier run, whose other parts are kept.
        on_step: Called with a description of each step.

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
    """Encode and measure all of `studio` from a 1080p ProRes master, as headend does."""
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
            measured = measuring.measure(file_picture(master), chosen, HD, frames, every=every, small=True)
            return measured.cpu_s

        on_step("measuring: several renditions per process")
        costs = [cost(shown[at : at + RENDITIONS_PER_PROCESS]) for at in range(0, len(shown), RENDITIONS_PER_PROCESS)]
        on_step("measuring: one rendition per process")
        apart_s = sum(cost([rendition]) for rendition in shown[:RENDITIONS_PER_PROCESS])
    return Measuring(Effort.STANDARD, len(shown), frames, encoded.cpu_s, sum(costs), apart_s, costs[0])


# --- the ladder ---------------------------------------------------------------------------------------------------


def _ladder(name: str, quick: bool, on_step: Callable[[str], None]) -> Ladder:
    """Encode a master with all methods and score the results."""
    setup = encoding.CASES[name]
    slots = len(os.sched_getaffinity(0))
    peer, why = shaka.find()
    with TemporaryDirectory(prefix="headend-bench-") as scratch:
        folder = Path(scratch)
        on_step(f"{name}: making the master")
        job = setup.prepare(folder, quick=quick)
        frames = job.plan.grid.frame_count
        folders = {way: folder / str(number) for number, way in enumerate((HEADEND, SINGLE_PROCESS, SHAKA))}
        for each in folders.values():
            each.mkdir()
        on_step(f"{name}: encoding")
        ways.headend(job, folders[HEADEND], slots)
        chunks = sorted({task.chunk.number for task in job.plan.tasks})
        outputs: dict[str, Mapping[str, Sequence[Path]]] = {
            HEADEND: {r.id: [folders[HEADEND] / str(n) / f"{r.id}.mp4" for n in chunks] for r in job.renditions}
        }
        ways.single_process(job, folders[SINGLE_PROCESS])
        outputs[SINGLE_PROCESS] = {r.id: [folders[SINGLE_PROCESS] / f"{r.id}.mp4"] for r in job.renditions}
        left_out = {} if peer else {SHAKA: why}
        if peer:
            try:
                shaka.stream(peer, job.path, job.renditions, job.encoder_options, ways.GOP_S, folders[SHAKA])
                outputs[SHAKA] = {r.id: [shaka.film(folders[SHAKA], r)] for r in job.renditions}
            except HeadendError as error:
                left_out[SHAKA] = error.message
        rungs = []
        for rendition in job.renditions:
            on_step(f"{name}: scoring {rendition.id}")
            results = {
                way: _score(paths[rendition.id], job.path, setup.shown_px, frames)[0] for way, paths in outputs.items()
            }
            rungs.append(Rung(rendition.id, results))
    return Ladder(setup.name, frames, tuple(rungs), left_out)


def _cascade(film: str, frames: int, on_step: Callable[[str], None]) -> Iterator[Scaled]:
    """Score the frames that the H.264 encoders get, with all sizes in one command and with each size alone."""
    on_step(f"scaling {film}")
    with TemporaryDirectory(prefix="headend-bench-") as scratch:
        folder = Path(scratch)
        size_px = CASCADES[film]
        master = clips.make_master(Mezzanine.PRORES, clips.locate(film), folder, frames, size_px)
        reference = vmaf.file_input(master)
        plan = partial(ways.job_for, master, "studio", _is_avc, Effort.DRAFT, chunk_s=Fraction(frames))
        together = plan()

        def score(job: ways.Job) -> dict[str, float]:
            """Return the VMAF of the encoders' input, by the id of one rendition per size."""
            with TemporaryDirectory(dir=folder) as ready_folder:
                ready = ways.write_raw_frames(job, Path(ready_folder))
                return {
                    r.id: mean(
                        vmaf.scores(
                            [_raw(ready[r.id], r)], reference, (r.width_px, r.height_px), frames, every=SCORE_EVERY
                        )
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
    """Compare chunked with whole encodes, for one rung per codec."""
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
            parts, part_scores = _score(paths, film, JOINS_SIZE_PX, frames)
            one, one_scores = _score([folder / "whole" / "0" / name], film, JOINS_SIZE_PX, frames)
            half = FRAME_RATE // 2
            around = [
                slice((c.first_frame - half) // SCORE_EVERY, (c.first_frame + half) // SCORE_EVERY) for c in chunks[1:]
            ]
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


def _score(paths: Sequence[Path], master: Path, size_px: tuple[int, int], frames: int) -> tuple[Result, list[float]]:
    shown = [vmaf.file_input(path) for path in paths]
    scores = vmaf.scores(shown, vmaf.file_input(master), size_px, frames, every=SCORE_EVERY)
    return Result(sum(path.stat().st_size for path in paths), mean(scores)), scores


# --- chart --------------------------------------------------------------------------------------------------------


def draw(report: Report, path: Path) -> None:
    """Draw differences between rungs of headend and other methods, and losses by chunks, as far as they were measured.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    drawings: dict[str, Callable[[Axes], None]] = {}
    for ladder in report.ladders:
        drawings[ladder.name] = partial(_draw_ladder, ladder)
    for chunk_s in dict.fromkeys(row.chunk_s for row in report.joins):
        rows = [row for row in report.joins if row.chunk_s == chunk_s]
        drawings[f"losses by chunks of {chunk_s} s"] = partial(_draw_joins, rows)
    if not drawings:
        return
    with charts.panels(path, list(drawings), f"Quality, {report.effort} effort") as axes:
        for axis, drawn in zip(axes, drawings.values(), strict=True):
            drawn(axis)


def _draw_ladder(ladder: Ladder, axis: "Axes") -> None:
    """Draw the differences between headend's rungs and each other method's."""
    for way, filled in ((SINGLE_PROCESS, True), (SHAKA, False)):
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
    axis.set_xlabel("headend minus the other method")
    axis.legend(frameon=False, fontsize=7)


def _draw_joins(rows: Sequence[Joined], axis: "Axes") -> None:
    names = [row.rendition for row in rows]
    axis.plot(names, [row.loss for row in rows], "o", color=charts.OURS, label="mean, VMAF")
    axis.plot(names, [row.join_loss for row in rows], "s", color=charts.BOUND, label="at joins, VMAF")
    axis.plot(names, [100 * row.growth for row in rows], "^", color=charts.OTHERS, label="size, %")
    axis.axhline(0, color=charts.OTHERS, linewidth=0.8, linestyle=":")
    axis.set_ylabel("loss")
    axis.margins(x=0.15)
    axis.legend(frameon=False, fontsize=8)
