"""Which sockets can be read and written: an epoll of the origin's own, within the event loop's.

The event loop makes a handle for each socket that is ready, and runs it in a context of its own. That is as much work
as a small answer is. Here it is woken once for all sockets that are ready, and each is told by a plain call.
"""

import asyncio
import select
from collections.abc import Callable

READ, WRITE, LOST = select.EPOLLIN, select.EPOLLOUT, select.EPOLLERR | select.EPOLLHUP
"""What a socket may be watched for; the last is always told."""
TOLD = 256
"""Most sockets that are told at a time."""
ROUNDS = 8
"""How often sockets are looked at before all else that the event loop has to do gets its turn."""


class Readiness:
    """Watches sockets; belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._told: dict[int, Callable[[int], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._look)

    def watch(self, fd: int, tell: Callable[[int], None]) -> None:
        """Have ``tell`` called with what ``fd`` is ready for, reading at first, until it is left."""
        self._epoll.register(fd, READ)
        self._told[fd] = tell

    def change(self, fd: int, wanted: int) -> None:
        """Watch for something else: `READ`, `WRITE`, both or, with 0, neither."""
        self._epoll.modify(fd, wanted)

    def leave(self, fd: int) -> None:
        """Watch no more."""
        self._epoll.unregister(fd)
        del self._told[fd]

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _look(self) -> None:
        for _ in range(ROUNDS):
            ready = self._epoll.poll(0, TOLD)
            for fd, events in ready:
                tell = self._told.get(fd)
                if tell is not None:  # one that was told before may have closed it
                    tell(events)
            if not ready:
                return
