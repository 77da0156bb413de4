"""Looking at masters in another process: one that crashes a demuxer, or never lets it end, costs that process only.

As a program (``python -m encoder.apart``) it reads what to look at from its environment, where no other user sees a
presigned URL, and writes one document.
"""

import os
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from encoder import damage, probing
from encoder.cropping import Sampling, Sighting, look
from headend import documents
from headend.errors import HeadendError, MasterError, ToolFailed
from headend.media import Damage, Master, Probe, Reading
from headend.process import run

MEMORY_BYTES = 4 << 30
"""Address space of the process; the index of a day of film takes a tenth."""
STALL_S = 900.0
"""How long it may take: a transport stream in S3 is read from end to end."""
LOOK_S = 4 * 3600.0
"""How long looking through a master may take: a film of many hours is decoded."""

_ASKED, _QUESTION, _URL = "HEADEND_ASKED", "HEADEND_QUESTION", "HEADEND_MASTER_URL"
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Search:
    """What to look through for damage."""

    master: Master
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What looking through has found."""

    damage: tuple[Damage, ...]


def probe(master: Master, input_url: str) -> Probe:
    """Probe a master as `encoder.probing.probe` does, in another process.

    Raises:
        MasterError: It can't be used; also where it has crashed the demuxer, or kept it busy for too long.
    """
    return _answer(Probe, master, input_url, master)


def look_for_bars(samples: Sampling, input_url: str) -> Sighting:
    """Look at samples of a master as `encoder.cropping.look` does, in another process.

    Raises:
        MasterError: As for `probe`.
    """
    return _answer(Sighting, samples, input_url, samples.master)


def look_through(
    master: Master,
    input_url: str,
    readings: tuple[Reading, ...],
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Damage, ...]:
    """Look through a master for damage as `encoder.damage.look_through` does, in another process.

    Raises:
        MasterError: As for `probe`.
        Cancelled: ``cancelled`` became true.
    """
    question = Search(master, readings)
    return _answer(Found, question, input_url, master, stall_s=LOOK_S, cancelled=cancelled).damage


def _answer(
    kind: type[Answer],
    question: Master | Sampling | Search,
    input_url: str,
    master: Master,
    *,
    stall_s: float = STALL_S,
    cancelled: Callable[[], bool] = lambda: False,
) -> Answer:
    lines: list[str] = []
    try:
        run(
            [sys.executable, "-P", "-m", __name__],
            environment={
                # The same code as here, wherever the caller stands, and nothing that lies in that folder.
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                _ASKED: type(question).__name__,
                _QUESTION: documents.write(question).decode(),
                _URL: input_url,
            },
            on_line=lines.append,
            stall_s=stall_s,
            cancelled=cancelled,
        )
    except ToolFailed as error:
        raise MasterError(
            f"{master.url} can't be read: looking at it broke off; it is damaged, or made to do harm: deliver it again",
            status=error.facts.get("status"),
            stderr=error.facts.get("stderr", ""),
        ) from None
    answer = lines[-1].encode() if lines else b""
    if answer.startswith(b"MasterError "):
        raise MasterError(msgspec.json.decode(answer.removeprefix(b"MasterError ")))
    return documents.read(kind, answer, key="what was seen of the master")


def _main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    question, url = os.environ[_QUESTION].encode(), os.environ[_URL]
    try:
        if os.environ[_ASKED] == Sampling.__name__:
            answer = documents.write(look(documents.read(Sampling, question, key=_QUESTION), url))
        elif os.environ[_ASKED] == Search.__name__:
            search = documents.read(Search, question, key=_QUESTION)
            answer = documents.write(Found(damage.look_through(search.master, url, search.readings)))
        else:
            answer = documents.write(probing.probe(documents.read(Master, question, key=_QUESTION), url))
    except HeadendError as error:
        answer = b"MasterError " + msgspec.json.encode(error.message)
    sys.stdout.buffer.write(answer + b"\n")


if __name__ == "__main__":
    _main()
