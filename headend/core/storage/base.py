"""The interface of stores, and the rules that all stores follow."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from headend.core.errors import StorageError

KEY_LENGTH = 1024
"""Longest key, as in S3."""

RESERVED = ".headend-"
"""No segment of a key starts with this: such names are for a local store's own files."""

_KEY = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """A description of an object, without its content.

    Attributes:
        key: Its key.
        size_bytes: Its size.
        modified: When it was written, in UTC; whole seconds on some servers.
        etag: Changes whenever the object is written; has no other meaning, and no quotes.
    """

    key: str
    size_bytes: int
    modified: datetime
    etag: str


class Reader(Protocol):
    """An object that is read from start to end."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; empty only at the end."""


class Store(Protocol):
    """Objects by key. Writes are atomic; an object does not change while it is being read.

    A key is either an object or a folder: ``a`` and ``a/b`` can't both exist. Every store can be pickled, to send it to
    Dask workers, and used from several threads.

    All methods raise `StorageError` if the store rejects a request, and `StoreUnavailable` if it can't be reached or
    fails temporarily.
    """

    @property
    def url(self) -> str:
        """The store's address for display; contains no secret."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object; replaces an existing one."""

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file of any size, without loading it into memory."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless it exists; true if it was written.

        Best effort: some S3 servers, such as rclone's, ignore the condition. If two clients write at the same moment,
        both may get True, and the later write wins.
        """

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if its ETag is unchanged; true if it was written.

        Atomic in memory, in folders on file systems with locks, and on S3 servers that support ``If-Match``. Other
        servers, such as rclone's, compare and write in two steps: if two clients write within a few milliseconds, both
        may get True, and the later write wins.

        Args:
            key: The object's key.
            data: Its new content.
            etag: ETag from `head`; None if there was no object.
        """

    def get(self, key: str) -> bytes:
        """Read a whole object; raises `ObjectMissing` if there is none."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object.

        Args:
            key: The object's key.
            start: First byte, from 0.
            length: Number of bytes, at least 1.

        Returns:
            The bytes that exist in the range; empty if it lies after the object's end.

        Raises:
            ObjectMissing: There is no such object.
        """

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Read an object in pieces; raises `ObjectMissing` if there is none."""

    def head(self, key: str) -> ObjectInfo:
        """Describe an object; raises `ObjectMissing` if there is none."""

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Describe all objects whose keys start with ``prefix``, a plain string, in ascending order of keys.

        Args:
            prefix: Start of their keys.
            after: Leave out this key and all before it, to continue after a page.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys of `list`; faster on stores that have to read each object's description."""

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        """Describe the first objects of `list`, with one request per thousand.

        Args:
            prefix: As for `list`.
            after: As for `list`.
            limit: Most objects to return, at least 1.
        """

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of folders directly below ``prefix``, which is empty or ends with ``/``.

        Costs one request, whatever the number of objects. Ascending, without slashes.
        """

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""


def check_key(key: str) -> str:
    """Return ``key`` if all kinds of stores support it.

    Raises:
        StorageError: It is not 1 to 1024 characters of printable ASCII, or has a segment that is empty, ``.``, ``..``
            or reserved.
    """
    segments = key.split("/")
    if (
        not _KEY.fullmatch(key)
        or len(key) > KEY_LENGTH
        or not {"", ".", ".."}.isdisjoint(segments)
        or any(segment.startswith(RESERVED) for segment in segments)
    ):
        raise StorageError(
            f"{key[:80]!r} is not an object's key: use up to {KEY_LENGTH} printable ASCII characters, "
            f"relative, without empty segments, '.', '..' or a leading {RESERVED!r}",
            key=key,
        )
    return key


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if keys can start with it; raises `StorageError` if not."""
    check_key(f"{prefix}x")
    return prefix


def open_source(path: Path) -> BinaryIO:
    """Open a file to be stored; raises `StorageError` if it can't be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise StorageError(f"{path} can't be read, so it can't be stored: {error.strerror}", path=str(path)) from error
