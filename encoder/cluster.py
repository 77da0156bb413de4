"""The only place that knows Dask: tasks go to workers, receipts come back.

No media passes through Dask: tasks and receipts are small documents. Dask does not stop a child process when a running
task is cancelled (dask/distributed#4694) and counts a worker's death against whatever ran there, so that each task here
watches for its own cancellation and attempts are counted by us.
"""

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask
from distributed import Client, LocalCluster, as_completed, get_worker
from distributed.scheduler import KilledWorker

from headend.errors import Cancelled, ConfigError, EncodingError, HeadendError
from headend.media import EncodeTask, Receipt
from headend.settings import ATTEMPTS, ClusterSettings

CONNECT_S = 10
"""How long to wait for a scheduler."""
TOPIC = "headend"

_QUIET = {
    # A dead worker's task comes back to us at once, which counts the attempt and tries elsewhere.
    "distributed.scheduler.allowed-failures": 0,
    # Encoders are children; a worker's own memory tells nothing.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # A long task must not cost a worker its life.
    "distributed.scheduler.worker-ttl": None,
}


@dataclass(frozen=True, slots=True)
class Advance:
    """A running task has come further.

    Attributes:
        task: Its id.
        frames: Frames done.
    """

    task: str
    frames: int


@dataclass(frozen=True, slots=True)
class Done:
    """A task is done."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt at a task has failed.

    Attributes:
        task: Its id.
        attempt: From 1.
        worker: Where it ran; an empty string when the cluster does not say.
        error: What happened.
        last: Whether no other attempt follows.
    """

    task: str
    attempt: int
    worker: str
    error: HeadendError
    last: bool


Event = Advance | Done | Failed
Perform = Callable[["TaskRun"], Receipt]


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task as a worker meets it.

    Attributes:
        task: What to do.
        attempt: From 1.
        worker: The worker's address.
        folder: Where scratch files may lie.
        cancelled: Becomes true when the task is to stop.
        on_frames: Gets the number of frames done.
    """

    task: EncodeTask
    attempt: int
    worker: str
    folder: Path
    cancelled: Callable[[], bool]
    on_frames: Callable[[int], None]


def slots(settings: ClusterSettings) -> int:
    """How many tasks run at once.

    Raises:
        ConfigError: The scheduler can't be reached or has no workers.
    """
    if settings.scheduler is None:
        return settings.workers or available_cores()
    with _connect(settings.scheduler) as client:
        threads: int = sum(client.nthreads().values())
    if not threads:
        raise ConfigError(
            f"the scheduler at {settings.scheduler} has no workers: start some with 'dask worker {settings.scheduler}'"
        )
    return threads


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run_tasks(
    tasks: Sequence[EncodeTask], perform: Perform, settings: ClusterSettings, on_event: Callable[[Event], None]
) -> None:
    """Run tasks on a cluster, each at most three times.

    Args:
        tasks: Longest first.
        perform: What a worker does with a task; picklable. Writes all results itself and returns their receipt.
        settings: Which cluster.
        on_event: Told of everything that happens, in this thread or, for `Advance`, in Dask's.

    Raises:
        EncodingError: A task has failed for good, or the cluster is lost. All others are stopped.
        HeadendError: Whatever not retryable a task has raised.
        ConfigError: The scheduler can't be reached.
    """
    if not tasks:
        return
    with _cluster(settings) as client:
        client.subscribe_topic(TOPIC, lambda event: on_event(Advance(*event[1])))
        attempts = dict.fromkeys((task.id for task in tasks), 1)
        waiting = deque(tasks)
        by_future: dict[Any, EncodeTask] = {}
        pending = as_completed()

        def submit() -> None:
            """Hand out as many tasks as workers can run: a death is then blamed on none that had not begun."""
            room = max(1, sum(client.nthreads().values())) - len(by_future)
            for _ in range(min(room, len(waiting))):
                task = waiting.popleft()
                attempt = attempts[task.id]
                # Attempts and runs have keys of their own, so that none takes up another's result or its failure.
                key = f"{task.id}-{attempt}-{uuid4().hex[:8]}"
                future = client.submit(_on_worker, perform, task, attempt, key=key, pure=False)
                by_future[future] = task
                pending.add(future)

        try:
            submit()
            for future in pending:
                task = by_future.pop(future)
                error = _error_of(future, task)
                if error is None:
                    on_event(Done(future.result()))
                    future.release()
                else:
                    attempt = attempts[task.id]
                    last = attempt >= ATTEMPTS or not error.retryable
                    on_event(Failed(task.id, attempt, str(error.facts.get("worker", "")), error, last))
                    if last:
                        raise _final(error, task, attempt)
                    attempts[task.id] += 1
                    # A failed task goes to the front: it is late already, and its fate decides the job's.
                    waiting.appendleft(task)
                submit()
        finally:
            client.cancel(list(by_future), force=True)


@contextlib.contextmanager
def _cluster(settings: ClusterSettings) -> Iterator[Client]:
    if settings.scheduler is not None:
        with _connect(settings.scheduler) as client:
            client.run_on_scheduler(_report_deaths)
            yield client
        return
    with (
        dask.config.set(_QUIET),
        LocalCluster(
            n_workers=settings.workers or available_cores(),
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def _connect(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {address}: start one with 'dask scheduler'") from error
    with client:
        yield client


def _report_deaths(dask_scheduler: Any) -> None:
    """Make a running scheduler hand each worker's death to us; its own count would repeat tasks unseen."""
    dask_scheduler.allowed_failures = 0


def _on_worker(perform: Perform, task: EncodeTask, attempt: int) -> Receipt:
    worker = get_worker()
    key = worker.get_current_task()

    def cancelled() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state == "cancelled" or worker.status.name != "running"

    def on_frames(frames: int) -> None:
        worker.log_event(TOPIC, (task.id, frames))

    try:
        return perform(TaskRun(task, attempt, worker.address, Path(worker.local_directory), cancelled, on_frames))
    except HeadendError as error:
        error.facts.setdefault("worker", worker.address)
        raise


def _error_of(future: Any, task: EncodeTask) -> HeadendError | None:
    if future.status == "finished":
        return None
    if future.status == "cancelled":
        return EncodingError("the cluster has dropped the job: look at the scheduler's log, then submit again")
    error = future.exception()
    if isinstance(error, KilledWorker):
        worker = getattr(error.last_worker, "address", "")
        return _WorkerLost(f"worker {worker} died while it ran task {task.id}", worker=worker)
    if isinstance(error, Cancelled):
        return _WorkerLost(f"the worker stopped while it ran task {task.id}")
    if isinstance(error, HeadendError):
        return error
    return EncodingError(f"task {task.id} met an unexpected {type(error).__name__}: {error}")


def _final(error: HeadendError, task: EncodeTask, attempt: int) -> HeadendError:
    if not error.retryable:
        return error
    place = f"chunk {task.chunk.number} of {', '.join(task.renditions[:3])}{' …' if len(task.renditions) > 3 else ''}"
    final = EncodingError if isinstance(error, EncodingError) else type(error)
    return final(f"{place} failed {attempt} times, at last so: {error.message}", **{**error.facts, "task": task.id})


class _WorkerLost(EncodingError):
    """A worker went away with a task."""

    retryable = True
