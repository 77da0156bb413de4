"""A job's progress: how far it is, and how that is shown on a terminal and elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from encoder.cluster import Advance, Done, Failed, Notice, Tick
from headend import layout
from headend.cli.wording import clock_text, count_text, printable
from headend.media import EncodeTask, Kind
from headend.pipeline import Event, Planned, PublishedEarly, Step
from headend.settings import ATTEMPTS
from headend.storage.masters import redact

PLAIN_EVERY_S = 5.0
"""How often a line is written where there is no terminal, while frames are encoded."""
SILENT_S = 25.0
"""After how long without a line one is written in any case."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the encoding of a job is at one moment.

    Attributes:
        share: Part of all tasks' cost that is done, 0 to 1.
        tasks: Tasks of this run.
        tasks_done: Those that are done.
        retries: Attempts that failed and are made again.
        frames_per_s: Frames of all video renditions, in this run, per second of it.
        realtime: Seconds of the title that pass through the whole ladder in a second.
        left_s: Seconds until all is done at this speed; None while none is known.
    """

    share: float
    tasks: int
    tasks_done: int
    retries: int
    frames_per_s: float
    realtime: float
    left_s: float | None


class Encoding:
    """Counts what the events of a job say of its tasks; an event costs the same whatever the number of tasks."""

    def __init__(self, planned: Planned) -> None:
        self.plan = planned.plan
        self.retries = 0
        self._divisors = {rendition.id: rendition.rate_divisor for rendition in (*self.plan.video, *self.plan.trick)}
        self._tasks = {task.id: task for task in self.plan.tasks}
        self._shares = dict.fromkeys(self._tasks, 0.0)
        self._cost = sum(task.cost for task in self.plan.tasks) or 1.0
        self._done_cost = 0.0
        self._done_tasks = 0
        self._frames_done = 0.0

    def note(self, event: Advance | Done | Failed) -> None:
        """Take in an event."""
        if isinstance(event, Done):
            self._done_tasks += self._shares[event.receipt.task] < 1
            self._set(event.receipt.task, 1.0)
        elif isinstance(event, Failed):
            self._set(event.task, 0.0)
            self.retries += not event.last
        elif self._shares[event.task] < 1:  # a last word may come after the receipt
            # FFmpeg counts the frames of its first output.
            wanted = self._frames(self._tasks[event.task], self._tasks[event.task].renditions[:1])
            self._set(event.task, min(0.99, event.frames / wanted) if wanted else 0.0)

    def progress(self, elapsed_s: float) -> Progress:
        """Sum up, ``elapsed_s`` seconds after the plan was made."""
        speed = self._done_cost / max(elapsed_s, 0.001)
        return Progress(
            share=min(1.0, self._done_cost / self._cost) if self._tasks else 1.0,
            tasks=len(self.plan.tasks),
            tasks_done=self._done_tasks,
            retries=self.retries,
            frames_per_s=self._frames_done / max(elapsed_s, 0.001),
            realtime=speed / self._cost * float(self.plan.grid.duration_s),
            # The first moments go into starting, and would foretell hours.
            left_s=max(0.0, self._cost - self._done_cost) / speed if self._done_cost > 0.02 * self._cost else None,
        )

    def _set(self, id: str, share: float) -> None:
        task, more = self._tasks[id], share - self._shares[id]
        self._shares[id] = share
        self._done_cost += more * task.cost
        self._frames_done += more * self._frames(task, task.renditions)

    def where(self, task: str) -> str:
        """Name a task for people."""
        found = self._tasks[task]
        more = f" and {len(found.renditions) - 1} more" if len(found.renditions) > 1 else ""
        place = f"chunk {found.chunk.number} of " if found.kind is Kind.VIDEO else ""
        made = found.renditions or tuple(rendition for rendition, _ in found.parts)
        return f"{place}{made[0]}{more}"

    def _frames(self, task: EncodeTask, renditions: tuple[str, ...]) -> int:
        if task.kind is not Kind.VIDEO:
            return 0
        return sum(-(-task.chunk.frame_count // self._divisors[rendition]) for rendition in renditions)


def figures(progress: Progress) -> str:
    """How far a job is, in one line."""
    parts = [
        f"{progress.tasks_done:,} of {count_text(progress.tasks, 'task')}",
        f"{progress.frames_per_s:,.0f} frames/s",
        f"{progress.realtime:.2f} × real time",
        f"{clock_text(progress.left_s)} left" if progress.left_s is not None else "time left not known yet",
        *([count_text(progress.retries, "retry").replace("retrys", "retries")] if progress.retries else []),
    ]
    return ", ".join(parts)


class Follower:
    """Turns a job's events into words; what is drawn is asked for by `__rich__`, what is written goes by `note`.

    `note` and `tick` may be called from two threads.
    """

    def __init__(self, write: Callable[[str], None], *, plain: bool, clock: Callable[[], float] = time.monotonic):
        self._write_line = write
        self._plain = plain
        self._clock = clock
        self._started = clock()
        self._said = clock()
        self._step = "beginning"
        self._spinner = Spinner("dots")
        self._encoding: Encoding | None = None
        self._lock = threading.RLock()

    def note(self, event: Event) -> None:
        """Take in an event, and write a line if it is worth one."""
        with self._lock:
            self._note(event)

    def tick(self) -> None:
        """Write a line if there has been none for long."""
        with self._lock:
            if self._plain and self._clock() - self._said >= SILENT_S:
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
            made = event.presentation
            self._write(f"first release {made.release} can be played: {layout.multivariant(made.title, made.release)}")
        elif isinstance(event, Notice):
            self._write(printable(redact(event.text)))
        elif isinstance(event, Advance | Done | Failed) and self._encoding is not None:
            self._encoding.note(event)
            if isinstance(event, Failed):
                again = "no further attempt" if event.last else "trying again"
                self._write(
                    f"attempt {event.attempt} of {ATTEMPTS} at {self._encoding.where(event.task)} failed, {again}: "
                    f"{printable(redact(event.error.message))}"
                )
            elif self._plain and self._clock() - self._said >= PLAIN_EVERY_S:
                self._write_progress(self._encoding)
        elif isinstance(event, Tick):
            self.tick()

    def __rich__(self) -> RenderableType:
        """Draw the last lines of a terminal."""
        if self._encoding is None:
            self._spinner.update(text=self._step)
            return self._spinner
        progress = self._progress(self._encoding)
        line = Table.grid(padding=(0, 1))
        line.add_row(
            self._step, ProgressBar(total=1, completed=progress.share, width=50), Text(f"{progress.share:.0%}")
        )
        return Group(line, Text(figures(progress), style="dim", overflow="ellipsis", no_wrap=True))

    def _begin(self, step: str) -> None:
        self._step = step
        self._started = self._said = self._clock()
        if self._plain and self._encoding is None:
            self._write(step)

    def _write(self, line: str) -> None:
        self._said = self._clock()
        self._write_line(line)

    def _write_progress(self, encoding: Encoding) -> None:
        progress = self._progress(encoding)
        self._write(f"encoding: {progress.share:.0%}, {figures(progress)}")

    def _progress(self, encoding: Encoding) -> Progress:
        return encoding.progress(self._clock() - self._started)


def plan_line(planned: Planned) -> str:
    """What begins, in one line."""
    plan, reused = planned.plan, len(planned.reused_tracks)
    known = f"; {reused:,} of {count_text(len(plan.tracks), 'track')} reused" if planned.reused_parts else ""
    if planned.reused_parts and reused < len(plan.tracks):
        known += f", {planned.reused_parts / len(plan.parts):.0%} of all work done by an earlier run"
    return (
        f"{count_text(len(plan.video) + len(plan.audio), 'rendition')} of {plan.grid.frame_count:,} frames in "
        f"{count_text(len(plan.tasks), 'task')}{known}"
    )


@contextmanager
def following(console: Console) -> Iterator[Callable[[Event], None]]:
    """Show a job's events: drawn anew in place on a terminal, line by line elsewhere.

    Args:
        console: On standard error.

    Yields:
        What takes the events.
    """
    if not console.is_interactive:
        follower, ended = Follower(lambda line: console.print(f"headend: {line}"), plain=True), threading.Event()

        def tick() -> None:
            while not ended.wait(1.0):
                follower.tick()

        # Also while something is waited for that tells nothing itself, such as a store that does not answer.
        threading.Thread(target=tick, daemon=True).start()
        try:
            yield follower.note
        finally:
            ended.set()
        return
    follower = Follower(console.print, plain=False)
    with Live(follower, console=console, refresh_per_second=5, transient=True, redirect_stdout=False):
        yield follower.note
