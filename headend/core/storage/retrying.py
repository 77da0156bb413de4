"""A store that retries requests while it can't be reached."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from headend.core.errors import Cancelled, StoreUnavailable
from headend.core.storage.base import ObjectInfo, Reader, Store

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses after the first failures; the last one is repeated."""
NOTICE_S = 20.0
"""Interval of messages while the store can't be reached."""
QUICK_S = 5.0
"""A single failure that takes less than this is common on a busy server, and not worth a message."""
POLL_S = 0.25
_Answer = TypeVar("_Answer")


class RetryingStore:
    """Retries the requests to a store, with growing pauses, while it can't be reached.

    Requests that the store rejects fail at once. After ``patience_s``, the first error is raised, because it is usually
    clearer than later ones. May be used from several threads; can't be pickled.

    Args:
        store: The store, which should retry little itself.
        patience_s: How long requests are retried.
        cancelled: Returns true if retrying should stop, because the job was cancelled.
        on_wait: Called from time to time with a message for the user while the store can't be reached.
    """

    def __init__(
        self,
        store: Store,
        patience_s: float,
        cancelled: Callable[[], bool] = lambda: False,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._patience_s = patience_s
        self._cancelled = cancelled
        self._on_wait = on_wait

    @property
    def url(self) -> str:
        """The store's address for display."""
        return self._store.url

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._with_retries(lambda: self._store.put(key, data))

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file."""
        self._with_retries(lambda: self._store.put_file(key, path))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless it exists; also returns false if a failed attempt of the same call has written it."""
        return self._with_retries(lambda: self._store.put_if_absent(key, data))

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if its ETag is unchanged."""
        return self._with_retries(lambda: self._store.put_if_match(key, data, etag))

    def get(self, key: str) -> bytes:
        """Read a whole object."""
        return self._with_retries(lambda: self._store.get(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""
        return self._with_retries(lambda: self._store.get_range(key, start, length))

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Read an object in pieces. This is not retried: the caller has to start again."""
        return self._store.open(key)

    def head(self, key: str) -> ObjectInfo:
        """Describe an object."""
        return self._with_retries(lambda: self._store.head(key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Describe all objects whose keys start with a prefix."""
        return iter(self._with_retries(lambda: tuple(self._store.list(prefix, after=after))))

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that start with a prefix."""
        return iter(self._with_retries(lambda: tuple(self._store.keys(prefix))))

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        """Describe the first objects whose keys start with a prefix."""
        return self._with_retries(lambda: self._store.page(prefix, after=after, limit=limit))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of folders directly below a prefix."""
        return self._with_retries(lambda: self._store.folders(prefix))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._with_retries(lambda: self._store.delete(key))

    def _with_retries(self, request: Callable[[], _Answer]) -> _Answer:
        return with_retries(request, self._patience_s, self._cancelled, self._on_wait)


def with_retries(
    request: Callable[[], _Answer],
    patience_s: float,
    cancelled: Callable[[], bool] = lambda: False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> _Answer:
    """Retry a request while the store can't be reached; arguments as for `RetryingStore`."""
    began_s = time.monotonic()
    try:
        return request()
    except StoreUnavailable as error:
        if patience_s <= 0:
            raise
        first = error
    started_s = time.monotonic()
    noticed_s, failures = started_s - NOTICE_S, 0
    while True:
        now_s = time.monotonic()
        left_s = patience_s - (now_s - started_s)
        if left_s <= 0:
            raise StoreUnavailable(
                f"{first.message}; gave up after {patience_s:.0f} s (--store-patience)", **first.facts
            ) from first
        if (failures or started_s - began_s >= QUICK_S) and now_s - noticed_s >= NOTICE_S:
            noticed_s = now_s
            on_wait(f"waiting for the store, for {left_s:.0f} s more: {first.message}")
        _pause(min(left_s, PAUSES_S[min(failures, len(PAUSES_S) - 1)]), cancelled)
        failures += 1
        try:
            return request()
        except StoreUnavailable:
            continue


def _pause(seconds: float, cancelled: Callable[[], bool]) -> None:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if cancelled():
            raise Cancelled("the task was cancelled while it waited for the store")
        time.sleep(min(POLL_S, left_s))
