"""The access log: one JSON line per request, written in batches."""

import time
from collections.abc import Callable
from select import PIPE_BUF
from typing import TextIO

import msgspec

FLUSH_S = 1.0
"""Longest time between a request and the write of its line."""
MAX_LINES = 50_000
"""Maximum number of buffered lines if the writer is slow; further lines are dropped and counted."""


class AccessLog:
    """Buffers log lines to write many at once: writing single lines would cost about as much as a small response.

    Queries, headers and tokens are not logged, because they may be secret. Paths without a route are not logged either,
    because clients can put anything there.

    Args:
        stream: Stream to write to.
        redact: Removes secrets from a path.
    """

    def __init__(self, stream: TextIO, redact: Callable[[str], str] = lambda path: path) -> None:
        self._stream = stream
        self._redact = redact
        self._lines: list[dict[str, object]] = []
        self._lost = 0

    def add(
        self, client: str, method: str, target: str, route: str, status: int, sent_bytes: int, seconds: float
    ) -> None:
        """Record a request."""
        if len(self._lines) >= MAX_LINES:
            self._lost += 1
            return
        self._lines.append(
            {
                "at_s": round(time.time(), 3),
                "client": client,
                "method": method if route != "other" else "",
                "path": self._redact(target.partition("?")[0]) if route != "other" else "",
                "route": route,
                "status": int(status),
                "sent_bytes": sent_bytes,
                "ms": round(seconds * 1000, 2),
            }
        )

    def take(self) -> list[dict[str, object]]:
        """Remove and return the buffered lines."""
        lines, self._lines = self._lines, []
        if self._lost:
            lines.append({"at_s": round(time.time(), 3), "lost_lines": self._lost})
            self._lost = 0
        return lines

    def write(self, lines: list[dict[str, object]]) -> None:
        """Write lines; may be called from another thread than the other methods.

        Writes stay below the size that pipes write atomically, since several processes may share one pipe.
        """
        batch = ""
        for line in lines:
            text = f"{msgspec.json.encode(line).decode()}\n"
            if len(batch) + len(text) > PIPE_BUF:
                self._put(batch)
                batch = ""
            batch += text
        self._put(batch)

    def _put(self, batch: str) -> None:
        self._stream.write(batch)
        self._stream.flush()
