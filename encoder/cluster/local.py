"""A Dask cluster on this machine."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from encoder.cluster.roster import MEMORY_SHARE
from encoder.scheduling import Work, Worker
from headend.core.process import available_cores
from headend.core.settings import ClusterSettings

_QUIET: dict[str, object] = {
    # Report a dead worker's task at once: the task queue counts the attempt and retries elsewhere.
    "distributed.scheduler.allowed-failures": 0,
    # Encoders are child processes, so a worker's memory use tells nothing. Only its limit is used, to place tasks.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # Don't kill a worker because of a long task.
    "distributed.scheduler.worker-ttl": None,
    # Profiling threads can hang Python up to 3.11 (python/cpython#106883, dask/distributed#8616), and ours only wait
    # for a child process.
    "distributed.worker.profile.enabled": False,
    # Dask's polling takes 5 % of a core in this process and half as much in each worker.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    # The task queue places tasks.
    "distributed.scheduler.work-stealing": False,
    # No dashboards: they would show every user of this machine what is being encoded.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}


def local_workers(settings: ClusterSettings, tasks: Sequence[Work] = ()) -> tuple[Worker, ...]:
    """Workers of a local cluster; fewer than configured if a task needs more memory than each would have."""
    count = available_cores() if settings.workers is None else settings.workers
    memory_bytes = int(MEMORY_LIMIT * MEMORY_SHARE)
    largest = max((task.memory_bytes for task in tasks), default=0)
    fitting = memory_bytes // largest if largest else count
    count = max(1, min(count, fitting))
    return tuple(Worker(f"local-{number}", 1, memory_bytes // count) for number in range(count))


@contextlib.contextmanager
def local_cluster(settings: ClusterSettings, tasks: Sequence[Work]) -> Iterator[Client]:
    """Start a cluster on this machine, and stop it at the end of the block.

    It uses TLS with keys that only its processes have, so other users of the machine can't connect to it.
    """
    workers = local_workers(settings, tasks)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_QUIET))
        with _defer_signals():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=len(workers),
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    security=Security.temporary(),
                    # Dask always opens an HTTP port, by default a well-known one: use a free one on loopback.
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    memory_limit=workers[0].memory_bytes,
                    local_directory=settings.scratch,
                    silence_logs=logging.CRITICAL,
                )
            )
            client = stack.enter_context(Client(cluster))
        yield client


@contextlib.contextmanager
def _defer_signals() -> Iterator[None]:
    """Defer SIGINT and SIGTERM while threads and processes start.

    SIGINT is blocked, and child processes inherit that: Ctrl-C in a terminal is sent to them, too, but this process
    must stop them. SIGTERM is only deferred, because child processes must react to it.
    """
    resource_tracker.ensure_running()  # starting it later would unblock the signals
    main = threading.current_thread() is threading.main_thread()
    deferred: list[int] = []
    handler: Any = signal.getsignal(signal.SIGTERM) if main else None
    if main:
        signal.signal(signal.SIGTERM, lambda number, _frame: deferred.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if main:
            signal.signal(signal.SIGTERM, handler if handler is not None else signal.SIG_DFL)
            if deferred:
                signal.raise_signal(signal.SIGTERM)
