"""Jobs as JSON documents, for ``--json`` and the API; `headend.app.jobs.console.openapi` has their schema."""

from collections.abc import Sequence

from headend.app.jobs.model import Account, Job, Progress, State
from headend.app.jobs.queue import Entry, Queue
from headend.core.prices import Prices
from headend.core.records import Attempt


def entry_plain(entry: Entry) -> dict[str, object]:
    """Return a list entry as a JSON document."""
    return {
        "job": entry.id,
        "title": entry.title,
        "state": entry.state.value,
        "priority": entry.priority,
        "hold": entry.hold,
    }


def job_plain(
    job: Job, prices: Prices, *, ahead: int | None = None, attempts: Sequence[Attempt] = ()
) -> dict[str, object]:
    """Return a job as a JSON document.

    Args:
        job: The job.
        prices: Prices that its usage is charged at.
        ahead: Number of jobs that go before it; None if it is not queued.
        attempts: Failed attempts at its tasks.
    """
    progress, account = job.status.progress, job.status.account
    return {
        "job": job.id,
        "title": job.title,
        "state": job.state.value,
        "cancelling": job.cancelling,
        "priority": job.priority,
        "hold": job.request.request.hold,
        "master": job.request.request.master,
        "submitted_at": job.request.submitted_at,
        "submitted_by": job.request.submitted_by,
        "labels": dict(job.request.labels),
        "why": job.why,
        "ahead": ahead,
        "release": job.status.release or None,
        "history": [{"state": c.state.value, "at": c.at, "why": c.why} for c in job.history],
        "progress": None if progress is None else progress_plain(progress),
        "attempts": [
            {"task": a.task, "attempt": a.number, "worker": a.worker, "at": a.at, "error": a.error} for a in attempts
        ],
        "account": {
            "cpu_s": {codec: round(cpu_s, 3) for codec, cpu_s in account.cpu_s},
            "task_s": round(account.task_s, 3),
            "failed_cpu_s": round(account.failed_cpu_s, 3),
            "total_cpu_s": round(account.total_cpu_s, 3),
            "predicted_cpu_s": round(account.predicted_cpu_s, 3),
            "stored_bytes": account.stored_bytes,
            "put_requests": account.put_requests,
            "cost": {
                "amount": round(spent(account, prices), 4),
                "currency": prices.currency,
                "prices": f"{prices.name}, {prices.as_of}",
            },
        },
    }


def progress_plain(progress: Progress) -> dict[str, object]:
    """Return a job's progress as a JSON document."""
    return {
        "at": progress.at,
        "share": round(progress.share, 4),
        "tasks": progress.tasks,
        "tasks_done": progress.tasks_done,
        "tasks_running": progress.tasks_running,
        "tasks_waiting": progress.tasks_waiting,
        "reused_parts": progress.reused_parts,
        "retries": progress.retries,
        "frames_per_s": round(progress.frames_per_s, 1),
        "realtime": round(progress.realtime, 3),
        "left_s": None if progress.left_s is None else round(progress.left_s),
    }


def spent(account: Account, prices: Prices) -> float:
    """Return the cost of a job so far: CPU of all attempts and write requests, without monthly storage."""
    return prices.compute(account.total_cpu_s) + prices.requests(account.put_requests)


def full_plain(queue: Queue, job: Job, prices: Prices) -> dict[str, object]:
    """Return a job with its place in the queue and its failed attempts; raise `StorageError` if the store fails."""
    ahead = queue.ahead(job) if job.state is State.QUEUED else None
    return job_plain(job, prices, ahead=ahead, attempts=queue.attempts(job))
