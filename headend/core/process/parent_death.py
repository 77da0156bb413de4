"""Starts a child process that is killed when its parent dies.

``python -I -S parent_death.py PARENT_PID REPORT LIMITS PROGRAM [ARG ...]``

This process asks the kernel to kill it when its parent ends (prctl(2), PR_SET_PDEATHSIG); the setting survives exec. It
is a separate program because running Python between fork and exec of a threaded process may deadlock.

REPORT is ``-`` or a file descriptor. With ``-``, this process execs the program. With a descriptor, it starts the
program as a child and writes two lines to the descriptor: the program's process id when it starts, and its CPU seconds
and peak memory when it ends. Both can't be measured across exec, because the kernel's figures include the memory used
before. LIMITS are names and values of resource limits, such as ``CORE=0,DATA=8000000000``.
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence

PR_SET_PDEATHSIG = 1


def killed_with_parent(
    argv: Sequence[str], *, report: int | None = None, limits: Mapping[str, int] | None = None
) -> list[str]:
    """Wrap a command so that its process is killed when the calling thread or this process ends.

    Args:
        argv: The program's absolute path and its arguments.
        report: File descriptor for the program's process id, CPU seconds and peak memory; None for no report.
        limits: Resource limits by their names in `resource`, without ``RLIMIT_``. Core dumps are always disabled.
    """
    report_fd = "-" if report is None else str(report)
    limited = ",".join(f"{name}={number}" for name, number in {"CORE": 0, **(limits or {})}.items())
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), report_fd, limited, *argv]


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before prctl took effect
        os._exit(1)


def _limit(limits: str) -> None:
    for each in limits.split(","):
        name, _, number = each.partition("=")
        kind = getattr(resource, f"RLIMIT_{name}")
        current, _ = resource.getrlimit(kind)
        limit = int(number) if current == resource.RLIM_INFINITY else min(int(number), current)
        resource.setrlimit(kind, (limit, limit))


def _become(argv: list[str]) -> None:
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(1)


def _watch(argv: list[str], report: int) -> None:
    own_pid = os.getpid()
    os.set_inheritable(report, False)
    child = os.fork()
    if child == 0:
        _die_with(own_pid)
        _become(argv)
    # A signal to the process group ends the child; this process then reports its status.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(report, f"{child}\n".encode())
    _, status, usage = os.wait4(child, 0)
    os.write(report, f"{usage.ru_utime + usage.ru_stime} {usage.ru_maxrss * 1024}\n".encode())
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(own_pid, -code)
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    _die_with(int(sys.argv[1]))
    _limit(sys.argv[3])
    if sys.argv[2] == "-":
        _become(sys.argv[4:])
    _watch(sys.argv[4:], int(sys.argv[2]))
