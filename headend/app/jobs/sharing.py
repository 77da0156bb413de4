"""Sharing one cluster among jobs.

A thread of the cluster runs the tasks of all jobs and puts their events into one queue per job. Each job handles its
events in a thread of its own, so that slow work, such as publishing an early release, doesn't delay other jobs.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Self

from encoder import cluster
from encoder.cluster import Event, Follow, Job, Notice, Perform, Run, Runner, Tick, Work, Worker, nothing_follows
from headend.core.errors import Cancelled, EncodingError, HeadendError
from headend.core.settings import ClusterSettings

WAKE_S = 0.5
"""How often a job's thread checks whether it was cancelled."""


class _Inbox:
    """The queue of events for a job's thread, and how its tasks ended."""

    def __init__(self) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.ended = threading.Event()
        self.error: HeadendError | None = None
        self.cancelled = False


@dataclass(frozen=True, slots=True)
class ClusterState:
    """A recent snapshot of the cluster.

    Attributes:
        workers: Workers that accept tasks.
        runs: Tasks that are running on them.
        tasks: Number of tasks of all jobs, by state.
    """

    workers: tuple[Worker, ...] = ()
    runs: tuple[Run, ...] = ()
    tasks: Mapping[str, int] = field(default_factory=dict)


class SharedCluster:
    """A cluster that is shared by jobs; a context manager.

    Args:
        settings: The cluster.
        tool: FFmpeg's version line, which workers of a running cluster must match.
        on_notice: Called with messages about the cluster, such as a lost worker, in the cluster's thread.
    """

    def __init__(self, settings: ClusterSettings, tool: str | None, on_notice: Callable[[str], None]) -> None:
        # A dispatcher waits for workers without limit: a cluster may grow, or restart after an upgrade.
        self._settings = replace(settings, wait_for_workers_s=math.inf)
        self._tool = tool
        self._on_notice = on_notice
        self._inboxes: dict[str, _Inbox] = {}
        self._priorities: dict[str, int] = {}
        self._stop = threading.Event()
        self._lost: HeadendError | None = None
        self._state = ClusterState()
        self._stack = ExitStack()
        self._runner: Runner | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._runner = self._stack.enter_context(
            cluster.shared_runner(self._settings, self._tool, self._on_event, self._on_ended)
        )
        self._thread = threading.Thread(target=self._work, name="cluster", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._stack.close()

    @property
    def lost(self) -> HeadendError | None:
        """Why the cluster can't be used any more; None while it works."""
        return self._lost

    @property
    def state(self) -> ClusterState:
        """A snapshot of the cluster, about a second old."""
        return self._state

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers to plan for: those that accept tasks, or the expected ones if there are none."""
        if self._settings.scheduler is None:
            return cluster.workers_of(self._settings)
        return (self._runner.workers if self._runner is not None else ()) or cluster.EXPECTED

    def runner_of(self, job: str, priority: int) -> Callable[..., None]:
        """Return a function like `encoder.cluster.run_tasks` that runs a job's tasks on this cluster.

        It ignores ``tool``: the workers were checked when the cluster was opened.
        """
        self._priorities[job] = priority

        def run(
            tasks: Sequence[Work],
            perform: Perform,
            _settings: ClusterSettings,
            on_event: Callable[[Event], None],
            *,
            tool: str | None = None,  # noqa: ARG001
            follow: Follow = nothing_follows,
        ) -> None:
            if tasks:
                self._run(Job(job, tasks, perform, self._priorities[job], follow), on_event)

        return run

    def prioritise(self, job: str, priority: int) -> None:
        """Change a job's priority; running tasks continue."""
        self._priorities[job] = priority
        if job in self._inboxes and self._runner is not None:
            self._runner.prioritise(job, priority)

    def cancel(self, job: str) -> None:
        """Stop a job's tasks; its thread raises `Cancelled`."""
        if (inbox := self._inboxes.get(job)) is not None:
            inbox.cancelled = True

    def _run(self, job: Job, on_event: Callable[[Event], None]) -> None:
        assert self._runner is not None
        inbox = self._inboxes[job.id] = _Inbox()
        self._runner.add(job)
        try:
            while True:
                # Checked before the queue is read: events may be added until the end, but not after it.
                ended = inbox.ended.is_set()
                self._drain(inbox, on_event)
                if ended:
                    break
                if inbox.cancelled:
                    raise Cancelled("the job was cancelled")
                if self._lost is not None:
                    raise self._lost
                if self._stop.is_set():
                    raise Cancelled("the dispatcher is stopping")
        except BaseException:
            self._runner.cancel(job.id)
            raise
        finally:
            del self._inboxes[job.id]
        if inbox.error is not None:
            raise inbox.error

    def _drain(self, inbox: _Inbox, on_event: Callable[[Event], None]) -> None:
        try:
            event = inbox.events.get(timeout=0 if inbox.ended.is_set() else WAKE_S)
            while True:
                on_event(event)
                event = inbox.events.get_nowait()
        except Empty:
            return

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Tick) and self._runner is not None:
            self._state = ClusterState(self._runner.workers, self._runner.runs, self._runner.counts)
        job = getattr(event, "job", "")
        if isinstance(event, Notice) and not job:
            self._on_notice(event.text)
            return
        for name, inbox in list(self._inboxes.items()):
            if job in ("", name):
                inbox.events.put(event)

    def _on_ended(self, job: str, error: HeadendError | None) -> None:
        if (inbox := self._inboxes.get(job)) is not None:
            inbox.error = error
            inbox.ended.set()

    def _work(self) -> None:
        assert self._runner is not None
        try:
            self._runner.work(until=self._stop.is_set)
        except HeadendError as error:
            self._lost = error
        except Exception as error:
            self._lost = EncodingError(f"the cluster's thread failed with {type(error).__name__}: {error}")
