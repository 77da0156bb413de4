"""Run tasks on a Dask cluster. The only package that imports Dask.

Input: tasks, the function that a worker applies to each, and the cluster. Output: events, and the small documents that
workers return; no media passes through Dask. `encoder.task_queue` decides what runs where, and a `Runner` does it.

Dask does not stop a child process when a running task is cancelled (dask/distributed#4694), and counts a worker's death
as a failure of all tasks that were sent to it. So each task checks whether it is cancelled, the task queue counts the
attempts, and a worker only gets a task that it can start at once.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from distributed import Client

from encoder.cluster import introspection, link
from encoder.cluster.events import Done, Event, Failed, Notice, TaskProgress, Tick
from encoder.cluster.local import local_cluster, local_workers
from encoder.cluster.performing import Perform, TaskRun
from encoder.cluster.roster import Roster, WorkerState
from encoder.cluster.running import Follow, Job, Runner, nothing_follows
from encoder.scheduling import Work, Worker
from encoder.task_queue import Run
from headend.core.errors import HeadendError
from headend.core.process import available_cores
from headend.core.settings import ClusterSettings

__all__ = [
    "EXPECTED",
    "Done",
    "Event",
    "Failed",
    "Follow",
    "Job",
    "Notice",
    "Perform",
    "Run",
    "RunTasks",
    "Runner",
    "TaskProgress",
    "TaskRun",
    "Tick",
    "Work",
    "Worker",
    "available_cores",
    "check_reachable",
    "nothing_follows",
    "run_tasks",
    "shared_runner",
    "workers_of",
]

RunTasks = Callable[..., None]
"""The type of `run_tasks`, and of its replacement for jobs that share a cluster."""
QUERY_S = 10.0
"""Workers that don't answer for this long are left out when a plan is made."""
EXPECTED = tuple(Worker(f"expected-{number}", 1, 8 << 30) for number in range(8))
"""The workers to plan for if a cluster has none yet, because it grows when it has work."""


def check_reachable(settings: ClusterSettings) -> None:
    """Check that the scheduler answers, if one is configured; raises `ConfigError` if it does not."""
    if settings.scheduler is not None:
        link.connect(settings.scheduler).close()


def workers_of(settings: ClusterSettings) -> tuple[Worker, ...]:
    """The workers of a cluster, or `EXPECTED` if it has none yet.

    A worker's memory is its ``dask worker --memory-limit``, by default its share of its machine. If it has no limit,
    its memory is measured.

    Raises:
        ConfigError: The scheduler can't be reached.
    """
    if settings.scheduler is None:
        return local_workers(settings)
    with link.connect(settings.scheduler) as client:
        roster = Roster(link.requirements(None))
        try:
            _, facts = client.run_on_scheduler(introspection.describe_workers)
        except OSError as error:  # the scheduler went away after it was connected
            raise link.unreachable(settings.scheduler) from error
        changes = roster.update(WorkerState(*state) for state in facts)
        threads = [
            threading.Thread(target=_query, args=(client, address, roster), daemon=True) for address in changes.new
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(QUERY_S)
        return roster.workers or EXPECTED


def run_tasks(
    tasks: Sequence[Work],
    perform: Perform,
    settings: ClusterSettings,
    on_event: Callable[[Event], None],
    *,
    tool: str | None = None,
    follow: Follow = nothing_follows,
) -> None:
    """Run the tasks of one job on a cluster, each at most three times.

    Args:
        tasks: The most urgent first.
        perform: Called by a worker to do a task; picklable. It writes the results itself and returns their receipt.
        settings: The cluster.
        on_event: Called with every event, in this thread.
        tool: FFmpeg's version line; workers of a remote cluster with another one get no tasks. None for any.
        follow: Called with what a worker returned for a task; returns tasks to append. It runs in this thread or
            another one, and must be quick.

    Raises:
        EncodingError: A task has failed and is not retried, or the cluster is lost. All other tasks are stopped.
        HeadendError: A task raised an error that is not retryable.
        ConfigError: The scheduler can't be reached, there is no worker, or a task needs more memory than any has.
    """
    if not tasks:
        return
    ended: list[HeadendError | None] = []
    with _connecting(settings, tasks) as connect:
        remote = settings.scheduler is not None
        runner = Runner(
            connect,
            settings,
            link.requirements(tool) if remote else None,
            on_event,
            lambda _job, error: ended.append(error),
        )
        runner.add(Job("job", tasks, perform, follow=follow))
        runner.work(until=lambda: bool(ended))
    if ended[0] is not None:
        raise ended[0]


@contextlib.contextmanager
def shared_runner(
    settings: ClusterSettings,
    tool: str | None,
    on_event: Callable[[Event], None],
    on_ended: Callable[[str, HeadendError | None], None],
) -> Iterator[Runner]:
    """Open a cluster for several jobs; the caller runs `Runner.work` in one thread and adds jobs from others.

    Args:
        settings: The cluster.
        tool: FFmpeg's version line; workers of a remote cluster with another one get no tasks. None for any.
        on_event: Called with every event, in the thread of `Runner.work`.
        on_ended: Called when a job has ended, with its id and the error that ended it or None.

    Raises:
        ConfigError: The scheduler can't be reached.
    """
    with _connecting(settings, ()) as connect:
        remote = settings.scheduler is not None
        yield Runner(connect, settings, link.requirements(tool) if remote else None, on_event, on_ended)


@contextlib.contextmanager
def _connecting(settings: ClusterSettings, tasks: Sequence[Work]) -> Iterator[Callable[[], Client]]:
    """Yield a function that connects to the configured cluster."""
    if (address := settings.scheduler) is not None:
        yield lambda: link.connect(address)
        return
    with local_cluster(settings, tasks) as client:
        yield lambda: client


def _query(client: Client, address: str, roster: Roster) -> None:
    with contextlib.suppress(Exception):  # the worker has gone
        answers = link.query(client, [address], ())
        roster.answer(address, answers[address])
