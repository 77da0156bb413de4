"""A disk cache of upstream files, named by their digests.

The folder may be lost, truncated or changed at any time: files found in it are hashed before they are served. Each
worker process writes to its own subfolder, up to its share of the budget, and reads the subfolders of the others. So
the budget holds without coordination between processes.
"""

import hashlib
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import ConfigError
from headend.core.http.blobs import Blob, in_file

BYTES = 10 << 30
"""Default budget."""
RETRY_AFTER_S = 30.0
"""How long nothing is written after a failed write, for example because the disk is full."""
WRITE_BYTES = 4 << 20
"""Bytes per write: large writes end up in large pages, which the kernel sends with less work."""

_TEMPORARY = "arriving-"
_NAME = re.compile("[0-9a-f]{64}")

log = logging.getLogger("headend.core.caching")


@dataclass(slots=True)
class Entry:
    """A file in the cache.

    Attributes:
        is_verified: Whether this process wrote or hashed it.
    """

    is_verified: bool


class DiskCache:
    """One worker's part of the cache; may be used from several threads.

    Args:
        folder: Shared by all workers.
        budget_bytes: For all workers together.
        worker: This worker's number, from 0.
        workers: Number of workers.
        count: Called with what happened to a file: kept, evicted, damaged or failed.
        clock: Seconds, monotonic.

    Raises:
        ConfigError: The folder can't be used.
    """

    def __init__(
        self,
        folder: Path,
        budget_bytes: int,
        *,
        worker: int = 0,
        workers: int = 1,
        count: Callable[[str], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folders = [folder / str((worker + turn) % workers) for turn in range(workers)]
        self._own = self._folders[0]
        self._count = count
        self._clock = clock
        self._share_bytes = budget_bytes // workers
        self._writes_from_s = 0.0
        self._lock = threading.Lock()
        self._entries: SegmentedLRU[str, Entry] = SegmentedLRU(self._share_bytes, self._evict)
        try:
            self._own.mkdir(parents=True, exist_ok=True)
            self._rebuild()
            if worker == 0:
                for subfolder in folder.iterdir():
                    if subfolder.name.isdecimal() and int(subfolder.name) >= workers:
                        shutil.rmtree(subfolder)  # of an earlier run with more workers
        except OSError as error:
            raise ConfigError(
                f"{folder} can't hold a cache ({error.strerror}): choose another with --disk-cache"
            ) from error

    @property
    def size_bytes(self) -> int:
        """Bytes that this worker keeps."""
        return self._entries.size_bytes

    def open(self, sha256: bytes, size_bytes: int) -> Blob | None:
        """Open a file; verify it unless this worker has done so before. None if it is missing or damaged."""
        name = sha256.hex()
        with self._lock:
            entry = self._entries.get(name)
        for folder in self._folders:
            try:
                file = (folder / name).open("rb", buffering=0)
            except OSError:
                continue
            with file:
                known = folder == self._own and entry is not None and entry.is_verified
                if os.fstat(file.fileno()).st_size == size_bytes and (
                    known or hashlib.file_digest(file, "sha256").digest() == sha256
                ):
                    if folder == self._own and entry is not None:
                        entry.is_verified = True
                    return in_file(os.dup(file.fileno()), size_bytes)
            self._count("damaged")
            if folder == self._own:
                with self._lock:
                    self._entries.drop(name)
                self._remove(name)
        return None

    def keep(self, sha256: bytes, blob: Blob) -> Blob | None:
        """Write a complete blob to the disk; returns the file's blob, or None if it was not written."""
        name = sha256.hex()
        with self._lock:
            is_kept = self._entries.get(name) is not None
        if is_kept or blob.size_bytes > self._share_bytes or self._clock() < self._writes_from_s:
            return None
        try:
            with tempfile.NamedTemporaryFile(dir=self._own, prefix=_TEMPORARY, delete=False, buffering=0) as file:
                try:
                    while piece := os.pread(blob.fd, WRITE_BYTES, file.tell()):
                        file.write(piece)
                    Path(file.name).replace(self._own / name)
                    kept = in_file(os.dup(file.fileno()), blob.size_bytes)
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
        except OSError as error:
            self._writes_from_s = self._clock() + RETRY_AFTER_S
            self._count("failed")
            log.warning(
                "a write to the disk cache failed (%s); the next one is tried in %.0f s", error.strerror, RETRY_AFTER_S
            )
            return None
        with self._lock:
            self._entries.put(name, Entry(is_verified=True), blob.size_bytes)
        self._count("kept")
        return kept

    def _evict(self, name: str, _: Entry) -> None:
        self._remove(name)
        self._count("evicted")

    def _remove(self, name: str) -> None:
        with suppress(OSError):
            (self._own / name).unlink()

    def _rebuild(self) -> None:
        """Adopt files that an earlier process left; the oldest is evicted first."""
        files = []
        with os.scandir(self._own) as entries:
            for entry in entries:
                if entry.name.startswith(_TEMPORARY):
                    Path(entry.path).unlink()
                elif _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    files.append((status.st_mtime_ns, entry.name, status.st_size))
        for _, name, size_bytes in sorted(files):
            if size_bytes > self._share_bytes:
                self._remove(name)
            else:
                self._entries.put(name, Entry(is_verified=False), size_bytes)
