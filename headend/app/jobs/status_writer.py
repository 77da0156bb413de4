"""Writes the statuses of jobs, under the lease: first the outbox, then the status, then the notifications."""

import time
from collections.abc import Callable
from dataclasses import replace

from headend.app.jobs.accounting import Ledger
from headend.app.jobs.announcing import Announcer
from headend.app.jobs.backlog import Backlog
from headend.app.jobs.lease import Lease
from headend.app.jobs.metrics import DispatcherMetrics
from headend.app.jobs.model import Account, Change, Progress, State, Status, utc_now
from headend.app.jobs.queue import Entry, Queue
from headend.app.jobs.running import Running


class StatusWriter:
    """Writes the statuses of jobs; used by the dispatcher's main thread only.

    Args:
        queue: The jobs.
        lease: Checked before each write, so that a suspended dispatcher doesn't overwrite its successor's work.
        backlog: Updated with each written status.
        announcer: Announces changes.
        metrics: Gets the resource usage of jobs.
        progress: Returns the progress of a running job.
    """

    def __init__(
        self,
        queue: Queue,
        lease: Lease,
        backlog: Backlog,
        announcer: Announcer,
        metrics: DispatcherMetrics,
        progress: Callable[[Running], Progress | None],
    ) -> None:
        self._queue = queue
        self._lease = lease
        self._backlog = backlog
        self._announcer = announcer
        self._metrics = metrics
        self._progress = progress

    def change(self, running: Running, state: State, why: str) -> None:
        """Change the state of a running job now."""
        self.record(running, Change(state, utc_now(), why))

    def record(self, running: Running, change: Change) -> None:
        """Add a change to a running job's history."""
        history = (*running.job.history, change)
        running.job = replace(running.job, state=change.state, history=history)
        self.save(running)

    def save(self, running: Running) -> None:
        """Write the status of a running job with its progress and resource usage."""
        progress = self._progress(running)
        account = running.job.status.account
        if running.ledger is not None:
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

    def announce_waiting(self, entry: Entry) -> None:
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

    def _count(self, running: Running, ledger: Ledger, account: Account) -> None:
        """Add a job's resource usage since the last call to the metrics."""
        before = dict(running.counted.cpu_s)
        for codec, cpu_s in account.cpu_s:
            self._metrics.cpu.labels(codec).inc(max(0.0, cpu_s - before.get(codec, 0.0)))
        # The ledger subtracts the frames of a failed attempt; a counter can't go down, so it stays at the maximum.
        running.frames, frames = max(running.frames, ledger.done_frames), running.frames
        self._metrics.frames.inc(running.frames - frames)
        self._metrics.stored.inc(max(0, account.stored_bytes - running.counted.stored_bytes))
        running.counted = account
