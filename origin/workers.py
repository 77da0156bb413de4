"""Several processes that do the same work, kept alive until they are told to stop."""

import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.context import SpawnProcess

from headend.errors import ConfigError, HeadendError

RESTART_S = 1.0
"""Least time between two starts of a worker, so that one that can't live does not eat the machine."""

Work = Callable[[Callable[[], None], int], None]
"""What a worker does until SIGTERM: gets what to call once it has begun, and a descriptor that is readable when nobody
watches over it any more."""

log = logging.getLogger("headend.origin")
_SPAWN = multiprocessing.get_context("spawn")


class Worker:
    """One process, and those that take its place.

    Args:
        work: What it does; crosses to the process by pickling.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self.start()

    def start(self) -> None:
        """Begin, or begin anew."""
        self.pipe, its = _SPAWN.Pipe()
        self.process: SpawnProcess = _SPAWN.Process(target=_live, args=(self._work, its), name="headend-worker")
        self.process.start()
        its.close()
        self.due_s = time.monotonic() + RESTART_S

    def await_start(self) -> None:
        """Return once the work has begun; raises what kept it from that."""
        try:
            said = self.pipe.recv()
        except EOFError:
            raise ConfigError("a worker ended before it began: see what it wrote above") from None
        if said is not None:
            raise said


def supervise(works: Sequence[Work], *, on_ready: Callable[[], object], on_stop: Callable[[], object]) -> None:
    """Run works until SIGTERM or SIGINT, each in a process; one that dies is replaced.

    Args:
        works: One for each process.
        on_ready: Called once all have begun.
        on_stop: Called before they are told to stop.

    Raises:
        HeadendError: A worker could not begin.
    """
    with _bell() as bell:
        crew = [Worker(work) for work in works]
        try:
            for worker in crew:
                if bell in connection.wait([worker.pipe, bell]):
                    return
                worker.await_start()
            on_ready()
            while bell not in _watch(crew, bell):
                pass
        finally:
            on_stop()
            _dismiss(crew, bell)


def _watch(crew: Sequence[Worker], bell: socket.socket) -> Sequence[object]:
    """Wait until something happens, and replace who is dead and due."""
    now_s = time.monotonic()
    awaited: list[socket.socket | int] = [bell]
    waits_s = []
    for worker in crew:
        # Asked only once: what ends closes its sentinel a moment before it can be seen dead. Alive to one question and
        # dead to a second one, it would be waited for by nobody.
        if worker.process.is_alive():
            awaited.append(worker.process.sentinel)
        elif worker.due_s > now_s:
            waits_s.append(worker.due_s - now_s)
        else:
            log.warning("a worker ended with status %s; another one takes its place", worker.process.exitcode)
            worker.start()
            awaited.append(worker.process.sentinel)
    return connection.wait(awaited, min(waits_s, default=None))


def _dismiss(crew: Sequence[Worker], bell: socket.socket) -> None:
    """Tell all to stop, and wait for them; whoever rings again gets it at once."""
    bell.recv(1) if bell in connection.wait([bell], 0) else None
    for worker in crew:
        worker.process.terminate()
    while present := [worker.process.sentinel for worker in crew if worker.process.is_alive()]:
        if bell in connection.wait([bell, *present]):
            for worker in crew:
                worker.process.kill()
    for worker in crew:
        worker.process.join()


@contextmanager
def _bell() -> Iterator[socket.socket]:
    """A socket that is readable when a signal asks this process to stop."""
    rung, rings = socket.socketpair()
    rings.setblocking(False)
    with rung, rings:
        before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
        rings_before = signal.set_wakeup_fd(rings.fileno())
        try:
            yield rung
        finally:
            signal.set_wakeup_fd(rings_before)
            for number, handler in before.items():
                signal.signal(number, handler)


def _live(work: Work, pipe: "connection.Connection[object, object]") -> None:
    # Ctrl-C goes to all processes of a terminal; the one that watches passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work(lambda: pipe.send(None), pipe.fileno())
    except HeadendError as error:
        pipe.send(error)
        raise SystemExit(1) from None
