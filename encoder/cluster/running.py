"""Driving a board with a Dask cluster: tasks of any number of jobs go to workers, and what they return comes back.

All that happens (a future that ends, a look at the workers, a line from a task, a request from another thread) is a
message in one inbox, and one thread takes them, so that the board needs no lock.
"""

import contextlib
import logging
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

import cloudpickle
from distributed import Client
from distributed.scheduler import KilledWorker

import headend
from encoder.board import DEFAULT_PRIORITY, Blame, Board, Run
from encoder.cluster import inquiry
from encoder.cluster.events import Advance, Done, Event, Failed, Notice, Tick
from encoder.cluster.performing import Perform, on_worker
from encoder.cluster.roster import Roster, Wanted, WorkerState
from encoder.scheduling import Work, Worker, misfit
from headend.core.errors import Cancelled, ConfigError, EncodingError, HeadendError, TaskCrashed, WorkerUnfit
from headend.core.settings import ClusterSettings

CONNECT_S = 10
"""How long to wait for a scheduler."""
LOOK_S = 2.0
"""How often workers are looked for."""
SAY_NO_WORKERS_S = 5.0
"""After how long without a worker that is said."""
SAY_AGAIN_S = 30.0
"""How often it is said again."""
NO_ANSWER_S = 15.0
"""After how long without an answer from the scheduler that is said."""
RECONNECT_S = 30.0
"""How long to look for a scheduler that has gone away."""
LOST_S = 10.0
"""After how long a task is lost that its scheduler gave to a worker which then left without a word."""
BACKLOG = "headend-waiting"
"""Name of the tasks that stand for those which wait."""
BACKLOG_MOST = 1000
"""How many there are at most."""
ASK_S = 60.0
"""How long a worker may take to say what it has; then another one is asked, and this one again later."""
_ASKERS = 8

cloudpickle.register_pickle_by_value(inquiry)


Follow = Callable[[Any], Sequence[Work]]
"""Given what a worker returned for a task, the tasks that follow it."""


def nothing_follows(_receipt: Any) -> Sequence[Work]:
    """The `Follow` of a job all of whose tasks are known when it begins."""
    return ()


@dataclass(frozen=True, slots=True)
class Job:
    """Tasks that belong together.

    Attributes:
        id: Unique in a runner.
        tasks: The most urgent first.
        perform: What a worker does with a task; picklable. Writes all results itself and returns a small document.
        priority: 0 to 100, see `encoder.board.Board.add`.
        follow: Given what a worker returned, the tasks that can begin now and could not before. They stand behind all
            other tasks of the job. Called in the thread of `Runner.work`; must be quick.
    """

    id: str
    tasks: Sequence[Work]
    perform: Perform
    priority: int = DEFAULT_PRIORITY
    follow: Follow = nothing_follows


class Runner:
    """Runs jobs on one cluster. `add`, `cancel` and `prioritise` may be called from any thread.

    Args:
        connect: Makes a client; called again when the scheduler has gone away.
        settings: How long to wait for workers.
        wanted: What workers must have; None for a local cluster, whose workers are this very installation.
        on_event: Called with every event, in the thread of `work`.
        on_ended: Called when a job has ended, with its id and the error that ended it or None.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        settings: ClusterSettings,
        wanted: Wanted | None,
        on_event: Callable[[Event], None],
        on_ended: Callable[[str, HeadendError | None], None],
    ) -> None:
        self._connect = connect
        self._settings = settings
        self._on_event = on_event
        self._on_ended = on_ended
        self._board = Board()
        self._roster = Roster(wanted)
        self._jobs: dict[str, Job] = {}
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._keys: dict[str, tuple[Any, Run, float]] = {}
        """Of each run: its future, and when it was submitted."""
        self._by_run: dict[int, str] = {}
        self._results: dict[str, bytes] = {}
        """What runs returned that have not ended yet; always told before the end."""
        self._backlog: list[Any] = []
        self._topic = f"headend-{uuid4().hex}"
        self._client: Client | None = None
        self._seen_s = self._ticked_s = time.monotonic()
        self._lost_s: float | None = None
        """When the scheduler went away."""
        self._alone_s: float | None = None
        """Since when there is no worker, though there are tasks."""
        self._said_s = 0.0
        self._ended = threading.Event()
        self._questions: SimpleQueue[str] = SimpleQueue()

    # --- from any thread ---

    def add(self, job: Job) -> None:
        """Take in a job."""
        self._inbox.put(partial(self._add, job))

    def cancel(self, job: str) -> None:
        """Stop a job's tasks and forget it; `on_ended` is not told."""
        self._inbox.put(partial(self._drop, job))

    def prioritise(self, job: str, priority: int) -> None:
        """Change a job's priority."""
        self._inbox.put(partial(self._prioritise, job, priority))

    # --- from the thread of `work`, such as in `on_event` ---

    @property
    def runs(self) -> tuple[Run, ...]:
        """What runs now."""
        return self._board.runs

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that get tasks."""
        return self._roster.workers

    @property
    def counts(self) -> dict[str, int]:
        """How many tasks of all jobs are ``waiting``, ``delayed`` after a failure, and ``running``."""
        return dict(self._board.counts())

    # --- the loop ---

    def work(self, until: Callable[[], bool]) -> None:
        """Run jobs.

        Args:
            until: Asked after everything that happens; True ends the loop, and stops what runs.

        Raises:
            ConfigError: The scheduler can't be reached, or there was no worker for too long.
            EncodingError: The scheduler went away and did not come back.
        """
        with _quiet_logs():
            self._client = self._link()
            threads = [threading.Thread(target=self._look_forever, daemon=True)]
            if self._roster.asks:
                threads += [threading.Thread(target=self._ask_forever, daemon=True) for _ in range(_ASKERS)]
            for thread in threads:
                thread.start()
            try:
                while not until():
                    self._place()
                    self._tick()
                    self._take()
            finally:
                self._ended.set()
                self._stop_all()

    def _take(self) -> None:
        """Wait for a message, then take all that are there."""
        wait_s = 1.0
        if (wakes_at_s := self._board.wakes_at_s) is not None:
            wait_s = min(wait_s, max(0.01, wakes_at_s - time.monotonic()))
        with contextlib.suppress(Empty):
            self._inbox.get(timeout=wait_s)()
            while True:
                self._inbox.get_nowait()()

    def _place(self) -> None:
        if self._lost_s is not None:
            return
        for run in self._board.place(time.monotonic()):
            self._submit(run)

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._ticked_s < 1:
            return
        self._ticked_s = now_s
        self._on_event(Tick())
        if self._lost_s is None and now_s - self._seen_s > NO_ANSWER_S:
            self._say_again(f"the scheduler has not answered for {now_s - self._seen_s:.0f} s")
        self._check_workers(now_s)

    def _check_workers(self, now_s: float) -> None:
        counts = self._board.counts()
        if self._lost_s is not None or counts["running"] or not counts["waiting"] or self._roster.workers:
            self._alone_s = None
            return
        if self._alone_s is None:
            self._alone_s = now_s
        waited_s, most_s = now_s - self._alone_s, self._settings.wait_for_workers_s
        place = self._settings.scheduler or "this machine"
        reason = f"no worker at {place} can take a task: {self._roster.why_none}"
        if waited_s >= most_s:
            raise ConfigError(
                f"{reason}; waited {most_s:.0f} s. Start workers with 'dask worker {place}', "
                "or wait longer with --wait-for-workers"
            )
        if waited_s >= min(SAY_NO_WORKERS_S, most_s / 2):
            until = f"waiting for {most_s - waited_s:.0f} s more" if math.isfinite(most_s) else "waiting"
            self._say_again(f"{reason}; {until}")

    def _say_again(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= SAY_AGAIN_S:
            self._said_s = now_s
            self._on_event(Notice(text))

    # --- jobs ---

    def _add(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._board.add(job.id, job.tasks, priority=job.priority)
        self._check_fit(job.id)

    def _prioritise(self, job: str, priority: int) -> None:
        if job in self._jobs:
            self._board.prioritise(job, priority)

    def _drop(self, job: str) -> None:
        self._jobs.pop(job, None)
        futures = [self._forget(run) for run in self._board.remove(job)]
        self._cancel([future for future in futures if future is not None])

    def _fail(self, job: str, error: HeadendError) -> None:
        self._drop(job)
        self._on_ended(job, error)

    def _check_fit(self, job: str) -> None:
        """End a job at once if a task of it fits on no worker there is."""
        if (workers := self._roster.workers) and (task := misfit(self._jobs[job].tasks, workers)) is not None:
            self._fail(job, too_large(task))

    # --- workers ---

    def _seen(self, facts: list[tuple[str, int, int, str, float, str]]) -> None:
        self._seen_s = time.monotonic()
        had_any = bool(self._roster.workers)
        changes = self._roster.see(WorkerState(*each) for each in facts)
        for address in changes.new:
            self._questions.put(address)
        for address in changes.frozen:
            self._on_event(Notice(f"worker {address} does not answer: its tasks go to other workers"))
            for run in self._board.runs_on(address):
                self._give_up(run, f"worker {address} stopped answering while it ran {run.task.label}")
        for address in changes.back:
            self._on_event(Notice(f"worker {address} answers again"))
        for key, (_, run, submitted_s) in list(self._keys.items()):
            if run.worker not in self._roster.known and self._seen_s - submitted_s > LOST_S and key in self._keys:
                # Had it run there, Dask would have told of the death.
                self._give_up(run, f"worker {run.worker} went away before it began {run.task.label}", Interrupted)
        self._workers_changed(had_any)
        self._show_backlog()

    def _answered(self, address: str, answer: dict[str, Any] | None) -> None:
        if answer is None:
            self._roster.unasked(address)
            return
        had_any = bool(self._roster.workers)
        if (problem := self._roster.answer(address, answer)) is not None:
            self._on_event(Notice(f"worker {address} gets no tasks: {problem}"))
        self._workers_changed(had_any)

    def _workers_changed(self, had_any: bool) -> None:
        self._board.see(self._roster.workers)
        for job in list(self._jobs):
            if not had_any:
                self._check_fit(job)
            if job in self._jobs and (task := self._board.stuck(job)) is not None:
                self._fail(job, too_large(task))

    # --- runs ---

    def _submit(self, run: Run) -> None:
        try:
            self._give(run)
        except Exception as error:  # the client has closed itself: its scheduler is gone, which is noticed soon
            self._failed(run, Interrupted(f"{run.task.label} did not reach the scheduler ({error})", worker=run.worker))

    def _give(self, run: Run) -> None:
        assert self._client is not None
        # Runs have keys of their own, so that none takes up another's result or its failure.
        key = f"{run.task.id}-{run.attempt}-{uuid4().hex[:8]}"
        perform = self._jobs[run.job].perform
        future = self._client.submit(
            on_worker, perform, run.task, run.attempt, self._topic,
            key=key, pure=False, workers=[run.worker], allow_other_workers=False,
        )  # fmt: skip
        self._keys[key] = (future, run, time.monotonic())
        self._by_run[run.number] = key
        future.add_done_callback(lambda future: self._inbox.put(partial(self._future_ended, future.key)))

    def _told(self, event: tuple[float, tuple[str, int | str | bytes | None]]) -> None:
        self._inbox.put(partial(self._heard, *event[1]))

    def _heard(self, key: str, said: int | str | bytes | None) -> None:
        if (found := self._keys.get(key)) is None:
            return
        run = found[1]
        if said is None:
            self._board.encoded(run.number)
        elif isinstance(said, int):
            self._on_event(Advance(run.task.id, said, run.job))
        elif isinstance(said, bytes):
            self._results[key] = said
        else:
            self._on_event(Notice(f"{run.task.label}, on worker {run.worker}: {said}", run.job))

    def _future_ended(self, key: str) -> None:
        if key not in self._keys:
            return
        future, run, _ = self._keys[key]
        if future.status == "cancelled" and self._lost_s is None and self._client and self._client.status != "running":
            self._lost()
        if key not in self._keys:
            return
        if (error := _error_of(future, run)) is None:
            self._returned(key)
            return
        self._forget(run)
        self._failed(run, error)

    def _returned(self, key: str) -> None:
        future, run, _ = self._keys[key]
        result = self._results.pop(key, None)
        if result is None:
            self._give_up(run, f"the result of {run.task.label} did not arrive", Interrupted)
            return
        receipt = pickle.loads(result)
        self._forget(run)
        future.release()
        self._board.done(run.number)
        if run.job in self._jobs:
            self._board.extend(run.job, self._jobs[run.job].follow(receipt))
        self._on_event(Done(receipt, run.job))
        if run.job in self._jobs and self._board.finished(run.job):
            self._drop(run.job)
            self._on_ended(run.job, None)

    def _give_up(self, run: Run, message: str, kind: "type[WorkerLost | Interrupted] | None" = None) -> None:
        """A run will not end by itself: its worker is lost."""
        if (future := self._forget(run)) is not None:
            self._cancel([future])
            self._failed(run, (kind or WorkerLost)(message, worker=run.worker))

    def _failed(self, run: Run, error: HeadendError) -> None:
        if isinstance(error, WorkerLost):
            # It must not get another task before the next look.
            self._roster.gone(run.worker)
            self._board.see(self._roster.workers)
        again = self._board.failed(run.number, _blame(error), time.monotonic()) and error.retryable
        if again and isinstance(error, Interrupted):
            self._on_event(Notice(f"{error.message}; it is run again", run.job))
        else:
            worker = str(error.facts.get("worker", run.worker))
            self._on_event(Failed(run.task.id, run.attempt, worker, error, not again, run.job))
        if not again and run.job in self._jobs:
            self._fail(run.job, _final(error, run))

    def _forget(self, run: Run) -> Any:
        key = self._by_run.pop(run.number, None)
        if key is not None:
            self._results.pop(key, None)
        return self._keys.pop(key)[0] if key is not None else None

    def _cancel(self, futures: list[Any]) -> None:
        if futures and self._client is not None and self._lost_s is None:
            with contextlib.suppress(Exception):  # the scheduler may go away just now
                self._client.cancel(futures, force=True)

    # --- the scheduler ---

    def _link(self) -> Client:
        client = self._connect()
        client.run_on_scheduler(inquiry.report_deaths)
        client.subscribe_topic(self._topic, self._told)
        return client

    def _look_forever(self) -> None:
        while not self._ended.is_set():
            client = self._client
            try:
                assert client is not None
                facts = client.run_on_scheduler(inquiry.describe_workers)
            except Exception:
                self._inbox.put(self._lost)
                if not self._reconnect():
                    return
            else:
                self._inbox.put(partial(self._seen, facts))
            self._ended.wait(LOOK_S)

    def _ask_forever(self) -> None:
        """Ask workers what they have; one that is frozen holds up this thread, and no other."""
        while not self._ended.is_set():
            try:
                address = self._questions.get(timeout=LOOK_S)
            except Empty:
                continue
            answer = None
            with contextlib.suppress(Exception):  # it has gone, or the scheduler has
                assert self._client is not None
                answer = ask(self._client, [address], self._modules()).get(address)
            self._inbox.put(partial(self._answered, address, answer))

    def _modules(self) -> tuple[str, ...]:
        return modules_of([job.perform for job in list(self._jobs.values())])

    def _reconnect(self) -> bool:
        """Find the scheduler again; False if the runner is at its end, or it does not come back."""
        deadline_s = time.monotonic() + RECONNECT_S
        while not self._ended.is_set():
            try:
                client = self._link()
            except Exception:
                if time.monotonic() > deadline_s:
                    self._inbox.put(self._gone)
                    return False
                self._ended.wait(LOOK_S)
            else:
                old, self._client = self._client, client
                _close(old)
                self._inbox.put(self._found)
                return True
        return False

    def _lost(self) -> None:
        if self._lost_s is not None:
            return
        self._lost_s = time.monotonic()
        self._on_event(Notice(f"the scheduler at {self._settings.scheduler} has gone away: looking for it"))
        self._backlog = []
        for run in self._board.runs:
            if self._forget(run) is not None:
                self._failed(run, Interrupted(f"the scheduler went away while {run.task.label} ran", worker=run.worker))
        self._roster.see(())
        self._board.see(())

    def _found(self) -> None:
        self._lost_s = None
        self._seen_s = time.monotonic()
        self._on_event(Notice(f"the scheduler at {self._settings.scheduler} is back"))

    def _gone(self) -> None:
        raise EncodingError(
            f"the scheduler at {self._settings.scheduler} has gone away; start it again and repeat the command, "
            "which goes on where it stopped"
        )

    def _show_backlog(self) -> None:
        """Let the scheduler know how much waits, so that a cluster that adapts its size to its load grows.

        Tasks are given to Dask only when a worker can begin them; others are stood for by tasks that no worker can run.
        """
        if self._settings.scheduler is None or self._client is None or self._lost_s is not None:
            return
        wanted = min(self._board.counts()["waiting"], BACKLOG_MOST)
        with contextlib.suppress(Exception):  # the next look will tell
            if wanted > len(self._backlog):
                self._backlog += [
                    self._client.submit(
                        abs, 0, key=f"{BACKLOG}-{uuid4().hex}", pure=False, resources={BACKLOG: 1}, priority=-1
                    )
                    for _ in range(wanted - len(self._backlog))
                ]
            elif wanted < len(self._backlog):
                self._client.cancel(self._backlog[wanted:], force=True)
                del self._backlog[wanted:]

    def _stop_all(self) -> None:
        futures = [future for future, _, _ in self._keys.values()]
        self._keys.clear()
        if self._client is None:
            return
        if self._lost_s is None:
            self._cancel([*futures, *self._backlog])
        _close(self._client)


class WorkerLost(EncodingError):
    """A worker went away with a task."""

    retryable = True


class Interrupted(EncodingError):
    """A task was stopped through no fault of its own."""

    retryable = True


def connect(address: str) -> Client:
    """Connect to a scheduler; raises `ConfigError` if none answers."""
    try:
        return Client(address, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise unreachable(address) from error


def unreachable(address: str) -> ConfigError:
    """The error of a scheduler that does not answer."""
    return ConfigError(f"no Dask scheduler answers at {address}: start one with 'dask scheduler'")


def ask(client: Client, addresses: Sequence[str], modules: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Ask workers what they have; those that can't answer are missing from the result."""
    answers = client.run(
        inquiry.describe_self, modules, workers=list(addresses), on_error="return", callback_timeout=ASK_S
    )
    return {address: answer for address, answer in answers.items() if isinstance(answer, dict)}


def modules_of(performs: Sequence[Perform]) -> tuple[str, ...]:
    """The modules that workers need."""
    functions = (perform.func if isinstance(perform, partial) else perform for perform in performs)
    names = {getattr(function, "__module__", None) or "__main__" for function in functions}
    return tuple(sorted(names - {"__main__"}))


def wanted(tool: str | None) -> Wanted:
    """What workers of another cluster must have; ``tool`` is FFmpeg's version line, or None for any."""
    return Wanted(headend.__version__, tool)


def too_large(task: Work) -> ConfigError:
    """The error of a task that fits nowhere."""
    return ConfigError(
        f"{task.label} needs {task.memory_bytes / 1e9:.1f} GB of memory, more than any worker has: add a larger "
        "worker, or give one more with 'dask worker --memory-limit'",
        task=task.id,
    )


def _error_of(future: Any, run: Run) -> HeadendError | None:
    if future.status == "finished":
        return None
    if future.status == "cancelled":
        return Interrupted(f"the cluster has dropped {run.task.label}: look at the scheduler's log", worker=run.worker)
    error = future.exception()
    if isinstance(error, KilledWorker):
        worker = getattr(error.last_worker, "address", run.worker)
        return WorkerLost(f"worker {worker} died while it ran {run.task.label}", worker=worker)
    if isinstance(error, Cancelled):
        return Interrupted(f"the worker was shut down while it ran {run.task.label}", worker=run.worker)
    if isinstance(error, HeadendError):
        return error
    return TaskCrashed(f"{run.task.label} met an unexpected {type(error).__name__}: {error}", worker=run.worker)


def _blame(error: HeadendError) -> Blame:
    if isinstance(error, Interrupted):
        return Blame.NOBODY
    return Blame.WORKER if isinstance(error, WorkerUnfit) else Blame.TASK


def _final(error: HeadendError, run: Run) -> HeadendError:
    if not error.retryable or isinstance(error, WorkerUnfit):
        return error
    kind = EncodingError if isinstance(error, EncodingError) else type(error)
    return kind(
        f"{run.task.label} failed {run.attempt} times, at last so: {error.message}",
        **{**error.facts, "task": run.task.id},
    )


def _close(client: Client | None) -> None:
    if client is not None:
        with contextlib.suppress(Exception):
            client.close(timeout=2)


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """What Dask would log of lost connections is told in plain words instead."""
    loggers = [logging.getLogger(name) for name in ("distributed", "asyncio", "tornado")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
