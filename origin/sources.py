"""Sources of media: a folder, an S3 bucket, or any other store.

Files in a folder are sent from disk. Objects of other stores arrive in a `Blob`, piece by piece, and all waiting
clients get the pieces as they arrive. All sources verify objects: one that differs from its track's index is never
served as complete.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from io import FileIO
from typing import Protocol, cast

from headend.core.caching.receiving import Mismatch, Pieces, receive
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import StorageError, StoreUnavailable
from headend.core.http.blobs import Blob, in_file
from headend.core.storage import Store
from headend.core.storage.local import LocalStore
from origin.metrics import Metrics

VERIFIED_FILES = 200_000
"""Maximum number of files that are remembered as verified."""


class Damaged(StorageError):
    """An object differs from what its release or its track's index says."""


def damaged(store: Store, key: str) -> Damaged:
    """The error for a damaged object."""
    return Damaged(f"{key} in {store.url} does not match its release; submit the master again", key=key)


class Source(Protocol):
    """Reads media from a store."""

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, on_data: Callable[[Blob], None]) -> Blob:
        """Read an object and verify it.

        Args:
            key: The object's key.
            size_bytes: Its size, from the track's index.
            sha256: Its digest, from the track's index; None to check only the size.
            on_data: Called with the blob whenever more of it can be sent; the first time may be before it is complete.

        Returns:
            The complete blob.

        Raises:
            Damaged: The object's size or digest is different.
            ObjectMissing: There is no such object.
            StorageError: The object can't be read.
        """


class Folder:
    """Files of a local store, sent from disk.

    A file is hashed when it is first opened, and again only if its inode, time or size has changed.
    """

    def __init__(self, store: LocalStore, threads: Executor) -> None:
        self._store = store
        self._threads = threads
        self._verified: SegmentedLRU[str, tuple[int, int, int]] = SegmentedLRU(VERIFIED_FILES)

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, on_data: Callable[[Blob], None]) -> Blob:
        """Open a file and verify it; see `Source.fetch`."""
        blob = await asyncio.get_running_loop().run_in_executor(self._threads, self._open, key, size_bytes, sha256)
        on_data(blob)
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
    """Objects of any other store, sent to clients while they arrive.

    Args:
        store: The store, named in errors.
        pieces: Reads an object from start to end; raises `Damaged` as soon as its size turns out to differ.
    """

    def __init__(self, store: Store, pieces: Callable[[str, int], Pieces]) -> None:
        self._store = store
        self._pieces = pieces

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, on_data: Callable[[Blob], None]) -> Blob:
        """Read an object into memory; see `Source.fetch`."""
        pieces = self._pieces(key, size_bytes)
        try:
            return await receive(pieces, size_bytes=size_bytes, sha256=sha256, on_data=on_data)
        except Mismatch:
            raise damaged(self._store, key) from None
        except OSError as error:
            raise StoreUnavailable(f"not enough memory to read {key}: {error.strerror}", key=key) from error


def whole_objects(store: Store, threads: Executor) -> Callable[[str, int], Pieces]:
    """Return a reader of pieces, for `Remote`, that reads each object as one piece in a thread."""

    async def pieces(key: str, size_bytes: int) -> Pieces:
        body = await asyncio.get_running_loop().run_in_executor(threads, store.get, key)
        if len(body) != size_bytes:
            raise damaged(store, key)
        yield body

    return pieces


def open_source(store: Store, threads: Executor, metrics: Metrics) -> tuple[Source, Callable[[], Awaitable[None]]]:
    """Choose the fastest way to read media from a store.

    Returns:
        The source, and a coroutine function that closes it.
    """

    async def close_nothing() -> None:
        pass

    if isinstance(store, LocalStore):
        return Folder(store, threads), close_nothing
    if store.url.startswith("s3://"):
        from headend.core.storage.s3 import S3Store
        from origin.bucket import Bucket

        if isinstance(store, S3Store):
            bucket = Bucket(store, threads, metrics.retries.inc)
            return Remote(store, bucket.pieces), bucket.close
    return Remote(store, whole_objects(store, threads)), close_nothing
