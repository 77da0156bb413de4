"""The log of a worker in a cluster: a JSON line on standard error when a task begins and when it ends.

Workers on the submitting machine log nothing: `headend submit` and `headend dispatch` report their tasks.
"""

import json
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from headend.core.errors import Cancelled, HeadendError
from headend.core.media import EncodeTask, Receipt
from headend.core.media.quality import Measurement, MeasureTask
from headend.core.storage.masters import redact


class TaskLog:
    """The lines about one run of a task.

    Args:
        title: Catalogue entry.
        task: The task.
        attempt: Number of the attempt, from 1.
        worker: The worker's address.
    """

    def __init__(self, title: str, task: EncodeTask | MeasureTask, attempt: int, worker: str) -> None:
        self._facts = {
            "title": title,
            "task": task.id,
            "label": task.label,
            "attempt": attempt,
            "worker": worker,
        }
        self._command = redact(shlex.join(task.argv)) if isinstance(task, EncodeTask) else ""
        self._began_s = time.monotonic()

    @contextmanager
    def running(self) -> Iterator["TaskLog"]:
        """Log that the task began, and that it failed if the block raises; the caller logs success with `done`."""
        self._write("info", "task began", command=self._command)
        try:
            yield self
        except Cancelled:
            self._write("info", "task stopped")
            raise
        except HeadendError as error:
            self._write("error", "task failed", error=type(error).__name__, message=redact(error.message))
            raise
        except BaseException as error:
            self._write("error", "task failed", error=type(error).__name__, message=redact(str(error)))
            raise

    def done(self, receipt: Receipt | Measurement) -> None:
        """Log success."""
        memory = {"peak_memory_bytes": receipt.peak_memory_bytes} if isinstance(receipt, Receipt) else {}
        segments = sum(len(track.segments) for track in receipt.tracks)
        self._write("info", "task done", cpu_s=round(receipt.cpu_s, 3), segments=segments, **memory)

    def _write(self, level: str, event: str, **more: object) -> None:
        line = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": event,
            **self._facts,
            "wall_s": round(time.monotonic() - self._began_s, 3),
            **more,
        }
        # One write for the whole line: lines of several threads and processes must not mix.
        sys.stderr.write(json.dumps(line) + "\n")
        sys.stderr.flush()
