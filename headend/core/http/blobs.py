"""Bodies behind a file descriptor, which the kernel sends at each reader's pace."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager


class Incomplete(Exception):
    """The rest of a body will never arrive: the upstream object was cut short or damaged."""


class InFlightBudget:
    """Bounds the memory of bodies that are being sent. Each body counts once, however many clients read it.

    Without it, slow readers could keep any number of bodies in memory that the cache has evicted.

    Args:
        budget_bytes: Most memory in flight.

    Attributes:
        size_bytes: Memory in flight now.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self.size_bytes = 0

    def has_room(self, blob: "Blob") -> bool:
        """Whether the body fits into the budget or is already counted."""
        return bool(blob.readers) or self.size_bytes + blob.memory_bytes <= self._budget_bytes

    @contextmanager
    def holding(self, blob: "Blob") -> Iterator[None]:
        """Count a body inside a ``with`` block."""
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

    Any number of connections send from it with ``sendfile``, so that its bytes don't pass through Python and slow
    readers use no extra memory. The last byte of an arriving blob is withheld until `finish`, so that no client can
    mistake it for complete before it is verified. The descriptor is closed with the last reference.

    Attributes:
        fd: The descriptor; reads give an offset and never use the file position.
        size_bytes: Size of the complete body.
        memory_bytes: Memory that it uses; 0 for a file on disk.
        ready_bytes: How many bytes may be sent.
        failed: Whether the rest will never arrive.
        readers: Number of connections that send from it.
        budget: Budget that counts it while it has readers.
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
        """How many bytes have not been written yet."""
        return self.size_bytes - self._written_bytes

    @property
    def is_whole(self) -> bool:
        """Whether all of it has arrived and is verified."""
        return self.ready_bytes == self.size_bytes

    def write(self, data: "bytes | memoryview") -> None:
        """Append data that has arrived; raises `OSError` if there is no memory for it."""
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
        """Release the last byte, once the body is verified."""
        self.ready_bytes = self.size_bytes
        self._wake()

    def fail(self) -> None:
        """Mark the rest as lost: connections that wait for it are cut off."""
        self.failed = True
        self._wake()

    def move(self, place: "Blob") -> None:
        """Continue sending from a copy of the same bytes, and free these.

        Bytes already handed to the kernel stay there until they are sent.
        """
        os.dup2(place.fd, self.fd, inheritable=False)
        if self.budget is not None:
            self.budget.size_bytes += place.memory_bytes - self.memory_bytes
        self.memory_bytes = place.memory_bytes

    async def wait_beyond(self, position: int) -> None:
        """Wait until there are bytes to send after ``position``.

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
    """Make an empty in-memory blob for `Blob.write`; raises `OSError` if memory or file descriptors run out."""
    return Blob(os.memfd_create("headend"), size_bytes, memory_bytes=size_bytes, ready_bytes=0)


def in_memory(data: bytes) -> Blob:
    """Make a blob of complete data."""
    blob = arriving(len(data))
    blob.write(data)
    blob.finish()
    return blob


def in_file(fd: int, size_bytes: int) -> Blob:
    """Make a blob of an open file, and take ownership of its descriptor."""
    return Blob(fd, size_bytes, memory_bytes=0, ready_bytes=size_bytes)
