"""Which task of which job runs where, and when: a state machine without I/O.

Comes in: jobs, workers, and what became of each run. Goes out: the runs that begin. A real cluster drives it
(`encoder.cluster`), and so does a simulated one (`benchmarks.scaling`). Time is an argument: tests need no clock.

A worker runs as many tasks as it has threads and as fit into its memory. Jobs take turns by priority, then by what each
has running. Within a job the most urgent task goes first. While the results of a task go to the store, its core and its
memory are free for the next one.

No step looks at all tasks or all workers: waiting tasks lie in a heap for each amount of memory, of which a title has a
few dozen, and free workers in two heaps.
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
"""How long a task waits after its first failure, and after each that follows."""
REST_S = 300.0
"""How long a worker gets no tasks after a failure that was its own, such as a full disk."""
FREE_FAILURES = 20
"""How often a task may be interrupted through no fault of its own before its job fails."""
DEFAULT_PRIORITY = 50
_VOID_ENTRIES = 10_000
"""How many void entries the heaps of workers may hold before they are cleaned."""
_SKIPS = 8
"""How many idle workers without enough memory are passed over before the one with the most memory is taken."""


class Blame(StrEnum):
    """Whose fault a failure is."""

    TASK = "task"
    """It counts as an attempt at the task."""
    WORKER = "worker"
    """The worker rests, and the task goes elsewhere. Where there is no other worker, it is the task's last failure."""
    NOBODY = "nobody"
    """The run was interrupted: a worker was shut down in order, or the scheduler went away."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a task, on one worker.

    Attributes:
        number: Unique on the board.
        job: Whose task it is.
        task: What to do.
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
    """A task that is not done."""

    job: "_Job"
    task: Work
    urgency: int
    failures: int = 0
    free_failures: int = 0
    avoided: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Job:
    """A job that is not done."""

    id: str
    priority: int
    number: int
    waiting: dict[int, list[tuple[int, int, _Item]]] = field(default_factory=dict)
    """By memory in bytes, a heap of (urgency, tie-breaker, task)."""
    waiting_count: int = 0
    delayed_count: int = 0
    running_count: int = 0
    first: int = 0
    """Urgency of the last task that was put in front of all others."""
    next: int = 0
    """Urgency of the next task that is put behind all others."""


@dataclass(slots=True)
class _Load:
    """A worker and what it has at hand."""

    worker: Worker
    encoding: int = 0
    keeping: int = 0
    memory_bytes: int = 0
    here: bool = True
    rests_until_s: float = 0.0
    version: int = 0
    """Entries of the heaps that were made for an earlier one are void."""

    @property
    def limit_bytes(self) -> float:
        return float("inf") if self.worker.memory_bytes is None else self.worker.memory_bytes

    @property
    def room_bytes(self) -> float:
        return self.limit_bytes - self.memory_bytes

    @property
    def has_thread(self) -> bool:
        # A store slower than the encoders must not pile up results.
        threads = self.worker.threads
        return self.encoding < threads and self.encoding + self.keeping < 2 * threads

    @property
    def idle_share(self) -> float:
        return 1 - self.encoding / self.worker.threads


class Board:
    """Tasks of all jobs: which wait, and which run."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._runs: dict[int, tuple[Run, _Item]] = {}
        self._encoded: set[int] = set()
        self._loads: dict[str, _Load] = {}
        self._idle: list[tuple[float, float, str, int]] = []
        self._roomy: list[tuple[float, str, int]] = []
        self._delayed: list[tuple[float, int, _Item]] = []
        self._resting: list[tuple[float, str]] = []
        self._numbers = count(1)

    # --- jobs ---

    def add(self, job: str, tasks: Iterable[Work], *, priority: int = DEFAULT_PRIORITY) -> None:
        """Take in a job.

        Args:
            job: Its id.
            tasks: The most urgent first.
            priority: 0 to 100; while a job of a higher one has tasks that fit, no other job's task begins.
        """
        self._jobs[job] = _Job(job, priority, next(self._numbers))
        self.extend(job, tasks)

    def extend(self, job: str, tasks: Iterable[Work]) -> None:
        """Give a job more tasks; they stand behind all that it has, the most urgent of them first."""
        made = self._jobs[job]
        for task in tasks:
            self._wait(_Item(made, task, made.next))
            made.next += 1

    def prioritise(self, job: str, priority: int) -> None:
        """Change a job's priority; what runs goes on."""
        self._jobs[job].priority = priority

    def remove(self, job: str) -> tuple[Run, ...]:
        """Forget a job; returns its runs, which are to be stopped."""
        if self._jobs.pop(job, None) is None:
            return ()
        runs = tuple(run for run, _ in self._runs.values() if run.job == job)
        for run in runs:
            self._end(run.number)
        self._delayed = [entry for entry in self._delayed if entry[2].job.id != job]
        self._delayed.sort()
        return runs

    def finished(self, job: str) -> bool:
        """Whether nothing of a job is left to do."""
        return job not in self._jobs or not self.counts(job).total()

    def counts(self, job: str | None = None) -> Counter[str]:
        """How many tasks are ``waiting``, ``delayed`` after a failure, and ``running``, of one job or of all."""
        jobs = self._jobs.values() if job is None else [self._jobs[job]]
        found: Counter[str] = Counter()
        for one in jobs:
            found.update(waiting=one.waiting_count, delayed=one.delayed_count, running=one.running_count)
        return found

    def stuck(self, job: str) -> Work | None:
        """The task that needs most memory, if nothing of a job runs and no worker has enough for any that waits."""
        one = self._jobs[job]
        limits = [load.limit_bytes for load in self._loads.values() if load.here]
        if one.running_count or one.delayed_count or not one.waiting_count or not limits:
            return None
        if min(one.waiting) <= max(limits):
            return None
        return one.waiting[max(one.waiting)][0][2].task

    # --- workers ---

    def see(self, workers: Iterable[Worker]) -> None:
        """Take in which workers may get tasks; runs on those that went away stay until they are reported."""
        here = {worker.address: worker for worker in workers}
        for address, load in list(self._loads.items()):
            if address not in here:
                load.here = False
                load.version += 1
                if not load.encoding and not load.keeping:
                    del self._loads[address]
        for address, worker in here.items():
            known = self._loads.get(address)
            if known is None:
                known = self._loads[address] = _Load(worker)
            elif known.here and known.worker == worker:
                continue
            known.worker, known.here = worker, True
            self._offer(known)

    def runs_on(self, worker: str) -> tuple[Run, ...]:
        """What runs on a worker."""
        return tuple(run for run, _ in self._runs.values() if run.worker == worker)

    def run(self, number: int) -> Run | None:
        """What runs under a number; None once it has ended or its job was removed."""
        found = self._runs.get(number)
        return found[0] if found else None

    @property
    def runs(self) -> tuple[Run, ...]:
        """All that runs."""
        return tuple(run for run, _ in self._runs.values())

    # --- time ---

    def place(self, now_s: float) -> list[Run]:
        """Give waiting tasks to workers that have room.

        A task that fits nowhere now has the roomiest worker kept free for it, so that smaller ones, which may overtake
        it elsewhere, can't hold it up for ever.

        Returns:
            The runs that begin.
        """
        self._wake(now_s)
        placed = []
        kept: list[_Load] = []
        held_up: set[tuple[str, int]] = set()
        while (found := self._pick(kept, held_up)) is not None:
            item, load = found
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
        """When `place` may have something to do although nothing has happened; None for never."""
        return min((heap[0][0] for heap in (self._delayed, self._resting) if heap), default=None)

    # --- runs ---

    def encoded(self, run: int) -> None:
        """A run needs its core and its memory no more; only its results are still on their way."""
        if run in self._runs and run not in self._encoded:
            load = self._release(run)
            self._encoded.add(run)
            load.keeping += 1
            self._offer(load)

    def done(self, run: int) -> None:
        """A run has made its task's results."""
        self._end(run)

    def failed(self, run: int, blame: Blame, now_s: float) -> bool:
        """A run has failed; its task is tried again, and goes to the front, since its fate decides the job's.

        Returns:
            Whether the task is tried again; if not, `remove` the job.
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
            if blame is Blame.WORKER and not self._rest(attempt.worker, now_s):
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
        while self._resting and self._resting[0][0] <= now_s:
            load = self._loads.get(heappop(self._resting)[1])
            if load is not None and load.rests_until_s <= now_s:
                load.rests_until_s = 0.0
                self._offer(load)

    def _rest(self, address: str, now_s: float) -> bool:
        """Give a worker no tasks for a while; whether there is another one."""
        if (load := self._loads.get(address)) is not None:
            load.rests_until_s = now_s + REST_S
            load.version += 1
            heappush(self._resting, (load.rests_until_s, address))
        return any(other.here and not other.rests_until_s for other in self._loads.values())

    def _pick(self, kept: list[_Load], held_up: set[tuple[str, int]]) -> tuple[_Item, _Load] | None:
        """The task that begins next, and where; workers that are kept free for others leave the heaps."""
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
        """The idlest worker with room, rather one on which the task has not failed yet."""
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
        """Keep the roomiest worker that could ever hold a task free for it."""
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
        """Enter a worker into the heaps anew, if it may take a task."""
        load.version += 1
        if len(self._idle) + len(self._roomy) > _VOID_ENTRIES + 4 * len(self._loads):
            self._idle = sorted(entry for entry in self._idle if self._valid(entry[2], entry[3]))
            self._roomy = sorted(entry for entry in self._roomy if self._valid(entry[1], entry[2]))
        if load.here and load.has_thread and not load.rests_until_s:
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
            load.keeping -= 1
        else:
            load = self._release(run)
        del self._runs[run]
        item.job.running_count -= 1
        if not load.here and not load.encoding and not load.keeping:
            del self._loads[attempt.worker]
        else:
            self._offer(load)


def _by_urgency(job: _Job, held_up: set[tuple[str, int]]) -> Iterator[tuple[int, list[tuple[int, int, _Item]]]]:
    """A job's heaps of waiting tasks, the one with the most urgent task first."""
    heaps = [(heap[0], bytes_, heap) for bytes_, heap in job.waiting.items() if (job.id, bytes_) not in held_up]
    if not heaps:
        return
    # Nearly always the first one fits.
    first = min(heaps)
    yield first[1], first[2]
    for _, bytes_, heap in sorted(heaps)[1:]:
        yield bytes_, heap
