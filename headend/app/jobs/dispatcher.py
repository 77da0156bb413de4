"""The process that takes jobs from the queue and runs them on one cluster.

Each running job has a thread that runs `headend.app.pipeline`; all of them share a cluster. Only the main thread reads
the queue and writes statuses, so that a job's documents have one writer. Another thread renews the lease while the main
loop is alive, so that neither a slow store nor a cluster that is starting makes the dispatcher lose it.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

from encoder import tool
from encoder.cluster import Done, Failed, Notice
from headend.app import pipeline
from headend.app.jobs.accounting import Ledger
from headend.app.jobs.announcing import Announcer
from headend.app.jobs.backlog import Backlog
from headend.app.jobs.console.view import RunningJob, RunRecord, Timeline, WorkerRecord
from headend.app.jobs.forecast import Pace, Remaining, left_s
from headend.app.jobs.lease import RENEW_S, Lease, LeaseLost
from headend.app.jobs.metrics import DispatcherMetrics
from headend.app.jobs.model import Account, Change, Job, Progress, State, Status, utc_now
from headend.app.jobs.notifying import Notifier
from headend.app.jobs.queue import Entry, Queue, whoami
from headend.app.jobs.sharing import ClusterState, SharedCluster
from headend.app.request import Event, Outcome, Planned, Step
from headend.core.errors import Cancelled, HeadendError, QualityRefused, StorageError
from headend.core.settings import ClusterSettings, StoreSettings
from headend.core.storage import open_store, with_retries

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
NAMED = 5
"""Running jobs that are named in a summary."""
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


@dataclass(slots=True)
class _Running:
    """A job that this dispatcher runs."""

    job: Job
    marked: Entry | None = None
    """The marker that was last written for it."""
    thread: threading.Thread | None = None
    ledger: Ledger | None = None
    changes: SimpleQueue[Change] = field(default_factory=SimpleQueue)
    """Changes of state from the job's thread that the main thread has not written yet."""
    cancelled: bool = False
    error: BaseException | None = None
    release: str = ""
    note: str = ""
    """A remark on the release, for people."""
    finished: threading.Event = field(default_factory=threading.Event)
    written_s: float = 0.0
    frames: int = 0
    """Encoded frames that have been added to the metrics."""
    counted: Account = field(default_factory=Account)
    """Resource usage that has been added to the metrics."""


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
        self._running: dict[str, _Running] = {}
        self._backlog = Backlog()
        self._pace = Pace()
        self._cluster: SharedCluster | None = None
        self._listed_s = self._reminded_s = -math.inf
        self._timeline = Timeline()
        self._cluster_state = ClusterState()
        self._metrics = DispatcherMetrics()
        self._announcer = Announcer(self._queue, notifier or Notifier(self._store), self._log)
        self._lease = Lease(self._store, whoami())
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
        busy = Counter(run.worker for run in self._cluster_state.runs)
        used: Counter[str] = Counter()
        for run in self._cluster_state.runs:
            used[run.worker] += run.task.memory_bytes
        return tuple(
            WorkerRecord(
                worker.address, worker.threads, busy[worker.address], worker.memory_bytes, used[worker.address]
            )
            for worker in self._cluster_state.workers
        )

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
                try:
                    with (
                        self._renewing(),
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
        running, queued = list(self._running.values()), self._backlog.states.get(State.QUEUED, 0)
        if not running and not queued:
            return "no job is waiting or running"
        if not running:
            return f"{queued:,} queued, none running"
        shares = [
            f"{each.job.title} {each.job.status.progress.share:.0%}" if each.job.status.progress else each.job.title
            for each in running[:NAMED]
        ]
        more = [f"{len(running) - NAMED} more"] if len(running) > NAMED else []
        threads = sum(worker.threads for worker in self._cluster_state.workers)
        return (
            f"{len(running)} running ({', '.join([*shares, *more])}), {queued:,} queued; "
            f"{len(self._cluster_state.runs)} tasks on {len(self._cluster_state.workers)} workers of {threads} threads"
        )

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

    @contextmanager
    def _renewing(self) -> Iterator[None]:
        """Renew the lease in the background."""
        ended = threading.Event()
        self._round_s = time.monotonic()

        def renew() -> None:
            while self._lease.fence and not ended.wait(RENEW_S / 3):
                if time.monotonic() - self._round_s < HUNG_S:
                    with suppress(StorageError, LeaseLost):  # the main thread finds out by itself
                        self._lease.renew()

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

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
        """Swallow errors of a store that can't be reached: the next round tries again, and lists all jobs anew."""
        try:
            yield
        except StorageError as error:
            if not error.retryable:
                raise
            self._listed_s = -math.inf
            if time.monotonic() - self._reminded_s >= REMIND_S:
                self._reminded_s = time.monotonic()
                self._log(f"the store can't be reached; trying again: {error.message}")

    def _read_news(self) -> list[_Running]:
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
            self._announce_waiting(entry)
        self._queue.delete_news(keys)
        return [self._running[job] for job in changed]

    def _next(self) -> Entry | None:
        """Take the next job to start; None if none may start."""
        running = {each.job.title: each.job.priority for each in self._running.values()}
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
        self._pace.update({job: each.ledger.costs[0] for job, each in self._running.items() if each.ledger is not None})
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
            self._end(_Running(job), State.CANCELLED, "cancelled while no dispatcher ran")
            return
        # The status includes the commands so far; later ones stay separate documents.
        job = replace(job, status=replace(job.status, taken=job.taken, priority=job.priority))
        running = _Running(job, counted=job.status.account)
        why = f"resumed by {whoami()}" if job.state.active else f"started by {whoami()}"
        self._change(running, State.RUNNING, why)
        self._running[job.id] = running
        self._log(f"{job.title}: {why}", job.id)
        running.thread = threading.Thread(target=self._run_job, args=(running, cluster), name=job.id, daemon=True)
        running.thread.start()

    def _read_again(self, running: _Running) -> Job | None:
        """Read a running job from the queue; None if one of its documents is damaged or missing."""
        try:
            return self._queue.read(running.job.id)
        except HeadendError as error:
            if error.retryable:
                raise
            text = f"{running.job.title}: still running, but its commands can't be read: {error.message}"
            self._log(text, running.job.id)
            return None

    def _apply_commands(self, running: _Running, cluster: SharedCluster) -> None:
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

    # --- a job's own thread ---

    def _run_job(self, running: _Running, cluster: SharedCluster) -> None:
        submitted = running.job.request
        # With the time of submission, an older job can't replace the release of a newer one, whichever ends first.
        request = replace(
            submitted.request,
            store=replace(self._settings, patience_s=submitted.request.store.patience_s),
            cluster=self._cluster_settings,
            submitted_at=submitted.submitted_at,
        )

        def stopped() -> bool:
            return running.cancelled or self._stop.is_set()

        def note(event: Event) -> None:
            if stopped():
                raise Cancelled("the job was cancelled")
            if isinstance(event, Step) and event.name == "publishing":
                with_retries(self._lease.check, request.store.patience_s, stopped, lambda _line: None)
                running.changes.put(Change(State.PUBLISHING, utc_now()))
            if isinstance(event, Planned):
                running.ledger = Ledger(event)
            elif running.ledger is not None:
                running.ledger.note(event)
            if isinstance(event, Failed):
                self._timeline.failed(running.job.id, event.task, event.attempt)
                self._metrics.attempts.labels("failed").inc()
            if isinstance(event, Done):
                self._metrics.attempts.labels("done").inc()
            if isinstance(event, Notice):
                self._log(f"{running.job.title}: {event.text}", running.job.id)

        try:
            run = cluster.runner_of(running.job.id, running.job.priority)
            outcome = pipeline.submit(request, note, run=run, workers=cluster.workers)
            running.release = outcome.presentation.release
            running.note = _remark(outcome)
        except QualityRefused as error:
            # The release is complete, and an operator may publish it.
            running.error, running.release = error, str(error.facts.get("release", ""))
        except BaseException as error:
            running.error = error
        finally:
            running.finished.set()

    # --- statuses ---

    def _write(self, running: _Running) -> None:
        finished = running.finished.is_set()
        with suppress(Empty):
            while True:
                self._note(running, running.changes.get_nowait())
        if finished:
            self._finish(running)
        elif time.monotonic() - running.written_s >= WRITE_S:
            self._save(running)

    def _finish(self, running: _Running) -> None:
        error = running.error
        if error is None:
            self._end(running, State.DONE, running.note)
        elif isinstance(error, LeaseLost):
            raise error
        elif error is self._cluster_lost():
            pass  # the main loop ends, and the job goes back to the queue
        elif running.cancelled:
            self._end(running, State.CANCELLED, "stopped")
        elif isinstance(error, Cancelled) and self._stop.is_set():
            pass  # the main loop is about to stop, and puts the job back
        elif isinstance(error, HeadendError):
            self._end(running, State.FAILED, error.message)
        else:
            self._end(running, State.FAILED, f"unexpected {type(error).__name__}: {error}")

    def _cluster_lost(self) -> HeadendError | None:
        return None if self._cluster is None else self._cluster.lost

    def _end(self, running: _Running, state: State, why: str) -> None:
        # Commands that arrived while it ran have been applied or no longer matter.
        now = self._read_again(running) or running.job
        status = replace(running.job.status, taken=now.taken, priority=now.priority)
        running.job = replace(running.job, status=status, priority=now.priority)
        if running.job.state is state:  # an earlier attempt to write this failed
            self._save(running)
        else:
            self._change(running, state, why)
        self._running.pop(running.job.id, None)
        self._metrics.ended.labels(state.value).inc()
        self._log(f"{running.job.title}: {state}{f', {why}' if why else ''}", running.job.id)

    def _change(self, running: _Running, state: State, why: str) -> None:
        self._note(running, Change(state, utc_now(), why))

    def _note(self, running: _Running, change: Change) -> None:
        history = (*running.job.history, change)
        running.job = replace(running.job, state=change.state, history=history)
        self._save(running)

    def _save(self, running: _Running) -> None:
        progress: Progress | None = running.job.status.progress
        account = running.job.status.account
        if running.ledger is not None:
            tasks = (
                0 if running.finished.is_set() else sum(run.job == running.job.id for run in self._cluster_state.runs)
            )
            progress = running.ledger.progress(
                tasks, left_s(running.job.id, self._remaining(running), self._pace.speed)
            )
            account = running.ledger.account(running.job.status.account)
            self._count(running, running.ledger, account)
        deliveries = self._announcer.announce(running.job)
        status: Status = replace(
            running.job.status,
            history=running.job.history,
            told=len(running.job.history),
            fence=self._lease.fence,
            release=running.release,
            progress=progress,
            account=account,
        )
        self._lease.check()
        running.marked = self._queue.write(replace(running.job, status=status), running.marked)
        self._backlog.update(running.marked)
        running.written_s = time.monotonic()
        # The ledger counts this run only, so the account kept here stays that of earlier runs.
        running.job = replace(running.job, status=replace(status, account=running.job.status.account))
        self._announcer.deliver(running.job, deliveries)

    def _remaining(self, this: _Running) -> dict[str, Remaining]:
        """Return the remaining work of running jobs; jobs that are being planned are left out."""
        jobs = {running.job.id: running for running in (*self._running.values(), this)}
        return {
            job: Remaining(running.job.priority, running.ledger.costs[1])
            for job, running in jobs.items()
            if running.ledger is not None
        }

    def _count(self, running: _Running, ledger: Ledger, account: Account) -> None:
        """Add a job's resource usage since the last call to the metrics."""
        before = dict(running.counted.cpu_s)
        for codec, cpu_s in account.cpu_s:
            self._metrics.cpu.labels(codec).inc(max(0.0, cpu_s - before.get(codec, 0.0)))
        # The ledger subtracts the frames of a failed attempt; a counter can't go down, so it stays at the maximum.
        running.frames, frames = max(running.frames, ledger.done_frames), running.frames
        self._metrics.frames.inc(running.frames - frames)
        self._metrics.stored.inc(max(0, account.stored_bytes - running.counted.stored_bytes))
        running.counted = account

    def _announce_waiting(self, entry: Entry) -> None:
        """Announce the changes of a job that does not run, and record that they are announced."""
        announced = self._announcer.announce_waiting(entry)
        if announced is None:
            return
        job, deliveries = announced
        status = replace(
            job.status,
            history=job.history,
            taken=job.taken,
            priority=job.priority,
            told=len(job.history),
            fence=self._lease.fence,
        )
        self._lease.check()
        job = replace(job, status=status)
        self._backlog.update(self._queue.write(job, entry))
        self._announcer.deliver(job, deliveries)

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
                    self._change(running, State.QUEUED, "the dispatcher was stopped; the next run resumes the job")
                    self._log(f"{running.job.title}: back in the queue", running.job.id)
            except StorageError as error:  # another dispatcher resumes it
                self._log(f"{running.job.title}: its state can't be recorded: {error.message}", running.job.id)
        self._running.clear()
        self._announcer.wait(STOP_NOTIFYING_S)


def _remark(outcome: Outcome) -> str:
    release, title = outcome.presentation.release, outcome.presentation.title
    if outcome.held:
        return f"release {release} is held: 'headend publish {title} --release {release}' publishes it"
    if outcome.newer:
        return f"release {outcome.newer} of a newer request stays current"
    return ""
