"""Worker processes: started, monitored, restarted after a crash, and stopped together."""

import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.context import SpawnProcess

from headend.core.errors import ConfigError, HeadendError

RESTART_S = 1.0
"""Minimum time between two starts of a worker, so that a worker that keeps crashing doesn't load the machine."""

Work = Callable[[Callable[[], None], int], None]
"""Main function of a worker, which runs until SIGTERM. Its arguments are a function to call once it is ready, and a
file descriptor that becomes readable when the supervisor has ended."""

log = logging.getLogger("headend.core.http")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """A worker process, including its restarts.

    Args:
        work: Its main function; must be picklable.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self.start()

    def start(self) -> None:
        """Start or restart the process."""
        self.pipe, worker_end = _SPAWN.Pipe()
        self.process: SpawnProcess = _SPAWN.Process(target=_run, args=(self._work, worker_end), name="headend-worker")
        # Block SIGHUP until the worker can handle it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        worker_end.close()
        self.due_s = time.monotonic() + RESTART_S

    def wait_until_ready(self) -> None:
        """Wait until the worker is ready; raises the error that prevented it from starting."""
        try:
            message = self.pipe.recv()
        except EOFError:
            raise ConfigError("a worker ended before it was ready: see its output above") from None
        if message is not None:
            raise message


def supervise(works: Sequence[Work], *, on_ready: Callable[[], object], on_stop: Callable[[], object]) -> None:
    """Run each worker in its own process until SIGTERM or SIGINT. Dead workers are replaced; SIGHUP is forwarded.

    Args:
        works: Main function of each worker.
        on_ready: Called once all are ready.
        on_stop: Called before they are stopped.

    Raises:
        HeadendError: A worker could not start.
    """
    with _signals() as signals:
        workers = [Worker(work) for work in works]
        try:
            for worker in workers:
                while signals in connection.wait([worker.pipe, signals]):
                    if not _forwarded(signals, workers):
                        return
                worker.wait_until_ready()
            on_ready()
            while signals not in _watch(workers, signals) or _forwarded(signals, workers):
                pass
        finally:
            on_stop()
            _stop(workers, signals)


def _watch(workers: Sequence[Worker], signals: socket.socket) -> Sequence[object]:
    """Wait for an event, after replacing dead workers whose restart is due."""
    now_s = time.monotonic()
    awaited: list[socket.socket | int] = [signals]
    waits_s = []
    for worker in workers:
        # Call is_alive only once: a process closes its sentinel a moment before is_alive turns false. With two calls, a
        # process could count as alive in the first and as dead in the second, and be missed by both branches.
        if worker.process.is_alive():
            awaited.append(worker.process.sentinel)
        elif worker.due_s > now_s:
            waits_s.append(worker.due_s - now_s)
        else:
            log.warning("a worker ended with status %s and is replaced", worker.process.exitcode)
            worker.start()
            awaited.append(worker.process.sentinel)
    return connection.wait(awaited, min(waits_s, default=None))


def _forwarded(signals: socket.socket, workers: Sequence[Worker]) -> bool:
    """Read one signal and forward SIGHUP to all workers; false for signals that stop the server."""
    if signals.recv(1) != bytes([signal.SIGHUP]):
        return False
    for worker in workers:
        if worker.process.pid is not None and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGHUP)
    return True


def _stop(workers: Sequence[Worker], signals: socket.socket) -> None:
    """Stop all workers and wait for them; a second signal kills them."""
    for worker in workers:
        worker.process.terminate()
    while present := [worker.process.sentinel for worker in workers if worker.process.is_alive()]:
        if signals in connection.wait([signals, *present]) and signals.recv(1) != bytes([signal.SIGHUP]):
            for worker in workers:
                worker.process.kill()
    for worker in workers:
        worker.process.join()


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """A socket from which signal numbers can be read."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    with receiver, sender:
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        sender_before = signal.set_wakeup_fd(sender.fileno())
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(sender_before)
            for number, handler in before.items():
                signal.signal(number, handler)


def _run(work: Work, pipe: "connection.Connection[object, object]") -> None:
    # A terminal sends Ctrl-C to all processes; the supervisor handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the worker installs its handler
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        work(lambda: pipe.send(None), pipe.fileno())
    except HeadendError as error:
        pipe.send(error)
        raise SystemExit(1) from None
