"""Measures scaling: real workers on this machine, simulated workers for a long film, and Dask's scheduler.

Only the duration of tasks is simulated: the real planner makes the tasks, and the real `encoder.task_queue` assigns
them to workers. Simulated task times vary, some workers are slow and some are lost.
"""

import heapq
import itertools
import os
import random
import resource
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from distributed import Client, LocalCluster

from benchmarks import charts, clips
from benchmarks.clips import Mezzanine
from benchmarks.jobs import Watched, job_of, watch
from encoder import cluster, planning
from encoder.conforming import conform
from encoder.scheduling import Worker
from encoder.task_queue import Blame, Run, TaskQueue
from headend.core.media import (
    AudioTrack,
    Colour,
    Effort,
    EncodePlan,
    EncodeTask,
    FieldOrder,
    FrameIndex,
    Master,
    Probe,
    Receipt,
    VideoTrack,
)
from headend.core.settings import ClusterSettings, EncodeSettings
from ladders import fitting, loading

HOURS, QUICK_HOURS = 2.0, 0.25
WORKERS = {1: 30, 10: 30, 100: 30, 1000: 12}
"""Chunk length in seconds by number of workers; shorter for many, because the longest task limits a job's duration."""
WORKER_BYTES = 8 << 30
"""Memory of a simulated worker, which has one thread."""
NOISE = 0.15
"""Standard deviation of the logarithm of a task's duration relative to its prediction."""
SLOW_SHARE, SLOWNESS = 0.05, 2.0
"""Stragglers: their share of the workers, and the factor of their task times."""
LOST_SHARE = 0.05
"""Share of workers that are lost and replaced."""
REPLACED_S = 120.0
"""Time until a lost worker is replaced."""
SEED = 20_260
LOCAL_FRAMES, QUICK_FRAMES = 480, 50
ROUNDS, QUICK_ROUNDS = 3, 1
DASK_TASKS, QUICK_TASKS = 20_000, 300
DASK_SLOTS = 1000
GOAL, LOCAL_GOAL = 1.10, 1.90


@dataclass(frozen=True, slots=True)
class Local:
    """A film encoded on this machine; seconds are from the start of the first task to the last receipt.

    Attributes:
        one_s: Seconds with one worker on one core, per run.
        two_s: Seconds with two workers on two cores, per run.
        speed_up: Ratio of the medians; 2 at best.
        busy: Seconds of all tasks divided by the two workers' seconds. Above 1 if results were stored while the next
            task was encoded.
        growth: Encoders' CPU seconds on two cores divided by those on one; above 1 if the cores slow each other down.
        load: One-minute load average during each run.
    """

    one_s: tuple[float, ...]
    two_s: tuple[float, ...]
    speed_up: float
    busy: float
    growth: float
    load: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Simulated:
    """A long film on many simulated workers.

    Attributes:
        case: Name of the case.
        workers: Number of workers.
        chunk_s: Length of the film's chunks.
        tasks: Number of tasks in the plan.
        work_s: CPU seconds of all tasks.
        extra: Additional CPU seconds compared with a plan for one worker, as a share.
        bound_s: Lower bound of the makespan: work divided by workers, or the longest task.
        makespan_s: Seconds until all tasks are done.
        ratio: Makespan divided by its lower bound.
        lost_s: CPU seconds wasted on workers that were lost.
        planning_s: CPU seconds of the planner.
    """

    case: str
    workers: int
    chunk_s: float
    tasks: int
    work_s: float
    extra: float
    bound_s: float
    makespan_s: float
    ratio: float
    lost_s: float
    planning_s: float


@dataclass(frozen=True, slots=True)
class Dask:
    """Cost of empty tasks with the real scheduler.

    Attributes:
        tasks: Number of tasks.
        slots: Number of slots.
        wall_s: Wall seconds of all tasks.
        cpu_s: CPU seconds of this process, which runs the client and the scheduler.
        task_cpu_ms: CPU milliseconds per task.
        share: ``cpu_s`` as a share of the CPU seconds of a film with this number of tasks.
    """

    tasks: int
    slots: int
    wall_s: float
    cpu_s: float
    task_cpu_ms: float
    share: float


@dataclass(frozen=True, slots=True)
class Report:
    """Result of the benchmark; parts that did not run are empty.

    Attributes:
        hours: Length of the simulated film, 2160p in HDR, with the studio ladder.
        renditions: Number of renditions.
        effort: Effort of the encoders.
        local: Real workers.
        simulated: Simulated workers.
        dask: Dask's overhead.
    """

    hours: float
    renditions: int
    effort: Effort
    local: Local | None
    simulated: tuple[Simulated, ...]
    dask: Dask | None


PARTS = ("simulated", "dask", "local")


def measure(
    parts: Collection[str],
    *,
    quick: bool = False,
    earlier: Report | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Report:
    """Run some parts.

    Args:
        parts: Some of `PARTS`.
        quick: Use a short film, few frames and few tasks: a functional check, not a measurement.
        earlier: Result of an earlier run, whose other parts are kept.
        on_step: Called with a description of each step.

    Raises:
        ConfigError: The film is not installed.
        HeadendError: A real task failed.
    """
    hours = QUICK_HOURS if quick else HOURS
    plan = plan_of(QUICK_HOURS, 1)
    simulated, dask, local = (earlier.simulated, earlier.dask, earlier.local) if earlier else ((), None, None)
    if "simulated" in parts:
        simulated = tuple(_simulate_all(hours, on_step))
    if "dask" in parts:
        dask_tasks = QUICK_TASKS if quick else DASK_TASKS
        on_step(f"running {dask_tasks:,} empty tasks")
        dask = run_empty_tasks(dask_tasks, plan.tasks[0], sum(task.cost for task in plan.tasks) / len(plan.tasks))
    if "local" in parts:
        local = _local(quick, on_step)
    return Report(hours, len(plan.video) + len(plan.audio), plan.effort, local, simulated, dask)


# --- simulated workers --------------------------------------------------------------------------------------------


def plan_of(hours: float, workers: int, chunk_s: Fraction = Fraction(30)) -> EncodePlan:
    """Plan a 2160p HDR10 film in ProRes with 5.1 sound for a number of workers."""
    rate = Fraction(24000, 1001)
    frames = int(hours * 3600 * rate)
    track = VideoTrack(
        index=0,
        codec="prores",
        profile="HQ",
        pixel_format="yuv422p10le",
        bit_depth=10,
        width_px=3840,
        height_px=2160,
        sample_aspect_ratio=Fraction(1),
        rotation_deg=0,
        colour=Colour("bt2020", "smpte2084", "bt2020nc", "tv", "left"),
        mastering_display=None,
        content_light=None,
        field_order=FieldOrder.PROGRESSIVE,
        time_base=1 / rate,
        frame_rate=rate,
        constant_rate=True,
        intra_only=True,
        bit_rate_bps=700_000_000,
        frames=FrameIndex(tuple(range(frames)), tuple(range(frames)), tuple(range(frames)), "container index"),
    )
    sound = AudioTrack(1, "pcm_s24le", "", 48_000, 6, "5.1", "en", "", (), True, Fraction(0), frames / rate, 6_912_000)
    probe = Probe(Master("/masters/film.mov", 1, "sha256:00", "1"), "mov", frames / rate, track, (sound,), ())
    fitted = fitting.fit(loading.load("studio"), probe, frame_rate=rate)
    draft = planning.Draft(
        "film",
        probe,
        conform(track),
        planning.Renditions("studio", fitted.video, fitted.audio),
        decisions=fitted.decisions,
        settings=EncodeSettings(chunk_s=chunk_s),
        tool="simulated",
        tool_digest="0" * 64,
    )
    return draft.with_tasks(workers=workers, slot_bytes=WORKER_BYTES)


def _simulate_all(hours: float, on_step: Callable[[str], None]) -> Iterator[Simulated]:
    coarse_s = 0.0
    for count, chunk_s in WORKERS.items():
        on_step(f"planning for {count:,} workers")
        started_s = time.process_time()
        plan = plan_of(hours, count, Fraction(chunk_s))
        planning_s = time.process_time() - started_s
        on_step(f"simulating {len(plan.tasks):,} tasks on {count:,} workers")
        # The plan for one worker has the largest tasks that fit its memory.
        coarse_s = coarse_s or sum(task.cost for task in plan.tasks)
        for case in CASES:
            yield _simulated(case, plan, count, coarse_s, planning_s)


@dataclass(frozen=True, slots=True)
class Case:
    """A case of the simulation.

    Attributes:
        name: Name for people.
        slow: Share of slow workers.
        lost: Share of lost workers.
    """

    name: str
    slow: float = 0.0
    lost: float = 0.0


CASES = (Case("all well"), Case("stragglers", slow=SLOW_SHARE), Case("lost workers", lost=LOST_SHARE))


def _simulated(case: Case, plan: EncodePlan, count: int, coarse_s: float, planning_s: float) -> Simulated:
    end_s, lost_s, work_s, longest_s, speed = simulate(plan.tasks, count, case)
    bound_s = max(work_s / speed, longest_s)
    planned_s = sum(task.cost for task in plan.tasks)
    return Simulated(
        case=case.name,
        workers=count,
        chunk_s=float(plan.grid.chunk_frames / plan.grid.frame_rate),
        tasks=len(plan.tasks),
        work_s=planned_s,
        extra=planned_s / coarse_s - 1,
        bound_s=bound_s,
        makespan_s=end_s,
        ratio=end_s / bound_s,
        lost_s=lost_s,
        planning_s=planning_s,
    )


def simulate(tasks: Sequence[EncodeTask], count: int, case: Case) -> tuple[float, float, float, float, float]:
    """Run tasks on simulated workers.

    Args:
        tasks: The tasks, most urgent first.
        count: Number of workers.
        case: The case.

    Returns:
        Seconds until the last task ends; wasted CPU seconds; simulated CPU seconds of all tasks and of the longest one;
        and the workers' total speed, in workers of full speed.
    """
    rng = random.Random(SEED + count)
    durations_s = {task.id: task.cost * rng.lognormvariate(0, NOISE) for task in tasks}
    work_s = sum(durations_s.values())
    workers = {f"w{number}": Worker(f"w{number}", 1, WORKER_BYTES) for number in range(count)}
    order = list(workers)
    rng.shuffle(order)
    slow = max(1, round(case.slow * count)) if case.slow and count > 1 else 0
    slowness = dict.fromkeys(order[:slow], SLOWNESS)
    speed = sum(1 / slowness.get(address, 1.0) for address in workers)
    # Losses are spread over the duration of the job; a single worker is lost once.
    lost = order[: max(1, round(case.lost * count))] if case.lost else []
    span_s = work_s / speed
    events: list[tuple[float, int, str, str]] = []
    numbers = itertools.count()
    for address in lost:
        heapq.heappush(events, (rng.uniform(0.05, 0.95) * span_s, next(numbers), "lost", address))
    queue = TaskQueue()
    queue.add("film", tasks)
    queue.set_workers(workers.values())
    running: dict[str, tuple[Run, float]] = {}  # run and its start, by worker
    now_s = lost_s = 0.0
    while not queue.finished("film"):
        for run in queue.place(now_s):
            running[run.worker] = (run, now_s)
            ends_s = now_s + durations_s[run.task.id] * slowness.get(run.worker, 1.0)
            heapq.heappush(events, (ends_s, next(numbers), "ended", f"{run.number}"))
        if queue.wakes_at_s is not None and (not events or queue.wakes_at_s < events[0][0]):
            now_s = queue.wakes_at_s
            continue
        now_s, _, what, which = heapq.heappop(events)
        if what == "ended":
            if queue.run(int(which)) is not None:
                queue.done(int(which))
        elif what == "lost":
            del workers[which]
            queue.set_workers(workers.values())
            heapq.heappush(events, (now_s + REPLACED_S, next(numbers), "new", f"{which}-again"))
            for run in queue.runs_on(which):
                lost_s += now_s - running[which][1]
                queue.failed(run.number, Blame.TASK, now_s)
        else:
            workers[which] = Worker(which, 1, WORKER_BYTES)
            queue.set_workers(workers.values())
    return now_s, lost_s, work_s, max(durations_s.values()), speed


# --- Dask's scheduler ---------------------------------------------------------------------------------------------


def _nothing(run: cluster.TaskRun) -> Receipt:
    return Receipt(run.task.id, run.task.chunk.number, (), run.attempt, run.worker, 0.0, 0.0, 0)


def run_empty_tasks(count: int, template: EncodeTask, task_s: float) -> Dask:
    """Run empty tasks on two real workers with many threads each.

    Args:
        count: Number of tasks.
        template: A real task, copied so that the transferred tasks have a realistic size.
        task_s: CPU seconds that a real task takes on average.
    """
    tasks = [replace(template, id=f"{number:020x}", memory_bytes=0) for number in range(count)]
    with LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=2, threads_per_worker=DASK_SLOTS // 2, dashboard_address=None, host="127.0.0.1", memory_limit=0
    ) as local:
        address = local.scheduler_address
        with Client(local) as client:  # type: ignore[no-untyped-call]
            client.wait_for_workers(2)
        before, started_s = _cpu_s(), time.monotonic()
        cluster.run_tasks(tasks, _nothing, ClusterSettings(scheduler=address), lambda _: None)
        wall_s, cpu_s = time.monotonic() - started_s, _cpu_s() - before
    return Dask(count, DASK_SLOTS, wall_s, cpu_s, 1000 * cpu_s / count, cpu_s / count / task_s)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


# --- real workers -------------------------------------------------------------------------------------------------


def _local(quick: bool, on_step: Callable[[str], None]) -> Local:
    runs: dict[int, list[Watched]] = {1: [], 2: []}
    load = []
    with TemporaryDirectory(prefix="headend-bench-") as name:
        folder = Path(name)
        frames = QUICK_FRAMES if quick else LOCAL_FRAMES
        master = clips.make_master(Mezzanine.H264, clips.locate(), folder, frames, None)
        for number in range(QUICK_ROUNDS if quick else ROUNDS):
            for workers, watched in runs.items():
                on_step(f"encoding with {workers} local {'worker' if workers == 1 else 'workers'}, round {number + 1}")
                job = replace(job_of(master, folder / f"{workers}-{number}"), cluster=ClusterSettings(workers=workers))
                watched.append(watch(job, cores=workers))
                load.append(os.getloadavg()[0])
    one_s, two_s = (tuple(run.encode_s for run in runs[workers]) for workers in runs)
    one_cpu_s, two_cpu_s = (median(run.encoder_cpu_s for run in runs[workers]) for workers in runs)
    busy = median(run.task_s / (2 * run.encode_s) for run in runs[2])
    return Local(one_s, two_s, median(one_s) / median(two_s), busy, two_cpu_s / one_cpu_s, tuple(load))


# --- chart --------------------------------------------------------------------------------------------------------


def draw(report: Report, path: Path) -> None:
    """Draw makespans relative to their bounds, and hours by number of workers; nothing without simulated workers.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if not report.simulated:
        return
    titles = ["makespan relative to the lower bound", "hours until a film is done"]
    headline = f"{report.hours:g} h of 2160p HDR in {report.renditions} renditions, {report.effort} effort, simulated"
    with charts.panels(path, titles, headline) as (ratios, hours):
        for case, colour in zip(CASES, (charts.OURS, charts.OTHERS, charts.BOUND), strict=True):
            rows = [row for row in report.simulated if row.case == case.name]
            counts = [row.workers for row in rows]
            ratios.plot(counts, [row.ratio for row in rows], "o-", color=colour, label=case.name)
            hours.plot(counts, [row.makespan_s / 3600 for row in rows], "o-", color=colour, label=case.name)
        ratios.axhline(GOAL, color=charts.BOUND, linewidth=0.8, linestyle=":")
        ratios.set_ylim(bottom=0.99)
        hours.set_yscale("log")
        for axis in (ratios, hours):
            axis.set_xscale("log")
            axis.set_xlabel("workers with one core")
            axis.legend(frameon=False, fontsize=9)


def findings(report: Report) -> Iterator[str]:
    """Yield the conclusions, one line each."""
    if report.simulated:
        worst = max(report.simulated, key=lambda row: row.ratio)
        where = f"({worst.case}, {worst.workers:,} workers)"
        yield f"worst simulated makespan {worst.ratio:.3f} × the bound {where}: {_verdict(worst.ratio <= GOAL)}"
    if local := report.local:
        faster = f"two workers are {local.speed_up:.2f} × one, at a load of up to {max(local.load):.1f}"
        yield f"{faster}: {_verdict(local.speed_up >= LOCAL_GOAL)}"
        yield f"  they were busy {local.busy:.1%} of the time; the same work took {local.growth - 1:+.1%} CPU time"
    if dask := report.dask:
        yield f"scheduling a task takes {dask.task_cpu_ms:.2f} ms of CPU, {dask.share:.4%} of its work"


def _verdict(met: bool) -> str:
    return "reached" if met else "missed"
