"""The only place that knows Dask: tasks go to workers, receipts come back.

No media passes through Dask: tasks and receipts are small documents. Dask does not stop a child process when a running
task is cancelled (dask/distributed#4694) and counts a worker's death against whatever was sent there, so that each task
here watches for its own cancellation, attempts are counted by us, and a worker gets a task only when it can begin it:
`encoder.scheduling` says which.
"""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import dask
from distributed import Client, LocalCluster, get_worker, secede
from distributed.scheduler import KilledWorker
from distributed.system import MEMORY_LIMIT

from encoder.scheduling import Board, Worker, misfit, slot_count
from headend.errors import Cancelled, ConfigError, EncodingError, HeadendError, TaskCrashed
from headend.media import EncodeTask, Receipt
from headend.settings import ATTEMPTS, ClusterSettings

CONNECT_S = 10
"""How long to wait for a scheduler."""
LOOK_S = 2.0
"""How often new workers are looked for."""
MEMORY_SHARE = 0.8
"""How much of this machine's memory tasks may take; the rest is for results on their way, and for others."""
TOPIC = "headend"

_QUIET: dict[str, object] = {
    # A dead worker's task comes back to us at once, which counts the attempt and tries elsewhere.
    "distributed.scheduler.allowed-failures": 0,
    # Encoders are children; a worker's own memory tells nothing. Its limit only says how much we may give it.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # A long task must not cost a worker its life.
    "distributed.scheduler.worker-ttl": None,
    # Python up to 3.11 can freeze for good while threads are looked at (python/cpython#106883, dask/distributed#8616),
    # and what they do is to wait for a child.
    "distributed.worker.profile.enabled": False,
    # What Dask looks at all the time takes a twentieth of a core in this process and half as much in each worker.
    # Tasks take minutes: what they wait for is told, not found by looking.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    # We say which worker takes a task.
    "distributed.scheduler.work-stealing": False,
    # No pages: they would show every user of this machine what is encoded.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
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
        on_encoded: Told when what remains needs next to no CPU and memory, so that the next task may begin.
    """

    task: EncodeTask
    attempt: int
    worker: str
    folder: Path
    cancelled: Callable[[], bool]
    on_frames: Callable[[int], None]
    on_encoded: Callable[[], None]


def workers_of(settings: ClusterSettings) -> tuple[Worker, ...]:
    """The workers that tasks will find.

    A remote worker's memory is what ``dask worker --memory-limit`` says: by default its share of its machine, by cores.

    Raises:
        ConfigError: The scheduler can't be reached or has no workers.
    """
    if settings.scheduler is None:
        count = available_cores() if settings.workers is None else settings.workers
        return _local_workers(count)
    with _connect(settings.scheduler) as client:
        found = _look(client)
    if not slot_count(found):
        raise ConfigError(
            f"the scheduler at {settings.scheduler} has no workers: start some with 'dask worker {settings.scheduler}'"
        )
    return found


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def run_tasks(
    tasks: Sequence[EncodeTask], perform: Perform, settings: ClusterSettings, on_event: Callable[[Event], None]
) -> None:
    """Run tasks on a cluster, each at most three times.

    Args:
        tasks: The most urgent first.
        perform: What a worker does with a task; picklable. Writes all results itself and returns their receipt.
        settings: Which cluster.
        on_event: Told of everything that happens, in this thread or, for `Advance`, in Dask's.

    Raises:
        EncodingError: A task has failed for good, or the cluster is lost. All others are stopped.
        HeadendError: Whatever not retryable a task has raised.
        ConfigError: The scheduler can't be reached, or a task needs more memory than any worker has.
    """
    if not tasks:
        return
    with _cluster(settings, tasks) as client:
        _Run(client, tasks, perform, on_event).to_its_end()


class _Run:
    """Tasks under way on a cluster."""

    def __init__(
        self, client: Client, tasks: Sequence[EncodeTask], perform: Perform, on_event: Callable[[Event], None]
    ) -> None:
        self._client = client
        self._tasks = tasks
        self._perform = perform
        self._on_event = on_event
        self._board = Board(tasks)
        self._attempts = dict.fromkeys((task.id for task in tasks), 1)
        self._futures: dict[str, tuple[Any, EncodeTask]] = {}
        self._ended: SimpleQueue[tuple[str, bool]] = SimpleQueue()
        """Keys of tasks that have ended or, with False, that need their core no more."""

    def to_its_end(self) -> None:
        self._client.subscribe_topic(TOPIC, self._told)
        try:
            self._look()
            if (task := misfit(self._tasks, _look(self._client))) is not None:
                raise _too_large(task)
            while not self._board.finished:
                for task, address in self._board.place():
                    self._submit(task, address)
                if (task := self._board.stuck) is not None:
                    raise _too_large(task)
                try:
                    key, ended = self._ended.get(timeout=LOOK_S)
                except Empty:
                    self._look()
                else:
                    self._take(key, ended)
        finally:
            self._client.cancel([future for future, _ in self._futures.values()], force=True)

    def _look(self) -> None:
        self._board.see(_look(self._client))

    def _submit(self, task: EncodeTask, address: str) -> None:
        attempt = self._attempts[task.id]
        # Attempts and runs have keys of their own, so that none takes up another's result or its failure.
        key = f"{task.id}-{attempt}-{uuid4().hex[:8]}"
        future = self._client.submit(
            _on_worker, self._perform, task, attempt, key=key, pure=False,
            # If the worker has gone away in this moment, any other will do.
            workers=[address], allow_other_workers=True,
        )  # fmt: skip
        self._futures[key] = (future, task)
        future.add_done_callback(lambda future: self._ended.put((future.key, True)))

    def _told(self, event: tuple[float, tuple[str, int | None]]) -> None:
        key, frames = event[1]
        if frames is None:
            self._ended.put((key, False))
        elif (found := self._futures.get(key)) is not None:  # other jobs talk here, too
            self._on_event(Advance(found[1].id, frames))

    def _take(self, key: str, ended: bool) -> None:
        if key not in self._futures:
            return
        future, task = self._futures[key]
        if not ended:
            self._board.encoded(task.id)
            return
        del self._futures[key]
        error = _error_of(future, task)
        if error is None:
            self._board.ended(task.id)
            self._on_event(Done(future.result()))
            future.release()
            return
        attempt = self._attempts[task.id]
        last = attempt >= ATTEMPTS or not error.retryable
        self._on_event(Failed(task.id, attempt, str(error.facts.get("worker", "")), error, last))
        if last:
            raise _final(error, task, attempt)
        self._attempts[task.id] += 1
        # A worker that died must not be chosen again.
        self._look()
        self._board.again(task.id)


@contextlib.contextmanager
def _cluster(settings: ClusterSettings, tasks: Sequence[EncodeTask]) -> Iterator[Client]:
    if settings.scheduler is not None:
        with _connect(settings.scheduler) as client:
            client.run_on_scheduler(_report_deaths)
            yield client
        return
    workers = _local_workers(available_cores() if settings.workers is None else settings.workers, tasks)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_QUIET))
        with _ctrl_c_waiting():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=len(workers),
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    # Dask listens for HTTP in any case, and at its usual port unless told otherwise: let it be a free
                    # one of this machine alone, where nothing is shown.
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    memory_limit=workers[0].memory_bytes,
                    silence_logs=logging.CRITICAL,
                )
            )
            client = stack.enter_context(Client(cluster))
        yield client


@contextlib.contextmanager
def _ctrl_c_waiting() -> Iterator[None]:
    """Start threads and processes that don't hear a terminal's Ctrl-C: it is this process that stops them, in order.

    A signal mask is handed down to both; one that comes in the meantime is heard afterwards.
    """
    resource_tracker.ensure_running()  # its start would end the waiting
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _local_workers(count: int, tasks: Sequence[EncodeTask] = ()) -> tuple[Worker, ...]:
    """Workers of a cluster on this machine: fewer than ``count`` if some task needs more than its share of memory."""
    memory_bytes = int(MEMORY_LIMIT * MEMORY_SHARE)
    largest = max((task.memory_bytes for task in tasks), default=0)
    fitting = memory_bytes // largest if largest else count
    count = max(1, min(count, fitting))
    return tuple(Worker(f"local-{number}", 1, memory_bytes // count) for number in range(count))


def _look(client: Client) -> tuple[Worker, ...]:
    return tuple(Worker(*facts) for facts in client.run_on_scheduler(_describe_workers))


def _describe_workers(dask_scheduler: Any) -> list[tuple[str, int, int | None]]:
    """On the scheduler: its workers' addresses, threads and memory limits."""
    return [
        (worker.address, worker.nthreads, worker.memory_limit or None)
        for worker in dask_scheduler.workers.values()
        if worker.status.name == "running"
    ]


def _too_large(task: EncodeTask) -> ConfigError:
    return ConfigError(
        f"chunk {task.chunk.number} of {task.renditions[0]} needs {task.memory_bytes / 1e9:.1f} GB of memory, more "
        "than any worker has: add a larger worker, or give one more with 'dask worker --memory-limit'",
        task=task.id,
    )


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
        worker.log_event(TOPIC, (key, frames))

    def on_encoded() -> None:
        secede()
        worker.log_event(TOPIC, (key, None))

    folder = Path(worker.local_directory)
    try:
        return perform(TaskRun(task, attempt, worker.address, folder, cancelled, on_frames, on_encoded))
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
    return TaskCrashed(f"task {task.id} met an unexpected {type(error).__name__}: {error}")


def _final(error: HeadendError, task: EncodeTask, attempt: int) -> HeadendError:
    if not error.retryable:
        return error
    place = f"chunk {task.chunk.number} of {', '.join(task.renditions[:3])}{' …' if len(task.renditions) > 3 else ''}"
    final = EncodingError if isinstance(error, EncodingError) else type(error)
    return final(f"{place} failed {attempt} times, at last so: {error.message}", **{**error.facts, "task": task.id})


class _WorkerLost(EncodingError):
    """A worker went away with a task."""

    retryable = True
