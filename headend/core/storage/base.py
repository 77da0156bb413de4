"""The interface of stores, and the rules that every kind of store follows."""

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
"""No segment of a key starts like this: such files are a local store's own."""

_KEY = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows of an object without reading it.

    Attributes:
        key: Where it is.
        size_bytes: Its size.
        modified: When it was written, in UTC; whole seconds on some servers.
        etag: Changes when the object is written anew; says nothing else, and has no quotes.
    """

    key: str
    size_bytes: int
    modified: datetime
    etag: str


class Reader(Protocol):
    """An object being read from its start to its end."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, and none only at the end."""


class Store(Protocol):
    """Objects by key: whole, immutable while they are read, and replaced at once or not at all.

    A key names an object, never a folder of others: ``a`` and ``a/b`` don't go together. Every store can be pickled,
    so that it crosses Dask, and used from several threads.

    All methods raise `StorageError` with what to do when the store refuses, and `StoreUnavailable` when it can't be
    reached or has a fault that may pass.
    """

    @property
    def url(self) -> str:
        """Where the store is, for people; holds no secret."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object, in place of the one that may be there."""

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file of any size, without holding it in memory."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; whether it was written.

        Best effort: some S3 servers, rclone's among them, ignore the condition, so that of two writers at the same
        moment both may be told that they were first, and the later one wins.
        """

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if it is still the one that was seen; whether it was written.

        Exact in memory, in a folder whose file system has locks, and on S3 servers that honour ``If-Match``. Others,
        rclone's among them, compare and write in two steps: two writers within some milliseconds may both be told that
        they have written, and the later one wins.

        Args:
            key: Where it is.
            data: What to write.
            etag: As `head` gave it; None if there was no object.
        """

    def get(self, key: str) -> bytes:
        """Read an object whole; raises `ObjectMissing` if there is none."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object.

        Args:
            key: Where it is.
            start: First byte, from 0.
            length: Number of bytes, at least 1.

        Returns:
            The bytes that exist in the range; none if it lies behind the object's end.

        Raises:
            ObjectMissing: There is no such object.
        """

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Read an object piece by piece; raises `ObjectMissing` if there is none."""

    def head(self, key: str) -> ObjectInfo:
        """Describe an object; raises `ObjectMissing` if there is none."""

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Describe all objects whose keys start with ``prefix``, a plain string, in ascending order of keys.

        Args:
            prefix: What their keys start with.
            after: Leave out this key and all before it, to go on where a page has ended.
        """

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that `list` gives: quicker where an object's description has to be read for each."""

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        """Describe the first objects of `list`, at the cost of one request for each thousand.

        Args:
            prefix: As for `list`.
            after: As for `list`.
            limit: At most so many, at least 1.
        """

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Name what lies directly below ``prefix``, which is empty or ends with ``/``, and has objects below it.

        Costs one look, whatever number of objects there are; ascending, without slashes.
        """

    def delete(self, key: str) -> None:
        """Remove an object, if there is one."""


def check_key(key: str) -> str:
    """Return ``key`` if every kind of store can hold it.

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
    """Return ``prefix`` if some key can start with it; raises `StorageError` if not."""
    check_key(f"{prefix}x")
    return prefix


def open_source(path: Path) -> BinaryIO:
    """Open a file that is to be stored; raises `StorageError` if it can't be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise StorageError(f"{path} was to be stored but can't be read: {error.strerror}", path=str(path)) from error
