"""A store that retries: requests are repeated while the store can't be reached."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from headend.core.errors import Cancelled, StoreUnavailable
from headend.core.storage.base import ObjectInfo, Reader, Store

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""How long to wait after each failure; the last one is for all that follow."""
SAY_EVERY_S = 20.0
"""How often it is said that the store is waited for."""
POLL_S = 0.25
_Answer = TypeVar("_Answer")


class PatientStore:
    """A store whose requests are repeated, with growing pauses, while it can't be reached.

    A request that the store refuses fails at once. Where patience ends, the first error is raised: later ones are often
    less clear. May be used from several threads; can't be pickled.

    Args:
        store: The store; its own retries should be few.
        patience_s: How long a request is repeated.
        cancelled: Becomes true when there is no use in waiting any more.
        on_wait: Gets a line for people, now and then while the store is waited for.
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
        """The store's."""
        return self._store.url

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._patiently(lambda: self._store.put(key, data))

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file."""
        self._patiently(lambda: self._store.put_file(key, path))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; False also where an attempt of this call wrote it unnoticed."""
        return self._patiently(lambda: self._store.put_if_absent(key, data))

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if it is still the one that was seen."""
        return self._patiently(lambda: self._store.put_if_match(key, data, etag))

    def get(self, key: str) -> bytes:
        """Read an object whole."""
        return self._patiently(lambda: self._store.get(key))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""
        return self._patiently(lambda: self._store.get_range(key, start, length))

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Read an object piece by piece; only the whole of it can be asked for again, by the caller."""
        return self._store.open(key)

    def head(self, key: str) -> ObjectInfo:
        """Describe an object."""
        return self._patiently(lambda: self._store.head(key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Describe all objects whose keys start with a prefix."""
        return iter(self._patiently(lambda: tuple(self._store.list(prefix, after=after))))

    def keys(self, prefix: str) -> Iterator[str]:
        """Name all objects whose keys start with a prefix."""
        return iter(self._patiently(lambda: tuple(self._store.keys(prefix))))

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        """Describe the first objects whose keys start with a prefix."""
        return self._patiently(lambda: self._store.page(prefix, after=after, limit=limit))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Name what lies directly below a prefix."""
        return self._patiently(lambda: self._store.folders(prefix))

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._patiently(lambda: self._store.delete(key))

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        return patiently(ask, self._patience_s, self._cancelled, self._on_wait)


def patiently(
    ask: Callable[[], _Answer],
    patience_s: float,
    cancelled: Callable[[], bool] = lambda: False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> _Answer:
    """Repeat a request while the store can't be reached; arguments as for `PatientStore`."""
    try:
        return ask()
    except StoreUnavailable as error:
        if patience_s <= 0:
            raise
        first = error
    started_s = time.monotonic()
    said_s, failures = started_s - SAY_EVERY_S, 0
    while True:
        now_s = time.monotonic()
        left_s = patience_s - (now_s - started_s)
        if left_s <= 0:
            raise StoreUnavailable(
                f"{first.message}; it was waited for {patience_s:.0f} s (--store-patience)", **first.facts
            ) from first
        if now_s - said_s >= SAY_EVERY_S:
            said_s = now_s
            on_wait(f"waiting for the store, for {left_s:.0f} s more: {first.message}")
        _pause(min(left_s, PAUSES_S[min(failures, len(PAUSES_S) - 1)]), cancelled)
        failures += 1
        try:
            return ask()
        except StoreUnavailable:
            continue


def _pause(seconds: float, cancelled: Callable[[], bool]) -> None:
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0:
        if cancelled():
            raise Cancelled("the task was told to stop while it waited for the store")
        time.sleep(min(POLL_S, left_s))
