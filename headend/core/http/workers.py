"""Worker processes that do the same work, kept alive until they are told to stop."""

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
"""Least time between two starts of a worker, so that one that can't live does not eat the machine."""

Work = Callable[[Callable[[], None], int], None]
"""What a worker does until SIGTERM. Gets what to call once it is ready, and a descriptor that becomes readable when the
supervisor is gone."""

log = logging.getLogger("headend.core.http")
_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """One worker process, and its replacements.

    Args:
        work: What it does; must be picklable.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self.pipe, its = _SPAWN.Pipe()
        self.process: SpawnProcess = _SPAWN.Process(target=_live, args=(self._work, its), name="headend-worker")
        # A signal that comes before the worker can handle it has to wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        its.close()
        self.due_s = time.monotonic() + RESTART_S

    def await_start(self) -> None:
        """Return once the worker is ready; raises what prevented that."""
        try:
            message = self.pipe.recv()
        except EOFError:
            raise ConfigError("a worker ended before it was ready: see its output above") from None
        if message is not None:
            raise message


def supervise(works: Sequence[Work], *, on_ready: Callable[[], object], on_stop: Callable[[], object]) -> None:
    """Run workers until SIGTERM or SIGINT, each in a process; one that dies is replaced. SIGHUP is passed on to them.

    Args:
        works: One for each process.
        on_ready: Called once all are ready.
        on_stop: Called before they are told to stop.

    Raises:
        HeadendError: A worker could not start.
    """
    with _signals() as signals:
        workers = [Worker(work) for work in works]
        try:
            for worker in workers:
                while signals in connection.wait([worker.pipe, signals]):
                    if not _passed_on(signals, workers):
                        return
                worker.await_start()
            on_ready()
            while signals not in _watch(workers, signals) or _passed_on(signals, workers):
                pass
        finally:
            on_stop()
            _stop(workers, signals)


def _watch(workers: Sequence[Worker], signals: socket.socket) -> Sequence[object]:
    """Wait until something happens, and replace workers that are dead and due."""
    now_s = time.monotonic()
    awaited: list[socket.socket | int] = [signals]
    waits_s = []
    for worker in workers:
        # Ask only once: a process closes its sentinel a moment before it is seen to be dead. If it were alive for one
        # check and dead for the next, nobody would wait for it.
        if worker.process.is_alive():
            awaited.append(worker.process.sentinel)
        elif worker.due_s > now_s:
            waits_s.append(worker.due_s - now_s)
        else:
            log.warning("a worker ended with status %s and is replaced", worker.process.exitcode)
            worker.start()
            awaited.append(worker.process.sentinel)
    return connection.wait(awaited, min(waits_s, default=None))


def _passed_on(signals: socket.socket, workers: Sequence[Worker]) -> bool:
    """Read one signal; whether it was SIGHUP, which goes to all workers, and not one that asks to stop."""
    if signals.recv(1) != bytes([signal.SIGHUP]):
        return False
    for worker in workers:
        if worker.process.pid is not None and worker.process.is_alive():
            os.kill(worker.process.pid, signal.SIGHUP)
    return True


def _stop(workers: Sequence[Worker], signals: socket.socket) -> None:
    """Tell all workers to stop, and wait for them; a second signal kills them."""
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
    """A socket from which the numbers of signals can be read."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    with receiver, sender:
        before = {number: signal.signal(number, lambda *_: None) for number in _NUMBERS}
        sender_before = signal.set_wakeup_fd(sender.fileno())
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(sender_before)
            for number, handler in before.items():
                signal.signal(number, handler)


def _live(work: Work, pipe: "connection.Connection[object, object]") -> None:
    # Ctrl-C goes to all processes of a terminal; the supervisor passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until the work handles it
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    try:
        work(lambda: pipe.send(None), pipe.fileno())
    except HeadendError as error:
        pipe.send(error)
        raise SystemExit(1) from None
