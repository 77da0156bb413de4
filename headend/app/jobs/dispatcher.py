"""The one process that takes jobs and runs them on one cluster.

A thread for each running job goes the whole way of `headend.app.pipeline`; all of them share a cluster. The main thread
alone reads the queue and writes statuses, so that a job's documents have one writer. A thread renews the lease as long
as the main thread goes round, so that neither a slow store nor the start of a cluster costs it.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue

from encoder import tool
from encoder.cluster import Done, Failed, Notice
from headend.app import pipeline
from headend.app.jobs.accounting import Ledger
from headend.app.jobs.backlog import Backlog
from headend.app.jobs.console.view import RunningJob, RunRecord, Timeline, WorkerRecord
from headend.app.jobs.delivering import Courier
from headend.app.jobs.forecast import Pace, Rest, left_s
from headend.app.jobs.lease import RENEW_S, Lease, LeaseLost
from headend.app.jobs.metrics import DispatcherMetrics
from headend.app.jobs.model import Account, Change, Job, Progress, State, Status, fold, utc_now
from headend.app.jobs.notifying import Delivery, Notifier
from headend.app.jobs.queue import Entry, Queue, whoami
from headend.app.jobs.sharing import ClusterState, SharedCluster
from headend.app.request import Event, Outcome, Planned, Step
from headend.core.errors import Cancelled, ConfigError, HeadendError, QualityRefused, StorageError
from headend.core.settings import ClusterSettings, StoreSettings
from headend.core.storage import open_store, patiently

POLL_S = 1.0
"""How often the queue is looked at."""
HUNG_S = 120.0
"""A main thread that has not gone round for so long is taken for hung: the lease is renewed no more."""
LIST_S = 120.0
"""How often all open jobs are listed, beside the news: what a killed submitter did not tell of is found so."""
REPORT_S = 30.0
"""How often it is said how everything stands, while there is work."""
SAY_AGAIN_S = 20.0
"""How often it is said that the store is waited for."""
WRITE_S = 5.0
"""How often a running job's progress is written."""
HALT_S = 30.0
"""How long a dispatcher that stops waits for its jobs to stop."""
LAST_WORDS_S = 5.0
"""How long a dispatcher that stops waits for notifications to be delivered."""
NAMED = 5
"""Running jobs that are named in such a line."""
MAX_JOBS = 8
"""Jobs that run at once, unless told otherwise; more of a higher priority may start beside them."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something that the dispatcher says.

    Attributes:
        text: One line.
        job: Whose it is; empty for the dispatcher's own.
    """

    text: str
    job: str = ""


@dataclass(slots=True)
class _Running:
    """A job that runs here."""

    job: Job
    marked: Entry | None = None
    """The marker that was written for it last."""
    thread: threading.Thread | None = None
    ledger: Ledger | None = None
    changes: SimpleQueue[Change] = field(default_factory=SimpleQueue)
    """What the job's thread has seen happen, and the main thread has not written yet."""
    cancelled: bool = False
    error: BaseException | None = None
    release: str = ""
    note: str = ""
    """What a person should know of the release that was made."""
    finished: threading.Event = field(default_factory=threading.Event)
    written_s: float = 0.0
    frames: int = 0
    """Those of all video renditions that the figures have."""
    counted: Account = field(default_factory=Account)


class Dispatcher:
    """Takes jobs from a queue and runs them.

    Args:
        store: Where jobs are; takes the place of what the requests say, since submitters may reach it by another
            address.
        cluster: Where tasks run; likewise.
        max_jobs: Jobs that run at once.
        say: Called with lines for people.
        notifier: Tells others of changes.
        until_idle: Whether to end when no job waits or runs.
    """

    def __init__(
        self,
        store: StoreSettings,
        cluster: ClusterSettings,
        *,
        max_jobs: int = MAX_JOBS,
        say: Callable[[Line], None] = lambda _line: None,
        notifier: Notifier | None = None,
        until_idle: bool = False,
    ) -> None:
        self._settings = store
        self._store = open_store(store)
        self._queue = Queue(self._store)
        self._cluster_settings = cluster
        self._max_jobs = max_jobs
        self._say = say
        self._notifier = notifier or Notifier(self._store)
        self._until_idle = until_idle
        self._running: dict[str, _Running] = {}
        self._backlog = Backlog()
        self._pace = Pace()
        self._cluster: SharedCluster | None = None
        self._listed_s = self._said_s = -math.inf
        self._timeline = Timeline()
        self._cluster_state = ClusterState()
        self._figures = DispatcherMetrics()
        self._courier = Courier(
            self._notifier, lambda letter, text: say(Line(f"{letter.title}: {text}", letter.delivery.job))
        )
        self._lease = Lease(self._store, whoami())
        self._round_s = time.monotonic()
        """When the main thread began to go round last."""
        self._stop = threading.Event()

    @property
    def fence(self) -> int:
        """The number of the lease that is held; 0 while standing by."""
        return self._lease.fence

    @property
    def who(self) -> str:
        """User and machine."""
        return whoami()

    @property
    def metrics(self) -> DispatcherMetrics:
        """What Prometheus is shown."""
        return self._figures

    def workers(self) -> tuple[WorkerRecord, ...]:
        """The workers there are."""
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
        """The jobs that run here."""
        return tuple(RunningJob(job, one.job.status.progress) for job, one in list(self._running.items()))

    def runs(self) -> tuple[RunRecord, ...]:
        """What runs, and what has ended lately, in order of their beginning."""
        return self._timeline.runs()

    def stop(self) -> None:
        """Stop in order: running jobs go back to the queue. May be called from any thread or signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped; stand by while another dispatcher works.

        Raises:
            ConfigError: The scheduler can't be reached.
            StorageError: The store refuses.
        """
        threading.Thread(target=self._report_forever, name="report", daemon=True).start()
        try:
            while not self._stop.is_set():
                if not self._stand_by():
                    return
                try:
                    with (
                        self._renewing(),
                        SharedCluster(self._cluster_settings, tool.version(), self._notice) as cluster,
                    ):
                        self._work(cluster)
                    return
                except LeaseLost as lost:
                    self._say(Line(str(lost)))
                except RuntimeError:
                    # A signal to the whole process group, as of a container, also ends the workers that just start.
                    if not self._stop.is_set():
                        raise
        finally:
            with suppress(StorageError):  # it expires by itself
                self._lease.release()
            if self._stop.is_set():
                self._say(Line("stopped"))

    def _notice(self, text: str) -> None:
        self._say(Line(text))

    def _report_forever(self) -> None:
        """Say now and then how everything stands, whatever the main thread waits for."""
        said = ""
        while not self._stop.wait(REPORT_S):
            text = self._standing()
            if text != said or self._running:
                self._say(Line(text))
            said = text

    def _standing(self) -> str:
        if not self._lease.fence:
            return "standing by"
        running, queued = list(self._running.values()), self._backlog.states.get(State.QUEUED, 0)
        if not running and not queued:
            return "no job waits or runs"
        if not running:
            return f"{queued:,} queued, none running"
        shares = [
            f"{one.job.title} {one.job.status.progress.share:.0%}" if one.job.status.progress else one.job.title
            for one in running[:NAMED]
        ]
        more = [f"{len(running) - NAMED} more"] if len(running) > NAMED else []
        threads = sum(worker.threads for worker in self._cluster_state.workers)
        return (
            f"{len(running)} running ({', '.join([*shares, *more])}), {queued:,} queued; "
            f"{len(self._cluster_state.runs)} tasks on {len(self._cluster_state.workers)} workers of {threads} threads"
        )

    # --- lease ---

    def _stand_by(self) -> bool:
        """Wait for the lease; whether it is held."""
        said = False
        while not self._stop.is_set():
            with self._outlasting():
                if self._lease.try_take():
                    self._say(Line(f"dispatching the jobs of {self._store.url} (lease {self._lease.fence})"))
                    return True
            if not said and (other := self._lease.other):
                said = True
                self._say(Line(f"{other.who} dispatches already: standing by"))
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
                    with suppress(StorageError, LeaseLost):  # the main thread hears of either by itself
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
        mended = False
        self._cluster = cluster
        try:
            while not self._stop.is_set():
                self._round_s = time.monotonic()
                with self._outlasting():
                    if not self._lease.fence:
                        self._lease.check()  # says who has it
                    if not mended:
                        self._queue.mend()
                        self._deliver_leftovers()
                        mended = True
                    self._step(cluster)
                if cluster.lost is not None:
                    raise cluster.lost
                if self._until_idle and not self._running and not self._backlog.waits:
                    return
                self._stop.wait(POLL_S)
        finally:
            self._halt(cluster)

    def _step(self, cluster: SharedCluster) -> None:
        """Look at the queue once, start what may start, and write what has changed."""
        for running in self._hear():
            self._take_commands(running, cluster)
        while (entry := self._next()) is not None:
            self._start(entry, cluster)
        for running in list(self._running.values()):
            self._write(running)
        self._see(cluster)

    @contextmanager
    def _outlasting(self) -> Iterator[None]:
        """A store that is away is waited for; what was on its way is looked at anew then."""
        try:
            yield
        except StorageError as error:
            if not error.retryable:
                raise
            self._listed_s = -math.inf
            if time.monotonic() - self._said_s >= SAY_AGAIN_S:
                self._said_s = time.monotonic()
                self._say(Line(f"the store can't be reached; trying again: {error.message}"))

    def _hear(self) -> list[_Running]:
        """Take in what has happened in the queue; returns the running jobs that may have got commands."""
        entries, keys = self._queue.news()
        if time.monotonic() - self._listed_s >= LIST_S or None in entries:
            self._backlog.load(self._queue.entries(ended=False))
            self._listed_s = time.monotonic()
            concerned = set(self._running)
        else:
            for entry in filter(None, entries):
                self._backlog.see(entry)
            concerned = {entry.id for entry in entries if entry} & self._running.keys()
        for entry in {entry.id: entry for entry in entries if entry and entry.id not in self._running}.values():
            self._tell_of_waiting(entry)
        self._queue.forget(keys)
        return [self._running[job] for job in concerned]

    def _next(self) -> Entry | None:
        """The job to start now; None if none may start."""
        running = {one.job.title: one.job.priority for one in self._running.values()}
        return self._backlog.take_next(running, self._max_jobs)

    def _see(self, cluster: SharedCluster) -> None:
        """Take in how the cluster is, for the console and for Prometheus."""
        self._cluster_state = cluster.state
        now_s = time.time()
        titles = {job: running.job.title for job, running in self._running.items()}
        self._timeline.see(
            RunRecord(run.number, run.job, titles.get(run.job, ""), run.task.label, run.attempt, run.worker, now_s)
            for run in self._cluster_state.runs
        )
        self._pace.see({job: one.ledger.costs[0] for job, one in self._running.items() if one.ledger is not None})
        self._figures.see(self._backlog, self.workers(), self._cluster_state.tasks, self._lease.fence)

    def _start(self, entry: Entry, cluster: SharedCluster) -> None:
        try:
            job = self._queue.read(entry.id)
        except HeadendError as error:
            if error.retryable:
                raise
            self._say(Line(f"{entry.title}: the job can't be read and is left alone: {error.message}", entry.id))
            return
        if not (job.state is State.QUEUED or job.state.active):
            self._backlog.see(self._queue.mark(job))
            return
        if job.cancelling:
            self._end(_Running(job), State.CANCELLED, "cancelled while no dispatcher ran")
            return
        # What commands have made of the job so far goes into its status; a later one stands beside it.
        job = replace(job, status=replace(job.status, taken=job.taken, priority=job.priority))
        again = job.state.active
        running = _Running(job, counted=job.status.account)
        why = f"taken up again by {whoami()}" if again else f"started by {whoami()}"
        self._change(running, State.RUNNING, why)
        self._running[job.id] = running
        self._say(Line(f"{job.title}: {why}", job.id))
        running.thread = threading.Thread(target=self._go, args=(running, cluster), name=job.id, daemon=True)
        running.thread.start()

    def _read_again(self, running: _Running) -> Job | None:
        """A running job as it stands in the queue; None if a document of it is damaged or gone."""
        try:
            return self._queue.read(running.job.id)
        except HeadendError as error:
            if error.retryable:
                raise
            text = f"{running.job.title}: goes on, but commands for it can't be read: {error.message}"
            self._say(Line(text, running.job.id))
            return None

    def _take_commands(self, running: _Running, cluster: SharedCluster) -> None:
        job = self._read_again(running)
        if job is None:
            return
        if job.priority != running.job.priority:
            running.job = replace(running.job, priority=job.priority)
            cluster.prioritise(job.id, job.priority)
            self._say(Line(f"{job.title}: priority {job.priority}", job.id))
        if job.cancelling and not running.cancelled:
            running.cancelled = True
            cluster.cancel(job.id)
            self._say(Line(f"{job.title}: being cancelled", job.id))

    # --- a job's own thread ---

    def _go(self, running: _Running, cluster: SharedCluster) -> None:
        asked = running.job.request
        # An older job must not take the place of a newer one's release, whichever ends first.
        request = replace(
            asked.request,
            store=replace(self._settings, patience_s=asked.request.store.patience_s),
            cluster=self._cluster_settings,
            submitted_at=asked.submitted_at,
        )

        def stopped() -> bool:
            return running.cancelled or self._stop.is_set()

        def note(event: Event) -> None:
            if stopped():
                raise Cancelled("the job was cancelled")
            if isinstance(event, Step) and event.name == "publishing":
                patiently(self._lease.check, request.store.patience_s, stopped, lambda _line: None)
                running.changes.put(Change(State.PUBLISHING, utc_now()))
            if isinstance(event, Planned):
                running.ledger = Ledger(event)
            elif running.ledger is not None:
                running.ledger.note(event)
            if isinstance(event, Failed):
                self._timeline.failed(running.job.id, event.task, event.attempt)
                self._figures.attempts.labels("failed").inc()
            if isinstance(event, Done):
                self._figures.attempts.labels("done").inc()
            if isinstance(event, Notice):
                self._say(Line(f"{running.job.title}: {event.text}", running.job.id))

        try:
            run = cluster.runner_of(running.job.id, running.job.priority)
            outcome = pipeline.submit(request, note, run=run, workers=cluster.workers)
            running.release = outcome.presentation.release
            running.note = _note_of(outcome)
        except QualityRefused as error:
            # It is complete, and a person may publish it.
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
            pass  # the loop ends of it, and the job goes back to the queue
        elif running.cancelled:
            self._end(running, State.CANCELLED, "stopped")
        elif isinstance(error, Cancelled) and self._stop.is_set():
            pass  # its thread has seen the stop before the loop has, which puts the job back
        elif isinstance(error, HeadendError):
            self._end(running, State.FAILED, error.message)
        else:
            self._end(running, State.FAILED, f"unexpected {type(error).__name__}: {error}")

    def _cluster_lost(self) -> HeadendError | None:
        return None if self._cluster is None else self._cluster.lost

    def _end(self, running: _Running, state: State, why: str) -> None:
        # Commands that came while it ran have had their effect, or have none.
        now = self._read_again(running) or running.job
        status = replace(running.job.status, taken=now.taken, priority=now.priority)
        running.job = replace(running.job, status=status, priority=now.priority)
        if running.job.state is state:  # the store went away while this was written
            self._save(running)
        else:
            self._change(running, state, why)
        self._running.pop(running.job.id, None)
        self._figures.ended.labels(state.value).inc()
        self._say(Line(f"{running.job.title}: {state}{f', {why}' if why else ''}", running.job.id))

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
            on = 0 if running.finished.is_set() else sum(run.job == running.job.id for run in self._cluster_state.runs)
            progress = running.ledger.progress(on, left_s(running.job.id, self._rests(running), self._pace.speed))
            account = running.ledger.account(running.job.status.account)
            self._count(running, running.ledger, account)
        deliveries = self._announce(running.job)
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
        self._backlog.see(running.marked)
        running.written_s = time.monotonic()
        # The ledger adds to what earlier runs have used, so that is what stays here.
        running.job = replace(running.job, status=replace(status, account=running.job.status.account))
        self._deliver(running.job, deliveries)

    def _rests(self, this: _Running) -> dict[str, Rest]:
        """What is left of the jobs that run; of those that are being planned nobody knows yet."""
        here = {running.job.id: running for running in (*self._running.values(), this)}
        return {
            job: Rest(running.job.priority, running.ledger.costs[1])
            for job, running in here.items()
            if running.ledger is not None
        }

    def _count(self, running: _Running, ledger: Ledger, account: Account) -> None:
        """Add to the figures what a job has used since the last time."""
        before = dict(running.counted.cpu_s)
        for codec, cpu_s in account.cpu_s:
            self._figures.cpu.labels(codec).inc(max(0.0, cpu_s - before.get(codec, 0.0)))
        # A failed attempt's frames are taken back, which a counter can't do.
        running.frames, frames = max(running.frames, ledger.done_frames), running.frames
        self._figures.frames.inc(running.frames - frames)
        self._figures.stored.inc(max(0, account.stored_bytes - running.counted.stored_bytes))
        running.counted = account

    # --- notifications ---

    def _announce(self, job: Job) -> list[Delivery]:
        """Put into the outbox what has happened to a job and was not told yet."""
        fresh = range(job.status.told, len(job.history))
        return [delivery for number in fresh for delivery in self._notifier.announce(job, number)]

    def _tell_of_waiting(self, entry: Entry) -> None:
        """Tell others of what has happened to a job that does not run: it was queued, held, released or cancelled."""
        try:
            request = self._queue.request(entry.id)
            if not self._notifier.receivers(request):
                return
            job = fold(request, self._queue.status(entry.id), self._queue.commands(entry.id))
        except HeadendError as error:
            if error.retryable:
                raise
            return  # it is told of when it is to start
        if job.state.active or not (deliveries := self._announce(job)):
            return
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
        self._backlog.see(self._queue.write(job, entry))
        self._deliver(job, deliveries)

    def _deliver_leftovers(self) -> None:
        """Deliver what an earlier dispatcher has left in the outbox."""
        for delivery in self._notifier.outbox():
            try:
                job = self._queue.read(delivery.job)
            except ConfigError:
                self._notifier.forget(delivery)
                continue
            except StorageError as error:
                if error.retryable:
                    raise
                self._say(Line(f"a notification can't be delivered: {error.message}", delivery.job))
                continue
            if delivery.number < job.status.told:
                self._deliver(job, [delivery])
            else:  # it did not come to that change
                self._notifier.forget(delivery)

    def _deliver(self, job: Job, deliveries: Iterable[Delivery]) -> None:
        """Deliver events in the background; each receiver gets those of a job in order."""
        letters = []
        for delivery in deliveries:
            letter = self._notifier.letter(job, delivery)
            if letter is None:
                self._notifier.forget(delivery)
            else:
                letters.append(letter)
        if letters:
            self._courier.add(letters)
            self._courier.start()

    def _halt(self, cluster: SharedCluster) -> None:
        """Stop all jobs, and put them back into the queue if the lease is still held."""
        for running in self._running.values():
            cluster.cancel(running.job.id)
        deadline_s = time.monotonic() + HALT_S
        for running in list(self._running.values()):
            running.finished.wait(max(0.0, deadline_s - time.monotonic()))
            if not self._lease.fence:
                continue
            try:
                if running.error is None and running.finished.is_set():
                    self._finish(running)
                else:
                    self._change(running, State.QUEUED, "the dispatcher was stopped; goes on where it stood")
                    self._say(Line(f"{running.job.title}: back in the queue", running.job.id))
            except StorageError as error:  # another dispatcher takes it up again
                self._say(Line(f"{running.job.title}: its state is not on record: {error.message}", running.job.id))
        self._running.clear()
        self._courier.wait(LAST_WORDS_S)  # what is not delivered by then lies in the outbox


def _note_of(outcome: Outcome) -> str:
    made = outcome.presentation
    if outcome.held:
        return f"release {made.release} is held: 'headend publish {made.title} --release {made.release}' publishes it"
    if outcome.newer:
        return f"release {outcome.newer} of a newer request stays current"
    return ""
