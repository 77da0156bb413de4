"""Runs programs as child processes: the only place that starts encoders and other tools."""

import contextlib
import os
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from headend.core.errors import Cancelled, ToolFailed
from headend.core.process.environment import clean_environment
from headend.core.process.parent_death import killed_with_parent

POLL_S = 0.25
"""How often a running child is checked."""
GRACE_S = 2.0
"""How long a child may take to end after SIGTERM."""
TAIL_LINES = 60
"""Number of lines of a child's output that are kept for errors."""
IDLE_CPU_S = 0.5
"""A child that uses less CPU time than this within `Watch.idle_s` counts as idle; even a stuck FFmpeg uses a little."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A child that ended with status 0.

    Attributes:
        cpu_s: User and system CPU seconds.
        wall_s: Seconds from start to end.
        peak_memory_bytes: Peak resident memory, of the program alone.
        stderr: The last lines of its standard error.
    """

    cpu_s: float
    wall_s: float
    peak_memory_bytes: int
    stderr: str


@dataclass(frozen=True, slots=True)
class Watch:
    """When to treat a child as hung.

    Attributes:
        stall_s: Longest time without progress.
        progress: Returns a value that changes as the child makes progress; bytes that the child reads count as
            progress, too. If it is None, any output counts as progress.
        idle_s: Longest time without progress and without CPU use, for example in a deadlock.
        deadline_s: Longest time in total; None for no limit.
        on_read: Called from time to time with the number of bytes that the child has read.
    """

    stall_s: float = 300.0
    progress: Callable[[], Hashable] | None = None
    idle_s: float = 120.0
    deadline_s: float | None = None
    on_read: Callable[[int], None] = lambda _: None


def run(
    argv: Sequence[str],
    *,
    cancelled: Callable[[], bool] = lambda: False,
    on_line: Callable[[str], None] = lambda _: None,
    on_error_line: Callable[[str], None] = lambda _: None,
    watch: Watch | None = None,
    environment: Mapping[str, str] | None = None,
    limits: Mapping[str, int] | None = None,
) -> Finished:
    """Run a program to its end.

    Args:
        argv: The program's absolute path and its arguments.
        cancelled: Called four times a second; if it returns True, the child's process group is killed.
        on_line: Called with each line of the child's standard output.
        on_error_line: Called with each line of its standard error.
        watch: When to treat the child as hung and kill it.
        environment: Variables in addition to `headend.core.process.environment.clean_environment`.
        limits: Resource limits, see `headend.core.process.parent_death.killed_with_parent`.

    Returns:
        Its cost and the end of its standard error.

    Raises:
        ToolFailed: It could not be started, ended with a status other than 0, or hung.
        Cancelled: ``cancelled`` became true.
    """
    watch = watch or Watch()
    started_s = time.monotonic()
    report_read, report_write = os.pipe()
    try:
        child = subprocess.Popen(
            killed_with_parent(argv, report=report_write, limits=limits),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=clean_environment(environment),
            pass_fds=(report_write,),
        )
    except OSError as error:
        os.close(report_read)
        raise ToolFailed(f"{argv[0]} can't be started: {error.strerror}", argv=list(argv)) from error
    finally:
        os.close(report_write)
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    last_output = _Clock()
    assert child.stdout is not None and child.stderr is not None

    def keep_line(line: str) -> None:
        tail.append(line)
        on_error_line(line)

    readers = (_reader(child.stdout, last_output, on_line), _reader(child.stderr, last_output, keep_line))
    report = _Report(report_read)
    try:
        reason = _wait(child.pid, cancelled, watch, last_output, report)
    finally:
        _end_group(child.pid)
        child.wait()
        for reader in readers:
            reader.join()
        child.stdout.close()
        child.stderr.close()
        cpu_s, peak_memory_bytes = report.read_end()
    stderr = "\n".join(tail)
    facts = {"argv": list(argv), "status": child.returncode, "stderr": stderr}
    name = Path(argv[0]).name
    if reason == "cancelled":
        raise Cancelled(f"{name} was cancelled", **facts)
    if reason is not None:
        raise ToolFailed(f"{name} {reason} and was stopped", **facts)
    if child.returncode != 0:
        last = next((line for line in reversed(tail) if line.strip()), "it printed nothing")
        raise ToolFailed(f"{name} failed with status {child.returncode}: {last}", **facts)
    return Finished(cpu_s, time.monotonic() - started_s, peak_memory_bytes, stderr)


class _Clock:
    """Measures the time since an event."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def touch(self) -> None:
        self._at = time.monotonic()

    def elapsed_s(self) -> float:
        return time.monotonic() - self._at


class _Report:
    """The report of `killed_with_parent`'s process about the program."""

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "rb", buffering=0)
        self._data = b""

    @property
    def pid(self) -> int | None:
        """The program's process id; None until it is known."""
        if b"\n" not in self._data and select.select([self._pipe], [], [], 0)[0]:
            self._data += self._pipe.read(1000) or b""
        first, mark, _ = self._data.partition(b"\n")
        return int(first) if mark else None

    def read_end(self) -> tuple[float, int]:
        """CPU seconds and peak memory; zeros if the reporting process was killed first."""
        while more := self._pipe.read(1000):
            self._data += more
        self._pipe.close()
        words = self._data.split()
        return (float(words[1]), int(words[2])) if len(words) == 3 else (0.0, 0)


def _reader(stream: IO[bytes], last_output: _Clock, on_line: Callable[[str], None]) -> threading.Thread:
    def read() -> None:
        for line in stream:
            last_output.touch()
            on_line(line.decode(errors="replace").rstrip())

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _wait(pid: int, cancelled: Callable[[], bool], watch: Watch, last_output: _Clock, report: _Report) -> str | None:
    """Wait until the child ends, without reaping it; returns a reason if it has to be killed."""
    last_progress, last_activity, total = _Clock(), _Clock(), _Clock()
    progress: Hashable = None
    cpu_s = 0.0
    ended = os.pidfd_open(pid)
    try:
        while not select.select([ended], [], [], POLL_S)[0]:
            if cancelled():
                return "cancelled"
            if watch.deadline_s is not None and total.elapsed_s() > watch.deadline_s:
                return f"took longer than {watch.deadline_s:.0f} s"
            if watch.progress is None:
                if last_output.elapsed_s() > watch.stall_s:
                    return f"was silent for {watch.stall_s:.0f} s"
                continue
            if (now := (watch.progress(), read_bytes := _bytes_read(report.pid))) != progress:
                progress = now
                watch.on_read(read_bytes)
                last_progress.touch()
                last_activity.touch()
            if (used_s := _cpu_s(report.pid)) >= cpu_s + IDLE_CPU_S:
                cpu_s = used_s
                last_activity.touch()
            if last_progress.elapsed_s() > watch.stall_s:
                return f"made no progress for {watch.stall_s:.0f} s"
            if last_activity.elapsed_s() > watch.idle_s:
                return f"did nothing for {watch.idle_s:.0f} s"
        return None
    finally:
        os.close(ended)


def _bytes_read(pid: int | None) -> int:
    """Bytes that a process has read from files."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/io").read_text().split()[1])
    return 0


def _cpu_s(pid: int | None) -> float:
    with contextlib.suppress(OSError, ValueError):
        # The name in parentheses may contain spaces.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _end_group(pid: int) -> None:
    """Kill what is left of the child's process group."""
    ended = os.pidfd_open(pid)
    try:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
            if not select.select([ended], [], [], GRACE_S)[0]:
                os.killpg(pid, signal.SIGKILL)
            os.killpg(pid, signal.SIGKILL)
    finally:
        os.close(ended)
