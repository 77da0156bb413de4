"""Printing a job's events as lines of JSON, for programs."""

import json
import time
from collections.abc import Callable
from typing import Any

import click

from encoder.cluster import Done, Failed, Notice, TaskProgress, Tick
from headend.app.progress import Encoding
from headend.app.request import Event, Measured, Planned, PublishedEarly, Step
from headend.core.storage.masters import redact

EVERY_S = 1.0
"""Shortest interval between progress events."""


class Lines:
    """Writes each event as a line; progress at most once a second.

    Args:
        write: Called with each line.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, write: Callable[[str], None] = click.echo, clock: Callable[[], float] = time.monotonic) -> None:
        self._write_line = write
        self._clock = clock
        self._encoding: Encoding | None = None
        self._began_s = self._written_s = clock()

    def note(self, event: Event) -> None:
        """Process an event of a job."""
        if isinstance(event, Step):
            self.write("step", step=event.name)
        elif isinstance(event, Planned):
            self._encoding = Encoding(event)
            self._began_s = self._clock()
            self.write("planned", tasks=len(event.plan.tasks), reused_parts=event.reused_parts)
        elif isinstance(event, PublishedEarly):
            self.write("published_early", release=event.presentation.release)
        elif isinstance(event, Measured):
            self.write("measured", done=event.done, tasks=event.tasks)
        elif isinstance(event, Notice):
            self.write("notice", text=redact(event.text))
        elif isinstance(event, TaskProgress | Done | Failed | Tick):
            self._count(event)

    def write(self, name: str, **facts: Any) -> None:
        """Write a line."""
        self._write_line(json.dumps({"event": name, **facts}))

    def _count(self, event: TaskProgress | Done | Failed | Tick) -> None:
        if self._encoding is None:
            return
        if not isinstance(event, Tick):
            self._encoding.note(event)
        if isinstance(event, Failed):
            error = redact(event.error.message)
            self.write("attempt_failed", task=event.task, attempt=event.attempt, error=error, last=event.last)
        if self._clock() - self._written_s >= EVERY_S:
            self._written_s = self._clock()
            now = self._encoding.progress(self._clock() - self._began_s)
            self.write(
                "progress",
                share=round(now.share, 4),
                tasks=now.tasks,
                tasks_done=now.tasks_done,
                retries=now.retries,
                frames_per_s=round(now.frames_per_s, 1),
                realtime=round(now.realtime, 3),
                left_s=None if now.left_s is None else round(now.left_s),
            )
