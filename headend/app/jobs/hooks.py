"""Running the command of ``headend dispatch --hook`` with one event."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO

from headend.app.jobs.console.rights import VARIABLE as CONSOLE_TOKENS
from headend.app.jobs.events import SECRET_VARIABLE

HOOK_S = 60.0
"""Time limit of the command."""
JOB_ID, JOB_TITLE, JOB_STATE = "HEADEND_JOB_ID", "HEADEND_JOB_TITLE", "HEADEND_JOB_STATE"
"""Variables set for the command. They are not the variables of options, since the command may run headend itself."""
SECRETS = (SECRET_VARIABLE, CONSOLE_TOKENS)
"""Variables that the command does not inherit."""
TAIL_BYTES = 4096
"""How much of the command's standard error is kept, from its end."""
DRAIN_S = 1.0
"""How long to read standard error after the command has exited; a child process of it may keep the pipe open."""


def run(command: Sequence[str], body: bytes, variables: Mapping[str, str]) -> str | None:
    """Run the command; return an error message, or None if it succeeds.

    Args:
        command: The program and its arguments.
        body: Its standard input.
        variables: Added to this process's environment.
    """
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    with TemporaryFile() as stdin:
        stdin.write(body)
        stdin.seek(0)
        try:
            child = subprocess.Popen(
                command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env={**environment, **variables}, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            return str(error)
    tail = bytearray()
    assert child.stderr is not None
    reader = threading.Thread(target=_keep_tail, args=(child.stderr, tail), name="hook", daemon=True)
    reader.start()
    try:
        status = child.wait(HOOK_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return f"took longer than {HOOK_S:.0f} s and was stopped"
    reader.join(DRAIN_S)
    if not status:
        return None
    last = bytes(tail).decode(errors="replace").strip().splitlines()[-1:]
    return f"exit status {status}: {' '.join(last)}"


def _keep_tail(stream: IO[bytes], tail: bytearray) -> None:
    with stream:
        while data := os.read(stream.fileno(), TAIL_BYTES):
            tail += data
            del tail[:-TAIL_BYTES]
