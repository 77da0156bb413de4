"""One upstream read for all clients that want the same thing at the same time."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TooMany(Exception):
    """Too many reads are in flight, in total or for this client."""


class TookTooLong(Exception):
    """The read did not end in time; it continues for clients that ask again."""


class SingleFlight(Generic[Key, Value]):
    """Coalesces reads by key; each read outlives the clients that wait for it. Belongs to one event loop.

    Keys of different purposes must have different types: a health check and a title of the same name must not share a
    read.

    Args:
        limit: Most reads in flight. Clients beyond it are rejected, which bounds the memory of a burst.
        limit_per_client: Most reads started by one client, so that it can't use the whole limit.
    """

    def __init__(self, limit: int, limit_per_client: int | None = None) -> None:
        self._limit = limit
        self._limit_per_client = limit if limit_per_client is None else limit_per_client
        self._flights: dict[Key, asyncio.Task[Value]] = {}
        self._by_client: Counter[str] = Counter()

    def __len__(self) -> int:
        """Number of reads in flight."""
        return len(self._flights)

    def __contains__(self, key: Key) -> bool:
        """Whether a read of this key is in flight."""
        return key in self._flights

    async def do(
        self, key: Key, read: Callable[[], Coroutine[Any, Any, Value]], *, wait_s: float, client: str = ""
    ) -> Value:
        """Start a read, or wait for one of the same key that is in flight.

        Args:
            key: Key of the read.
            read: Starts the read.
            wait_s: How long this caller waits.
            client: The client; empty for the server itself, which is not limited.

        Raises:
            TooMany: A new read would exceed a limit.
            TookTooLong: The read takes longer than ``wait_s``.
        """
        flight = self._flights.get(key)
        if flight is None:
            if len(self._flights) >= self._limit or (client and self._by_client[client] >= self._limit_per_client):
                raise TooMany
            flight = asyncio.get_running_loop().create_task(read())
            self._flights[key] = flight
            self._by_client[client] += 1
            flight.add_done_callback(partial(self._landed, key, client))
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.shield(flight)
        except TimeoutError:
            if flight.done() and not flight.cancelled() and flight.exception() is not None:
                raise  # the read's own
            raise TookTooLong from None

    def cancel(self) -> None:
        """Cancel all reads."""
        for flight in self._flights.values():
            flight.cancel()

    def _landed(self, key: Key, client: str, flight: "asyncio.Task[Value]") -> None:
        del self._flights[key]
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
        if not flight.cancelled():
            flight.exception()  # all waiting callers may have been cancelled
