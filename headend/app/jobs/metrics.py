"""The dispatcher's metrics for Prometheus."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from headend.app.jobs.backlog import Backlog
from headend.app.jobs.console.view import WorkerRecord
from headend.app.jobs.model import State


class DispatcherMetrics:
    """All metrics of one dispatcher.

    Attributes:
        registry: The registry that is exposed.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs = Gauge(
            "headend_jobs",
            "Open jobs by state.",
            ["state"],
            registry=self.registry,
        )
        self._queue_age = Gauge(
            "headend_job_queue_age_seconds", "Age of the oldest queued job.", registry=self.registry
        )
        self._tasks = Gauge("headend_tasks", "Tasks of running jobs.", ["state"], registry=self.registry)
        self._workers = Gauge("headend_workers", "Workers of the cluster that accept tasks.", registry=self.registry)
        self._threads = Gauge("headend_worker_threads", "Threads of all workers.", registry=self.registry)
        self._busy = Gauge("headend_worker_threads_busy", "Worker threads that run a task.", registry=self.registry)
        self._fence = Gauge(
            "headend_dispatcher_lease", "Fencing number of the lease; 0 while standing by.", registry=self.registry
        )
        self.frames = Counter("headend_encoded_frames", "Encoded frames, all renditions.", registry=self.registry)
        self.cpu = Counter("headend_encode_cpu_seconds", "CPU seconds of encoders.", ["codec"], registry=self.registry)
        self.attempts = Counter("headend_attempts", "Attempts at tasks by result.", ["result"], registry=self.registry)
        for result in ("done", "failed"):
            self.attempts.labels(result)
        self.stored = Counter("headend_stored_bytes", "Bytes of segments written.", registry=self.registry)
        self.ended = Counter("headend_jobs_ended", "Ended jobs by final state.", ["state"], registry=self.registry)

    def update(self, backlog: Backlog, workers: Iterable[WorkerRecord], tasks: Mapping[str, int], fence: int) -> None:
        """Update the gauges."""
        for state in State:
            if not state.ended:
                self._jobs.labels(state.value).set(backlog.states.get(state, 0))
        oldest = backlog.oldest
        self._queue_age.set(0 if oldest is None else max(0.0, time.time() - _submitted_s(oldest)))
        all_workers = tuple(workers)
        self._workers.set(len(all_workers))
        self._threads.set(sum(worker.threads for worker in all_workers))
        self._busy.set(sum(worker.busy for worker in all_workers))
        for name, count in tasks.items():
            self._tasks.labels(name).set(count)
        self._fence.set(fence)


def _submitted_s(job: str) -> float:
    """Return the Unix time at which a job was submitted, from its id."""
    submitted = datetime.strptime(job.partition("-")[0][:15], "%Y%m%dt%H%M%S")
    return submitted.replace(tzinfo=UTC).timestamp()
