"""Spilling: moves bodies that only slow readers still need from memory to a temporary file."""

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
"""On disk even where ``/tmp`` is in memory."""

log = logging.getLogger("headend.core.caching")


class Spiller:
    """Frees memory that a cache has evicted but slow readers still hold. Belongs to one event loop.

    Args:
        folder: Folder for the temporary files. They have no name, so a crash leaves none behind.
        wait_s: Seconds between a body's eviction and its move.
    """

    def __init__(self, folder: Path | None = None, *, wait_s: float = WAIT_S) -> None:
        self._folder = folder or (_FOLDER if os.access(_FOLDER, os.W_OK) else None)
        self._wait_s = wait_s
        self._tasks: set[asyncio.Task[None]] = set()

    def evicted(self, blob: Blob) -> None:
        """Schedule the move of a body that the cache no longer holds."""
        if blob.memory_bytes:
            asyncio.get_running_loop().call_later(self._wait_s, self._begin, weakref.ref(blob))

    def _begin(self, reference: "weakref.ref[Blob]") -> None:
        blob = reference()
        if blob is not None and blob.readers and blob.memory_bytes and blob.is_complete:
            task = asyncio.get_running_loop().create_task(self._move(blob))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _move(self, blob: Blob) -> None:
        try:
            place = await asyncio.to_thread(_copy, blob, self._folder)
        except OSError as error:
            log.warning("a slow reader's body stays in memory: %s", error.strerror)
        else:
            blob.switch_to(place)


def _copy(blob: Blob, folder: Path | None) -> Blob:
    """Write a complete body to an unnamed file."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        while piece := os.pread(blob.fd, PIECE_BYTES, file.tell()):
            file.write(piece)
        return in_file(os.dup(file.fileno()), blob.size_bytes)
