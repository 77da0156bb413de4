"""A pool of processes that start fast and exit with their parent.

A process takes the next task when it has finished one. If the parent has a single thread, processes are forked, so they
need no imports and share its compiled kernels; otherwise they are spawned.
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
class _Member:
    """A process and the number of its task."""

    process: BaseProcess
    pipe: Any
    number: int = -1


def work(
    todo: Sequence[Task],
    perform: Callable[[Task], Result],
    processes: int,
    *,
    on_silence: Callable[[int], None] = lambda _done: None,
    silence_s: float = 20.0,
) -> Iterator[tuple[Task, Result]]:
    """Run tasks, and yield each result when it is ready.

    Args:
        todo: The tasks.
        perform: Runs one task; called in the other processes.
        processes: Number of processes.
        on_silence: Called with the number of finished tasks if none has finished for ``silence_s``.
        silence_s: Seconds without a finished task.

    Raises:
        HeadendError: A task failed, or its process died `ATTEMPTS` times.
    """
    context: BaseContext = get_context("fork" if threading.active_count() == 1 else "spawn")
    waiting = deque(range(len(todo)))
    attempts = [0] * len(todo)
    done = 0
    with ExitStack() as stack:
        crew: dict[Any, _Member] = {}
        while done < len(todo):
            while waiting and len(crew) < processes:
                member = _start(context, perform)
                stack.callback(_end, member)
                crew[member.pipe] = member
                _give(member, waiting, attempts, todo)
            ready = connection.wait(list(crew), silence_s)
            if not ready:
                on_silence(done)
            for pipe in ready:
                member = crew[pipe]
                task = todo[member.number]
                try:
                    result, error = member.pipe.recv()
                except (EOFError, OSError):
                    del crew[pipe]
                    if attempts[member.number] >= ATTEMPTS:
                        raise HeadendError(
                            f"a process of the simulation was killed {ATTEMPTS} times; give it more memory, "
                            "or simulate fewer titles"
                        ) from None
                    waiting.appendleft(member.number)
                    continue
                if error is not None:
                    raise error
                done += 1
                if waiting:
                    _give(member, waiting, attempts, todo)
                yield task, result


def _give(member: _Member, waiting: deque[int], attempts: list[int], todo: Sequence[Any]) -> None:
    member.number = waiting.popleft()
    attempts[member.number] += 1
    with suppress(OSError):  # the process has died; the next read of its pipe reports that
        member.pipe.send(todo[member.number])


def _start(context: BaseContext, perform: Callable[[Any], Any]) -> _Member:
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, os.getpid(), perform), daemon=True)  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    return _Member(process, ours)


def _end(member: _Member) -> None:
    member.process.kill()
    member.process.join()
    member.pipe.close()


def _serve(pipe: Any, parent: int, perform: Callable[[Any], Any]) -> None:
    """Run tasks until the parent closes the pipe; the parent handles Ctrl-C."""
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
        answer: tuple[Any, HeadendError | None]
        try:
            answer = perform(task), None
        except HeadendError as error:
            answer = None, error
        except Exception as error:
            answer = None, HeadendError(f"a run failed: unexpected {type(error).__name__}: {error}")
        pipe.send(answer)
