"""Bodies behind a file descriptor, which the kernel sends by itself at the pace of each reader."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager


class Incomplete(Exception):
    """The rest of a body will never arrive: the upstream object was cut short or damaged."""


class InFlightBudget:
    """Memory taken by bodies that are being sent, each counted once, however many clients read it.

    Slow readers keep bodies in memory that the cache has evicted, so this bounds what they can hold.

    Args:
        budget_bytes: Most memory in flight at a time.

    Attributes:
        size_bytes: Memory in flight now.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self.size_bytes = 0

    def has_room(self, blob: "Blob") -> bool:
        """Whether the body fits into the budget, or is counted already."""
        return bool(blob.readers) or self.size_bytes + blob.memory_bytes <= self._budget_bytes

    @contextmanager
    def holding(self, blob: "Blob") -> Iterator[None]:
        """Count a body while the block runs. The block's end releases it, however it ends."""
        if not blob.readers:
            self.size_bytes += blob.memory_bytes
            blob.budget = self
        blob.readers += 1
        try:
            yield
        finally:
            blob.readers -= 1
            if not blob.readers:
                self.size_bytes -= blob.memory_bytes
                blob.budget = None


class Blob:
    """Bytes behind a file descriptor, which may still be arriving.

    Any number of connections send from it with ``sendfile``, so that its bytes don't pass through Python and a slow
    reader holds nothing but its position. The last byte of an arriving blob is held back until `finish`, so that
    nobody takes it for complete before it was verified. The descriptor is closed with the last reference.

    Attributes:
        fd: Read at offsets, never by its own position.
        size_bytes: Size of the whole body.
        memory_bytes: Memory that it takes; 0 for a file on disk.
        ready_bytes: How much may be sent.
        failed: Whether the rest will never arrive.
        readers: Number of connections that send from it.
        budget: Where it is counted while there are any.
    """

    __slots__ = (
        "__weakref__",
        "_waiters",
        "_written_bytes",
        "budget",
        "failed",
        "fd",
        "memory_bytes",
        "readers",
        "ready_bytes",
        "size_bytes",
    )

    def __init__(self, fd: int, size_bytes: int, *, memory_bytes: int, ready_bytes: int) -> None:
        self.fd = fd
        self.size_bytes = size_bytes
        self.memory_bytes = memory_bytes
        self.ready_bytes = ready_bytes
        self.failed = False
        self.readers = 0
        self.budget: InFlightBudget | None = None
        self._written_bytes = ready_bytes
        self._waiters: list[asyncio.Future[None]] = []

    def __del__(self) -> None:
        os.close(self.fd)

    def fileno(self) -> int:
        """The descriptor, under the name that `asyncio.loop.sendfile` expects."""
        return self.fd

    @property
    def missing_bytes(self) -> int:
        """How much has not been written yet."""
        return self.size_bytes - self._written_bytes

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there and verified."""
        return self.ready_bytes == self.size_bytes

    def write(self, data: "bytes | memoryview") -> None:
        """Append data that has arrived; raises `OSError` when there is no memory for it."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.fd, rest, self._written_bytes)
            self._written_bytes += written
            rest = rest[written:]
        ready = min(self._written_bytes, self.size_bytes - 1)
        if ready > self.ready_bytes:
            self.ready_bytes = ready
            self._wake()

    def finish(self) -> None:
        """Release the last byte, after the body was verified."""
        self.ready_bytes = self.size_bytes
        self._wake()

    def fail(self) -> None:
        """Give up: connections that wait for more are cut."""
        self.failed = True
        self._wake()

    def move(self, place: "Blob") -> None:
        """Send the rest from the same bytes in another place, and free these.

        What was handed to the kernel already stays there until it is sent.
        """
        os.dup2(place.fd, self.fd, inheritable=False)
        if self.budget is not None:
            self.budget.size_bytes += place.memory_bytes - self.memory_bytes
        self.memory_bytes = place.memory_bytes

    async def wait_beyond(self, position: int) -> None:
        """Wait until there are bytes to send from ``position`` on.

        Raises:
            Incomplete: They will never arrive.
        """
        while self.ready_bytes <= position:
            if self.failed:
                raise Incomplete
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def arriving(size_bytes: int) -> Blob:
    """Make an empty blob in memory, for `Blob.write`; raises `OSError` when there are too many files or no memory."""
    return Blob(os.memfd_create("headend"), size_bytes, memory_bytes=size_bytes, ready_bytes=0)


def in_memory(data: bytes) -> Blob:
    """Make a blob of data that is complete."""
    blob = arriving(len(data))
    blob.write(data)
    blob.finish()
    return blob


def in_file(fd: int, size_bytes: int) -> Blob:
    """Make a blob of an open file, which is closed with it."""
    return Blob(fd, size_bytes, memory_bytes=0, ready_bytes=size_bytes)
