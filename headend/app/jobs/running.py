"""A job that the dispatcher runs, and pure functions of it: its progress, and how it ends."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue

from encoder.cluster import Run
from headend.app.jobs.accounting import Ledger
from headend.app.jobs.forecast import Remaining, left_s
from headend.app.jobs.lease import LeaseLost
from headend.app.jobs.model import Account, Change, Job, Progress, State
from headend.app.jobs.queue import Entry
from headend.core.errors import Cancelled, HeadendError


@dataclass(slots=True)
class Running:
    """A job that this dispatcher runs.

    Attributes:
        job: The job as it was last written; only the dispatcher's main thread changes it.
        marked: The marker that was last written for it.
        thread: The thread that runs its pipeline.
        ledger: Its resource usage in this run; None until it is planned.
        changes: Changes of state from its thread that the main thread has not written yet.
        cancelled: Whether it has been cancelled.
        error: How its pipeline failed; None while it runs or if it succeeded.
        release: Id of its release; empty until there is one.
        note: A remark on the release, for people.
        finished: Set when its thread has ended.
        written_s: When its status was last written, on the monotonic clock.
        frames: Encoded frames that have been added to the metrics.
        counted: Resource usage that has been added to the metrics.
    """

    job: Job
    marked: Entry | None = None
    thread: threading.Thread | None = None
    ledger: Ledger | None = None
    changes: SimpleQueue[Change] = field(default_factory=SimpleQueue)
    cancelled: bool = False
    error: BaseException | None = None
    release: str = ""
    note: str = ""
    finished: threading.Event = field(default_factory=threading.Event)
    written_s: float = 0.0
    frames: int = 0
    counted: Account = field(default_factory=Account)


def progress_of(running: Running, others: Iterable[Running], runs: Sequence[Run], speed: float) -> Progress | None:
    """Return a job's progress; until it is planned, that of its last status.

    Args:
        running: The job.
        others: All running jobs, which share the cluster; jobs that are being planned are left out.
        runs: The tasks that are running on the cluster.
        speed: Predicted CPU seconds that the cluster completes per second.
    """
    if running.ledger is None:
        return running.job.status.progress
    tasks = 0 if running.finished.is_set() else sum(run.job == running.job.id for run in runs)
    jobs = {other.job.id: other for other in (*others, running)}
    remaining = {
        job: Remaining(other.job.priority, other.ledger.costs[1])
        for job, other in jobs.items()
        if other.ledger is not None
    }
    return running.ledger.progress(tasks, left_s(running.job.id, remaining, speed))


def ending_of(running: Running, *, is_stopping: bool, cluster_lost: HeadendError | None) -> tuple[State, str] | None:
    """Return the final state of a job whose thread has ended, and why; None if it goes back to the queue.

    Args:
        running: The job.
        is_stopping: Whether the dispatcher is about to stop.
        cluster_lost: Why the cluster can't be used any more; None while it works.

    Raises:
        LeaseLost: The job's thread found that another dispatcher has taken over.
    """
    error = running.error
    if error is None:
        return State.DONE, running.note
    if isinstance(error, LeaseLost):
        raise error
    if error is cluster_lost:
        return None
    if running.cancelled:
        return State.CANCELLED, "stopped"
    if isinstance(error, Cancelled) and is_stopping:
        return None
    if isinstance(error, HeadendError):
        return State.FAILED, error.message
    return State.FAILED, f"unexpected {type(error).__name__}: {error}"
