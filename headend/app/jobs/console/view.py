"""The console's view of a dispatcher."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from itertools import islice
from threading import Lock
from typing import Protocol

from headend.app.jobs.model import Progress
from headend.app.jobs.queue import Entry

KEPT = 2000
"""Number of ended runs that are still shown."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run of a task on a worker, current or recent.

    Attributes:
        run: Number, unique within a dispatcher.
        job: The job's id.
        title: The job's title.
        task: Label of the task, for people.
        attempt: Number of the attempt, from 1.
        worker: The worker's address.
        began_s: Unix time in seconds.
        ended_s: Unix time in seconds; None while it runs.
        failed: Whether the attempt failed.
    """

    run: int
    job: str
    title: str
    task: str
    attempt: int
    worker: str
    began_s: float
    ended_s: float | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A worker.

    Attributes:
        worker: Its address.
        threads: Number of tasks that it can run at once.
        busy: Number of tasks that it runs.
        memory_bytes: Memory for its tasks; None for no limit.
        used_bytes: Memory reserved by running tasks.
    """

    worker: str
    threads: int
    busy: int
    memory_bytes: int | None
    used_bytes: int


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A running job.

    Attributes:
        job: The job's id.
        progress: Its progress a few seconds ago; None until it is planned.
    """

    job: str
    progress: Progress | None


class View(Protocol):
    """The console's interface to a dispatcher; called from the console's thread."""

    @property
    def fence(self) -> int:
        """Fencing number of the lease; 0 while standing by."""

    @property
    def who(self) -> str:
        """User and machine."""

    def workers(self) -> tuple[WorkerRecord, ...]:
        """Return the cluster's workers."""

    def running(self) -> tuple[RunningJob, ...]:
        """Return the jobs that this dispatcher runs."""

    def runs(self) -> tuple[RunRecord, ...]:
        """Return running and recently ended runs, in order of their beginning."""


class Timeline:
    """Records when runs begin and end, from repeated snapshots of what is running."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._running: dict[int, RunRecord] = {}
        self._ended: deque[RunRecord] = deque(maxlen=KEPT)
        self._failed: set[tuple[str, str, int]] = set()
        self._lock = Lock()

    def failed(self, job: str, task: str, attempt: int) -> None:
        """Mark the run of an attempt as failed."""
        with self._lock:
            self._failed.add((job, task, attempt))

    def update(self, runs: Iterable[RunRecord]) -> None:
        """Process a snapshot of the running runs; a known run keeps its beginning."""
        now_s = self._now_s()
        with self._lock:
            current = {run.run: run for run in runs}
            for number in [number for number in self._running if number not in current]:
                ended = self._running.pop(number)
                key = (ended.job, ended.task, ended.attempt)
                self._ended.append(replace(ended, ended_s=now_s, failed=key in self._failed))
                self._failed.discard(key)
            for number, run in current.items():
                self._running.setdefault(number, run)

    def runs(self) -> tuple[RunRecord, ...]:
        """Return the recorded runs, in order of their beginning."""
        with self._lock:
            return tuple(sorted((*self._ended, *self._running.values()), key=lambda run: (run.began_s, run.run)))


def listed(entries: Sequence[Entry], limit: int) -> list[Entry]:
    """Choose the jobs that the console's page lists: running ones, those that start next, and the latest that ended.

    Args:
        entries: All jobs, in order of submission.
        limit: Maximum number of jobs; running ones are always listed.
    """
    active = [entry for entry in entries if entry.state.active]
    waiting = (entry for entry in entries if not entry.state.active and not entry.state.ended)
    following = nsmallest(limit // 2, waiting, key=lambda entry: (-entry.priority, entry.id))
    places = max(0, limit - len(active) - len(following))
    return [*active, *following, *islice((entry for entry in reversed(entries) if entry.state.ended), places)]
