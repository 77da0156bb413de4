"""Processes of this machine that work through tasks: they start in a moment, and end with their parent.

A process takes the next task when it has ended one. Where nothing else runs in the parent they are copies of it, so
nothing is imported again and compiled kernels are there; otherwise, each one starts anew.
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
"""Times that a task is given out whose process dies."""
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Member:
    """A process and its task: the number among all tasks."""

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
    """Do tasks, and hand over each result as it comes.

    Args:
        todo: The tasks.
        perform: Does one; runs in the other processes.
        processes: How many there are.
        on_silence: Called with the number of tasks that are done, when none has ended for a while.
        silence_s: How long that is.

    Raises:
        HeadendError: A task has failed, or its process has died again and again.
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
    with suppress(OSError):  # it has died, which the next look tells
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
    """Work until the parent says no more; what a terminal's Ctrl-C means is up to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the wish was known
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
            answer = None, HeadendError(f"a run has failed: unexpected {type(error).__name__}: {error}")
        pipe.send(answer)
