"""One cluster for several jobs: each job's thread runs its tasks as if the cluster were its own.

Events reach a job in its own thread, so that what a job does with them, such as publishing its first release, holds up
no other job.
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
"""How often a job's thread looks whether it was cancelled."""


class _Line:
    """What a job's thread waits for."""

    def __init__(self) -> None:
        self.events: SimpleQueue[Event] = SimpleQueue()
        self.ended = threading.Event()
        self.error: HeadendError | None = None
        self.cancelled = False


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The cluster as it was a moment ago.

    Attributes:
        workers: Those that get tasks.
        runs: What runs on them.
        tasks: How many tasks of all jobs are in which state.
    """

    workers: tuple[Worker, ...] = ()
    runs: tuple[Run, ...] = ()
    tasks: Mapping[str, int] = field(default_factory=dict)


class SharedCluster:
    """A cluster that jobs share; a context manager.

    Args:
        settings: Which cluster.
        tool: FFmpeg's version line, which workers of a running cluster must have.
        on_notice: Gets a line about the cluster, in the cluster's thread.
    """

    def __init__(self, settings: ClusterSettings, tool: str | None, on_notice: Callable[[str], None]) -> None:
        # A dispatcher without workers waits for some: a cluster may grow, or come back after an upgrade.
        self._settings = replace(settings, wait_for_workers_s=math.inf)
        self._tool = tool
        self._on_notice = on_notice
        self._lines: dict[str, _Line] = {}
        self._priorities: dict[str, int] = {}
        self._stop = threading.Event()
        self._lost: HeadendError | None = None
        self._state = ClusterState()
        self._stack = ExitStack()
        self._runner: Runner | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._runner = self._stack.enter_context(
            cluster.shared_runner(self._settings, self._tool, self._told, self._ended)
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
        """Why the cluster can't be used any more; None while it can."""
        return self._lost

    @property
    def state(self) -> ClusterState:
        """The cluster as it was about a second ago."""
        return self._state

    def workers(self) -> tuple[Worker, ...]:
        """The workers to plan for: those that get tasks now, or what the cluster is expected to have."""
        if self._settings.scheduler is None:
            return cluster.workers_of(self._settings)
        return (self._runner.workers if self._runner is not None else ()) or cluster.EXPECTED

    def runner_of(self, job: str, priority: int) -> Callable[..., None]:
        """What runs the tasks of a job, in place of `encoder.cluster.run_tasks`.

        Its argument ``tool`` is passed over: workers were asked for it when the cluster was opened.
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
        """Change a job's priority; what runs goes on."""
        self._priorities[job] = priority
        if job in self._lines and self._runner is not None:
            self._runner.prioritise(job, priority)

    def cancel(self, job: str) -> None:
        """Stop a job's tasks; its thread raises `Cancelled`."""
        if (line := self._lines.get(job)) is not None:
            line.cancelled = True

    def _run(self, job: Job, on_event: Callable[[Event], None]) -> None:
        assert self._runner is not None
        line = self._lines[job.id] = _Line()
        self._runner.add(job)
        try:
            while True:
                ended = line.ended.is_set()  # before the queue is read: nothing comes behind it
                self._drain(line, on_event)
                if ended:
                    break
                if line.cancelled:
                    raise Cancelled("the job was cancelled")
                if self._lost is not None:
                    raise self._lost
                if self._stop.is_set():
                    raise Cancelled("the dispatcher is stopping")
        except BaseException:
            self._runner.cancel(job.id)
            raise
        finally:
            del self._lines[job.id]
        if line.error is not None:
            raise line.error

    def _drain(self, line: _Line, on_event: Callable[[Event], None]) -> None:
        try:
            event = line.events.get(timeout=0 if line.ended.is_set() else WAKE_S)
            while True:
                on_event(event)
                event = line.events.get_nowait()
        except Empty:
            return

    def _told(self, event: Event) -> None:
        if isinstance(event, Tick) and self._runner is not None:
            self._state = ClusterState(self._runner.workers, self._runner.runs, self._runner.counts)
        job = getattr(event, "job", "")
        if isinstance(event, Notice) and not job:
            self._on_notice(event.text)
            return
        for name, line in list(self._lines.items()):
            if job in ("", name):
                line.events.put(event)

    def _ended(self, job: str, error: HeadendError | None) -> None:
        if (line := self._lines.get(job)) is not None:
            line.error = error
            line.ended.set()

    def _work(self) -> None:
        assert self._runner is not None
        try:
            self._runner.work(until=self._stop.is_set)
        except HeadendError as error:
            self._lost = error
        except Exception as error:
            self._lost = EncodingError(f"the cluster's thread met an unexpected {type(error).__name__}: {error}")
