"""Bodies that the kernel sends by itself, from a file or from memory, each at the pace of its reader."""

import os
from collections.abc import Callable


class Burden:
    """What the bodies under way take in memory, each counted once, however many clients read it.

    Slow readers keep bodies in memory that the cache has let go.

    Args:
        budget_bytes: How much is taken on at a time.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self.size_bytes = 0

    def takes(self, blob: "Blob") -> bool:
        """Count a body in; tells whether there is room for it."""
        if not blob.readers:
            if self.size_bytes + blob.memory_bytes > self._budget_bytes:
                return False
            self.size_bytes += blob.memory_bytes
        blob.readers += 1
        blob.burden = self
        return True

    def lets_go(self, blob: "Blob") -> None:
        """Count a body out."""
        blob.readers -= 1
        if not blob.readers:
            blob.burden = None
            self.size_bytes -= blob.memory_bytes


class Blob:
    """Bytes behind a file descriptor, which may still be arriving.

    Any number of connections send from it with ``sendfile``, so that no byte of it passes through Python, and a client
    that reads slowly holds nothing but its place. The last byte of a blob that arrives is kept back until `finish`, so
    that nobody takes it for complete before it was checked. The descriptor is closed with the last reference.

    Attributes:
        fd: Read at offsets, never by its own position.
        size_bytes: Of the whole.
        memory_bytes: What it takes of this machine's memory; 0 for a file on disk.
        ready_bytes: How much may be sent.
        failed: Whether the rest will never come.
        readers: How many connections send from it.
        burden: Where it is counted while there are any.
    """

    __slots__ = (
        "_waiting",
        "_written_bytes",
        "burden",
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
        self.burden: Burden | None = None
        self._written_bytes = ready_bytes
        self._waiting: list[Callable[[], None]] = []

    def __del__(self) -> None:
        os.close(self.fd)

    @property
    def missing_bytes(self) -> int:
        """How much has not been written yet."""
        return self.size_bytes - self._written_bytes

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there and checked."""
        return self.ready_bytes == self.size_bytes

    def write(self, data: "bytes | memoryview") -> None:
        """Add what has arrived; raises `OSError` when there is no memory for it."""
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
        """Let all of it go out, now that it was found good."""
        self.ready_bytes = self.size_bytes
        self._wake()

    def fail(self) -> None:
        """Give up: connections that wait for more are cut."""
        self.failed = True
        self._wake()

    def move(self, place: "Blob") -> None:
        """Send what is still to be sent from the same bytes in another place, and let these go.

        What the kernel was handed already it keeps until it is sent.
        """
        os.dup2(place.fd, self.fd, inheritable=False)
        if self.burden is not None:
            self.burden.size_bytes += place.memory_bytes - self.memory_bytes
        self.memory_bytes = place.memory_bytes

    def when_more(self, call: Callable[[], None]) -> None:
        """Have ``call`` called once, when more is ready or nothing will be."""
        self._waiting.append(call)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


def arriving(size_bytes: int) -> Blob:
    """Make an empty blob in memory, for `Blob.write`; raises `OSError` when there are too many files or no memory."""
    return Blob(os.memfd_create("headend"), size_bytes, memory_bytes=size_bytes, ready_bytes=0)


def in_memory(data: bytes) -> Blob:
    """Make a blob of what is there already."""
    blob = arriving(len(data))
    blob.write(data)
    blob.finish()
    return blob


def in_file(fd: int, size_bytes: int) -> Blob:
    """Make a blob of an open file, which is closed with it."""
    return Blob(fd, size_bytes, memory_bytes=0, ready_bytes=size_bytes)
