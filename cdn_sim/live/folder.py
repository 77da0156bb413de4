"""The edge's disk: one file per object, written in the place where it will stay.

An object arrives in a hidden file beside its place and is moved there when its digest is right, so that no path ever
holds half an object. Files that an earlier process left are taken over oldest first, and hashed before they are served.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from headend.core.errors import ConfigError
from headend.core.http.blobs import Blob, in_file

_ARRIVING = ".arriving-"
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class NoRoom(Exception):
    """The disk is full, or can't be written."""


class Folder:
    """Objects by key, a path of two or three parts such as ``film/avc-1080p-6000k-3f9c2ab1d0/7.m4s``.

    Args:
        root: Where the files are; made if it is missing.

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
            raise ConfigError(f"{root} can't hold a cache ({error.strerror}): choose another with --disk") from error

    @property
    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self._root).free

    def found(self) -> Iterator[tuple[str, int]]:
        """Keys and sizes of what an earlier process left, oldest first; what it left half is removed."""
        files = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = Path(folder, name)
                if name.startswith(_ARRIVING):
                    path.unlink(missing_ok=True)
                    continue
                key = path.relative_to(self._root).as_posix()
                if all(_PART.fullmatch(part) for part in key.split("/")):
                    with suppress(OSError):
                        status = path.stat(follow_symlinks=False)
                        files.append((status.st_ctime_ns, key, status.st_size))
        for _, key, size_bytes in sorted(files):
            yield key, size_bytes

    def open(self, key: str, size_bytes: int, sha256: bytes) -> Blob | None:
        """Open an object, hashed unless this process wrote or hashed it before; None if it is missing or damaged."""
        try:
            fd = os.open(self._root / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if os.fstat(fd).st_size != size_bytes:
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
        """Reserve room for an object; raises `NoRoom` before anything was received if there is none."""
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
        """Remove an object, if it is there; what is being sent from it goes on."""
        self._verified.discard(key)
        path = self._root / key
        with suppress(OSError):
            path.unlink()
            path.parent.rmdir()

    def keep(self, key: str) -> None:
        """Note that an object was verified."""
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
        """Move it to its place, with the time at which the origin says that it was written.

        Raises:
            NoRoom: The disk refuses.
        """
        try:
            os.utime(self.blob.fd, (modified_s, modified_s))
            self._temporary.replace(self._path)
        except OSError as error:
            self.discard()
            raise NoRoom(error.strerror) from error
        self._folder.keep(self._key)

    def discard(self) -> None:
        """Remove it."""
        self._temporary.unlink(missing_ok=True)
