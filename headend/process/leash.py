"""Become another program that dies with its parent: ``python -I -S leash.py PARENT_PID PROGRAM [ARG ...]``.

The kernel is told first to kill this process when its parent ends (prctl(2), PR_SET_PDEATHSIG); the wish survives exec.
A tiny program of its own does it, since running Python between fork and exec of a threaded process may deadlock.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def leashed(argv: Sequence[str]) -> list[str]:
    """The command that runs ``argv`` so that it dies with the thread which starts it, and with this process.

    Args:
        argv: The program's absolute path and its arguments.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *argv]


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # the parent ended before the wish was known
        sys.exit(1)
    try:
        os.execv(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.exit(f"{sys.argv[2]}: {error.strerror}")
