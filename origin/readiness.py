"""Which sockets can be read and written: the event loop's selector, which tells connections by itself.

asyncio makes a handle for each socket that is ready, and runs it in a context of its own. That is as much work as a
small answer is. Here each connection is told by a plain call, as soon as the kernel says that it is ready.
"""

import asyncio
import logging
import select
import selectors
from collections.abc import Callable

READ, WRITE, LOST = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR | select.EPOLLHUP
"""What a socket may be watched for; the last is always told."""
TOLD = 256
"""Most sockets that are told at a time."""
ROUNDS = 8
"""How often sockets are looked at before all else that the event loop has to do gets its turn."""

log = logging.getLogger("headend.origin")


class Readiness(selectors.EpollSelector):
    """Watches connections in an epoll of its own, and in that, as one more, all that asyncio watches."""

    def __init__(self) -> None:
        super().__init__()
        self._connections = select.epoll()
        self._connections.register(self.fileno(), READ)
        self._told: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, tell: Callable[[int], None]) -> None:
        """Have ``tell`` called with what ``fd`` is ready for, reading at first, until it is left."""
        self._connections.register(fd, READ)
        self._told[fd] = tell

    def change(self, fd: int, wanted: int) -> None:
        """Watch for something else: `READ`, `WRITE`, both or, with 0, neither."""
        self._connections.modify(fd, wanted)

    def leave(self, fd: int) -> None:
        """Watch no more."""
        self._connections.unregister(fd)
        del self._told[fd]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait until something is ready; tell connections, and return what is asyncio's."""
        for _ in range(ROUNDS):
            ready = self._connections.poll(timeout, TOLD)
            timeout = 0
            is_asyncio_ready = not ready
            for fd, events in ready:
                tell = self._told.get(fd)
                if tell is None:  # asyncio's, or that of one that was closed by one before it
                    is_asyncio_ready = True
                    continue
                try:
                    tell(events)
                except Exception:
                    log.exception("a connection failed")
            if is_asyncio_ready:
                return super().select(0)
        return []

    def close(self) -> None:
        """Watch nothing any more."""
        self._connections.close()
        super().close()


class Loop(asyncio.SelectorEventLoop):
    """An event loop that tells connections by plain calls.

    Attributes:
        readiness: Where they are watched.
    """

    def __init__(self) -> None:
        self.readiness = Readiness()
        super().__init__(self.readiness)
