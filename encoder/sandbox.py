"""Looking at masters in a sandbox: one that crashes a demuxer, or never lets it end, costs a process of its own only.

As a program (``python -m encoder.sandbox``) it reads its request from its environment, where no other user sees the
address of a master in S3, and writes one document.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from encoder import damage, probing
from encoder.cropping import DetectedBorders, Sampling
from encoder.cropping import detect_borders as find_borders
from encoder.subtitles.captions import Captions
from headend.core import documents
from headend.core.errors import ConfigError, HeadendError, MasterError, ToolFailed
from headend.core.media import Damage, Master, Probe, ReadRange
from headend.core.process import Watch, run
from headend.core.settings import PictureChoice

MEMORY_BYTES = 4 << 30
"""Address space of the process; the index of a day of film takes a tenth."""
STALL_S = 300.0
"""How long it may read nothing of the master. As long as it reads, it may take any time: a transport stream is read
from its start to its end."""
IDLE_S = 120.0
"""How long it may neither read nor take CPU time."""

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP})
_ASKED, _QUESTION, _URL = "HEADEND_ASKED", "HEADEND_QUESTION", "HEADEND_MASTER_URL"
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Probing:
    """Which picture of which master to probe."""

    master: Master
    choice: PictureChoice


@dataclass(frozen=True, slots=True)
class Listening:
    """Which file to probe whose sound is wanted."""

    master: Master


@dataclass(frozen=True, slots=True)
class Search:
    """The parts of a master to scan for damage."""

    master: Master
    read_ranges: tuple[ReadRange, ...]


@dataclass(frozen=True, slots=True)
class Captioned:
    """Which picture of which master has captions."""

    master: Master
    stream: int


@dataclass(frozen=True, slots=True)
class DamageFound:
    """The damage that a scan has found."""

    damage: tuple[Damage, ...]


def probe(
    master: Master,
    input_url: str,
    choice: PictureChoice = probing.ANY_PICTURE,
    *,
    progress: Callable[[], int] = lambda: 0,
    on_read: Callable[[int], None] = lambda _: None,
) -> Probe:
    """Probe a master as `encoder.probing.probe` does, in another process.

    Args:
        master: The master.
        input_url: Where it is read.
        choice: Which picture is wanted, of a master that has several.
        progress: Changes as long as it is read, or waited for; of a file it need not.
        on_read: Called now and then with the number of bytes read.

    Raises:
        MasterError: It can't be used; also where it has crashed the demuxer, or kept it busy for too long.
        ConfigError: The picture that is wanted is not there.
    """
    return _answer(Probe, Probing(master, choice), input_url, master, progress=progress, on_read=on_read)


def probe_sound(master: Master, input_url: str, *, progress: Callable[[], int] = lambda: 0) -> Probe:
    """Probe a file whose sound is wanted, as `encoder.probing.probe_sound` does, in another process.

    Raises:
        MasterError: As for `probe`.
    """
    return _answer(Probe, Listening(master), input_url, master, progress=progress)


def detect_borders(samples: Sampling, input_url: str, *, progress: Callable[[], int] = lambda: 0) -> DetectedBorders:
    """Look at samples of a master as `encoder.cropping.detect_borders` does, in another process.

    Raises:
        MasterError: As for `probe`.
    """
    return _answer(DetectedBorders, samples, input_url, samples.master, progress=progress)


def look_through(
    master: Master,
    input_url: str,
    read_ranges: tuple[ReadRange, ...],
    *,
    progress: Callable[[], int] = lambda: 0,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Damage, ...]:
    """Scan a master for damage as `encoder.damage.look_through` does, in another process.

    Raises:
        MasterError: As for `probe`.
        Cancelled: ``cancelled`` became true.
    """
    question = Search(master, read_ranges)
    return _answer(DamageFound, question, input_url, master, progress=progress, cancelled=cancelled).damage


def read_captions(
    master: Master,
    input_url: str,
    stream: int,
    *,
    progress: Callable[[], int] = lambda: 0,
    cancelled: Callable[[], bool] = lambda: False,
) -> Captions:
    """Read the captions of a picture, as `encoder.probing.read_captions` does, in another process.

    Raises:
        MasterError: As for `probe`.
        Cancelled: ``cancelled`` became true.
    """
    question = Captioned(master, stream)
    return _answer(Captions, question, input_url, master, progress=progress, cancelled=cancelled)


def _answer(
    kind: type[Answer],
    question: Probing | Listening | Sampling | Search | Captioned,
    input_url: str,
    master: Master,
    *,
    progress: Callable[[], int],
    cancelled: Callable[[], bool] = lambda: False,
    on_read: Callable[[int], None] = lambda _: None,
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
            watch=Watch(stall_s=STALL_S, idle_s=IDLE_S, progress=progress, on_read=on_read),
            cancelled=cancelled,
            limits={"AS": MEMORY_BYTES},
        )
    except ToolFailed as error:
        stderr = error.facts.get("stderr", "")
        raise MasterError(
            f"{master.url} can't be read: reading it broke off, {_why(error.facts.get('status'), stderr)}",
            status=error.facts.get("status"),
            stderr=stderr,
        ) from None
    answer = lines[-1].encode() if lines else b""
    for refusal in (MasterError, ConfigError):
        mark = f"{refusal.__name__} ".encode()
        if answer.startswith(mark):
            raise refusal(msgspec.json.decode(answer.removeprefix(mark)))
    return documents.read(kind, answer, key="what was seen of the master")


def _why(status: int | None, stderr: str) -> str:
    """Why probing a master ended without an answer, and what to do."""
    if status is not None and -status in _CRASHES:
        return (
            f"because the probing process crashed ({signal.Signals(-status).name}); this is a fault of headend "
            "or of its FFmpeg: report it, and deliver the film in another container"
        )
    last = stderr.rstrip().rpartition("\n")[2]
    if "MemoryError" in last or "Cannot allocate memory" in last:
        return f"because that takes more than {MEMORY_BYTES >> 30} GiB of memory; deliver it in another container"
    if status is not None and status > 0:
        return (
            f"because the probing process failed ({last or f'status {status}'}); this is a fault of headend: report it"
        )
    return "because it took too long; the file is damaged, or the network or the disk is slow"


def _main() -> None:
    question, url = os.environ[_QUESTION].encode(), os.environ[_URL]
    try:
        if os.environ[_ASKED] == Sampling.__name__:
            answer = documents.write(find_borders(documents.read(Sampling, question, key=_QUESTION), url))
        elif os.environ[_ASKED] == Search.__name__:
            search = documents.read(Search, question, key=_QUESTION)
            answer = documents.write(DamageFound(damage.look_through(search.master, url, search.read_ranges)))
        elif os.environ[_ASKED] == Listening.__name__:
            file = documents.read(Listening, question, key=_QUESTION).master
            answer = documents.write(probing.probe_sound(file, url))
        elif os.environ[_ASKED] == Captioned.__name__:
            captioned = documents.read(Captioned, question, key=_QUESTION)
            answer = documents.write(probing.read_captions(captioned.master, url, captioned.stream))
        else:
            wanted = documents.read(Probing, question, key=_QUESTION)
            answer = documents.write(probing.probe(wanted.master, url, wanted.choice))
    except HeadendError as error:
        name = ConfigError.__name__ if isinstance(error, ConfigError) else MasterError.__name__
        answer = f"{name} ".encode() + msgspec.json.encode(error.message)
    sys.stdout.buffer.write(answer + b"\n")


if __name__ == "__main__":
    _main()
