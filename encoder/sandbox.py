"""Read masters in a sandbox: a file that crashes or hangs a demuxer only affects a child process.

The child (``python -m encoder.sandbox``) reads its request from its environment, where other users can't see the URL of
a master in S3, and writes one document.
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
"""Limit of the child's address space; the index of a 24-hour film takes a tenth of this."""
STALL_S = 300.0
"""How long the child may read nothing. There is no other limit, since a transport stream is read as a whole."""
IDLE_S = 120.0
"""How long the child may neither read nor use CPU time."""

_CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP})
_KIND, _REQUEST, _URL = "HEADEND_REQUEST_KIND", "HEADEND_REQUEST", "HEADEND_MASTER_URL"
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """A request to probe a master, and its picture if there are several."""

    master: Master
    choice: PictureChoice


@dataclass(frozen=True, slots=True)
class SoundRequest:
    """A request to probe the sound of a file."""

    master: Master


@dataclass(frozen=True, slots=True)
class DamageRequest:
    """A request to scan parts of a master for damage."""

    master: Master
    read_ranges: tuple[ReadRange, ...]


@dataclass(frozen=True, slots=True)
class CaptionRequest:
    """A request to read the captions in a picture of a master."""

    master: Master
    stream: int


@dataclass(frozen=True, slots=True)
class DamageFound:
    """The result of a scan for damage."""

    damage: tuple[Damage, ...]


def probe(
    master: Master,
    input_url: str,
    choice: PictureChoice = probing.ANY_PICTURE,
    *,
    progress: Callable[[], int] = lambda: 0,
    on_read: Callable[[int], None] = lambda _: None,
) -> Probe:
    """Run `encoder.probing.probe` in a child process.

    Args:
        master: The master.
        input_url: Where to read it.
        choice: The picture to probe, if the master has several.
        progress: Returns a number that changes while the master is read or waited for; constant for a local file.
        on_read: Called repeatedly with the number of bytes that have been read.

    Raises:
        MasterError: The master can't be used, it crashed the child, or the child took too long.
        ConfigError: The master does not have the chosen picture.
    """
    return _run(Probe, ProbeRequest(master, choice), input_url, master, progress=progress, on_read=on_read)


def probe_sound(master: Master, input_url: str, *, progress: Callable[[], int] = lambda: 0) -> Probe:
    """Run `encoder.probing.probe_sound` in a child process.

    Raises:
        MasterError: As for `probe`.
    """
    return _run(Probe, SoundRequest(master), input_url, master, progress=progress)


def detect_borders(samples: Sampling, input_url: str, *, progress: Callable[[], int] = lambda: 0) -> DetectedBorders:
    """Run `encoder.cropping.detect_borders` in a child process.

    Raises:
        MasterError: As for `probe`.
    """
    return _run(DetectedBorders, samples, input_url, samples.master, progress=progress)


def scan_damage(
    master: Master,
    input_url: str,
    read_ranges: tuple[ReadRange, ...],
    *,
    progress: Callable[[], int] = lambda: 0,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Damage, ...]:
    """Run `encoder.damage.scan` in a child process.

    Raises:
        MasterError: As for `probe`.
        Cancelled: ``cancelled`` returned True.
    """
    request = DamageRequest(master, read_ranges)
    return _run(DamageFound, request, input_url, master, progress=progress, cancelled=cancelled).damage


def read_captions(
    master: Master,
    input_url: str,
    stream: int,
    *,
    progress: Callable[[], int] = lambda: 0,
    cancelled: Callable[[], bool] = lambda: False,
) -> Captions:
    """Run `encoder.probing.read_captions` in a child process.

    Raises:
        MasterError: As for `probe`.
        Cancelled: ``cancelled`` returned True.
    """
    request = CaptionRequest(master, stream)
    return _run(Captions, request, input_url, master, progress=progress, cancelled=cancelled)


def _run(
    kind: type[Answer],
    request: ProbeRequest | SoundRequest | Sampling | DamageRequest | CaptionRequest,
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
                # Import the same code as this process, and nothing from the working folder.
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                _KIND: type(request).__name__,
                _REQUEST: documents.write(request).decode(),
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
            f"{master.url} can't be read: the probe ended {_explain(error.facts.get('status'), stderr)}",
            status=error.facts.get("status"),
            stderr=stderr,
        ) from None
    answer = lines[-1].encode() if lines else b""
    for error_type in (MasterError, ConfigError):
        prefix = f"{error_type.__name__} ".encode()
        if answer.startswith(prefix):
            raise error_type(msgspec.json.decode(answer.removeprefix(prefix)))
    return documents.read(kind, answer, key="the sandbox's answer")


def _explain(status: int | None, stderr: str) -> str:
    """Why the child ended without an answer, and what to do."""
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
    kind, request, url = os.environ[_KIND], os.environ[_REQUEST].encode(), os.environ[_URL]
    try:
        if kind == Sampling.__name__:
            answer = documents.write(find_borders(documents.read(Sampling, request, key=_REQUEST), url))
        elif kind == DamageRequest.__name__:
            scan = documents.read(DamageRequest, request, key=_REQUEST)
            answer = documents.write(DamageFound(damage.scan(scan.master, url, scan.read_ranges)))
        elif kind == SoundRequest.__name__:
            file = documents.read(SoundRequest, request, key=_REQUEST).master
            answer = documents.write(probing.probe_sound(file, url))
        elif kind == CaptionRequest.__name__:
            captions = documents.read(CaptionRequest, request, key=_REQUEST)
            answer = documents.write(probing.read_captions(captions.master, url, captions.stream))
        else:
            wanted = documents.read(ProbeRequest, request, key=_REQUEST)
            answer = documents.write(probing.probe(wanted.master, url, wanted.choice))
    except HeadendError as error:
        name = ConfigError.__name__ if isinstance(error, ConfigError) else MasterError.__name__
        answer = f"{name} ".encode() + msgspec.json.encode(error.message)
    sys.stdout.buffer.write(answer + b"\n")


if __name__ == "__main__":
    _main()
