"""Which task runs where, and when: a state without I/O, driven by a real cluster and by a simulated one.

A worker runs as many tasks as it has threads and as fit into its memory, the most urgent first. While the results of a
task go to the store, its core and its memory are free for the next.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from headend.media import EncodeTask


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that runs tasks.

    Attributes:
        address: Unique in a cluster.
        threads: How many tasks it runs at once.
        memory_bytes: What these may take together; None for no limit.
    """

    address: str
    threads: int
    memory_bytes: int | None = None


def slot_count(workers: Iterable[Worker]) -> int:
    """How many tasks run at once."""
    return sum(worker.threads for worker in workers)


def slot_bytes(workers: Sequence[Worker]) -> int | None:
    """Memory that a task may take so that most workers can use all their threads; None for no limit."""
    shares = [w.memory_bytes // w.threads for w in workers if w.memory_bytes is not None and w.threads]
    return round(median(shares)) if shares else None


def misfit(tasks: Iterable[EncodeTask], workers: Iterable[Worker]) -> EncodeTask | None:
    """The task that needs most memory, if no worker has that much."""
    limits = [worker.memory_bytes for worker in workers]
    largest = max(tasks, key=lambda task: task.memory_bytes, default=None)
    if largest is None or any(limit is None or limit >= largest.memory_bytes for limit in limits):
        return None
    return largest


@dataclass(slots=True)
class _Load:
    """What a worker has at hand."""

    encoding: int = 0
    keeping: int = 0
    memory_bytes: int = 0


class Board:
    """Which tasks wait and which run.

    Args:
        tasks: The most urgent first.
    """

    def __init__(self, tasks: Sequence[EncodeTask]) -> None:
        self._waiting = list(reversed(tasks))
        self._running: dict[str, tuple[EncodeTask, str]] = {}
        self._encoded: set[str] = set()
        self._loads: dict[str, _Load] = {}
        self._workers: dict[str, Worker] = {}

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return not self._waiting and not self._running

    @property
    def stuck(self) -> EncodeTask | None:
        """The task that needs most memory, if all that wait need more than any worker has, and none runs."""
        if self._running or not self._workers or not self._waiting:
            return None
        return max(self._waiting, key=lambda task: task.memory_bytes)

    def see(self, workers: Iterable[Worker]) -> None:
        """Take in which workers there are; tasks of those that went away stay until `ended` or `again`."""
        self._workers = {worker.address: worker for worker in workers}

    def place(self) -> list[tuple[EncodeTask, str]]:
        """Give waiting tasks to workers that have room, the most urgent first.

        A task that fits nowhere now has the roomiest worker kept free for it, so that smaller ones, which may
        overtake it elsewhere, can't hold it up for ever.

        Returns:
            Tasks that begin to run, with their workers' addresses.
        """
        free = {address: worker for address, worker in self._workers.items() if self._has_thread(worker)}
        placed = []
        number = len(self._waiting) - 1
        while free and number >= 0:
            task = self._waiting[number]
            roomy = [address for address in free if self._room(free[address]) >= task.memory_bytes]
            if roomy:
                chosen = max(roomy, key=lambda address: self._idleness(free[address]))
                del self._waiting[number]
                load = self._loads.setdefault(chosen, _Load())
                load.encoding += 1
                load.memory_bytes += task.memory_bytes
                self._running[task.id] = (task, chosen)
                placed.append((task, chosen))
                if not self._has_thread(free[chosen]):
                    del free[chosen]
            else:
                able = [a for a, worker in free.items() if _limit(worker) >= task.memory_bytes]
                if able:
                    del free[max(able, key=lambda address: self._room(free[address]))]
            number -= 1
        return placed

    def encoded(self, task: str) -> None:
        """A running task, by its id, needs its core and its memory no more; only its results are still on their way."""
        if task in self._running and task not in self._encoded:
            self._encoded.add(task)
            load = self._release(task)
            load.keeping += 1

    def ended(self, task: str) -> None:
        """A running task, by its id, is done or given up."""
        if task in self._encoded:
            self._encoded.remove(task)
            self._loads[self._running[task][1]].keeping -= 1
        else:
            self._release(task)
        del self._running[task]

    def again(self, task: str) -> None:
        """A running task, by its id, has failed: it goes to the front, since its fate decides the job's."""
        failed = self._running[task][0]
        self.ended(task)
        self._waiting.append(failed)

    def _release(self, task: str) -> _Load:
        running, address = self._running[task]
        load = self._loads[address]
        load.encoding -= 1
        load.memory_bytes -= running.memory_bytes
        return load

    def _has_thread(self, worker: Worker) -> bool:
        load = self._loads.get(worker.address, _Load())
        # A store slower than the encoders must not pile up results.
        return load.encoding < worker.threads and load.encoding + load.keeping < 2 * worker.threads

    def _room(self, worker: Worker) -> float:
        return _limit(worker) - self._loads.get(worker.address, _Load()).memory_bytes

    def _idleness(self, worker: Worker) -> tuple[float, float]:
        load = self._loads.get(worker.address, _Load())
        return 1 - load.encoding / worker.threads, self._room(worker)


def _limit(worker: Worker) -> float:
    return float("inf") if worker.memory_bytes is None else worker.memory_bytes
