"""How far the encoding of a job is, from the events of its tasks."""

from dataclasses import dataclass

from encoder.cluster import Advance, Done, Failed
from headend.app.request import Planned
from headend.core.media import EncodeTask, Kind


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

    @property
    def done_cost(self) -> float:
        """Cost of what is done."""
        return self._done_cost

    @property
    def left_cost(self) -> float:
        """Cost of what is not done."""
        return max(0.0, self._cost - self._done_cost) if self._tasks else 0.0

    @property
    def done_frames(self) -> float:
        """Frames of all video renditions that are done."""
        return self._frames_done

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
            # The first moments go into starting, and would predict hours.
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
