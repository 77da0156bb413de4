"""A pool of processes that start fast and exit with their parent.

Each process takes the next task when it has finished one. If the parent has a single thread, processes are forked, so
they need no imports and share its compiled kernels; otherwise they are spawned.
"""

import ctypes
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from headend.core.errors import HeadendError

Task = TypeVar("Task")
Result = TypeVar("Result")
ATTEMPTS = 3
"""Maximum attempts per task, if its process dies."""
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Worker:
    """A process, the parent's end of its pipe, and the index of its task; -1 before its first task."""

    process: BaseProcess
    pipe: Any
    task: int = -1


def run_tasks(
    tasks: Sequence[Task],
    perform: Callable[[Task, Callable[[int], None]], Result],
    processes: int,
    *,
    on_step: Callable[[int, int], None] = lambda _task, _steps: None,
    on_idle: Callable[[int], None] = lambda _done: None,
    idle_s: float = 20.0,
) -> Iterator[tuple[Task, Result]]:
    """Run tasks, and yield each result when it is ready.

    Args:
        tasks: The tasks.
        perform: Runs one task; called in the other processes, with a function that takes the number of its steps that
            are done.
        processes: Number of processes.
        on_step: Called with the index of a task and the number of its steps that are done.
        on_idle: Called with the number of finished tasks whenever none has finished for ``idle_s``.
        idle_s: Time without a finished task after which ``on_idle`` is called.

    Raises:
        HeadendError: A task failed, or its process died `ATTEMPTS` times.
    """
    context: BaseContext = get_context("fork" if threading.active_count() == 1 else "spawn")
    waiting = deque(range(len(tasks)))
    attempts = [0] * len(tasks)
    done = 0
    with ExitStack() as stack:
        workers: dict[Any, _Worker] = {}  # by pipe
        while done < len(tasks):
            while waiting and len(workers) < processes:
                worker = _start(context, perform)
                stack.callback(_kill, worker)
                workers[worker.pipe] = worker
                _assign_next(worker, waiting, attempts, tasks)
            ready = connection.wait(list(workers), idle_s)
            if not ready:
                on_idle(done)
            for pipe in ready:
                worker = workers[pipe]
                task = tasks[worker.task]
                try:
                    received = worker.pipe.recv()
                except (EOFError, OSError):
                    del workers[pipe]
                    if attempts[worker.task] >= ATTEMPTS:
                        raise HeadendError(
                            f"a process of the simulation was killed {ATTEMPTS} times; free some memory, "
                            "or simulate fewer titles"
                        ) from None
                    waiting.appendleft(worker.task)
                    continue
                if isinstance(received, int):
                    on_step(worker.task, received)
                    continue
                result, error = received
                if error is not None:
                    raise error
                done += 1
                if waiting:
                    _assign_next(worker, waiting, attempts, tasks)
                yield task, result


def _assign_next(worker: _Worker, waiting: deque[int], attempts: list[int], tasks: Sequence[Any]) -> None:
    worker.task = waiting.popleft()
    attempts[worker.task] += 1
    with suppress(OSError):  # the process has died; the next read of its pipe reports that
        worker.pipe.send(tasks[worker.task])


def _start(context: BaseContext, perform: Callable[[Any, Callable[[int], None]], Any]) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_run_worker, args=(theirs, os.getpid(), perform), daemon=True)  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _kill(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _run_worker(pipe: Any, parent: int, perform: Callable[[Any, Callable[[int], None]], Any]) -> None:
    """Run tasks until the parent closes the pipe. Ctrl-C has no effect here, because the parent kills its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent exited before prctl took effect
        return
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        outcome: tuple[Any, HeadendError | None]
        try:
            outcome = perform(task, pipe.send), None
        except HeadendError as error:
            outcome = None, error
        except Exception as error:
            outcome = None, HeadendError(f"a run failed: unexpected {type(error).__name__}: {error}")
        pipe.send(outcome)
