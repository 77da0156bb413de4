"""An in-memory store, for tests."""

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from headend.core.errors import ObjectMissing
from headend.core.storage.base import ObjectInfo, Reader, check_key, check_prefix, open_source

_LOCK = threading.Lock()
"""One lock for all in-memory stores: a lock in the store would prevent pickling, and tests don't compete for it."""


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """Objects in a dict; a pickled copy is independent of the original."""

    _objects: dict[str, tuple[bytes, datetime]] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        """The store's address for display."""
        return "memory:"

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._objects[check_key(key)] = (bytes(data), datetime.now(UTC))

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file."""
        with open_source(path) as source:
            self.put(key, source.read())

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless it exists; atomic in this store."""
        mine = (bytes(data), datetime.now(UTC))
        return self._objects.setdefault(check_key(key), mine) is mine

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if its ETag is unchanged; atomic in this store."""
        with _LOCK:
            current = self._objects.get(check_key(key))
            if (None if current is None else self.head(key).etag) != etag:
                return False
            self.put(key, data)
            return True

    def get(self, key: str) -> bytes:
        """Read a whole object."""
        return self._find(key)[0]

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""
        return self._find(key)[0][start : start + length]

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Read an object in pieces."""
        return io.BytesIO(self.get(key))

    def head(self, key: str) -> ObjectInfo:
        """Describe an object."""
        data, modified = self._find(key)
        return ObjectInfo(key, len(data), modified, hashlib.md5(data, usedforsecurity=False).hexdigest())

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Describe all objects under a prefix."""
        check_prefix(prefix)
        return (self.head(key) for key in sorted(self._objects) if key.startswith(prefix) and key > after)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys of all objects under a prefix."""
        check_prefix(prefix)
        return (key for key in sorted(self._objects) if key.startswith(prefix))

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        """Describe the first objects under a prefix."""
        return tuple(islice(self.list(prefix, after=after), limit))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of folders directly below a prefix."""
        check_prefix(prefix)
        below = (key[len(prefix) :].partition("/") for key in self._objects if key.startswith(prefix))
        return tuple(sorted({name for name, slash, _ in below if slash}))

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        self._objects.pop(check_key(key), None)

    def _find(self, key: str) -> tuple[bytes, datetime]:
        try:
            return self._objects[check_key(key)]
        except KeyError:
            raise ObjectMissing(f"there is no object {key} in {self.url}", key=key) from None
