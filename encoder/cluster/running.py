"""Run the tasks of any number of jobs on a Dask cluster, as `encoder.task_queue` decides.

Everything that happens (a future ends, workers were polled, a task reports, another thread makes a request) is a
message in one inbox. One thread handles them, so the queue needs no lock.
"""

import contextlib
import logging
import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from distributed import Client

from encoder.cluster.backlog import Backlog
from encoder.cluster.events import Done, Event, Failed, Notice, TaskProgress, Tick
from encoder.cluster.failures import Interrupted, WorkerLost, blame_for, error_of, final_error, too_large_error
from encoder.cluster.link import Handlers, Link, modules_of
from encoder.cluster.performing import Perform, run_on_worker
from encoder.cluster.roster import Requirements, Roster, WorkerState
from encoder.scheduling import Work, Worker, find_too_large
from encoder.task_queue import DEFAULT_PRIORITY, Run, TaskQueue
from headend.core.errors import ConfigError, EncodingError, HeadendError
from headend.core.settings import ClusterSettings

NO_WORKERS_NOTICE_S = 5.0
"""If there is no worker for this long, a notice tells the user."""
REPEAT_NOTICE_S = 30.0
"""Time between two notices about missing workers or a silent scheduler."""
NO_ANSWER_S = 15.0
"""If the scheduler does not answer for this long, a notice tells the user."""
NOT_STARTED_S = 10.0
"""If a worker has left, and a task was submitted to it at least this long ago, the task counts as never started
there."""

Follow = Callable[[Any], Sequence[Work]]
"""Takes what a worker returned for a task; returns the tasks that can start now."""


def nothing_follows(_receipt: Any) -> Sequence[Work]:
    """No more tasks: for jobs whose tasks are all known from the start."""
    return ()


@dataclass(frozen=True, slots=True)
class Job:
    """Tasks that belong together.

    Attributes:
        id: Unique in a runner.
        tasks: The most urgent first.
        perform: Called by a worker to do a task; picklable. It writes the results itself and returns a small document.
        priority: 0 to 100, see `encoder.task_queue.TaskQueue.add`.
        follow: Called with what a worker returned for a task; returns tasks to append to the job. It runs in the thread
            of `Runner.work` and must be quick.
    """

    id: str
    tasks: Sequence[Work]
    perform: Perform
    priority: int = DEFAULT_PRIORITY
    follow: Follow = nothing_follows


class Runner:
    """Runs jobs on one cluster. `add`, `cancel` and `prioritise` may be called from any thread.

    Args:
        connect: Connects to the scheduler; called again if the connection is lost.
        settings: How long to wait for workers.
        required: What workers must have; None for a local cluster, whose workers are processes of this installation.
        on_event: Called with every event, in the thread of `work`.
        on_ended: Called when a job has ended, with its id, and with the error if it failed or None.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        settings: ClusterSettings,
        required: Requirements | None,
        on_event: Callable[[Event], None],
        on_ended: Callable[[str, HeadendError | None], None],
    ) -> None:
        self._settings = settings
        self._on_event = on_event
        self._on_ended = on_ended
        self._queue = TaskQueue()
        self._roster = Roster(required)
        self._jobs: dict[str, Job] = {}
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._keys: dict[str, tuple[Any, Run, float]] = {}
        """By Dask key: the future of a run, the run, and when it was submitted."""
        self._by_run: dict[int, str] = {}
        """By the number of a run: its Dask key."""
        self._results: dict[str, bytes] = {}
        """By Dask key: results that arrived before the futures of their runs ended."""
        self._backlog = Backlog()
        self._link = Link(
            connect,
            self._inbox,
            Handlers(
                on_workers=self._update_workers,
                on_answer=self._answered,
                on_report=self._reported,
                on_lost=self._scheduler_lost,
                on_reconnected=self._scheduler_back,
                on_gone=self._scheduler_gone,
            ),
            lambda: modules_of([job.perform for job in list(self._jobs.values())]),
        )
        self._polled_s = self._ticked_s = time.monotonic()
        self._scheduler_lost_s: float | None = None
        """When the connection to the scheduler was lost; None while it is connected."""
        self._no_workers_s: float | None = None
        """Since when tasks have been waiting without any worker; None if none are."""
        self._noticed_s = 0.0

    # --- from any thread ---

    def add(self, job: Job) -> None:
        """Add a job."""
        self._inbox.put(partial(self._add, job))

    def cancel(self, job: str) -> None:
        """Stop a job's tasks and remove the job; `on_ended` is not called."""
        self._inbox.put(partial(self._remove, job))

    def prioritise(self, job: str, priority: int) -> None:
        """Change a job's priority."""
        self._inbox.put(partial(self._prioritise, job, priority))

    # --- from the thread of `work`, such as in `on_event` ---

    @property
    def runs(self) -> tuple[Run, ...]:
        """The current runs."""
        return self._queue.runs

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The workers that get tasks."""
        return self._roster.workers

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of ``waiting``, ``running`` and, after a failure, ``delayed`` tasks of all jobs."""
        return dict(self._queue.counts())

    # --- the loop ---

    def work(self, until: Callable[[], bool]) -> None:
        """Run jobs.

        Args:
            until: Called after every message; once it returns True, running tasks are stopped and the loop ends.

        Raises:
            ConfigError: The scheduler can't be reached, or there was no worker for too long.
            EncodingError: The scheduler went away and did not come back.
        """
        with _quiet_logs():
            self._link.open(queries=self._roster.queries)
            try:
                while not until():
                    self._place()
                    self._tick()
                    self._handle_messages()
            finally:
                self._stop_all()

    def _handle_messages(self) -> None:
        """Wait for a message, then handle all that have arrived."""
        wait_s = 1.0
        if (wakes_at_s := self._queue.wakes_at_s) is not None:
            wait_s = min(wait_s, max(0.01, wakes_at_s - time.monotonic()))
        with contextlib.suppress(Empty):
            self._inbox.get(timeout=wait_s)()
            while True:
                self._inbox.get_nowait()()

    def _place(self) -> None:
        if self._scheduler_lost_s is not None:
            return
        for run in self._queue.place(time.monotonic()):
            self._start(run)

    def _tick(self) -> None:
        now_s = time.monotonic()
        if now_s - self._ticked_s < 1:
            return
        self._ticked_s = now_s
        self._on_event(Tick())
        if self._scheduler_lost_s is None and now_s - self._polled_s > NO_ANSWER_S:
            self._notice(f"the scheduler has not answered for {now_s - self._polled_s:.0f} s")
        self._check_workers(now_s)

    def _check_workers(self, now_s: float) -> None:
        counts = self._queue.counts()
        if self._scheduler_lost_s is not None or counts["running"] or not counts["waiting"] or self._roster.workers:
            self._no_workers_s = None
            return
        if self._no_workers_s is None:
            self._no_workers_s = now_s
        waited_s, most_s = now_s - self._no_workers_s, self._settings.wait_for_workers_s
        place = self._settings.scheduler or "this machine"
        reason = f"no worker at {place} can take a task: {self._roster.why_none}"
        if waited_s >= most_s:
            raise ConfigError(
                f"{reason}; waited {most_s:.0f} s. Start workers with 'dask worker {place}', "
                "or wait longer with --wait-for-workers"
            )
        if waited_s >= min(NO_WORKERS_NOTICE_S, most_s / 2):
            until = f"waiting for {most_s - waited_s:.0f} s more" if math.isfinite(most_s) else "waiting"
            self._notice(f"{reason}; {until}")

    def _notice(self, text: str) -> None:
        """Send a notice, unless another one was sent a short time ago."""
        now_s = time.monotonic()
        if now_s - self._noticed_s >= REPEAT_NOTICE_S:
            self._noticed_s = now_s
            self._on_event(Notice(text))

    # --- jobs ---

    def _add(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._queue.add(job.id, job.tasks, priority=job.priority)
        self._check_fit(job.id)

    def _prioritise(self, job: str, priority: int) -> None:
        if job in self._jobs:
            self._queue.prioritise(job, priority)

    def _remove(self, job: str) -> None:
        self._jobs.pop(job, None)
        futures = [self._forget(run) for run in self._queue.remove(job)]
        self._cancel([future for future in futures if future is not None])

    def _fail(self, job: str, error: HeadendError) -> None:
        self._remove(job)
        self._on_ended(job, error)

    def _check_fit(self, job: str) -> None:
        """Fail a job at once if one of its tasks needs more memory than any worker has."""
        if (workers := self._roster.workers) and (task := find_too_large(self._jobs[job].tasks, workers)) is not None:
            self._fail(job, too_large_error(task))

    # --- workers ---

    def _update_workers(self, states: list[WorkerState]) -> None:
        self._polled_s = time.monotonic()
        had_any = bool(self._roster.workers)
        changes = self._roster.update(states)
        for address in changes.new:
            self._link.query(address)
        for address in changes.frozen:
            self._on_event(Notice(f"worker {address} does not answer: its tasks go to other workers"))
            for run in self._queue.runs_on(address):
                self._give_up(run, f"worker {address} stopped answering while it ran {run.task.label}")
        for address in changes.back:
            self._on_event(Notice(f"worker {address} answers again"))
        for key, (_, run, submitted_s) in list(self._keys.items()):
            if (
                run.worker not in self._roster.known
                and self._polled_s - submitted_s > NOT_STARTED_S
                and key in self._keys
            ):
                # Dask reports the death of a worker only for tasks that have started on it.
                self._give_up(run, f"worker {run.worker} went away before it began {run.task.label}", Interrupted)
        self._workers_changed(had_any)
        if self._settings.scheduler is not None and self._link.client is not None and self._scheduler_lost_s is None:
            self._backlog.resize(self._link.client, self._queue.counts()["waiting"])

    def _answered(self, address: str, answer: dict[str, Any] | None) -> None:
        if answer is None:
            self._roster.query_again(address)
            return
        had_any = bool(self._roster.workers)
        if (problem := self._roster.answer(address, answer)) is not None:
            self._on_event(Notice(f"worker {address} gets no tasks: {problem}"))
        self._workers_changed(had_any)

    def _workers_changed(self, had_any: bool) -> None:
        self._queue.set_workers(self._roster.workers)
        for job in list(self._jobs):
            if not had_any:
                self._check_fit(job)
            if job in self._jobs and (task := self._queue.stuck(job)) is not None:
                self._fail(job, too_large_error(task))

    # --- runs ---

    def _start(self, run: Run) -> None:
        try:
            self._submit(run)
        except Exception as error:  # the client closes itself when its scheduler is gone; the next poll notices that
            self._failed(run, Interrupted(f"{run.task.label} did not reach the scheduler ({error})", worker=run.worker))

    def _submit(self, run: Run) -> None:
        assert self._link.client is not None
        # Each run has a key of its own, so that Dask never reuses another run's result or failure.
        key = f"{run.task.id}-{run.attempt}-{uuid4().hex[:8]}"
        perform = self._jobs[run.job].perform
        future = self._link.client.submit(
            run_on_worker, perform, run.task, run.attempt, self._link.topic,
            key=key, pure=False, workers=[run.worker], allow_other_workers=False,
        )  # fmt: skip
        self._keys[key] = (future, run, time.monotonic())
        self._by_run[run.number] = key
        future.add_done_callback(lambda future: self._inbox.put(partial(self._future_ended, future.key)))

    def _reported(self, key: str, report: int | str | bytes | None) -> None:
        if (entry := self._keys.get(key)) is None:
            return
        run = entry[1]
        if report is None:
            self._queue.encoded(run.number)
        elif isinstance(report, int):
            self._on_event(TaskProgress(run.task.id, report, run.job))
        elif isinstance(report, bytes):
            self._results[key] = report
        else:
            self._on_event(Notice(f"{run.task.label}, on worker {run.worker}: {report}", run.job))

    def _future_ended(self, key: str) -> None:
        if key not in self._keys:
            return
        future, run, _ = self._keys[key]
        client = self._link.client
        if future.status == "cancelled" and self._scheduler_lost_s is None and client and client.status != "running":
            self._scheduler_lost()
            self._link.mark_lost()
        if key not in self._keys:
            return
        if (error := error_of(future, run)) is None:
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
        self._queue.done(run.number)
        if run.job in self._jobs:
            self._queue.extend(run.job, self._jobs[run.job].follow(receipt))
        self._on_event(Done(receipt, run.job))
        if run.job in self._jobs and self._queue.finished(run.job):
            self._remove(run.job)
            self._on_ended(run.job, None)

    def _give_up(self, run: Run, message: str, kind: "type[WorkerLost | Interrupted] | None" = None) -> None:
        """End a run whose future may never end, because its worker is lost."""
        if (future := self._forget(run)) is not None:
            self._cancel([future])
            self._failed(run, (kind or WorkerLost)(message, worker=run.worker))

    def _failed(self, run: Run, error: HeadendError) -> None:
        if isinstance(error, WorkerLost):
            # The worker must not get another task before the next poll.
            self._roster.drop(run.worker)
            self._queue.set_workers(self._roster.workers)
        again = self._queue.failed(run.number, blame_for(error), time.monotonic()) and error.retryable
        if again and isinstance(error, Interrupted):
            self._on_event(Notice(f"{error.message}; it is run again", run.job))
        else:
            worker = str(error.facts.get("worker", run.worker))
            self._on_event(Failed(run.task.id, run.attempt, worker, error, not again, run.job))
        if not again and run.job in self._jobs:
            self._fail(run.job, final_error(error, run))

    def _forget(self, run: Run) -> Any:
        key = self._by_run.pop(run.number, None)
        if key is not None:
            self._results.pop(key, None)
        return self._keys.pop(key)[0] if key is not None else None

    def _cancel(self, futures: list[Any]) -> None:
        if futures and self._link.client is not None and self._scheduler_lost_s is None:
            with contextlib.suppress(Exception):  # the scheduler may go away at this moment
                self._link.client.cancel(futures, force=True)

    def _stop_all(self) -> None:
        futures = [future for future, _, _ in self._keys.values()]
        self._keys.clear()
        self._cancel([*futures, *self._backlog.clear()])
        self._link.close()

    # --- the scheduler ---

    def _scheduler_lost(self) -> None:
        if self._scheduler_lost_s is not None:
            return
        self._scheduler_lost_s = time.monotonic()
        self._on_event(Notice(f"the scheduler at {self._settings.scheduler} has gone away; reconnecting"))
        self._backlog.clear()
        for run in self._queue.runs:
            if self._forget(run) is not None:
                self._failed(run, Interrupted(f"the scheduler went away while {run.task.label} ran", worker=run.worker))
        self._roster.update(())
        self._queue.set_workers(())

    def _scheduler_back(self) -> None:
        self._scheduler_lost_s = None
        self._polled_s = time.monotonic()
        self._on_event(Notice(f"the scheduler at {self._settings.scheduler} is back"))

    def _scheduler_gone(self) -> None:
        raise EncodingError(
            f"the scheduler at {self._settings.scheduler} has gone away; start it again and repeat the command: "
            "finished tasks are kept"
        )


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """Silence Dask's logs of lost connections, which notices replace."""
    loggers = [logging.getLogger(name) for name in ("distributed", "asyncio", "tornado")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
