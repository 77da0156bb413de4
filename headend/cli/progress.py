"""A job's progress: how far it is, and how that is shown on a terminal and elsewhere."""

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

from encoder.cluster import Advance, Done, Failed
from headend import layout
from headend.cli.wording import clock_text, count_text, printable
from headend.media import EncodePlan, EncodeTask, Kind
from headend.pipeline import Event, Planned, PublishedEarly, Step
from headend.settings import ATTEMPTS
from headend.storage.masters import redact

PLAIN_EVERY_S = 5.0
"""How often a line is written where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the encoding of a job is at one moment.

    Attributes:
        share: Part of all tasks' cost that is done, reused ones included, 0 to 1.
        tasks: Tasks in all.
        tasks_done: Those that are done, reused ones included.
        tasks_reused: Those that an earlier run had done.
        retries: Attempts that failed and are made again.
        frames_per_s: Frames of all video renditions, in this run, per second of it.
        realtime: Seconds of the title that pass through the whole ladder in a second.
        left_s: Seconds until all is done at this speed; None while none is known.
    """

    share: float
    tasks: int
    tasks_done: int
    tasks_reused: int
    retries: int
    frames_per_s: float
    realtime: float
    left_s: float | None


class Encoding:
    """Counts what the events of a job say of its tasks.

    Events come from more than one thread. All keys are there from the start, so that reading needs no lock.
    """

    def __init__(self, planned: Planned) -> None:
        self.plan = planned.plan
        self.retries = 0
        self._reused = frozenset(planned.reused)
        self._divisors = {rendition.id: rendition.rate_divisor for rendition in (*self.plan.video, *self.plan.trick)}
        self._tasks = {task.id: task for task in self.plan.tasks}
        self._shares = {task.id: float(task.id in self._reused) for task in self.plan.tasks}

    def note(self, event: Advance | Done | Failed) -> None:
        """Take in an event."""
        if isinstance(event, Done):
            self._shares[event.receipt.task] = 1.0
        elif isinstance(event, Failed):
            self._shares[event.task] = 0.0
            self.retries += not event.last
        elif self._shares[event.task] < 1:  # a last word may come after the receipt
            # FFmpeg counts the frames of its first output.
            wanted = self._frames(self._tasks[event.task], self._tasks[event.task].renditions[:1])
            self._shares[event.task] = min(0.99, event.frames / wanted) if wanted else 0.0

    def standing(self, elapsed_s: float) -> Standing:
        """Sum up, ``elapsed_s`` seconds after the plan was made."""
        shares = dict(self._shares)
        cost = sum(task.cost for task in self.plan.tasks)
        done = sum(task.cost * shares[task.id] for task in self.plan.tasks)
        reused = sum(task.cost for task in self.plan.tasks if task.id in self._reused)
        fresh = [task for task in self.plan.tasks if task.id not in self._reused]
        frames = sum(shares[task.id] * self._frames(task, task.renditions) for task in fresh)
        speed = (done - reused) / max(elapsed_s, 0.001)
        return Standing(
            share=done / cost,
            tasks=len(self.plan.tasks),
            tasks_done=sum(share == 1 for share in shares.values()),
            tasks_reused=len(self._reused),
            retries=self.retries,
            frames_per_s=frames / max(elapsed_s, 0.001),
            realtime=speed / cost * float(self.plan.grid.duration_s),
            # The first moments go into starting, and would foretell hours.
            left_s=(cost - done) / speed if done - reused > 0.02 * cost else None,
        )

    def where(self, task: str) -> str:
        """Name a task for people."""
        found = self._tasks[task]
        more = f" and {len(found.renditions) - 1} more" if len(found.renditions) > 1 else ""
        place = f"chunk {found.chunk.number} of " if found.kind is Kind.VIDEO else ""
        return f"{place}{found.renditions[0]}{more}"

    def _frames(self, task: EncodeTask, renditions: tuple[str, ...]) -> int:
        if task.kind is not Kind.VIDEO:
            return 0
        return sum(-(-task.chunk.frame_count // self._divisors[rendition]) for rendition in renditions)


def figures(standing: Standing) -> str:
    """A standing in one line."""
    parts = [
        f"{standing.tasks_done:,} of {count_text(standing.tasks, 'task')}",
        f"{standing.frames_per_s:,.0f} frames/s",
        f"{standing.realtime:.2f} × real time",
        f"{clock_text(standing.left_s)} left" if standing.left_s is not None else "time left not known yet",
        *([f"{standing.tasks_reused:,} reused"] if standing.tasks_reused else []),
        *([count_text(standing.retries, "retry").replace("retrys", "retries")] if standing.retries else []),
    ]
    return ", ".join(parts)


class Follower:
    """Turns a job's events into words; what is drawn is asked for by `__rich__`, what is written goes by `note`."""

    def __init__(self, write: Callable[[str], None], *, plain: bool, clock: Callable[[], float] = time.monotonic):
        self._write = write
        self._plain = plain
        self._clock = clock
        self._started = clock()
        self._said = clock()
        self._step = "beginning"
        self._spinner = Spinner("dots")
        self._encoding: Encoding | None = None

    def note(self, event: Event) -> None:
        """Take in an event, and write a line if it is worth one."""
        if isinstance(event, Step):
            self._encoding = None
            self._begin(event.name)
        elif isinstance(event, Planned):
            self._encoding = Encoding(event)
            self._begin("encoding")
            self._write(plan_line(event.plan, len(event.reused)))
        elif isinstance(event, PublishedEarly):
            made = event.presentation
            self._write(f"first release {made.release} can be played: {layout.multivariant(made.title, made.release)}")
        elif self._encoding is not None:
            self._encoding.note(event)
            if isinstance(event, Failed):
                again = "given up" if event.last else "trying again"
                self._write(
                    f"attempt {event.attempt} of {ATTEMPTS} at {self._encoding.where(event.task)} failed, {again}: "
                    f"{printable(redact(event.error.message))}"
                )
            elif self._plain and self._clock() - self._said >= PLAIN_EVERY_S:
                self._said = self._clock()
                standing = self._standing(self._encoding)
                self._write(f"encoding: {standing.share:.0%}, {figures(standing)}")

    def __rich__(self) -> RenderableType:
        """Draw the last lines of a terminal."""
        if self._encoding is None:
            self._spinner.update(text=self._step)
            return self._spinner
        standing = self._standing(self._encoding)
        line = Table.grid(padding=(0, 1))
        line.add_row(
            self._step, ProgressBar(total=1, completed=standing.share, width=50), Text(f"{standing.share:.0%}")
        )
        return Group(line, Text(figures(standing), style="dim", overflow="ellipsis", no_wrap=True))

    def _begin(self, step: str) -> None:
        self._step = step
        self._started = self._said = self._clock()
        if self._plain and self._encoding is None:
            self._write(step)

    def _standing(self, encoding: Encoding) -> Standing:
        return encoding.standing(self._clock() - self._started)


def plan_line(plan: EncodePlan, reused: int) -> str:
    """What begins, in one line."""
    known = f", {reused:,} of them done by an earlier run" if reused else ""
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
        yield Follower(lambda line: console.print(f"headend: {line}"), plain=True).note
        return
    follower = Follower(console.print, plain=False)
    with Live(follower, console=console, refresh_per_second=5, transient=True, redirect_stdout=False):
        yield follower.note
