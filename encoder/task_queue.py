"""The tasks of all jobs, and which worker each one goes to: a state machine without I/O.

Input: jobs, workers, and the outcome of each run. Output: the runs to start. `encoder.cluster` drives it with a real
cluster, `benchmarks.scaling` with a simulated one. Time is an argument, so tests need no clock.

A worker runs as many tasks as it has threads and memory for. The next task is taken from the job with the highest
priority, and among these from the job with the fewest running tasks. Within a job, the most urgent task goes first.
While a task uploads its results, its core and its memory are free for the next one.

No step visits all tasks or all workers: waiting tasks are in one heap for each amount of memory (a title has a few
dozen), and free workers in two heaps.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count

from encoder.scheduling import Work, Worker
from headend.core.settings import ATTEMPTS

BACKOFF_S = (2.0, 10.0)
"""Delays before a task is retried: after its first failure, and after each later one."""
COOLDOWN_S = 300.0
"""How long a worker gets no tasks after a failure of its own, such as a full disk."""
FREE_FAILURES = 20
"""How often a task may be interrupted for reasons other than the task itself before its job fails."""
DEFAULT_PRIORITY = 50
_VOID_ENTRIES = 10_000
"""The heaps of workers are cleaned if they have more outdated entries than this."""
_SKIPS = 8
"""After skipping this many idle workers without enough memory, the worker with the most free memory is chosen."""


class Blame(StrEnum):
    """The cause of a failure."""

    TASK = "task"
    """The failure counts as an attempt at the task."""
    WORKER = "worker"
    """The worker gets no tasks for a while, and the task runs elsewhere; without another worker, the job fails."""
    NOBODY = "nobody"
    """The run was interrupted: a worker was shut down properly, or the scheduler went away."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a task, on one worker.

    Attributes:
        number: Unique in the queue.
        job: Id of the task's job.
        task: The task.
        attempt: From 1.
        worker: The worker's address.
    """

    number: int
    job: str
    task: Work
    attempt: int
    worker: str


@dataclass(slots=True)
class _Item:
    """An unfinished task."""

    job: "_Job"
    task: Work
    urgency: int
    failures: int = 0
    free_failures: int = 0
    avoided: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Job:
    """An unfinished job."""

    id: str
    priority: int
    number: int
    waiting: dict[int, list[tuple[int, int, _Item]]] = field(default_factory=dict)
    """By memory in bytes, a heap of (urgency, tie-breaker, task)."""
    waiting_count: int = 0
    delayed_count: int = 0
    running_count: int = 0
    first: int = 0
    """Urgency of the last task that was put at the front; smaller numbers are more urgent."""
    next: int = 0
    """Urgency of the next task that is put at the back."""


@dataclass(slots=True)
class _Load:
    """A worker and its load."""

    worker: Worker
    encoding: int = 0
    uploading: int = 0
    memory_bytes: int = 0
    present: bool = True
    cooldown_until_s: float = 0.0
    version: int = 0
    """Heap entries with an earlier version are outdated."""

    @property
    def limit_bytes(self) -> float:
        return float("inf") if self.worker.memory_bytes is None else self.worker.memory_bytes

    @property
    def room_bytes(self) -> float:
        return self.limit_bytes - self.memory_bytes

    @property
    def has_thread(self) -> bool:
        # Results must not pile up if the store is slower than the encoders.
        threads = self.worker.threads
        return self.encoding < threads and self.encoding + self.uploading < 2 * threads

    @property
    def idle_share(self) -> float:
        return 1 - self.encoding / self.worker.threads


class TaskQueue:
    """The waiting and running tasks of all jobs, and the workers."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._runs: dict[int, tuple[Run, _Item]] = {}
        self._encoded: set[int] = set()
        self._loads: dict[str, _Load] = {}
        self._idle: list[tuple[float, float, str, int]] = []
        self._roomy: list[tuple[float, str, int]] = []
        self._delayed: list[tuple[float, int, _Item]] = []
        self._cooling_down: list[tuple[float, str]] = []
        self._numbers = count(1)

    # --- jobs ---

    def add(self, job: str, tasks: Iterable[Work], *, priority: int = DEFAULT_PRIORITY) -> None:
        """Add a job.

        Args:
            job: Its id.
            tasks: The most urgent first.
            priority: 0 to 100. No task of this job starts while a job of higher priority has one that fits.
        """
        self._jobs[job] = _Job(job, priority, next(self._numbers))
        self.extend(job, tasks)

    def extend(self, job: str, tasks: Iterable[Work]) -> None:
        """Append tasks to a job, the most urgent first."""
        entry = self._jobs[job]
        for task in tasks:
            self._wait(_Item(entry, task, entry.next))
            entry.next += 1

    def prioritise(self, job: str, priority: int) -> None:
        """Change a job's priority; running tasks go on."""
        self._jobs[job].priority = priority

    def remove(self, job: str) -> tuple[Run, ...]:
        """Remove a job; returns its runs, which the caller must stop."""
        if self._jobs.pop(job, None) is None:
            return ()
        runs = tuple(run for run, _ in self._runs.values() if run.job == job)
        for run in runs:
            self._end(run.number)
        self._delayed = [entry for entry in self._delayed if entry[2].job.id != job]
        self._delayed.sort()
        return runs

    def finished(self, job: str) -> bool:
        """Whether all tasks of a job are done."""
        return job not in self._jobs or not self.counts(job).total()

    def counts(self, job: str | None = None) -> Counter[str]:
        """Numbers of ``waiting``, ``running`` and, after a failure, ``delayed`` tasks, of one job or of all."""
        jobs = self._jobs.values() if job is None else [self._jobs[job]]
        total: Counter[str] = Counter()
        for entry in jobs:
            total.update(waiting=entry.waiting_count, delayed=entry.delayed_count, running=entry.running_count)
        return total

    def stuck(self, job: str) -> Work | None:
        """The job's task that needs the most memory, if none is running and no waiting one fits on any worker."""
        entry = self._jobs[job]
        limits = [load.limit_bytes for load in self._loads.values() if load.present]
        if entry.running_count or entry.delayed_count or not entry.waiting_count or not limits:
            return None
        if min(entry.waiting) <= max(limits):
            return None
        return entry.waiting[max(entry.waiting)][0][2].task

    # --- workers ---

    def set_workers(self, workers: Iterable[Worker]) -> None:
        """Replace the workers that may get tasks; runs on workers that left stay until they are reported as ended."""
        present = {worker.address: worker for worker in workers}
        for address, load in list(self._loads.items()):
            if address not in present:
                load.present = False
                load.version += 1
                if not load.encoding and not load.uploading:
                    del self._loads[address]
        for address, worker in present.items():
            known = self._loads.get(address)
            if known is None:
                known = self._loads[address] = _Load(worker)
            elif known.present and known.worker == worker:
                continue
            known.worker, known.present = worker, True
            self._offer(known)

    def runs_on(self, worker: str) -> tuple[Run, ...]:
        """The runs on a worker."""
        return tuple(run for run, _ in self._runs.values() if run.worker == worker)

    def run(self, number: int) -> Run | None:
        """The run with a number; None once it has ended or its job was removed."""
        entry = self._runs.get(number)
        return entry[0] if entry else None

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs."""
        return tuple(run for run, _ in self._runs.values())

    # --- time ---

    def place(self, now_s: float) -> list[Run]:
        """Assign waiting tasks to workers that have room.

        If a task fits on no worker now, the worker with the most free memory is reserved for it. Smaller tasks may
        start before it on other workers, but can't delay it forever.

        Returns:
            The runs to start.
        """
        self._wake(now_s)
        placed = []
        kept: list[_Load] = []
        held_up: set[tuple[str, int]] = set()
        while (picked := self._pick(kept, held_up)) is not None:
            item, load = picked
            load.encoding += 1
            load.memory_bytes += item.task.memory_bytes
            self._offer(load)
            item.job.running_count += 1
            run = Run(next(self._numbers), item.job.id, item.task, item.failures + 1, load.worker.address)
            self._runs[run.number] = (run, item)
            placed.append(run)
        for load in kept:
            self._offer(load)
        return placed

    @property
    def wakes_at_s(self) -> float | None:
        """When to call `place` again, even if nothing happens until then; None for never."""
        return min((heap[0][0] for heap in (self._delayed, self._cooling_down) if heap), default=None)

    # --- runs ---

    def encoded(self, run: int) -> None:
        """Free the core and the memory of a run that only has to upload its results."""
        if run in self._runs and run not in self._encoded:
            load = self._release(run)
            self._encoded.add(run)
            load.uploading += 1
            self._offer(load)

    def done(self, run: int) -> None:
        """End a run whose task is done."""
        self._end(run)

    def failed(self, run: int, blame: Blame, now_s: float) -> bool:
        """End a run that failed. Its task is put at the front of its job, because the job can't succeed without it.

        Returns:
            Whether the task is retried; if not, `remove` the job.
        """
        attempt, item = self._runs[run]
        self._end(run)
        if blame is Blame.TASK:
            item.failures += 1
            item.avoided.add(attempt.worker)
            if item.failures >= ATTEMPTS:
                return False
            delay_s = BACKOFF_S[min(item.failures, len(BACKOFF_S)) - 1]
        else:
            item.free_failures += 1
            delay_s = BACKOFF_S[0] if item.free_failures > 1 else 0.0
            if blame is Blame.WORKER and not self._cool_down(attempt.worker, now_s):
                return False
            if item.free_failures > FREE_FAILURES:
                return False
        item.job.first -= 1
        item.urgency = item.job.first
        item.job.delayed_count += 1
        heappush(self._delayed, (now_s + delay_s, next(self._numbers), item))
        return True

    # --- inside ---

    def _wait(self, item: _Item) -> None:
        heap = item.job.waiting.setdefault(item.task.memory_bytes, [])
        heappush(heap, (item.urgency, next(self._numbers), item))
        item.job.waiting_count += 1

    def _wake(self, now_s: float) -> None:
        while self._delayed and self._delayed[0][0] <= now_s:
            item = heappop(self._delayed)[2]
            item.job.delayed_count -= 1
            self._wait(item)
        while self._cooling_down and self._cooling_down[0][0] <= now_s:
            load = self._loads.get(heappop(self._cooling_down)[1])
            if load is not None and load.cooldown_until_s <= now_s:
                load.cooldown_until_s = 0.0
                self._offer(load)

    def _cool_down(self, address: str, now_s: float) -> bool:
        """Give a worker no tasks for a while; returns whether there is another worker."""
        if (load := self._loads.get(address)) is not None:
            load.cooldown_until_s = now_s + COOLDOWN_S
            load.version += 1
            heappush(self._cooling_down, (load.cooldown_until_s, address))
        return any(other.present and not other.cooldown_until_s for other in self._loads.values())

    def _pick(self, kept: list[_Load], held_up: set[tuple[str, int]]) -> tuple[_Item, _Load] | None:
        """The next task to start and its worker; moves workers that are reserved for larger tasks to ``kept``."""
        for job in sorted(self._jobs.values(), key=lambda job: (-job.priority, job.running_count, job.number)):
            for bytes_, heap in _by_urgency(job, held_up):
                roomiest = self._roomiest()
                if roomiest is None:
                    return None
                if bytes_ > roomiest.room_bytes:
                    held_up.add((job.id, bytes_))
                    self._keep_free(bytes_, kept)
                    continue
                item = heappop(heap)[2]
                if not heap:
                    del job.waiting[bytes_]
                job.waiting_count -= 1
                return item, self._choose(item, roomiest)
        return None

    def _choose(self, item: _Item, roomiest: _Load) -> _Load:
        """The most idle worker with room, preferably one on which the task has not failed."""
        passed: list[_Load] = []
        chosen = second = None
        while chosen is None and len(passed) < _SKIPS and (load := self._pop_idlest()) is not None:
            passed.append(load)
            if load.room_bytes >= item.task.memory_bytes:
                if load.worker.address in item.avoided:
                    second = second or load
                else:
                    chosen = load
        for load in passed:
            heappush(self._idle, (-load.idle_share, -load.room_bytes, load.worker.address, load.version))
        return chosen or second or roomiest

    def _keep_free(self, bytes_: int, kept: list[_Load]) -> None:
        """Reserve a worker for a task: among those with enough memory, the one with the most free memory."""
        passed = []
        while (load := self._roomiest()) is not None:
            heappop(self._roomy)
            if load.limit_bytes >= bytes_:
                load.version += 1
                kept.append(load)
                break
            passed.append(load)
        for load in passed:
            heappush(self._roomy, (-load.room_bytes, load.worker.address, load.version))

    def _offer(self, load: _Load) -> None:
        """Put a worker into the heaps again, if it may take a task."""
        load.version += 1
        if len(self._idle) + len(self._roomy) > _VOID_ENTRIES + 4 * len(self._loads):
            self._idle = sorted(entry for entry in self._idle if self._valid(entry[2], entry[3]))
            self._roomy = sorted(entry for entry in self._roomy if self._valid(entry[1], entry[2]))
        if load.present and load.has_thread and not load.cooldown_until_s:
            address = load.worker.address
            heappush(self._idle, (-load.idle_share, -load.room_bytes, address, load.version))
            heappush(self._roomy, (-load.room_bytes, address, load.version))

    def _valid(self, address: str, version: int) -> bool:
        load = self._loads.get(address)
        return load is not None and load.version == version

    def _roomiest(self) -> _Load | None:
        while self._roomy:
            _, address, version = self._roomy[0]
            if self._valid(address, version):
                return self._loads[address]
            heappop(self._roomy)
        return None

    def _pop_idlest(self) -> _Load | None:
        while self._idle:
            _, _, address, version = heappop(self._idle)
            if self._valid(address, version):
                return self._loads[address]
        return None

    def _release(self, run: int) -> _Load:
        attempt, _ = self._runs[run]
        load = self._loads[attempt.worker]
        load.encoding -= 1
        load.memory_bytes -= attempt.task.memory_bytes
        return load

    def _end(self, run: int) -> None:
        attempt, item = self._runs[run]
        if run in self._encoded:
            self._encoded.remove(run)
            load = self._loads[attempt.worker]
            load.uploading -= 1
        else:
            load = self._release(run)
        del self._runs[run]
        item.job.running_count -= 1
        if not load.present and not load.encoding and not load.uploading:
            del self._loads[attempt.worker]
        else:
            self._offer(load)


def _by_urgency(job: _Job, held_up: set[tuple[str, int]]) -> Iterator[tuple[int, list[tuple[int, int, _Item]]]]:
    """A job's heaps of waiting tasks, the one with the most urgent task first."""
    heaps = [(heap[0], bytes_, heap) for bytes_, heap in job.waiting.items() if (job.id, bytes_) not in held_up]
    if not heaps:
        return
    # The first one nearly always fits, so the others are sorted only if it does not.
    first = min(heaps)
    yield first[1], first[2]
    for _, bytes_, heap in sorted(heaps)[1:]:
        yield bytes_, heap
