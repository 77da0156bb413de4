"""What the console sees of a dispatcher."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Protocol

from headend.app.jobs.model import Progress

KEPT = 2000
"""Runs that have ended, and are still drawn."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A task on a worker, now or lately.

    Attributes:
        run: Unique in a dispatcher.
        job: Whose task it is.
        title: The title that the job makes.
        task: The task, for people.
        attempt: From 1.
        worker: Where it runs.
        began_s: Seconds since 1970.
        ended_s: Likewise; None while it runs.
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
        threads: Tasks that it can run at once.
        busy: Tasks that it runs.
        memory_bytes: What tasks may take together; None for no limit.
        used_bytes: What the running ones were given.
    """

    worker: str
    threads: int
    busy: int
    memory_bytes: int | None
    used_bytes: int


@dataclass(frozen=True, slots=True)
class RunningJob:
    """How far a job is that runs here.

    Attributes:
        job: Its id.
        progress: As it was a few seconds ago; None until it is planned.
    """

    job: str
    progress: Progress | None


class View(Protocol):
    """A dispatcher, as its console sees it; called from the console's thread."""

    @property
    def fence(self) -> int:
        """The number of the lease; 0 while standing by."""

    @property
    def who(self) -> str:
        """User and machine."""

    def workers(self) -> tuple[WorkerRecord, ...]:
        """The workers there are."""

    def running(self) -> tuple[RunningJob, ...]:
        """The jobs that run here."""

    def runs(self) -> tuple[RunRecord, ...]:
        """What runs, and what has ended lately, in order of their beginning."""


class Timeline:
    """Remembers which runs there were; told again and again which there are."""

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._running: dict[int, RunRecord] = {}
        self._ended: deque[RunRecord] = deque(maxlen=KEPT)
        self._failed: set[tuple[str, str, int]] = set()
        self._lock = Lock()

    def failed(self, job: str, task: str, attempt: int) -> None:
        """An attempt has failed; the run that made it is drawn so."""
        with self._lock:
            self._failed.add((job, task, attempt))

    def see(self, runs: Iterable[RunRecord]) -> None:
        """Take in which runs there are now; the beginning of those that are known already is kept."""
        now_s = self._now_s()
        with self._lock:
            here = {run.run: run for run in runs}
            for number in [number for number in self._running if number not in here]:
                gone = self._running.pop(number)
                key = (gone.job, gone.task, gone.attempt)
                self._ended.append(replace(gone, ended_s=now_s, failed=key in self._failed))
                self._failed.discard(key)
            for number, run in here.items():
                self._running.setdefault(number, run)

    def runs(self) -> tuple[RunRecord, ...]:
        """All runs that are remembered, in order of their beginning."""
        with self._lock:
            return tuple(sorted((*self._ended, *self._running.values()), key=lambda run: (run.began_s, run.run)))
