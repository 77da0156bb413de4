"""Capacity of workers."""

from dataclasses import replace

from encoder.scheduling import Worker, find_too_large, slot_bytes, slot_count
from headend.core.media import EncodeTask
from tests.support.encodes import task_of

GB = 1_000_000_000


def task(name: str, gigabytes: float = 1.0) -> EncodeTask:
    return replace(task_of((), [name]), id=name, memory_bytes=int(gigabytes * GB))


def test_a_task_that_fits_on_no_worker_is_named() -> None:
    workers = [Worker("a", 4, 8 * GB), Worker("b", 1, 4 * GB)]

    assert find_too_large([task("fits", 8)], workers) is None
    assert find_too_large([task("fits"), task("large", 9)], workers) == task("large", 9)
    assert find_too_large([task("large", 9)], [*workers, Worker("c", 1)]) is None
    assert find_too_large([], workers) is None


def test_slots_are_threads_and_their_usual_share_of_memory() -> None:
    workers = [Worker("a", 4, 16 * GB), Worker("b", 1, 4 * GB), Worker("c", 2, 2 * GB)]

    assert slot_count(workers) == 7
    assert slot_bytes(workers) == 4 * GB
    assert slot_bytes([Worker("a", 4)]) is None
    assert slot_bytes([]) is None
