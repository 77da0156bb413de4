"""Runs reads of the store: coalesced, limited in number, behind a circuit breaker, and counted."""

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

MAX_MISSING = 10_000
"""Size of the negative cache: maximum number of missing objects that are remembered."""
MISSING_S = 5.0
"""How long the negative cache remembers a missing object."""
WAIT_S = 20.0
"""How long a client waits for a read; the read continues for clients that retry."""
DOCUMENT_THREADS = 8
"""Concurrent reads of documents."""
MEDIA_THREADS = 16
"""Concurrent reads of media in threads; reads from S3 need none."""
QUEUE = 256
"""Maximum number of pending reads of documents, and of media; beyond it, clients get a 503 and retry."""
QUEUE_PER_CLIENT = 128
"""Maximum number of pending reads that one client has started, so that it can't fill the queue alone."""

log = logging.getLogger("headend.origin")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """Identifies a read of a small object, a listing or a health check.

    Attributes:
        kind: What is read.
        name: Its key in the store, or a title's slug for ``pointer``.
    """

    kind: Literal["pointer", "release", "track", "file", "manifest", "listing", "health"]
    name: str


@dataclass(frozen=True, slots=True)
class MediaKey:
    """Identifies a read of a segment, init segment or thumbnail sheet.

    Attributes:
        name: Its key in the store.
    """

    name: str


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
        internal: Reads for the origin itself, such as listings and health checks; not limited per client.
        media_threads: Threads for reads of media.
    """

    def __init__(self, store: Store, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._breaker = CircuitBreaker(clock)
        self._document_threads = ThreadPoolExecutor(DOCUMENT_THREADS, thread_name_prefix="origin-documents")
        self.media_threads = ThreadPoolExecutor(MEDIA_THREADS, thread_name_prefix="origin-media")
        self.documents: SingleFlight[DocumentKey, Any] = SingleFlight(QUEUE, QUEUE_PER_CLIENT)
        self.media: SingleFlight[MediaKey, Any] = SingleFlight(QUEUE, QUEUE_PER_CLIENT)
        self.internal: SingleFlight[DocumentKey, Any] = SingleFlight(QUEUE)
        self._missing_until_s: SegmentedLRU[DocumentKey | MediaKey, float] = SegmentedLRU(MAX_MISSING)

    async def coalesce(
        self,
        flights: "SingleFlight[Any, Result]",
        key: DocumentKey | MediaKey,
        read: Callable[[], Coroutine[Any, Any, Result]],
        *,
        client: str = "",
        wait_s: float = WAIT_S,
    ) -> Result:
        """Start a read, or wait for the read of ``key`` that is in flight; it continues if the client disconnects.

        Args:
            flights: `documents`, `media` or `internal`.
            key: What is read.
            read: Starts the read.
            client: The client, whose pending reads are limited; empty for the origin itself.
            wait_s: How long this client waits.

        Raises:
            ObjectMissing: The object is missing, or is still in the negative cache.
            StoreUnavailable: Too many reads are pending, or the store does not answer within ``wait_s``.
        """
        until_s = self._missing_until_s.get(key)
        if until_s is not None and self._clock() < until_s:
            self._metrics.lookups.inc("absent")
            raise missing(key.name)
        try:
            return await flights.do(key, read, wait_s=wait_s, client=client)
        except TooMany:
            raise StoreUnavailable("too many reads are pending; try again in a moment") from None
        except TookTooLong:
            raise StoreUnavailable(f"{self._store.url} does not answer; check the network", key=key.name) from None

    async def run(self, key: DocumentKey | MediaKey, read: Coroutine[Any, Any, Result]) -> Result:
        """Await a read if the circuit breaker allows it; count the result and remember a missing object."""
        if not self._breaker.allows():
            read.close()
            raise StoreUnavailable(f"{self._store.url} failed repeatedly; try again in a moment", key=key.name)
        try:
            result = await read
        except HeadendError as error:
            self._breaker.note(failed=error.retryable)
            self._metrics.reads.inc(_outcome(error))
            if isinstance(error, ObjectMissing):
                self._missing_until_s.put(key, self._clock() + MISSING_S)
            else:
                log.warning("%s", error)
            raise
        self._breaker.note(failed=False)
        self._metrics.reads.inc("ok")
        return result

    async def in_thread(self, read: Callable[[], Result]) -> Result:
        """Call ``read`` in a thread for documents, without the circuit breaker."""
        return await asyncio.get_running_loop().run_in_executor(self._document_threads, read)

    async def run_in_thread(self, key: DocumentKey, read: Callable[[], Result]) -> Result:
        """Call ``read`` in a thread for documents if the circuit breaker allows it; see `run`."""
        return await self.run(key, self.in_thread(read))

    def __len__(self) -> int:
        """Number of pending reads that clients wait for."""
        return len(self.documents) + len(self.media)

    def cancel(self) -> None:
        """Cancel all reads."""
        for flights in (self.documents, self.media, self.internal):
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
