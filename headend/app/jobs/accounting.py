"""What a job uses, from the events of its tasks: CPU by codec, bytes and objects, and how far it is."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from encoder.cluster import Advance, Done, Failed
from encoder.costs import measured
from headend.app import estimating
from headend.app.jobs.model import Account, Progress, utc_now
from headend.app.progress import Encoding
from headend.app.request import Event, Measured, Planned
from headend.core.media import Receipt

ANALYSIS = "analysis"
"""Under which CPU is booked that fitting a ladder to the title took."""
QUALITY = "quality"
"""Under which CPU is booked that measuring quality took."""
TEXT = "text"
"""Under which CPU of tasks is booked that make no picture and no sound."""


class Ledger:
    """Keeps count of one run of a job.

    Events come in the job's own thread, and figures are asked for in another.

    Args:
        planned: What the job is about to do.
        clock: Seconds that never go back.
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
        """Take in an event."""
        with self._lock:
            if isinstance(event, Done):
                self._book(event.receipt)
            elif isinstance(event, Measured):
                self._cpu_s[QUALITY] = self._cpu_s.get(QUALITY, 0.0) + event.cpu_s
                self._predicted_cpu_s += event.cost
            elif isinstance(event, Failed):
                self._failed_cpu_s += float(event.error.facts.get("cpu_s", 0.0))
            if isinstance(event, Advance | Done | Failed):
                self._encoding.note(event)

    @property
    def costs(self) -> tuple[float, float]:
        """Predicted CPU seconds of what is done, and of what is left."""
        with self._lock:
            return self._encoding.done_cost, self._encoding.left_cost

    @property
    def done_frames(self) -> int:
        """Frames of all video renditions that this run has done."""
        with self._lock:
            return int(self._encoding.done_frames)

    def progress(self, running: int = 0, left_s: float | None = None) -> Progress:
        """How far the job is.

        Args:
            running: Number of its tasks that run now.
            left_s: Seconds until it is done.
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
        """What the job has used, what earlier runs of it have used included."""
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
    """Sizes of what a task has written."""
    for track in receipt.tracks:
        if track.init_bytes:
            yield from [track.init_bytes] * (1 + len(track.later_inits))
        for segment in track.segments:
            yield segment.size_bytes
