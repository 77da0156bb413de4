"""A store in a folder: the default.

An object is a file, and appears whole or not at all: it is written under a name of the store's own beside its place,
flushed to the disk, and renamed. What a killed writer leaves is never shown, and removed by a later `LocalStore.list`.
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
"""A temporary file of this age belongs to a dead writer."""

_BLOCK_BYTES = 1 << 20
_NO_SUCH_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})
_MAY_PASS = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE})
_NO_PERMISSION = "no permission; give this user the right to read and write there, or choose another folder"
_FILE_IN_THE_WAY = "a file stands where a folder is needed; move it away or choose another folder"
_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space or raise it",
    errno.EROFS: "the file system is read-only; mount it for writing or choose another folder",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EEXIST: _FILE_IN_THE_WAY,
    errno.ENOTDIR: _FILE_IN_THE_WAY,
    errno.EISDIR: "a folder stands where the object belongs; move it away or choose another folder",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.ENOENT: "nothing can be made there; choose another folder",
}


@dataclass(frozen=True, slots=True)
class LocalStore:
    """Objects as files below a folder, which is made when first written to.

    Symbolic links below the folder are not followed, so that nothing outside it can be read or written.

    Attributes:
        root: The folder, absolute.
    """

    root: Path

    @property
    def url(self) -> str:
        """The folder."""
        return str(self.root)

    def check_can_be_made(self) -> None:
        """Make sure that the folder can be made; raises `StorageError` if not."""
        there = next(folder for folder in self.root.parents if folder.exists())
        with self._write_errors(""), TemporaryDirectory(prefix=RESERVED, dir=there):
            pass

    def put(self, key: str, data: bytes) -> None:
        """Write an object, in place of the one that may be there."""
        with self._written(key, BytesIO(data)) as (temporary, path):
            temporary.replace(path)

    def put_file(self, key: str, path: Path) -> None:
        """Write an object from a file of any size."""
        with open_source(path) as source, self._written(key, source) as (temporary, place):
            temporary.replace(place)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write an object unless there is one; exact here, since a hard link never replaces a file."""
        with self._written(key, BytesIO(data)) as (temporary, path):
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return False
        return True

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        """Write an object if it is still the one that was seen; exact where the file system has locks."""
        with self._written(key, BytesIO(data)) as (temporary, path), _locked(path.parent):
            try:
                found: str | None = self.head(key).etag
            except ObjectMissing:
                found = None
            if found != etag:
                return False
            temporary.replace(path)
        return True

    def get(self, key: str) -> bytes:
        """Read an object whole."""
        with self._read_errors(key), self._opened(key) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""
        with self._read_errors(key), self._opened(key) as file:
            file.seek(start)
            return file.read(length)

    def open(self, key: str) -> AbstractContextManager[Reader]:
        """Read an object piece by piece."""
        return self._opened(key)

    def head(self, key: str) -> ObjectInfo:
        """Describe an object."""
        with self._opened(key) as file:
            return _describe(key, os.fstat(file.fileno()))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Describe all objects under a prefix, and remove what writers left that died long ago."""
        check_prefix(prefix)
        return self._described(prefix, after)

    def keys(self, prefix: str) -> Iterator[str]:
        """Name all objects under a prefix; no file is looked at."""
        check_prefix(prefix)
        return (key for key, _ in self._walk(prefix[: prefix.rfind("/") + 1], prefix, ""))

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        """Describe the first objects under a prefix."""
        return tuple(islice(self.list(prefix, after=after), limit))

    def folders(self, prefix: str) -> tuple[str, ...]:
        """Name what lies directly below a prefix and has objects below it."""
        check_prefix(prefix)
        path = self._place(prefix[:-1]) if prefix else self.root
        try:
            with self._read_errors(prefix), os.scandir(path) as found:
                return tuple(sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False)))
        except ObjectMissing:
            return ()

    def delete(self, key: str) -> None:
        """Remove an object, if there is one, and the folders that this leaves empty."""
        path = self._place(key)
        with suppress(ObjectMissing), self._read_errors(key):
            path.unlink()
        for folder in Path(key).parents[:-1]:
            try:
                (self.root / folder).rmdir()
            except OSError:
                break  # it has other objects, or is gone already

    def _place(self, key: str) -> Path:
        """Where ``key`` lies; raises `StorageError` if a symbolic link would have to be followed to get there."""
        path = str(self.root)
        for name in check_key(key).split("/"):
            path = f"{path}/{name}"
            if os.path.islink(path):  # noqa: PTH114 - takes text, and raises nothing
                problem = "is, or lies behind, a symbolic link; put a real file or folder there"
                raise StorageError(f"{self.root / key} {problem}", key=key)
        return Path(path)

    def _opened(self, key: str) -> BinaryIO:
        path = self._place(key)
        with self._read_errors(key):
            return path.open("rb")

    @contextmanager
    def _written(self, key: str, source: BinaryIO) -> Iterator[tuple[Path, Path]]:
        """Write ``source`` to a temporary file; yields that and its place, for the caller to move it there."""
        path = self._place(key)
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

    def _described(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        for key, entry in self._walk(prefix[: prefix.rfind("/") + 1], prefix, after):
            with suppress(FileNotFoundError):
                yield _describe(key, entry.stat(follow_symlinks=False))

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        path = self._place(folder[:-1]) if folder else self.root
        try:
            with self._read_errors(folder), os.scandir(path) as found:
                # A folder sorts by its name with the slash, as its objects do: "a-b" comes before "a/b".
                entries = sorted((e.name + "/" * e.is_dir(follow_symlinks=False), e) for e in found)
        except ObjectMissing:
            return
        for name, entry in entries:
            if name.startswith(RESERVED):
                _sweep(entry)
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
            raise self._explained("read", key, error) from error

    @contextmanager
    def _write_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._explained("write", key, error) from error

    def _explained(self, verb: str, key: str, error: OSError) -> StorageError:
        kind = StoreUnavailable if error.errno in _MAY_PASS else StorageError
        advice = _ADVICE.get(error.errno or 0, error.strerror)
        return kind(f"can't {verb} {key} in {self.url}: {advice}", key=key, errno=error.errno)


def _is_before(name: str, after: str) -> bool:
    """Whether an object, or all objects in a folder, are left out; ``name`` of a folder ends with a slash."""
    return name <= after and not (name.endswith("/") and after.startswith(name))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other writers that compare out of a folder; some network file systems have no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _describe(key: str, found: os.stat_result) -> ObjectInfo:
    # The clock of a file system ticks too slowly to tell two quick writes apart; the inode does.
    etag = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
    return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC), etag)


def _create_beside(path: Path) -> tuple[Path, BinaryIO]:
    temporary = path.with_name(f"{RESERVED}{uuid.uuid4().hex}.tmp")
    for _ in range(3):
        # A delete at the same moment may take the folder, while it is still empty.
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
    # A rename lasts through a power loss once its folder is on the disk. Some network file systems can't do this.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep(entry: os.DirEntry[str]) -> None:
    with suppress(OSError):  # another list was faster, or this user may only read
        if time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_S:
            Path(entry.path).unlink()
