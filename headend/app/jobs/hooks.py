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
"""How long the command may run."""
JOB_ID, JOB_TITLE, JOB_STATE = "HEADEND_JOB_ID", "HEADEND_JOB_TITLE", "HEADEND_JOB_STATE"
"""Variables that the command gets. None is an option's variable: the command may run headend itself."""
SECRETS = (SECRET_VARIABLE, CONSOLE_TOKENS)
"""Variables that it does not get."""
TAIL_BYTES = 4096
"""How much of the command's last words is kept."""
LAST_WORDS_S = 1.0
"""How long to wait for its last words after its end: what it has started may hold them back."""


def run(command: Sequence[str], body: bytes, variables: Mapping[str, str]) -> str | None:
    """Run the command to its end; returns what went wrong, or None.

    Args:
        command: The program and its arguments.
        body: What it gets on its standard input.
        variables: On top of this process's environment.
    """
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    with TemporaryFile() as given:
        given.write(body)
        given.seek(0)
        try:
            child = subprocess.Popen(
                command, stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                env={**environment, **variables}, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            return str(error)
    tail = bytearray()
    assert child.stderr is not None
    reader = threading.Thread(target=_keep, args=(child.stderr, tail), name="hook", daemon=True)
    reader.start()
    try:
        status = child.wait(HOOK_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return f"took longer than {HOOK_S:.0f} s and was stopped"
    reader.join(LAST_WORDS_S)
    if not status:
        return None
    last = bytes(tail).decode(errors="replace").strip().splitlines()[-1:]
    return f"exit status {status}: {' '.join(last)}"


def _keep(stream: IO[bytes], tail: bytearray) -> None:
    with stream:
        while data := os.read(stream.fileno(), TAIL_BYTES):
            tail += data
            del tail[:-TAIL_BYTES]
