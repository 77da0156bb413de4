"""The only place that knows Dask: tasks go to workers, what they return comes back.

Comes in: tasks, what a worker does with one, and which cluster. Goes out: events, and small documents that the workers
return; no media passes through Dask. `encoder.board` decides what runs where; a `Runner` carries that out.

Dask does not stop a child process when a running task is cancelled (dask/distributed#4694) and counts a worker's death
against whatever was sent there, so that each task here watches for its own cancellation, attempts are counted by the
board, and a worker gets a task only when it can begin it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

from distributed import Client

from encoder.board import Run
from encoder.cluster import inquiry, running
from encoder.cluster.events import Advance, Done, Event, Failed, Notice, Tick
from encoder.cluster.local import local_cluster, local_workers
from encoder.cluster.performing import Perform, TaskRun
from encoder.cluster.roster import Roster, WorkerState
from encoder.cluster.running import Follow, Job, Runner, nothing_follows
from encoder.scheduling import Work, Worker
from headend.core.errors import HeadendError
from headend.core.process import available_cores
from headend.core.settings import ClusterSettings

__all__ = [
    "EXPECTED",
    "Advance",
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
"""`run_tasks`, or what stands in its place for jobs that share a cluster."""
ASK_S = 10.0
"""How long workers may take to say what they have, before a plan is made without them."""
EXPECTED = tuple(Worker(f"expected-{number}", 1, 8 << 30) for number in range(8))
"""What a plan is made for where there are no workers yet, such as on a cluster that grows when it has work."""


def check_reachable(settings: ClusterSettings) -> None:
    """Make sure that the scheduler answers, if one is named; raises `ConfigError` if it does not."""
    if settings.scheduler is not None:
        running.connect(settings.scheduler).close()


def workers_of(settings: ClusterSettings) -> tuple[Worker, ...]:
    """The workers that tasks will find; where a cluster has none yet, what it is expected to have.

    A worker's memory is what ``dask worker --memory-limit`` says, by default its share of its machine; without a limit
    it is measured.

    Raises:
        ConfigError: The scheduler can't be reached.
    """
    if settings.scheduler is None:
        return local_workers(settings)
    with running.connect(settings.scheduler) as client:
        roster = Roster(running.wanted(None))
        try:
            found = client.run_on_scheduler(inquiry.describe_workers)
        except OSError as error:  # it went away this very moment
            raise running.unreachable(settings.scheduler) from error
        changes = roster.see(WorkerState(*each) for each in found)
        asking = [threading.Thread(target=_ask, args=(client, address, roster), daemon=True) for address in changes.new]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(ASK_S)
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
        perform: What a worker does with a task; picklable. Writes all results itself and returns their receipt.
        settings: Which cluster.
        on_event: Called with every event, in this thread.
        tool: FFmpeg's version line; workers of a remote cluster that have another get no tasks. None for any.
        follow: Given what a worker returned, the tasks that can begin now and could not before. They stand behind all
            others. Must be quick, and is called in this thread or in another one.

    Raises:
        EncodingError: A task has failed for good, or the cluster is lost. All others are stopped.
        HeadendError: Whatever not retryable a task has raised.
        ConfigError: The scheduler can't be reached, no worker came, or a task needs more memory than any has.
    """
    if not tasks:
        return
    ended: list[HeadendError | None] = []
    with _connecting(settings, tasks) as connect:
        remote = settings.scheduler is not None
        runner = Runner(
            connect,
            settings,
            running.wanted(tool) if remote else None,
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
    """Open a cluster for several jobs; the caller runs `Runner.work` in a thread, and adds jobs from others.

    Args:
        settings: Which cluster.
        tool: FFmpeg's version line; workers of a remote cluster that have another get no tasks. None for any.
        on_event: Called with every event, in the thread of `Runner.work`.
        on_ended: Called when a job has ended, with its id and the error that ended it or None.

    Raises:
        ConfigError: The scheduler can't be reached.
    """
    with _connecting(settings, ()) as connect:
        remote = settings.scheduler is not None
        yield Runner(connect, settings, running.wanted(tool) if remote else None, on_event, on_ended)


@contextlib.contextmanager
def _connecting(settings: ClusterSettings, tasks: Sequence[Work]) -> Iterator[Callable[[], Client]]:
    """What makes a client of the cluster that is meant."""
    if (address := settings.scheduler) is not None:
        yield lambda: running.connect(address)
        return
    with local_cluster(settings, tasks) as client:
        yield lambda: client


def _ask(client: Client, address: str, roster: Roster) -> None:
    with contextlib.suppress(Exception):  # it has gone
        answers = running.ask(client, [address], ())
        roster.answer(address, answers[address])
