"""A cluster on this machine, for one job."""

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
    # A dead worker's task comes back to us at once, which counts the attempt and tries elsewhere.
    "distributed.scheduler.allowed-failures": 0,
    # Encoders are children; a worker's own memory tells nothing. Its limit only says how much we may give it.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # A long task must not cost a worker its life.
    "distributed.scheduler.worker-ttl": None,
    # Python up to 3.11 can freeze for good while threads are looked at (python/cpython#106883, dask/distributed#8616),
    # and what they do is to wait for a child.
    "distributed.worker.profile.enabled": False,
    # What Dask polls takes a twentieth of a core in this process and half as much in each worker.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    # We say which worker takes a task.
    "distributed.scheduler.work-stealing": False,
    # No pages: they would show every user of this machine what is encoded.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.nanny.http.routes": [],
}


def local_workers(settings: ClusterSettings, tasks: Sequence[Work] = ()) -> tuple[Worker, ...]:
    """Workers of a cluster on this machine: fewer than wanted if some task needs more than its share of memory."""
    count = available_cores() if settings.workers is None else settings.workers
    memory_bytes = int(MEMORY_LIMIT * MEMORY_SHARE)
    largest = max((task.memory_bytes for task in tasks), default=0)
    fitting = memory_bytes // largest if largest else count
    count = max(1, min(count, fitting))
    return tuple(Worker(f"local-{number}", 1, memory_bytes // count) for number in range(count))


@contextlib.contextmanager
def local_cluster(settings: ClusterSettings, tasks: Sequence[Work]) -> Iterator[Client]:
    """Start a cluster on this machine; it ends with the block.

    Other users of the machine can't use it: it speaks TLS, with keys that only its own processes have.
    """
    workers = local_workers(settings, tasks)
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(_QUIET))
        with _signals_later():
            cluster = stack.enter_context(
                LocalCluster(
                    n_workers=len(workers),
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    security=Security.temporary(),
                    # Dask listens for HTTP in any case, and at its usual port unless told otherwise: let it be a free
                    # one of this machine alone, where nothing is shown.
                    scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                    memory_limit=workers[0].memory_bytes,
                    local_directory=settings.scratch,
                    silence_logs=logging.CRITICAL,
                )
            )
            client = stack.enter_context(Client(cluster))
        yield client


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Start threads and processes undisturbed: a signal that comes in the meantime is heard afterwards.

    SIGINT is blocked, which children inherit: a terminal's Ctrl-C reaches them too, but it is this process that stops
    them, in order. SIGTERM is only put off, since children must obey it.
    """
    resource_tracker.ensure_running()  # its start would unblock the signals
    main = threading.current_thread() is threading.main_thread()
    came: list[int] = []
    handler: Any = signal.getsignal(signal.SIGTERM) if main else None
    if main:
        signal.signal(signal.SIGTERM, lambda number, _frame: came.append(number))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if main:
            signal.signal(signal.SIGTERM, handler if handler is not None else signal.SIG_DFL)
            if came:
                signal.raise_signal(signal.SIGTERM)
