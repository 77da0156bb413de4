"""The encoding progress of a job, from the events of its tasks."""

from dataclasses import dataclass

from encoder.cluster import Done, Failed, TaskProgress
from headend.app.request import Planned
from headend.core.media import EncodeTask, Kind
from headend.core.timing import ceil_div


@dataclass(frozen=True, slots=True)
class Progress:
    """The encoding progress of a job at one moment.

    Attributes:
        share: Fraction of the total cost that is done, 0 to 1.
        tasks: Number of tasks of this run.
        tasks_done: Tasks that are done.
        retries: Failed attempts that are retried.
        frames_per_s: Encoded frames per second of this run, all video renditions together.
        realtime: Seconds of the title that are encoded to the whole ladder per second.
        left_s: Seconds until all is done at this speed; None while the speed is unknown.
    """

    share: float
    tasks: int
    tasks_done: int
    retries: int
    frames_per_s: float
    realtime: float
    left_s: float | None


class Encoding:
    """Adds up the progress of a job's tasks, in constant time per event."""

    def __init__(self, planned: Planned) -> None:
        self.plan = planned.plan
        self.retries = 0
        self._divisors = {rendition.id: rendition.rate_divisor for rendition in (*self.plan.video, *self.plan.trick)}
        self._tasks = {task.id: task for task in self.plan.tasks}
        self._shares = dict.fromkeys(self._tasks, 0.0)
        self._cost = sum(task.cost for task in self.plan.tasks)
        self._done_cost = 0.0
        self._done_tasks = 0
        self._frames_done = 0.0

    @property
    def done_cost(self) -> float:
        """Cost of the finished work; exactly the total once all tasks are done, however the sum was rounded."""
        return self._cost if self._done_tasks == len(self._tasks) else min(self._done_cost, self._cost)

    @property
    def left_cost(self) -> float:
        """Cost of the remaining work."""
        return self._cost - self.done_cost

    @property
    def done_frames(self) -> float:
        """Encoded frames, all video renditions together."""
        return self._frames_done

    def note(self, event: TaskProgress | Done | Failed) -> None:
        """Process an event."""
        if isinstance(event, Done):
            self._set(event.receipt.task, 1.0)
        elif isinstance(event, Failed):
            self._set(event.task, 0.0)
            self.retries += not event.last
        elif self._shares[event.task] < 1:  # a late event may follow the receipt
            # FFmpeg counts the frames of its first output.
            wanted = self._frames(self._tasks[event.task], self._tasks[event.task].renditions[:1])
            self._set(event.task, min(0.99, event.frames / wanted) if wanted else 0.0)

    def progress(self, elapsed_s: float) -> Progress:
        """Return the progress, ``elapsed_s`` seconds after the plan was made."""
        speed = self.done_cost / max(elapsed_s, 0.001)
        return Progress(
            share=self.done_cost / self._cost if self._cost else 1.0,
            tasks=len(self.plan.tasks),
            tasks_done=self._done_tasks,
            retries=self.retries,
            frames_per_s=self._frames_done / max(elapsed_s, 0.001),
            realtime=speed / self._cost * float(self.plan.grid.duration_s) if self._cost else 0.0,
            # The start is slow, so an estimate from the first moments would be hours off.
            left_s=self.left_cost / speed if self.done_cost > 0.02 * self._cost else None,
        )

    def _set(self, id: str, share: float) -> None:
        task, more = self._tasks[id], share - self._shares[id]
        self._done_tasks += (share == 1) - (self._shares[id] == 1)
        self._shares[id] = share
        self._done_cost += more * task.cost
        self._frames_done += more * self._frames(task, task.renditions)

    def where(self, task: str) -> str:
        """Return a task's label for people."""
        work = self._tasks[task]
        more = f" and {len(work.renditions) - 1} more" if len(work.renditions) > 1 else ""
        place = f"chunk {work.chunk.number} of " if work.kind is Kind.VIDEO else ""
        renditions = work.renditions or tuple(rendition for rendition, _ in work.parts)
        return f"{place}{renditions[0]}{more}"

    def _frames(self, task: EncodeTask, renditions: tuple[str, ...]) -> int:
        if task.kind is not Kind.VIDEO:
            return 0
        return sum(ceil_div(task.chunk.frame_count, self._divisors[rendition]) for rendition in renditions)
