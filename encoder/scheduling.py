"""What planning and the task queue need to know about tasks and workers. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol, TypeVar


class Work(Protocol):
    """A task of any kind."""

    @property
    def id(self) -> str:
        """Unique within its job."""

    @property
    def cost(self) -> float:
        """Expected CPU seconds."""

    @property
    def memory_bytes(self) -> int:
        """Memory to reserve for it."""

    @property
    def label(self) -> str:
        """Its name in messages, such as ``chunk 3 of avc-1080p-6000k``."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that runs tasks.

    Attributes:
        address: Unique in a cluster.
        threads: Number of tasks that it runs at once.
        memory_bytes: Memory for all of them together; None for no limit.
    """

    address: str
    threads: int
    memory_bytes: int | None = None


AnyWork = TypeVar("AnyWork", bound=Work)


def slot_count(workers: Iterable[Worker]) -> int:
    """Number of tasks that can run at once."""
    return sum(worker.threads for worker in workers)


def slot_bytes(workers: Sequence[Worker]) -> int | None:
    """Memory for each thread of a typical worker: the median over the workers; None for no limit."""
    shares = [w.memory_bytes // w.threads for w in workers if w.memory_bytes is not None and w.threads]
    return round(median(shares)) if shares else None


def find_too_large(tasks: Iterable[AnyWork], workers: Iterable[Worker]) -> AnyWork | None:
    """The task that needs the most memory, if no worker has that much; None if one has."""
    limits = [worker.memory_bytes for worker in workers]
    largest = max(tasks, key=lambda task: task.memory_bytes, default=None)
    if largest is None or any(limit is None or limit >= largest.memory_bytes for limit in limits):
        return None
    return largest
