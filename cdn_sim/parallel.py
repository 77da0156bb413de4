"""Runs simulations in parallel: a task is an alternative, a seed and a provider; its result is a `Tally`.

Tasks are independent and draw random numbers by position, so results don't depend on where or in which order they run.
A single worker is this process; several are processes on this machine (`cdn_sim.process_pool`) or those of a running
Dask cluster. Only scenarios (kilobytes) and tallies (hundreds of kilobytes) are transferred.
"""

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from cdn_sim import process_pool, simulation
from cdn_sim.accounting import Tally
from cdn_sim.catalogue import StoredTitle
from cdn_sim.model import Scenario
from headend.core.errors import ConfigError, HeadendError

CONNECT_S = 10
"""Timeout for connecting to a Dask scheduler."""
HEARTBEAT_S = 20.0
"""Maximum time between progress reports."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run: an alternative, a seed and a provider."""

    alternative: str
    scenario: Scenario
    seed: int
    isp: int


def tasks(variants: Mapping[str, Scenario]) -> tuple[Task, ...]:
    """All tasks, those of the base scenario first; tasks of one alternative and seed are adjacent."""
    return tuple(
        Task(name, scenario, seed, isp)
        for name, scenario in variants.items()
        for seed in scenario.seeds
        for isp in range(len(scenario.isps))
    )


def perform(
    task: Task,
    stored_titles: Sequence[StoredTitle] = (),
    traces: Mapping[str, Sequence[float]] | None = None,
    on_day: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Run a task."""
    return simulation.run(task.scenario, task.isp, task.seed, stored_titles=stored_titles, traces=traces, on_day=on_day)


def run(
    tasks: Sequence[Task],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    stored_titles: Sequence[StoredTitle] = (),
    traces: Mapping[str, Sequence[float]] | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Task, Tally]]:
    """Run tasks, and yield each result when it is ready.

    Args:
        tasks: The tasks.
        workers: Number of processes on this machine, if there is no scheduler.
        scheduler: Address of a running Dask scheduler.
        stored_titles: Titles of the store, if the scenario names one.
        traces: Relative access rates, by file name.
        on_progress: Called with a status line at least every half minute.

    Raises:
        ConfigError: The scheduler can't be reached.
        HeadendError: A task failed.
    """
    if scheduler is not None:
        with _client(scheduler) as client:
            yield from _run_on_dask(client, tasks, stored_titles, traces, on_progress)
    elif workers == 1 or len(tasks) == 1:
        yield from _run_here(tasks, stored_titles, traces, on_progress)
    else:
        yield from _run_in_processes(tasks, workers, stored_titles, traces, on_progress)


def _run_in_processes(
    tasks: Sequence[Task],
    workers: int,
    stored_titles: Sequence[StoredTitle],
    traces: Mapping[str, Sequence[float]] | None,
    on_progress: Callable[[str], None],
) -> Iterator[tuple[Task, Tally]]:
    days = [0] * len(tasks)
    runs, all_days, finished = len(tasks), sum(task.scenario.days.all for task in tasks), 0

    def report(done: int) -> None:
        on_progress(f"{done} of {runs} runs done, {sum(days):,} of {all_days:,} days simulated")

    def report_day(task: int, day: int) -> None:
        days[task] = day
        report(finished)

    run_task = partial(_perform, stored_titles=tuple(stored_titles), traces=dict(traces or {}))
    results = process_pool.run_tasks(tasks, run_task, workers, on_step=report_day, on_idle=report, idle_s=HEARTBEAT_S)
    for finished, result in enumerate(results, 1):
        report(finished)
        yield result


def _perform(
    task: Task,
    on_day: Callable[[int], None],
    stored_titles: Sequence[StoredTitle],
    traces: Mapping[str, Sequence[float]],
) -> Tally:
    return perform(task, stored_titles, traces, on_day)


def _run_here(
    tasks: Sequence[Task],
    stored_titles: Sequence[StoredTitle],
    traces: Mapping[str, Sequence[float]] | None,
    on_progress: Callable[[str], None],
) -> Iterator[tuple[Task, Tally]]:
    """Run tasks one after another in this process, which can report each day."""

    def report_day(run: str, days: int, day: int) -> None:
        on_progress(f"{run}, day {day} of {days}")

    for number, task in enumerate(tasks, 1):
        provider = task.scenario.isps[task.isp].name
        run = f"run {number} of {len(tasks)}: {task.alternative}, seed {task.seed}, {provider}"
        yield task, perform(task, stored_titles, traces, partial(report_day, run, task.scenario.days.all))


def _report(on_progress: Callable[[str], None], runs: int, done: int) -> None:
    on_progress(f"{done} of {runs} runs done")


def _run_on_dask(
    client: Any,
    tasks: Sequence[Task],
    stored_titles: Sequence[StoredTitle],
    traces: Mapping[str, Sequence[float]] | None,
    on_progress: Callable[[str], None],
) -> Iterator[tuple[Task, Tally]]:
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    shared = client.scatter((tuple(stored_titles), dict(traces or {})), broadcast=True)
    futures = {client.submit(_on_worker, task, shared, pure=False, retries=2): task for task in tasks}
    for future in futures:
        future.add_done_callback(done.put)
    left = len(futures)
    while left:
        try:
            future = done.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            _report(on_progress, len(tasks), len(tasks) - left)
            continue
        left -= 1
        task = futures[future]
        if future.status != "finished":
            error = future.exception() if future.status == "error" else None
            if isinstance(error, HeadendError):
                raise error
            raise HeadendError(
                f"{task.alternative}, seed {task.seed}, failed on the cluster: {error or 'its workers died'}; "
                "check the workers' logs, or give them more memory"
            )
        _report(on_progress, len(tasks), len(tasks) - left)
        yield task, future.result()


def _on_worker(task: Task, shared: tuple[Sequence[StoredTitle], Mapping[str, Sequence[float]]]) -> Tally:
    return perform(task, *shared)


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    distributed: Any = import_module("distributed")
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {scheduler}: start one with 'dask scheduler'") from error
    except TypeError as error:  # TLS without a certificate
        raise ConfigError(
            f"{scheduler} needs a certificate: name it in Dask's configuration, under distributed.comm.tls"
        ) from error
    with client:
        yield client
