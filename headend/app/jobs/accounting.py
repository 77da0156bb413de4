"""A job's resource usage and progress, from the events of its tasks: CPU by codec, bytes and objects."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from encoder.cluster import Done, Failed, TaskProgress
from encoder.costs import measured
from headend.app import estimating
from headend.app.jobs.model import Account, Progress, utc_now
from headend.app.progress import Encoding
from headend.app.request import Event, Measured, Planned
from headend.core.media import Receipt

ANALYSIS = "analysis"
"""Account for the CPU of fitting a ladder to the title."""
QUALITY = "quality"
"""Account for the CPU of measuring quality."""
TEXT = "text"
"""Account for the CPU of tasks that make neither picture nor sound."""


class Ledger:
    """Adds up the resource usage of one run of a job.

    The job's own thread feeds events; the dispatcher's main thread reads the totals.

    Args:
        planned: The job's plan.
        clock: A monotonic clock in seconds.
    """

    def __init__(self, planned: Planned, clock: Callable[[], float] = time.monotonic) -> None:
        self._encoding = Encoding(planned)
        self._reused_parts = planned.reused_parts
        self._clock = clock
        self._began_s = clock()
        self._tasks = {task.id: task for task in planned.plan.tasks}
        pictures = (*planned.plan.video, *planned.plan.trick)
        self._codecs = {picture.id: picture.codec.value for picture in pictures}
        self._codecs |= {sound.id: sound.codec.value for sound in planned.plan.audio}
        self._weights = estimating.weights(planned.plan, measured())
        self._cpu_s: dict[str, float] = {ANALYSIS: planned.analysis_cpu_s} if planned.analysis_cpu_s else {}
        self._task_s = self._failed_cpu_s = self._predicted_cpu_s = 0.0
        self._stored_bytes = self._put_requests = 0
        self._lock = threading.Lock()

    def note(self, event: Event) -> None:
        """Process an event."""
        with self._lock:
            if isinstance(event, Done):
                self._book(event.receipt)
            elif isinstance(event, Measured):
                self._cpu_s[QUALITY] = self._cpu_s.get(QUALITY, 0.0) + event.cpu_s
                self._predicted_cpu_s += event.cost
            elif isinstance(event, Failed):
                self._failed_cpu_s += float(event.error.facts.get("cpu_s", 0.0))
            if isinstance(event, TaskProgress | Done | Failed):
                self._encoding.note(event)

    @property
    def costs(self) -> tuple[float, float]:
        """Predicted CPU seconds of the finished and of the remaining tasks."""
        with self._lock:
            return self._encoding.done_cost, self._encoding.left_cost

    @property
    def done_frames(self) -> int:
        """Frames that this run has encoded, over all video renditions."""
        with self._lock:
            return int(self._encoding.done_frames)

    def progress(self, running: int = 0, left_s: float | None = None) -> Progress:
        """Return the job's progress.

        Args:
            running: Number of its tasks that are running.
            left_s: Estimated seconds until it is done.
        """
        with self._lock:
            now = self._encoding.progress(self._clock() - self._began_s)
        return Progress(
            at=utc_now(),
            share=now.share,
            tasks=now.tasks,
            tasks_done=now.tasks_done,
            tasks_running=running,
            reused_parts=self._reused_parts,
            retries=now.retries,
            frames_per_s=now.frames_per_s,
            realtime=now.realtime,
            left_s=left_s,
        )

    def account(self, before: Account) -> Account:
        """Return the job's usage: that of earlier runs, ``before``, plus that of this run."""
        with self._lock:
            cpu_s = dict(before.cpu_s)
            for codec, seconds in self._cpu_s.items():
                cpu_s[codec] = cpu_s.get(codec, 0.0) + seconds
            return replace(
                before,
                cpu_s=tuple(sorted(cpu_s.items())),
                task_s=before.task_s + self._task_s,
                failed_cpu_s=before.failed_cpu_s + self._failed_cpu_s,
                predicted_cpu_s=before.predicted_cpu_s + self._predicted_cpu_s,
                stored_bytes=before.stored_bytes + self._stored_bytes,
                put_requests=before.put_requests + self._put_requests,
            )

    def _book(self, receipt: Receipt) -> None:
        task = self._tasks[receipt.task]
        self._predicted_cpu_s += task.cost
        self._task_s += receipt.wall_s
        shares = dict(estimating.shares(task, self._weights))
        total = sum(shares.values())
        if total:
            for rendition, share in shares.items():
                codec = self._codecs.get(rendition, TEXT)
                self._cpu_s[codec] = self._cpu_s.get(codec, 0.0) + receipt.cpu_s * share / total
        else:
            self._cpu_s[TEXT] = self._cpu_s.get(TEXT, 0.0) + receipt.cpu_s
        for size_bytes in _objects(receipt):
            self._stored_bytes += size_bytes
            self._put_requests += 1
        self._put_requests += 1  # the receipt


def _objects(receipt: Receipt) -> Iterator[int]:
    """Yield the sizes of the objects that a task has written."""
    for track in receipt.tracks:
        if track.init_bytes:
            yield from [track.init_bytes] * (1 + len(track.later_inits))
        for segment in track.segments:
            yield segment.size_bytes
