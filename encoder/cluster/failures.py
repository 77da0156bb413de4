"""The errors with which runs end, by their cause: the task, its worker, or an interruption."""

from typing import Any

from distributed.scheduler import KilledWorker

from encoder.scheduling import Work
from encoder.task_queue import Blame, Run
from headend.core.errors import Cancelled, ConfigError, EncodingError, HeadendError, TaskCrashed, WorkerUnfit


class WorkerLost(EncodingError):
    """A worker went away while it ran a task."""

    retryable = True


class Interrupted(EncodingError):
    """A task was interrupted, for example because its worker was shut down."""

    retryable = True


def error_of(future: Any, run: Run) -> HeadendError | None:
    """The error with which a run's future ended, or None if it succeeded."""
    if future.status == "finished":
        return None
    if future.status == "cancelled":
        return Interrupted(f"the cluster dropped {run.task.label}: see the scheduler's log", worker=run.worker)
    error = future.exception()
    if isinstance(error, KilledWorker):
        worker = getattr(error.last_worker, "address", run.worker)
        return WorkerLost(f"worker {worker} died while it ran {run.task.label}", worker=worker)
    if isinstance(error, Cancelled):
        return Interrupted(f"the worker was shut down while it ran {run.task.label}", worker=run.worker)
    if isinstance(error, HeadendError):
        return error
    return TaskCrashed(f"{run.task.label} failed with an unexpected {type(error).__name__}: {error}", worker=run.worker)


def blame_for(error: HeadendError) -> Blame:
    """The cause of an error, as the task queue counts it."""
    if isinstance(error, Interrupted):
        return Blame.NOBODY
    return Blame.WORKER if isinstance(error, WorkerUnfit) else Blame.TASK


def final_error(error: HeadendError, run: Run) -> HeadendError:
    """The error that ends a job. If its task was retried, the error states the number of attempts."""
    if not error.retryable or isinstance(error, WorkerUnfit):
        return error
    kind = EncodingError if isinstance(error, EncodingError) else type(error)
    return kind(
        f"{run.task.label} failed {run.attempt} times; the last error: {error.message}",
        **{**error.facts, "task": run.task.id},
    )


def too_large_error(task: Work) -> ConfigError:
    """The error for a task that no worker has enough memory for."""
    return ConfigError(
        f"{task.label} needs {task.memory_bytes / 1e9:.1f} GB of memory, more than any worker has: add a larger "
        "worker, or give one more with 'dask worker --memory-limit'",
        task=task.id,
    )
