"""Compares methods of encoding a ladder: headend, plain FFmpeg, shaka-streamer, and the minimum cost.

All methods use the same master, rungs, frames, FFmpeg and encoder options. They alternate (A B C A B C ...), so that
other load affects all of them equally; results are medians of the rounds' ratios. CPU seconds include all processes.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import charts, clips, shaka, ways
from benchmarks.clips import Mezzanine
from headend.core.errors import HeadendError
from headend.core.media import Codec, Effort
from headend.core.process import Finished
from ladders.ladder import RungRange, VideoRung

HEADEND, LIMIT = "headend", "limit"
PER_RENDITION, SINGLE_PROCESS, SHAKA = "one FFmpeg per rendition", "one FFmpeg, all outputs", "shaka-streamer"
TARGETS = {LIMIT: 1.05, SINGLE_PROCESS: 0.85, PER_RENDITION: 0.40}
"""Maximum CPU seconds of headend relative to other methods."""
WALL_TARGETS = {SHAKA: 0.90}
MIXED_HEIGHTS = (720, 540, 360)
"""Heights in the ladder with four codecs."""


@dataclass(frozen=True, slots=True)
class Row:
    """Cost of a method.

    Attributes:
        way: Name of the method.
        cpu_s: Median of ``cpu_runs_s``.
        wall_s: Median of ``wall_runs_s``.
        cpu_runs_s: CPU seconds of each run.
        wall_runs_s: Wall seconds of each run; for the limit, the sum of its two parts.
        bytes: Size of its output; 0 if not comparable.
    """

    way: str
    cpu_s: float
    wall_s: float
    cpu_runs_s: tuple[float, ...]
    wall_runs_s: tuple[float, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """headend's cost relative to another method's: the median of the rounds' ratios.

    Ratios are taken within a round, because the machine may get slower from round to round.

    Attributes:
        peer: The other method.
        measure: ``cpu`` or ``wall``.
        ratio: headend's cost divided by the other's.
        target: Maximum of the ratio.
    """

    peer: str
    measure: str
    ratio: float
    target: float

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio <= self.target


@dataclass(frozen=True, slots=True)
class Case:
    """A master and a ladder.

    Attributes:
        name: Name for people.
        measured_at: Time in UTC, ISO 8601.
        frames: Frames of the master.
        renditions: Ids of the renditions.
        rows: One row per method.
        ratios: One ratio per target.
        left_out: Methods that could not run, with the reason.
        load: One-minute load average before and after. The benchmark itself causes about one per core; if it is far
            above that, other processes were running and wall seconds are unreliable.
    """

    name: str
    measured_at: str
    frames: int
    renditions: tuple[str, ...]
    rows: tuple[Row, ...]
    ratios: tuple[Ratio, ...]
    left_out: dict[str, str]
    load: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark.

    Attributes:
        effort: Effort of the encoders.
        slots: Number of parallel processes, for methods with several.
        cases: The cases, in order.
    """

    effort: Effort
    slots: int
    cases: tuple[Case, ...]


def measure(
    names: Collection[str],
    *,
    rounds: int | None = None,
    quick: bool = False,
    earlier: Report | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Iterator[Report]:
    """Run some cases, and report after each one, because all take long.

    Args:
        names: Keys of `CASES`.
        rounds: Number of rounds; None for each case's default.
        quick: Use half the frames: a functional check, not a measurement.
        earlier: Result of an earlier run, whose other cases are kept.
        on_step: Called with a description of each step.

    Yields:
        The report so far.

    Raises:
        ConfigError: The film is not installed.
        ToolFailed: FFmpeg failed.
    """
    slots = len(os.sched_getaffinity(0))
    cases = {case.name: case for case in earlier.cases} if earlier else {}
    on_step("installing shaka-streamer")
    peer, why = shaka.find()
    for name in names:
        setup = CASES[name]
        with TemporaryDirectory(prefix="headend-bench-") as folder:
            on_step(f"{name}: making the master")
            job = setup.prepare(Path(folder), quick=quick)
            cases[setup.name] = _case(setup.name, job, peer, why, rounds or setup.rounds, slots, Path(folder), on_step)
        ordered = (cases.get(setup.name) for setup in CASES.values())
        yield Report(Effort.DRAFT, slots, tuple(case for case in ordered if case))


def _six_avc(path: Path, chunk_s: int = ways.GOP_S) -> ways.Job:
    return ways.job_for(path, "web", lambda _: True, Effort.DRAFT, Fraction(chunk_s))


def _four_codecs(path: Path) -> ways.Job:
    """Return one rung per codec and size, because shaka-streamer allows only one."""
    taken: set[tuple[Codec, int]] = set()

    def first_of_size(rung: VideoRung) -> bool:
        key = (rung.codec, rung.height_px)
        wanted = rung.height_px in MIXED_HEIGHTS and rung.range is RungRange.SDR and key not in taken
        taken.add(key)
        return wanted

    return ways.job_for(path, "studio", first_of_size, Effort.DRAFT)


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings of a case; each case takes at most six minutes on two cores.

    Attributes:
        name: Name for people.
        master: Codec of the master.
        size_px: Size to upscale the film to; None keeps 1280x720.
        frames: Frames of the master.
        job: Plans the ladder.
        rounds: Default number of rounds.
    """

    name: str
    master: Mezzanine
    size_px: tuple[int, int] | None
    frames: int
    job: Callable[[Path], ways.Job]
    rounds: int

    @property
    def shown_px(self) -> tuple[int, int]:
        """Size of the master."""
        return self.size_px or clips.FILM_PX

    def prepare(self, folder: Path, *, quick: bool) -> ways.Job:
        """Make the master, with half the frames if ``quick``, and plan the job."""
        frames = self.frames // 2 if quick else self.frames
        return self.job(clips.make_master(self.master, clips.locate(), folder, frames, self.size_px))


CASES = {
    "prores": Setup("ProRes 1080p, 6 × H.264", Mezzanine.PRORES, (1920, 1080), 96, _six_avc, 3),
    # Longer chunks, because frames between a keyframe and the start of a chunk are decoded and dropped.
    "h264": Setup(
        "H.264 1080p at 48 Mb/s, 6 × H.264", Mezzanine.H264, (1920, 1080), 192, partial(_six_avc, chunk_s=4), 2
    ),
    "codecs": Setup("ProRes 720p, 4 codecs × 3 sizes", Mezzanine.PRORES, None, 96, _four_codecs, 2),
}
"""Cases by their names on the command line."""


def _case(
    name: str,
    job: ways.Job,
    peer: shaka.Shaka | None,
    why: str,
    rounds: int,
    slots: int,
    folder: Path,
    on_step: Callable[[str], None],
) -> Case:
    left_out = {} if peer else {SHAKA: why}
    load_before = os.getloadavg()[0]
    with TemporaryDirectory(dir=folder) as ready_folder:
        ready = ways.write_raw_frames(job, Path(ready_folder))

        def limit(scratch: Path) -> Finished:
            decoded, encoded = ways.decode(job), ways.encode_raw_frames(job, ready, scratch)
            return Finished(
                cpu_s=decoded.cpu_s + encoded.cpu_s,
                wall_s=decoded.wall_s + encoded.wall_s,
                peak_memory_bytes=encoded.peak_memory_bytes,
                stderr="",
            )

        methods: dict[str, Callable[[Path], Finished]] = {
            LIMIT: limit,
            HEADEND: lambda scratch: ways.headend(job, scratch, slots),
            SINGLE_PROCESS: lambda scratch: ways.single_process(job, scratch),
            PER_RENDITION: lambda scratch: ways.process_per_rendition(job, scratch, slots),
        }
        if peer:
            methods[SHAKA] = lambda scratch: shaka.stream(
                peer, job.path, job.renditions, job.encoder_options, ways.GOP_S, scratch
            )
        runs: dict[str, list[tuple[Finished, int]]] = {way: [] for way in methods}
        for number in range(rounds):
            for way, encode in methods.items():
                on_step(f"{name}: round {number + 1} of {rounds}, {way}")
                with TemporaryDirectory(dir=folder) as scratch:
                    try:
                        done = encode(Path(scratch))
                    except HeadendError as error:
                        if way != SHAKA:
                            raise
                        left_out[way] = error.message
                        continue
                    runs[way].append((done, sum(path.stat().st_size for path in Path(scratch).rglob("*.mp4"))))
    rows = tuple(_row(way, done) for way, done in runs.items() if done)
    return Case(
        name,
        datetime.now(UTC).isoformat(timespec="seconds"),
        job.plan.grid.frame_count,
        tuple(r.id for r in job.renditions),
        rows,
        tuple(_ratios(rows)),
        left_out,
        (load_before, os.getloadavg()[0]),
    )


def _row(way: str, runs: list[tuple[Finished, int]]) -> Row:
    cpu, wall = tuple(done.cpu_s for done, _ in runs), tuple(done.wall_s for done, _ in runs)
    return Row(way, median(cpu), median(wall), cpu, wall, 0 if way == SHAKA else runs[0][1])


def _ratios(rows: Iterable[Row]) -> Iterator[Ratio]:
    by_way = {row.way: row for row in rows}
    ours = by_way[HEADEND]
    for peer, target in TARGETS.items():
        yield Ratio(peer, "cpu", _over(ours.cpu_runs_s, by_way[peer].cpu_runs_s), target)
    for peer, target in WALL_TARGETS.items():
        if peer in by_way:
            yield Ratio(peer, "wall", _over(ours.wall_runs_s, by_way[peer].wall_runs_s), target)


def _over(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(our / its for our, its in zip(ours, theirs, strict=True))


def draw(report: Report, path: Path) -> None:
    """Draw CPU seconds as bars, with a panel per case.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    titles = [f"{case.name}, {case.frames} frames" for case in report.cases]
    with charts.panels(path, titles, f"CPU seconds for a ladder, {report.effort} effort") as axes:
        for axis, case in zip(axes, report.cases, strict=True):
            charts.bars(
                axis, {row.way: row.cpu_s for row in case.rows}, ours=HEADEND, bound=LIMIT, unit="CPU s (median)"
            )
