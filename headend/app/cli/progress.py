"""Showing a job's progress, on a terminal and elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from encoder.cluster import Done, Failed, Notice, TaskProgress, Tick
from headend.app.cli.wording import clock_text, count_text, printable
from headend.app.progress import Encoding, Progress
from headend.app.request import Event, Measured, Planned, PublishedEarly, Step
from headend.core import layout
from headend.core.settings import ATTEMPTS
from headend.core.storage.masters import redact

PLAIN_EVERY_S = 5.0
"""Interval between lines without a terminal, while frames are encoded."""
SILENT_S = 25.0
"""Longest time without a line."""


def figures(progress: Progress) -> str:
    """Format a job's progress in one line."""
    parts = [
        f"{progress.tasks_done:,} of {count_text(progress.tasks, 'task')}",
        f"{progress.frames_per_s:,.0f} frames/s",
        f"{progress.realtime:.2f} × real time",
        f"{clock_text(progress.left_s)} left" if progress.left_s is not None else "time left unknown",
        *([count_text(progress.retries, "retry").replace("retrys", "retries")] if progress.retries else []),
    ]
    return ", ".join(parts)


class Follower:
    """Turns a job's events into lines of text and, through `__rich__`, a progress bar.

    `note` and `tick` may be called from two threads.
    """

    def __init__(self, write: Callable[[str], None], *, plain: bool, clock: Callable[[], float] = time.monotonic):
        self._write_line = write
        self._plain = plain
        self._clock = clock
        self._started = clock()
        self._written = clock()
        self._step = "starting"
        self._spinner = Spinner("dots")
        self._encoding: Encoding | None = None
        self._lock = threading.RLock()

    def note(self, event: Event) -> None:
        """Process an event, and write a line if it is important enough."""
        with self._lock:
            self._note(event)

    def tick(self) -> None:
        """Write a line if there has been none for `SILENT_S`."""
        with self._lock:
            if self._plain and self._clock() - self._written >= SILENT_S:
                self._end_encoding()
                if self._encoding is not None:
                    self._write_progress(self._encoding)
                else:
                    self._write(f"{self._step}: {clock_text(self._clock() - self._started)} so far")

    def _note(self, event: Event) -> None:
        if isinstance(event, Step):
            self._encoding = None
            self._begin(event.name)
        elif isinstance(event, Planned):
            self._encoding = Encoding(event)
            self._begin("encoding")
            self._write(plan_line(event))
        elif isinstance(event, PublishedEarly):
            presentation = event.presentation
            playlist = layout.multivariant(presentation.title, presentation.release)
            self._write(f"early release {presentation.release} can be played: {playlist}")
        elif isinstance(event, Measured):
            self._measured(event)
        elif isinstance(event, Notice):
            self._write(printable(redact(event.text)))
        elif isinstance(event, TaskProgress | Done | Failed) and self._encoding is not None:
            self._encoding.note(event)
            if isinstance(event, Failed):
                again = "no further attempt" if event.last else "trying again"
                self._write(
                    f"attempt {event.attempt} of {ATTEMPTS} at {self._encoding.where(event.task)} failed, {again}: "
                    f"{printable(redact(event.error.message))}"
                )
            elif self._plain and self._clock() - self._written >= PLAIN_EVERY_S:
                self._write_progress(self._encoding)
        elif isinstance(event, Tick):
            self.tick()

    def _measured(self, event: Measured) -> None:
        """Show the progress of measuring once encoding is done; before that, measuring only fills idle workers."""
        line = f"measuring quality: {event.done:,} of {count_text(event.tasks, 'task')}"
        self._end_encoding()
        if self._encoding is None:
            self._step = line
            if self._plain and self._clock() - self._written >= PLAIN_EVERY_S:
                self._write(line)

    def __rich__(self) -> RenderableType:
        """Draw the live lines at the bottom of a terminal."""
        if self._encoding is None:
            self._spinner.update(text=self._step)
            return self._spinner
        progress = self._progress(self._encoding)
        line = Table.grid(padding=(0, 1))
        line.add_row(
            self._step, ProgressBar(total=1, completed=progress.share, width=50), Text(f"{progress.share:.0%}")
        )
        return Group(line, Text(figures(progress), style="dim", overflow="ellipsis", no_wrap=True))

    def _end_encoding(self) -> None:
        """Begin the next step if every task is done, as they are from the start if a job only continues."""
        if self._encoding is not None and (progress := self._progress(self._encoding)).share >= 1:
            self._encoding, self._step = None, "measuring quality"
            if progress.tasks:
                self._started = self._clock()

    def _begin(self, step: str) -> None:
        self._step = step
        self._started = self._written = self._clock()
        if self._plain and self._encoding is None:
            self._write(step)

    def _write(self, line: str) -> None:
        self._written = self._clock()
        self._write_line(line)

    def _write_progress(self, encoding: Encoding) -> None:
        progress = self._progress(encoding)
        self._write(f"encoding: {progress.share:.0%}, {figures(progress)}")

    def _progress(self, encoding: Encoding) -> Progress:
        return encoding.progress(self._clock() - self._started)


def plan_line(planned: Planned) -> str:
    """Describe a plan in one line."""
    plan, reused = planned.plan, len(planned.reused_tracks)
    known = f"; {reused:,} of {count_text(len(plan.tracks), 'track')} reused" if planned.reused_parts else ""
    if planned.reused_parts and reused < len(plan.tracks):
        known += f", {planned.reused_parts / len(plan.parts):.0%} of the parts done by an earlier run"
    return (
        f"{count_text(len(plan.video) + len(plan.audio), 'rendition')} of {count_text(plan.grid.frame_count, 'frame')} "
        f"in {count_text(len(plan.tasks), 'task')}{known}"
    )


@contextmanager
def following(console: Console) -> Iterator[Callable[[Event], None]]:
    """Show a job's events: updated in place on a terminal, line by line elsewhere.

    Args:
        console: The console on standard error.

    Yields:
        The function to call with each event.
    """
    if not console.is_interactive:
        follower, ended = Follower(lambda line: console.print(f"headend: {line}"), plain=True), threading.Event()

        def tick() -> None:
            while not ended.wait(1.0):
                follower.tick()

        # Write lines even while waiting for something without events, such as a store that does not respond.
        threading.Thread(target=tick, daemon=True).start()
        try:
            yield follower.note
        finally:
            ended.set()
        return
    follower = Follower(console.print, plain=False)
    with Live(follower, console=console, refresh_per_second=5, transient=True, redirect_stdout=False):
        yield follower.note
