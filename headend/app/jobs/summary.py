"""What a dispatcher says about its cluster and its jobs: a line for the log, and the console's view of the workers."""

from collections import Counter
from collections.abc import Sequence

from headend.app.jobs.console.view import WorkerRecord
from headend.app.jobs.model import Job
from headend.app.jobs.sharing import ClusterState

NAMED = 5
"""Running jobs that are named in a summary."""


def summary(running: Sequence[Job], queued: int, cluster: ClusterState) -> str:
    """Summarise the work in one line.

    Args:
        running: The running jobs.
        queued: Number of queued jobs.
        cluster: The cluster.
    """
    if not running and not queued:
        return "no job is waiting or running"
    if not running:
        return f"{queued:,} queued, none running"
    shares = [
        f"{job.title} {job.status.progress.share:.0%}" if job.status.progress else job.title for job in running[:NAMED]
    ]
    more = [f"{len(running) - NAMED} more"] if len(running) > NAMED else []
    threads = sum(worker.threads for worker in cluster.workers)
    return (
        f"{len(running)} running ({', '.join([*shares, *more])}), {queued:,} queued; "
        f"{len(cluster.runs)} tasks on {len(cluster.workers)} workers of {threads} threads"
    )


def workers_of(cluster: ClusterState) -> tuple[WorkerRecord, ...]:
    """Return the cluster's workers, with what their running tasks use."""
    busy = Counter(run.worker for run in cluster.runs)
    used: Counter[str] = Counter()
    for run in cluster.runs:
        used[run.worker] += run.task.memory_bytes
    return tuple(
        WorkerRecord(worker.address, worker.threads, busy[worker.address], worker.memory_bytes, used[worker.address])
        for worker in cluster.workers
    )
