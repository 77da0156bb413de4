"""The one place that starts child processes for work."""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from headend.errors import Cancelled, ToolFailed
from headend.process.leash import leashed

POLL_S = 0.25
"""How often a running child's cancellation is looked at."""
GRACE_S = 2.0
"""How long a child may take to end after SIGTERM."""
TAIL_LINES = 60
"""How much of a child's last words is kept."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that ended with status 0.

    Attributes:
        cpu_s: User and system CPU seconds.
        wall_s: Seconds from start to end.
        peak_memory_bytes: Peak resident memory.
        stderr: The last lines that it wrote there.
    """

    cpu_s: float
    wall_s: float
    peak_memory_bytes: int
    stderr: str


def run(
    argv: Sequence[str],
    *,
    cancelled: Callable[[], bool] = lambda: False,
    on_line: Callable[[str], None] = lambda _: None,
    on_error_line: Callable[[str], None] = lambda _: None,
    stall_s: float = 300.0,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end.

    Args:
        argv: The program's absolute path and its arguments.
        cancelled: Asked four times a second; True kills the child's whole process group.
        on_line: Gets each line that the child writes to its standard output.
        on_error_line: Gets each line that it writes to its standard error.
        stall_s: How long the child may be silent on both outputs before it is killed.
        environment: Variables on top of this process's own.

    Returns:
        What it cost.

    Raises:
        ToolFailed: It could not be started, ended with another status than 0, or stalled.
        Cancelled: ``cancelled`` became true.
    """
    started = time.monotonic()
    try:
        child = subprocess.Popen(
            leashed(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
    except OSError as error:
        raise ToolFailed(f"{argv[0]} can't be started: {error.strerror}", argv=list(argv)) from error
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    heard = _Clock()
    assert child.stdout is not None and child.stderr is not None

    def complain(line: str) -> None:
        tail.append(line)
        on_error_line(line)

    readers = (_reader(child.stdout, heard, on_line), _reader(child.stderr, heard, complain))
    try:
        reason = _wait(child.pid, cancelled, heard, stall_s)
    finally:
        _end_group(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)  # reaped here: Popen must not wait again
        for reader in readers:
            reader.join()
        child.stdout.close()
        child.stderr.close()
    stderr = "\n".join(tail)
    facts = {"argv": list(argv), "status": child.returncode, "stderr": stderr}
    name = Path(argv[0]).name
    if reason == "cancelled":
        raise Cancelled(f"{name} was cancelled", **facts)
    if reason == "stalled":
        raise ToolFailed(f"{name} was silent for {stall_s:.0f} s and was stopped", **facts)
    if child.returncode != 0:
        last = next((line for line in reversed(tail) if line.strip()), "it said nothing")
        raise ToolFailed(f"{name} failed with status {child.returncode}: {last}", **facts)
    return Finished(
        cpu_s=usage.ru_utime + usage.ru_stime,
        wall_s=time.monotonic() - started,
        peak_memory_bytes=usage.ru_maxrss * 1024,
        stderr=stderr,
    )


class _Clock:
    """When something was last heard of a child."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def touch(self) -> None:
        self._at = time.monotonic()

    def silence_s(self) -> float:
        return time.monotonic() - self._at


def _reader(stream: IO[bytes], heard: _Clock, take: Callable[[str], None]) -> threading.Thread:
    def read() -> None:
        for line in stream:
            heard.touch()
            take(line.decode(errors="replace").rstrip())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _wait(pid: int, cancelled: Callable[[], bool], heard: _Clock, stall_s: float) -> str | None:
    """Wait until the child has ended, without reaping it, or say why it must."""
    ended = os.pidfd_open(pid)
    try:
        while not select.select([ended], [], [], POLL_S)[0]:
            if cancelled():
                return "cancelled"
            if heard.silence_s() > stall_s:
                return "stalled"
        return None
    finally:
        os.close(ended)


def _end_group(pid: int) -> None:
    """Leave nothing of the child's process group behind."""
    ended = os.pidfd_open(pid)
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
            if not select.select([ended], [], [], GRACE_S)[0]:
                os.killpg(pid, signal.SIGKILL)
            os.killpg(pid, signal.SIGKILL)
    finally:
        os.close(ended)
