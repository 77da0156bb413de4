"""Spilling: bodies that only slow readers still need move from memory to a temporary file."""

import asyncio
import logging
import os
import tempfile
import weakref
from pathlib import Path

from headend.core.http.blobs import Blob, in_file

WAIT_S = 2.0
"""How long readers may take after a body was evicted: most are done by then."""
PIECE_BYTES = 1 << 20

_FOLDER = Path("/var/tmp")
"""On a disk also where ``/tmp`` is memory."""

log = logging.getLogger("headend.core.caching")


class Spiller:
    """Frees memory that a cache has evicted but slow readers still hold. Belongs to one event loop.

    Args:
        folder: Where temporary files go; they have no name, so that nothing is left of them after a crash.
        wait_s: How long after its eviction a body is moved.
    """

    def __init__(self, folder: Path | None = None, *, wait_s: float = WAIT_S) -> None:
        self._folder = folder or (_FOLDER if os.access(_FOLDER, os.W_OK) else None)
        self._wait_s = wait_s
        self._tasks: set[asyncio.Task[None]] = set()

    def evicted(self, blob: Blob) -> None:
        """Note that the cache no longer holds a body."""
        if blob.memory_bytes:
            asyncio.get_running_loop().call_later(self._wait_s, self._begin, weakref.ref(blob))

    def _begin(self, found: "weakref.ref[Blob]") -> None:
        blob = found()
        if blob is not None and blob.readers and blob.memory_bytes and blob.is_whole:
            task = asyncio.get_running_loop().create_task(self._move(blob))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _move(self, blob: Blob) -> None:
        try:
            place = await asyncio.to_thread(_copy, blob, self._folder)
        except OSError as error:
            log.warning("a body of a slow reader stays in memory: %s", error.strerror)
        else:
            blob.move(place)


def _copy(blob: Blob, folder: Path | None) -> Blob:
    """Write a whole body to a file without a name."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while piece := os.pread(blob.fd, PIECE_BYTES, file.tell()):
            file.write(piece)
        return in_file(os.dup(file.fileno()), blob.size_bytes)
