"""Where the bytes of media come from: a folder, a bucket, or any other store.

Files in a folder are sent as they lie there. What comes from elsewhere arrives piece by piece in a `Blob`, from which
all clients that wait are sent to at once. Either way, nothing is taken for complete that is not what its release says.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from io import FileIO
from typing import Protocol, cast

from headend.errors import StorageError, StoreUnavailable
from headend.storage import Store
from headend.storage.local import LocalStore
from origin.blobs import Blob, arriving, in_file
from origin.caching import Shelf

KNOWN_FILES = 200_000
"""Files whose digest is remembered to be right."""


class Damaged(StorageError):
    """An object is not what its release says."""


def damaged(store: Store, key: str) -> Damaged:
    """Say so, with what to do."""
    return Damaged(f"{key} in {store.url} is not what its release says; submit the master again", key=key)


class Source(Protocol):
    """A store, as far as media is read from it."""

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, begun: Callable[[Blob], None]) -> Blob:
        """Read an object and check it.

        Args:
            key: Where it is.
            size_bytes: Its size, as its release says.
            sha256: Its digest; None if the release does not say.
            begun: Called with the blob once there is something to send, which may be before it is whole.

        Returns:
            The whole blob.

        Raises:
            Damaged: It is not what its release says.
            ObjectMissing: There is none.
            StorageError: It can't be read.
        """


class Folder:
    """Files of a local store, sent from where they are.

    A file is hashed when it is first seen, and again when it was changed.
    """

    def __init__(self, store: LocalStore, threads: Executor) -> None:
        self._store = store
        self._threads = threads
        self._known: Shelf[tuple[int, int, int]] = Shelf(KNOWN_FILES)

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, begun: Callable[[Blob], None]) -> Blob:
        """Open a file and check it; see `Source.fetch`."""
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
            if sha256 is not None and self._known.get(key) != identity:
                if hashlib.file_digest(file, "sha256").digest() != sha256:
                    raise damaged(self._store, key)
                self._known.put(key, identity)
            return in_file(os.dup(file.fileno()), size_bytes)


class Arriving:
    """Objects of any other store, sent on while they arrive.

    Args:
        store: For what is said of it.
        pieces: Reads an object of it.
    """

    def __init__(self, store: Store, pieces: "Pieces") -> None:
        self._store = store
        self._pieces = pieces

    async def fetch(self, key: str, size_bytes: int, sha256: bytes | None, begun: Callable[[Blob], None]) -> Blob:
        """Read an object into memory; see `Source.fetch`."""
        try:
            blob = arriving(size_bytes)
        except OSError as error:
            raise StoreUnavailable(f"there is no room in memory for {key}: {error.strerror}", key=key) from error
        digest = hashlib.sha256()
        try:
            async with aclosing(self._pieces(key, size_bytes)) as pieces:
                async for piece in pieces:
                    if len(piece) > blob.missing_bytes:
                        raise damaged(self._store, key)
                    digest.update(piece)
                    blob.write(piece)
                    if blob.missing_bytes:
                        begun(blob)
            if blob.missing_bytes or (sha256 is not None and digest.digest() != sha256):
                raise damaged(self._store, key)
        except BaseException:
            blob.fail()
            raise
        blob.finish()
        begun(blob)
        return blob


Pieces = Callable[[str, int], AsyncGenerator[bytes | memoryview, None]]
"""Reads an object from its start to its end; raises `Damaged` as soon as it is seen not to have a size."""


def in_threads(store: Store, threads: Executor) -> Pieces:
    """Read a store that can't do better whole, in a thread."""

    async def pieces(key: str, size_bytes: int) -> AsyncGenerator[bytes | memoryview, None]:
        body = await asyncio.get_running_loop().run_in_executor(threads, store.get, key)
        if len(body) != size_bytes:
            raise damaged(store, key)
        yield body

    return pieces
