"""The dispatcher's figures for Prometheus; each name is spelled here, once."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from headend.app.jobs.backlog import Backlog
from headend.app.jobs.console.view import WorkerRecord
from headend.app.jobs.model import State


class DispatcherMetrics:
    """All figures of one dispatcher.

    Attributes:
        registry: What is exposed.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._jobs = Gauge(
            "headend_jobs",
            "Open jobs by state.",
            ["state"],
            registry=self.registry,
        )
        self._queue_age = Gauge("headend_job_queue_age_seconds", "Longest wait.", registry=self.registry)
        self._tasks = Gauge("headend_tasks", "Tasks of running jobs.", ["state"], registry=self.registry)
        self._workers = Gauge("headend_workers", "Workers of the cluster that get tasks.", registry=self.registry)
        self._threads = Gauge("headend_worker_threads", "Tasks that workers can run at once.", registry=self.registry)
        self._busy = Gauge("headend_worker_threads_busy", "Tasks that workers run.", registry=self.registry)
        self._fence = Gauge(
            "headend_dispatcher_lease", "Number of the lease that is held; 0 while standing by.", registry=self.registry
        )
        self.frames = Counter("headend_encoded_frames", "Frames of all video renditions.", registry=self.registry)
        self.cpu = Counter("headend_encode_cpu_seconds", "CPU seconds of encoders.", ["codec"], registry=self.registry)
        self.attempts = Counter(
            "headend_attempts", "Attempts at tasks, by how they ended.", ["result"], registry=self.registry
        )
        for result in ("done", "failed"):
            self.attempts.labels(result)
        self.stored = Counter("headend_stored_bytes", "Bytes of segments that were written.", registry=self.registry)
        self.ended = Counter("headend_jobs_ended", "Jobs that ended.", ["state"], registry=self.registry)

    def see(self, backlog: Backlog, workers: Iterable[WorkerRecord], tasks: Mapping[str, int], fence: int) -> None:
        """Bring what can go up and down up to date."""
        for state in State:
            if not state.ended:
                self._jobs.labels(state.value).set(backlog.states.get(state, 0))
        oldest = backlog.oldest
        self._queue_age.set(0 if oldest is None else max(0.0, time.time() - _submitted_s(oldest)))
        here = tuple(workers)
        self._workers.set(len(here))
        self._threads.set(sum(worker.threads for worker in here))
        self._busy.set(sum(worker.busy for worker in here))
        for name, count in tasks.items():
            self._tasks.labels(name).set(count)
        self._fence.set(fence)


def _submitted_s(job: str) -> float:
    """Seconds since 1970 at which a job was submitted, from its id."""
    found = datetime.strptime(job.partition("-")[0][:15], "%Y%m%dt%H%M%S")
    return found.replace(tzinfo=UTC).timestamp()
