"""The edge's disk: one file per object.

An object is written to a hidden file in the same folder, and renamed when its digest has been verified. So a file at
its final path is always complete. Files of an earlier process are kept, and hashed before they are served.
"""

import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from headend.core.errors import ConfigError
from headend.core.http.blobs import Blob, in_file

_ARRIVING = ".arriving-"
"""Prefix of the hidden files."""
_KEY_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class NoRoom(Exception):
    """The disk is full or not writable."""


class Folder:
    """Objects by key, a path of two or three parts such as ``film/avc-1080p-6000k-3f9c2ab1d0/7.m4s``.

    Args:
        root: Folder of the files; created if it is missing.

    Raises:
        ConfigError: The folder can't be used.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._verified: set[str] = set()
        try:
            root.mkdir(parents=True, exist_ok=True)
            probe = root / f"{_ARRIVING}{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise ConfigError(f"{root} can't be used as a cache ({error.strerror}): choose another --disk") from error

    @property
    def free_bytes(self) -> int:
        """Free space on the disk."""
        return shutil.disk_usage(self._root).free

    def found(self) -> Iterator[tuple[str, int]]:
        """Keys and sizes of an earlier process's objects, oldest first; incomplete files are removed."""
        files = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                if name.startswith(_ARRIVING):
                    path.unlink(missing_ok=True)
                    continue
                key = path.relative_to(self._root).as_posix()
                if all(_KEY_PART.fullmatch(part) for part in key.split("/")):
                    with suppress(OSError):
                        status = path.stat(follow_symlinks=False)
                        if not stat.S_ISREG(status.st_mode):
                            continue
                        files.append((status.st_ctime_ns, key, status.st_size))
        for _, key, size_bytes in sorted(files):
            yield key, size_bytes

    def open(self, key: str, size_bytes: int, sha256: bytes) -> Blob | None:
        """Open an object; None if it is missing or damaged. Its first use by this process hashes it."""
        try:
            # Opening a pipe would wait for its other end.
            fd = os.open(self._root / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size != size_bytes:
                os.close(fd)
                return None
            if key not in self._verified:
                with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
                    if hashlib.file_digest(file, "sha256").digest() != sha256:
                        os.close(fd)
                        return None
                self._verified.add(key)
        except OSError:
            os.close(fd)
            return None
        return in_file(fd, size_bytes)

    def create(self, key: str, size_bytes: int) -> "ArrivingFile":
        """Create a file and reserve space for an object; raises `NoRoom` if the disk is full."""
        path = self._root / key
        temporary = path.with_name(f"{_ARRIVING}{path.name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise NoRoom(error.strerror) from error
        try:
            if size_bytes:
                os.posix_fallocate(fd, 0, size_bytes)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                os.close(fd)
                temporary.unlink(missing_ok=True)
                raise NoRoom(error.strerror) from error
        return ArrivingFile(self, key, temporary, path, Blob(fd, size_bytes, memory_bytes=0, ready_bytes=0))

    def remove(self, key: str) -> None:
        """Remove an object if it exists; responses that are being sent from it continue."""
        self._verified.discard(key)
        path = self._root / key
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()

    def keep(self, key: str) -> None:
        """Remember that an object was verified."""
        self._verified.add(key)


class ArrivingFile:
    """A file that is being written.

    Attributes:
        blob: Its bytes.
    """

    def __init__(self, folder: Folder, key: str, temporary: Path, path: Path, blob: Blob) -> None:
        self._folder = folder
        self._key = key
        self._temporary = temporary
        self._path = path
        self.blob = blob

    def finish(self, modified_s: float) -> None:
        """Rename the complete file to its final name, and set the origin's Last-Modified as its time.

        Raises:
            NoRoom: The disk is full or not writable.
        """
        try:
            os.utime(self.blob.fd, (modified_s, modified_s))
            self._temporary.replace(self._path)
        except OSError as error:
            self.discard()
            raise NoRoom(error.strerror) from error
        self._folder.keep(self._key)

    def discard(self) -> None:
        """Remove the file."""
        self._temporary.unlink(missing_ok=True)
