"""Response bodies in memory files or disk files, which the kernel sends to each client at its own pace."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager


class Incomplete(Exception):
    """The rest of a body will never arrive: the upstream object was cut short or damaged."""


class InFlightBudget:
    """Bounds the memory of bodies that are being sent. A body counts once, however many clients read it.

    Without a bound, slow readers could keep any number of evicted bodies in memory.

    Args:
        budget_bytes: Maximum memory of bodies that are being sent.

    Attributes:
        size_bytes: Current memory of bodies that are being sent.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self.size_bytes = 0

    def has_room(self, blob: "Blob") -> bool:
        """Whether the body fits into the budget or is already counted."""
        return bool(blob.readers) or self.size_bytes + blob.memory_bytes <= self._budget_bytes

    @contextmanager
    def holding(self, blob: "Blob") -> Iterator[None]:
        """Count a body for the duration of a ``with`` block."""
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
    """A body in a file, on disk or in memory (``memfd_create``), that may still be arriving from upstream.

    Any number of connections send it with ``sendfile``, so its bytes don't pass through Python and slow readers use no
    extra memory. While a body is arriving, its last byte is withheld until `finish`, so that no client can mistake an
    unverified body for a complete one. The file is closed when the last reference to the blob is dropped.

    Attributes:
        fd: The file descriptor. Reads pass an offset and never use the file position.
        size_bytes: Size of the complete body.
        memory_bytes: Memory that it uses; 0 for a file on disk.
        ready_bytes: How many bytes may be sent already.
        failed: Whether the rest will never arrive.
        readers: Number of connections that are sending it.
        budget: The budget that counts it while it has readers.
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
        """The file descriptor; `asyncio.loop.sendfile` calls this method."""
        return self.fd

    @property
    def missing_bytes(self) -> int:
        """How many bytes have not arrived yet."""
        return self.size_bytes - self._written_bytes

    @property
    def is_complete(self) -> bool:
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
        """Mark the body as complete and verified, so that its last byte may be sent."""
        self.ready_bytes = self.size_bytes
        self._wake()

    def fail(self) -> None:
        """Record that the rest will never arrive; connections that wait for it raise `Incomplete`."""
        self.failed = True
        self._wake()

    def switch_to(self, copy: "Blob") -> None:
        """Replace this blob's file by a copy of the same bytes, and free the original's memory.

        Connections continue from the copy. Bytes already handed to the kernel stay in memory until they are sent.
        """
        os.dup2(copy.fd, self.fd, inheritable=False)
        if self.budget is not None:
            self.budget.size_bytes += copy.memory_bytes - self.memory_bytes
        self.memory_bytes = copy.memory_bytes

    async def wait_beyond(self, position: int) -> None:
        """Wait until bytes after ``position`` may be sent.

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


def new_blob(size_bytes: int) -> Blob:
    """Make an empty in-memory blob for `Blob.write`; raises `OSError` if memory or file descriptors run out."""
    return Blob(os.memfd_create("headend"), size_bytes, memory_bytes=size_bytes, ready_bytes=0)


def in_memory(data: bytes) -> Blob:
    """Make an in-memory blob of complete data."""
    blob = new_blob(len(data))
    blob.write(data)
    blob.finish()
    return blob


def in_file(fd: int, size_bytes: int) -> Blob:
    """Make a blob of a complete open file, and take ownership of its descriptor."""
    return Blob(fd, size_bytes, memory_bytes=0, ready_bytes=size_bytes)
