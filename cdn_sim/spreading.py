"""Runs on many processes: a task is an alternative, a seed and a provider; its result is a tally.

Tasks are independent and draw their random numbers by position, so results don't depend on where or in which order
they run. With one worker everything happens in this process. Several are processes of this machine (`cdn_sim.crew`), or
a Dask cluster that runs already; only scenarios (kilobytes) and tallies (hundreds of kilobytes) move.
"""

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from cdn_sim import crew, simulation
from cdn_sim.accounting import Tally
from cdn_sim.catalogue import Release
from cdn_sim.model import Scenario
from headend.core.errors import ConfigError, HeadendError

CONNECT_S = 10
HEARTBEAT_S = 20.0
"""How often the caller hears that work goes on."""


@dataclass(frozen=True, slots=True)
class Task:
    """One provider with one seed in one alternative."""

    alternative: str
    scenario: Scenario
    seed: int
    isp: int


def tasks(variants: Mapping[str, Scenario]) -> tuple[Task, ...]:
    """All tasks, the given scenario's first; all providers of a run stand together."""
    return tuple(
        Task(name, scenario, seed, isp)
        for name, scenario in variants.items()
        for seed in scenario.seeds
        for isp in range(len(scenario.isps))
    )


def perform(
    task: Task,
    releases: Sequence[Release] = (),
    traces: Mapping[str, Sequence[float]] | None = None,
    on_day: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Do a task."""
    return simulation.run(task.scenario, task.isp, task.seed, releases=releases, traces=traces, on_day=on_day)


def run(
    todo: Sequence[Task],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    releases: Sequence[Release] = (),
    traces: Mapping[str, Sequence[float]] | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Task, Tally]]:
    """Do tasks, and hand over each result as it comes.

    Args:
        todo: The tasks.
        workers: Processes of this machine, if no scheduler is given.
        scheduler: Address of a running Dask scheduler.
        releases: Of a store, if the scenario names one.
        traces: Relative rates of access, by file name.
        on_progress: Called with a short status text, at least every half minute.

    Raises:
        ConfigError: The scheduler can't be reached.
        HeadendError: A task has failed.
    """
    if scheduler is None and (workers == 1 or len(todo) == 1):
        for number, task in enumerate(todo, 1):
            name = f"run {number} of {len(todo)}: {task.alternative}, seed {task.seed}"
            days = task.scenario.days.all
            provider = task.scenario.isps[task.isp].name

            def on_day(day: int, name: str = name, provider: str = provider, days: int = days) -> None:
                on_progress(f"{name}, {provider}, day {day} of {days}")

            yield task, perform(task, releases, traces, on_day)
        return
    if scheduler is None:
        work = partial(perform, releases=tuple(releases), traces=dict(traces or {}))
        silent = partial(_tell, on_progress, len(todo))
        for done, found in enumerate(crew.work(todo, work, workers, on_silence=silent, silence_s=HEARTBEAT_S), 1):
            _tell(on_progress, len(todo), done)
            yield found
        return
    with _client(scheduler) as client:
        yield from _collect(client, todo, releases, traces, on_progress)


def _tell(on_progress: Callable[[str], None], runs: int, done: int) -> None:
    on_progress(f"{done} of {runs} runs done")


def _collect(
    client: Any,
    todo: Sequence[Task],
    releases: Sequence[Release],
    traces: Mapping[str, Sequence[float]] | None,
    on_progress: Callable[[str], None],
) -> Iterator[tuple[Task, Tally]]:
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    shared = client.scatter((tuple(releases), dict(traces or {})), broadcast=True)
    futures = {client.submit(_on_worker, task, shared, pure=False, retries=2): task for task in todo}
    for future in futures:
        future.add_done_callback(done.put)
    left = len(futures)
    while left:
        try:
            future = done.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            _tell(on_progress, len(todo), len(todo) - left)
            continue
        left -= 1
        task = futures[future]
        if future.status != "finished":
            error = future.exception() if future.status == "error" else None
            if isinstance(error, HeadendError):
                raise error
            raise HeadendError(
                f"{task.alternative}, seed {task.seed}, failed on the cluster: {error or 'its workers are gone'}; "
                "look at the workers' logs, or give them more memory"
            )
        _tell(on_progress, len(todo), len(todo) - left)
        yield task, future.result()


def _on_worker(task: Task, shared: tuple[Sequence[Release], Mapping[str, Sequence[float]]]) -> Tally:
    return perform(task, *shared)


@contextmanager
def _client(scheduler: str) -> Iterator[Any]:
    distributed: Any = import_module("distributed")
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {scheduler}: start one with 'dask scheduler'") from error
    with client:
        yield client
