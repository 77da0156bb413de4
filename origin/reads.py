"""Reads of the store: shared between clients, limited, guarded by a circuit breaker and counted."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from headend.core.caching.circuit_breaker import CircuitBreaker
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.caching.single_flight import SingleFlight, TookTooLong, TooMany
from headend.core.errors import HeadendError, ObjectMissing, StoreUnavailable
from headend.core.storage import Store
from origin.metrics import Metrics
from origin.sources import Damaged

ABSENCES = 10_000
"""Maximum number of missing objects that are remembered."""
ABSENCE_S = 5.0
"""How long a missing object is remembered as missing."""
WAIT_S = 20.0
"""How long a client waits for a read; the read continues for clients that retry."""
DOCUMENT_THREADS, MEDIA_THREADS = 8, 16
"""Concurrent reads of the store."""
QUEUE = 256
"""Maximum number of pending reads, of documents and of media each; beyond it, clients are asked to retry."""
QUEUE_PER_CLIENT = 128
"""The same limit for one client, so that it can't fill the queue alone."""

log = logging.getLogger("headend.origin")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Document:
    """Identifies the read of a small object or a listing.

    Attributes:
        kind: Kind of object.
        name: Its name or key.
    """

    kind: Literal["pointer", "release", "track", "file", "manifest", "listing", "health"]
    name: str


@dataclass(frozen=True, slots=True)
class Media:
    """Identifies the read of a segment, init segment or picture.

    Attributes:
        key: Its key in the store.
    """

    key: str


class StoreReads:
    """Runs reads of the store; belongs to one event loop.

    Concurrent requests for one object share one read. While the store fails, the circuit breaker refuses reads.

    Args:
        store: The store, named in errors.
        metrics: Counts lookups and reads.
        clock: Monotonic clock, in seconds.

    Attributes:
        documents: Reads of documents for clients.
        media: Reads of media for clients.
        own: Reads that serve all clients, such as listings and health checks; not limited per client.
        media_threads: Runs reads of media.
    """

    def __init__(self, store: Store, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._breaker = CircuitBreaker(clock)
        self._document_threads = ThreadPoolExecutor(DOCUMENT_THREADS, thread_name_prefix="origin-documents")
        self.media_threads = ThreadPoolExecutor(MEDIA_THREADS, thread_name_prefix="origin-media")
        self.documents: SingleFlight[Document, Any] = SingleFlight(QUEUE, QUEUE_PER_CLIENT)
        self.media: SingleFlight[Media, Any] = SingleFlight(QUEUE, QUEUE_PER_CLIENT)
        self.own: SingleFlight[Document, Any] = SingleFlight(QUEUE)
        self._absent: SegmentedLRU[Document | Media, float] = SegmentedLRU(ABSENCES)

    async def share(
        self,
        flights: "SingleFlight[Any, Result]",
        key: Document | Media,
        read: Callable[[], Coroutine[Any, Any, Result]],
        *,
        client: str = "",
        wait_s: float = WAIT_S,
    ) -> Result:
        """Read, or join the read of ``key`` that is under way; the read continues if a client disconnects.

        Raises:
            ObjectMissing: The object was missing a moment ago.
            StoreUnavailable: Too many reads are pending, or the store does not answer within ``wait_s``.
        """
        until_s = self._absent.get(key)
        if until_s is not None and self._clock() < until_s:
            self._metrics.lookups.inc("absent")
            raise missing(str(key))
        try:
            return await flights.do(key, read, wait_s=wait_s, client=client)
        except TooMany:
            raise StoreUnavailable("too many reads are pending; try again in a moment") from None
        except TookTooLong:
            raise StoreUnavailable(f"{self._store.url} does not answer; check the network", key=str(key)) from None

    async def run(self, key: Document | Media, reading: Coroutine[Any, Any, Result]) -> Result:
        """Run a read if the circuit breaker allows it, and record the result."""
        if not self._breaker.allows():
            reading.close()
            raise StoreUnavailable(f"{self._store.url} failed repeatedly; try again in a moment", key=str(key))
        try:
            result = await reading
        except HeadendError as error:
            self._breaker.note(failed=error.retryable)
            self._metrics.reads.inc(_outcome(error))
            if isinstance(error, ObjectMissing):
                self._absent.put(key, self._clock() + ABSENCE_S)
            else:
                log.warning("%s", error)
            raise
        self._breaker.note(failed=False)
        self._metrics.reads.inc("ok")
        return result

    async def in_thread(self, read: Callable[[], Result]) -> Result:
        """Read a document in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._document_threads, read)

    async def run_in_thread(self, key: Document, read: Callable[[], Result]) -> Result:
        """Run a read of a document in a thread, as in `run`."""
        return await self.run(key, self.in_thread(read))

    def __len__(self) -> int:
        return len(self.documents) + len(self.media)

    def cancel(self) -> None:
        """Cancel all reads."""
        for flights in (self.documents, self.media, self.own):
            flights.cancel()

    def close(self) -> None:
        """Stop the threads, without waiting for them."""
        for threads in (self._document_threads, self.media_threads):
            threads.shutdown(wait=False, cancel_futures=True)


def missing(name: str) -> ObjectMissing:
    """The error for something that does not exist."""
    return ObjectMissing(f"there is no {name}", key=name)


def _outcome(error: HeadendError) -> str:
    if isinstance(error, ObjectMissing):
        return "missing"
    if isinstance(error, Damaged):
        return "damaged"
    return "unavailable" if error.retryable else "refused"
