"""The process that takes jobs from the queue and runs them on one cluster.

Each running job has a thread that runs `headend.app.pipeline`; all of them share a cluster. Only the main thread reads
the queue and writes statuses, so that a job's documents have one writer. Another thread renews the lease while the main
loop is alive, so that neither a slow store nor a cluster that is starting makes the dispatcher lose it.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty

from encoder import tool
from encoder.cluster import Done, Failed, Notice
from headend.app.jobs.announcing import Announcer
from headend.app.jobs.backlog import Backlog
from headend.app.jobs.console.view import RunningJob, RunRecord, Timeline, WorkerRecord
from headend.app.jobs.forecast import Pace
from headend.app.jobs.job_thread import request_of, run_job
from headend.app.jobs.lease import Lease, LeaseLost, renewed
from headend.app.jobs.metrics import DispatcherMetrics
from headend.app.jobs.model import Job, Progress, State
from headend.app.jobs.notifying import Notifier
from headend.app.jobs.queue import Entry, Queue, whoami
from headend.app.jobs.running import Running, ending_of, progress_of
from headend.app.jobs.sharing import ClusterState, SharedCluster
from headend.app.jobs.status_writer import StatusWriter
from headend.app.jobs.summary import summary, workers_of
from headend.app.request import Event
from headend.core.errors import HeadendError, StorageError
from headend.core.settings import ClusterSettings, StoreSettings
from headend.core.storage import open_store

POLL_S = 1.0
"""How often the queue is read."""
HUNG_S = 120.0
"""The lease is no longer renewed if the main loop has not gone round for this long."""
LIST_S = 120.0
"""How often all open jobs are listed, to find those whose submitter was killed before it wrote the news."""
REPORT_S = 30.0
"""How often a summary is logged while there is work."""
REMIND_S = 20.0
"""How often it is logged that the store can't be reached."""
WRITE_S = 5.0
"""How often a running job's progress is written."""
STOP_JOBS_S = 30.0
"""How long a dispatcher that stops waits for its jobs."""
STOP_NOTIFYING_S = 5.0
"""How long a dispatcher that stops waits for notifications."""
MAX_JOBS = 8
"""Jobs that run at once by default; more of a higher priority may start beside them."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the dispatcher's log.

    Attributes:
        text: The line.
        job: Id of the job that it is about; empty for none.
    """

    text: str
    job: str = ""


class Dispatcher:
    """Takes jobs from a queue and runs them.

    Args:
        store: The store with the queue; replaces that of the requests, whose submitters may use another address.
        cluster: Where tasks run; replaces that of the requests.
        max_jobs: Number of jobs that run at once.
        log: Called with each line of the log, from any thread.
        notifier: Sends events.
        until_idle: Whether to stop when no job is waiting or running.
    """

    def __init__(
        self,
        store: StoreSettings,
        cluster: ClusterSettings,
        *,
        max_jobs: int = MAX_JOBS,
        log: Callable[[LogLine], None] = lambda _line: None,
        notifier: Notifier | None = None,
        until_idle: bool = False,
    ) -> None:
        self._settings = store
        self._store = open_store(store)
        self._queue = Queue(self._store)
        self._cluster_settings = cluster
        self._max_jobs = max_jobs
        self._on_line = log
        self._until_idle = until_idle
        self._running: dict[str, Running] = {}
        self._backlog = Backlog()
        self._pace = Pace()
        self._cluster: SharedCluster | None = None
        self._listed_s = self._reminded_s = -math.inf
        self._timeline = Timeline()
        self._cluster_state = ClusterState()
        self._metrics = DispatcherMetrics()
        self._announcer = Announcer(self._queue, notifier or Notifier(self._store), self._log)
        self._lease = Lease(self._store, whoami())
        self._statuses = StatusWriter(
            self._queue, self._lease, self._backlog, self._announcer, self._metrics, self._progress
        )
        self._round_s = time.monotonic()
        """When the current round of the main loop began."""
        self._stop = threading.Event()

    @property
    def fence(self) -> int:
        """Fencing number of the lease; 0 while standing by."""
        return self._lease.fence

    @property
    def who(self) -> str:
        """User and machine."""
        return whoami()

    @property
    def metrics(self) -> DispatcherMetrics:
        """Metrics for Prometheus."""
        return self._metrics

    def workers(self) -> tuple[WorkerRecord, ...]:
        """Return the cluster's workers."""
        return workers_of(self._cluster_state)

    def running(self) -> tuple[RunningJob, ...]:
        """Return the jobs that this dispatcher runs."""
        return tuple(RunningJob(job, running.job.status.progress) for job, running in list(self._running.items()))

    def runs(self) -> tuple[RunRecord, ...]:
        """Return running and recently ended runs, in order of their beginning."""
        return self._timeline.runs()

    def stop(self) -> None:
        """Stop gracefully: running jobs go back to the queue. May be called from any thread or signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Run jobs until stopped; stand by while another dispatcher holds the lease.

        Raises:
            ConfigError: The scheduler can't be reached.
            StorageError: The store fails for good.
        """
        threading.Thread(target=self._report_forever, name="report", daemon=True).start()
        try:
            while not self._stop.is_set():
                if not self._stand_by():
                    return
                self._round_s = time.monotonic()
                try:
                    with (
                        renewed(self._lease, self._is_alive),
                        SharedCluster(self._cluster_settings, tool.version(), self._log) as cluster,
                    ):
                        self._work(cluster)
                    return
                except LeaseLost as lost:
                    self._log(str(lost))
                except RuntimeError:
                    # A signal to the whole process group, as in a container, also kills workers that are starting.
                    if not self._stop.is_set():
                        raise
        finally:
            with suppress(StorageError):  # it expires by itself
                self._lease.release()
            if self._stop.is_set():
                self._log("stopped")

    def _is_alive(self) -> bool:
        """Whether the main loop goes round."""
        return time.monotonic() - self._round_s < HUNG_S

    def _log(self, text: str, job: str = "") -> None:
        self._on_line(LogLine(text, job))

    def _report_forever(self) -> None:
        """Log a summary at intervals, even while the main thread is blocked."""
        last = ""
        while not self._stop.wait(REPORT_S):
            text = self._summary()
            if text != last or self._running:
                self._log(text)
            last = text

    def _summary(self) -> str:
        if not self._lease.fence:
            return "standing by"
        jobs = [running.job for running in list(self._running.values())]
        return summary(jobs, self._backlog.states.get(State.QUEUED, 0), self._cluster_state)

    # --- lease ---

    def _stand_by(self) -> bool:
        """Wait for the lease; return whether it was taken before the dispatcher is stopped."""
        logged = False
        while not self._stop.is_set():
            with self._retrying():
                if self._lease.try_take():
                    self._log(f"dispatching the jobs of {self._store.url} (lease {self._lease.fence})")
                    return True
            if not logged and (lease := self._lease.last_read):
                logged = True
                self._log(f"{lease.who} is already dispatching: standing by")
            self._stop.wait(POLL_S)
        return False

    # --- loop ---

    def _work(self, cluster: SharedCluster) -> None:
        started = False
        self._cluster = cluster
        try:
            while not self._stop.is_set():
                self._round_s = time.monotonic()
                with self._retrying():
                    if not self._lease.fence:
                        self._lease.check()  # raises, naming the new holder
                    if not started:
                        self._queue.add_missing_markers()
                        self._announcer.deliver_leftovers()
                        started = True
                    self._step(cluster)
                if cluster.lost is not None:
                    raise cluster.lost
                if self._until_idle and not self._running and not self._backlog.has_waiting:
                    return
                self._stop.wait(POLL_S)
        finally:
            self._stop_jobs(cluster)

    def _step(self, cluster: SharedCluster) -> None:
        """Read the queue once, start jobs that may start, and write what has changed."""
        for running in self._read_news():
            self._apply_commands(running, cluster)
        while (entry := self._next()) is not None:
            self._start(entry, cluster)
        for running in list(self._running.values()):
            self._write(running)
        self._update_metrics(cluster)

    @contextmanager
    def _retrying(self) -> Iterator[None]:
        """Swallow errors of a store that can't be reached: the next round tries again, and lists all jobs."""
        try:
            yield
        except StorageError as error:
            if not error.retryable:
                raise
            self._listed_s = -math.inf
            if time.monotonic() - self._reminded_s >= REMIND_S:
                self._reminded_s = time.monotonic()
                self._log(f"the store can't be reached; trying again: {error.message}")

    def _read_news(self) -> list[Running]:
        """Process news from the queue; return the running jobs that may have new commands."""
        entries, keys = self._queue.news()
        if time.monotonic() - self._listed_s >= LIST_S or None in entries:
            self._backlog.load(self._queue.entries(ended=False))
            self._listed_s = time.monotonic()
            changed = set(self._running)
        else:
            for entry in filter(None, entries):
                self._backlog.update(entry)
            changed = {entry.id for entry in entries if entry} & self._running.keys()
        for entry in {entry.id: entry for entry in entries if entry and entry.id not in self._running}.values():
            self._statuses.announce_waiting(entry)
        self._queue.delete_news(keys)
        return [self._running[job] for job in changed]

    def _next(self) -> Entry | None:
        """Take the next job to start; None if none may start."""
        running = {active.job.title: active.job.priority for active in self._running.values()}
        return self._backlog.take_next(running, self._max_jobs)

    def _update_metrics(self, cluster: SharedCluster) -> None:
        """Take a snapshot of the cluster for the console and Prometheus."""
        self._cluster_state = cluster.state
        now_s = time.time()
        titles = {job: running.job.title for job, running in self._running.items()}
        self._timeline.update(
            RunRecord(run.number, run.job, titles.get(run.job, ""), run.task.label, run.attempt, run.worker, now_s)
            for run in self._cluster_state.runs
        )
        self._pace.update(
            {job: active.ledger.costs[0] for job, active in self._running.items() if active.ledger is not None}
        )
        self._metrics.update(self._backlog, self.workers(), self._cluster_state.tasks, self._lease.fence)

    def _start(self, entry: Entry, cluster: SharedCluster) -> None:
        try:
            job = self._queue.read(entry.id)
        except HeadendError as error:
            if error.retryable:
                raise
            self._log(f"{entry.title}: skipping the job, which can't be read: {error.message}", entry.id)
            return
        if not (job.state is State.QUEUED or job.state.active):
            self._backlog.update(self._queue.mark(job))
            return
        if job.cancelling:
            self._end(Running(job), State.CANCELLED, "cancelled while no dispatcher ran")
            return
        # The status includes the commands so far; later ones stay separate documents.
        job = replace(job, status=replace(job.status, taken=job.taken, priority=job.priority))
        running = Running(job, counted=job.status.account)
        why = f"resumed by {whoami()}" if job.state.active else f"started by {whoami()}"
        self._statuses.change(running, State.RUNNING, why)
        self._running[job.id] = running
        self._log(f"{job.title}: {why}", job.id)
        work = partial(
            run_job,
            running,
            request_of(job, self._settings, self._cluster_settings),
            cluster,
            check_lease=self._lease.check,
            is_stopping=self._stop.is_set,
            on_event=partial(self._on_event, running),
        )
        running.thread = threading.Thread(target=work, name=job.id, daemon=True)
        running.thread.start()

    def _on_event(self, running: Running, event: Event) -> None:
        """Note an event of a job for the console, the metrics and the log; called in the job's thread."""
        if isinstance(event, Failed):
            self._timeline.failed(running.job.id, event.task, event.attempt)
            self._metrics.attempts.labels("failed").inc()
        if isinstance(event, Done):
            self._metrics.attempts.labels("done").inc()
        if isinstance(event, Notice):
            self._log(f"{running.job.title}: {event.text}", running.job.id)

    def _read_again(self, running: Running) -> Job | None:
        """Read a running job from the queue; None if one of its documents is damaged or missing."""
        try:
            return self._queue.read(running.job.id)
        except HeadendError as error:
            if error.retryable:
                raise
            text = f"{running.job.title}: still running, but its commands can't be read: {error.message}"
            self._log(text, running.job.id)
            return None

    def _apply_commands(self, running: Running, cluster: SharedCluster) -> None:
        job = self._read_again(running)
        if job is None:
            return
        if job.priority != running.job.priority:
            running.job = replace(running.job, priority=job.priority)
            cluster.prioritise(job.id, job.priority)
            self._log(f"{job.title}: priority {job.priority}", job.id)
        if job.cancelling and not running.cancelled:
            running.cancelled = True
            cluster.cancel(job.id)
            self._log(f"{job.title}: being cancelled", job.id)

    def _progress(self, running: Running) -> Progress | None:
        return progress_of(running, self._running.values(), self._cluster_state.runs, self._pace.speed)

    def _write(self, running: Running) -> None:
        """Write what has changed in a job, and its progress at intervals."""
        finished = running.finished.is_set()
        with suppress(Empty):
            while True:
                self._statuses.record(running, running.changes.get_nowait())
        if finished:
            self._finish(running)
        elif time.monotonic() - running.written_s >= WRITE_S:
            self._statuses.save(running)

    def _finish(self, running: Running) -> None:
        """End a job whose thread has ended, unless it is to go back to the queue."""
        lost = None if self._cluster is None else self._cluster.lost
        ending = ending_of(running, is_stopping=self._stop.is_set(), cluster_lost=lost)
        if ending is not None:
            self._end(running, *ending)

    def _end(self, running: Running, state: State, why: str) -> None:
        # Commands that arrived while it ran have been applied or no longer matter.
        now = self._read_again(running) or running.job
        status = replace(running.job.status, taken=now.taken, priority=now.priority)
        running.job = replace(running.job, status=status, priority=now.priority)
        if running.job.state is state:  # an earlier attempt to write this failed
            self._statuses.save(running)
        else:
            self._statuses.change(running, state, why)
        self._running.pop(running.job.id, None)
        self._metrics.ended.labels(state.value).inc()
        self._log(f"{running.job.title}: {state}{f', {why}' if why else ''}", running.job.id)

    def _stop_jobs(self, cluster: SharedCluster) -> None:
        """Stop all jobs, and put them back into the queue if the lease is still held."""
        for running in self._running.values():
            cluster.cancel(running.job.id)
        deadline_s = time.monotonic() + STOP_JOBS_S
        for running in list(self._running.values()):
            running.finished.wait(max(0.0, deadline_s - time.monotonic()))
            if not self._lease.fence:
                continue
            try:
                if running.error is None and running.finished.is_set():
                    self._finish(running)
                else:
                    why = "the dispatcher was stopped; the next run resumes the job"
                    self._statuses.change(running, State.QUEUED, why)
                    self._log(f"{running.job.title}: back in the queue", running.job.id)
            except StorageError as error:  # another dispatcher resumes it
                self._log(f"{running.job.title}: its state can't be recorded: {error.message}", running.job.id)
        self._running.clear()
        self._announcer.wait(STOP_NOTIFYING_S)
