"""Probing in a process of its own: a master that crashes a demuxer, or never lets it end, costs that process only.

As a program (``python -m encoder.apart``) it reads what to probe from its environment, where no other user sees a
presigned URL, and writes one document.
"""

import os
import resource
import sys

import msgspec

from encoder import probing
from headend import documents
from headend.errors import HeadendError, MasterError, ToolFailed
from headend.media import Master, Probe
from headend.process import run

MEMORY_BYTES = 4 << 30
"""Address space of the process; the index of a day of film takes a tenth."""
STALL_S = 900.0
"""How long it may take: a transport stream in S3 is read from end to end."""

_MASTER, _URL = "HEADEND_PROBE_MASTER", "HEADEND_PROBE_URL"


def probe(master: Master, input_url: str) -> Probe:
    """Probe a master as `encoder.probing.probe` does, in another process.

    Raises:
        MasterError: It can't be used; also where it has crashed the demuxer, or kept it busy for too long.
    """
    lines: list[str] = []
    try:
        run(
            [sys.executable, "-P", "-m", __name__],
            environment={
                # The same code as here, wherever the caller stands, and nothing that lies in that folder.
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                _MASTER: documents.write(master).decode(),
                _URL: input_url,
            },
            on_line=lines.append,
            stall_s=STALL_S,
        )
    except ToolFailed as error:
        raise MasterError(
            f"{master.url} can't be read: probing it broke off; it is damaged, or made to do harm: deliver it again",
            status=error.facts.get("status"),
            stderr=error.facts.get("stderr", ""),
        ) from None
    answer = lines[-1].encode() if lines else b""
    if answer.startswith(b"MasterError "):
        raise MasterError(msgspec.json.decode(answer.removeprefix(b"MasterError ")))
    return documents.read(Probe, answer, key="the probe's answer")


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    master = documents.read(Master, os.environ[_MASTER].encode(), key=_MASTER)
    try:
        answer = documents.write(probing.probe(master, os.environ[_URL]))
    except HeadendError as error:
        answer = b"MasterError " + msgspec.json.encode(error.message)
    sys.stdout.buffer.write(answer + b"\n")


if __name__ == "__main__":
    _main()
