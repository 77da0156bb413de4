"""A store in a folder, the default kind of store. Each object is a file.

Writes are atomic: the data is written to a temporary file next to its destination, flushed to disk, and renamed. The
temporary files of killed writers are never listed, and a later `LocalStore.list` removes them.
"""

import errno
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from headend.core.errors import ObjectMissing, StorageError, StoreUnavailable
from headend.core.storage.base import RESERVED, ObjectInfo, Reader, check_key, check_prefix, open_source

LEFTOVER_S = 24 * 3600
"""Age after which a temporary file is considered to belong to a dead writer."""

_BLOCK_BYTES = 1 << 20
_NO_SUCH_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})
_TEMPORARY = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE})
_NO_PERMISSION = "no permission; allow this user to read and write there, or choose another folder"
_FILE_IN_THE_WAY = "a file exists where a folder is needed; move it away or choose another folder"
_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space or raise it",
    errno.EROFS: "the file system is read-only; mount it for writing or choose another folder",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EEXIST: _FILE_IN_THE_WAY,
    errno.ENOTDIR: _FILE_IN_THE_WAY,
    errno.EISDIR: "a folder exists where the object belongs; move it away or choose another folder",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.ENOENT: "the folder can't be created; choose another folder",
}


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Objects as files in a folder, which is created at the first write.

    Symbolic links inside the folder are not followed, so that nothing outside it can be read or written.

    Attributes:
        root: The folder, absolute.
    """

    root: Path

    @property
    def url(self) -> str:
        """The folder."""
        return str(self.root)

    def check_can_be_made(self) -> None:
        """Check that the folder can be created; raises `StorageError` if not."""
        parent = next(folder for folder in self.root.parents if folder.exists())
        with self._write_errors(""), TemporaryDirectory(prefix=RESERVED, dir=parent):
            pass

    def put(self, key: str, data: bytes) -> None:
        """Write an object; replaces an existing one."""
        with self._written(key, BytesIO(data)) as (temporary, path):
            temporary.replace(path)

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file of any size."""
        with open_source(path) as source, self._written(key, source) as (temporary, destination):
            temporary.replace(destination)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless it exists; atomic in this store, because a hard link never replaces a file."""
        with self._written(key, BytesIO(data)) as (temporary, path):
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return False
        return True

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if its ETag is unchanged; atomic if the file system has locks."""
        with self._written(key, BytesIO(data)) as (temporary, path), _locked(path.parent):
            try:
                current: str | None = self.head(key).etag
            except ObjectMissing:
                current = None
            if current != etag:
                return False
            temporary.replace(path)
        return True

    def get(self, key: str) -> bytes:
        """Read a whole object."""
        with self._read_errors(key), self._opened(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""
        with self._read_errors(key), self._opened(key) as file:
            file.seek(start)
            return file.read(length)

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Read an object in pieces."""
        return self._opened(key)

    def head(self, key: str) -> ObjectInfo:
        """Describe an object."""
        with self._opened(key) as file:
            return _describe(key, os.fstat(file.fileno()))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Describe all objects under a prefix, and remove temporary files of dead writers."""
        check_prefix(prefix)
        return self._describe_all(prefix, after)

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys of all objects under a prefix, without a system call for each file."""
        check_prefix(prefix)
        return (key for key, _ in self._walk(prefix[: prefix.rfind("/") + 1], prefix, ""))

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        """Describe the first objects under a prefix."""
        return tuple(islice(self.list(prefix, after=after), limit))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Names of folders directly below a prefix."""
        check_prefix(prefix)
        path = self._path_of(prefix[:-1]) if prefix else self.root
        try:
            with self._read_errors(prefix), os.scandir(path) as entries:
                return tuple(sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False)))
        except ObjectMissing:
            return ()

    def delete(self, key: str) -> None:
        """Remove an object, if it exists, and folders that become empty."""
        path = self._path_of(key)
        with suppress(ObjectMissing), self._read_errors(key):
            path.unlink()
        for folder in Path(key).parents[:-1]:
            try:
                (self.root / folder).rmdir()
            except OSError:
                break  # it has other objects, or is already gone

    def _path_of(self, key: str) -> Path:
        """The path of ``key``; raises `StorageError` if it leads through a symbolic link."""
        path = str(self.root)
        for name in check_key(key).split("/"):
            path = f"{path}/{name}"
            if os.path.islink(path):  # noqa: PTH114 - takes a string, and raises nothing
                problem = "is a symbolic link or lies behind one; use a real file or folder"
                raise StorageError(f"{self.root / key} {problem}", key=key)
        return Path(path)

    def _opened(self, key: str) -> BinaryIO:
        path = self._path_of(key)
        with self._read_errors(key):
            return path.open("rb")

    @contextmanager
    def _written(self, key: str, source: BinaryIO) -> Iterator[tuple[Path, Path]]:
        """Write ``source`` to a temporary file; yields its path and the final path, for the caller to move it."""
        path = self._path_of(key)
        with self._write_errors(key):
            temporary, file = _create_beside(path)
            try:
                with file:
                    shutil.copyfileobj(source, file, _BLOCK_BYTES)
                    file.flush()
                    os.fsync(file.fileno())
                yield temporary, path
                _sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)

    def _describe_all(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        for key, entry in self._walk(prefix[: prefix.rfind("/") + 1], prefix, after):
            with suppress(FileNotFoundError):
                yield _describe(key, entry.stat(follow_symlinks=False))

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        path = self._path_of(folder[:-1]) if folder else self.root
        try:
            with self._read_errors(folder), os.scandir(path) as scanned:
                # Folders sort by their name with a slash, like the keys of their objects: "a-b" comes before "a/b".
                entries = sorted((e.name + "/" * e.is_dir(follow_symlinks=False), e) for e in scanned)
        except ObjectMissing:
            return
        for name, entry in entries:
            if name.startswith(RESERVED):
                _remove_if_old(entry)
            elif not (folder + name).startswith(prefix) or _is_before(folder + name, after):
                continue
            elif name.endswith("/"):
                yield from self._walk(folder + name, prefix, after)
            elif entry.is_file(follow_symlinks=False):
                yield folder + name, entry

    @contextmanager
    def _read_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _NO_SUCH_FILE:
                raise ObjectMissing(f"there is no object {key} in {self.url}", key=key) from error
            raise self._translated("read", key, error) from error

    @contextmanager
    def _write_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._translated("write", key, error) from error

    def _translated(self, verb: str, key: str, error: OSError) -> StorageError:
        kind = StoreUnavailable if error.errno in _TEMPORARY else StorageError
        advice = _ADVICE.get(error.errno or 0, error.strerror)
        return kind(f"can't {verb} {key} in {self.url}: {advice}", key=key, errno=error.errno)


def _is_before(name: str, after: str) -> bool:
    """Whether an object, or all objects in a folder, come before ``after``; folder names end with a slash."""
    return name <= after and not (name.endswith("/") and after.startswith(name))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other conditional writers, if the file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _describe(key: str, status: os.stat_result) -> ObjectInfo:
    # File system timestamps are too coarse to distinguish quick successive writes; inodes do.
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
    return ObjectInfo(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC), etag)


def _create_beside(path: Path) -> tuple[Path, BinaryIO]:
    temporary = path.with_name(f"{RESERVED}{uuid.uuid4().hex}.tmp")
    for _ in range(3):
        # A concurrent delete may remove the folder while it is still empty.
        with suppress(FileNotFoundError):
            _make_folder(path.parent)
            return temporary, temporary.open("xb")
    return temporary, temporary.open("xb")


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    # A rename survives a power loss only after its folder is flushed. Some network file systems can't flush folders.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_if_old(entry: os.DirEntry[str]) -> None:
    with suppress(OSError):  # another process was faster, or this user may only read
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_S:
            Path(entry.path).unlink()
