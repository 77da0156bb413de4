"""Where the bytes of media come from: a folder, a bucket, or any other store.

Files in a folder are sent from where they are. What comes from elsewhere arrives piece by piece in a `Blob`, from which
all waiting clients are served at once. Either way, nothing is served as complete that is not what its release says.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import Executor
from io import FileIO
from typing import Protocol, cast

from headend.core.caching.receiving import Mismatch, Pieces, receive
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import StorageError, StoreUnavailable
from headend.core.http.blobs import Blob, in_file
from headend.core.storage import Store
from headend.core.storage.local import LocalStore

VERIFIED_FILES = 200_000
"""Files whose digest is remembered to be right."""


class Damaged(StorageError):
    """An object is not what its release says."""


def damaged(store: Store, key: str) -> Damaged:
    """The error for a damaged object."""
    return Damaged(f"{key} in {store.url} is not what its release says; submit the master again", key=key)


class Source(Protocol):
    """A store, as far as media is read from it."""

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, begun: Callable[[Blob], None]) -> Blob:
        """Read an object and verify it.

        Args:
            key: Where it is.
            size_bytes: Its size, as its release says.
            sha256: Its digest; None if the release does not say.
            begun: Called with the blob once there is something to send, which may be before it is whole.

        Returns:
            The whole blob.

        Raises:
            Damaged: It is not what its release says.
            ObjectMissing: There is no such object.
            StorageError: It can't be read.
        """


class Folder:
    """Files of a local store, sent from where they are.

    A file is hashed when it is first seen, and again after it was changed.
    """

    def __init__(self, store: LocalStore, threads: Executor) -> None:
        self._store = store
        self._threads = threads
        self._verified: SegmentedLRU[str, tuple[int, int, int]] = SegmentedLRU(VERIFIED_FILES)

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, begun: Callable[[Blob], None]) -> Blob:
        """Open a file and verify it; see `Source.fetch`."""
        blob = await asyncio.get_running_loop().run_in_executor(self._threads, self._open, key, size_bytes, sha256)
        begun(blob)
        return blob

    def _open(self, key: str, size_bytes: int, sha256: bytes | None) -> Blob:
        with self._store.open(key) as reader:
            file = cast(FileIO, reader)
            found = os.fstat(file.fileno())
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            if found.st_size != size_bytes:
                raise damaged(self._store, key)
            if sha256 is not None and self._verified.get(key) != identity:
                if hashlib.file_digest(file, "sha256").digest() != sha256:
                    raise damaged(self._store, key)
                self._verified.put(key, identity)
            return in_file(os.dup(file.fileno()), size_bytes)


class Remote:
    """Objects of any other store, sent on while they arrive.

    Args:
        store: For errors.
        pieces: Reads an object of it, from start to end; raises `Damaged` as soon as its size is seen to differ.
    """

    def __init__(self, store: Store, pieces: Callable[[str, int], Pieces]) -> None:
        self._store = store
        self._pieces = pieces

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, begun: Callable[[Blob], None]) -> Blob:
        """Read an object into memory; see `Source.fetch`."""
        pieces = self._pieces(key, size_bytes)
        try:
            return await receive(pieces, size_bytes=size_bytes, sha256=sha256, on_data=begun)
        except Mismatch:
            raise damaged(self._store, key) from None
        except OSError as error:
            raise StoreUnavailable(f"there is no room in memory for {key}: {error.strerror}", key=key) from error


def in_threads(store: Store, threads: Executor) -> Callable[[str, int], Pieces]:
    """Read whole objects in a thread, from a store that has nothing better."""

    async def pieces(key: str, size_bytes: int) -> Pieces:
        body = await asyncio.get_running_loop().run_in_executor(threads, store.get, key)
        if len(body) != size_bytes:
            raise damaged(store, key)
        yield body

    return pieces
