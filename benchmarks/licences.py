"""What serving protected titles costs: licences, and encrypted segments beside clear ones.

Load comes from wrk, on the same machine. Of the origin, its own CPU time per request is compared; clear and encrypted
segments take turns.
"""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import origin
from benchmarks.load import run_wrk
from benchmarks.servers import Server
from headend.core import layout
from headend.core.access.tokens import Grant, Use, issue, make_key, read_keys
from headend.core.errors import ToolFailed
from headend.core.media import AnyTrack, Presentation, Scheme
from headend.core.media.protection import key_names

CONNECTIONS = 4
SESSIONS = 64
"""Viewers who ask for licences, each with a token of his own."""


@dataclass(frozen=True, slots=True)
class Licences:
    """What licences cost, each for all keys of a title.

    Attributes:
        cpu_us: CPU microseconds of the service per licence, median over rounds.
        requests_per_s: On the clock, with the load beside it on the same cores.
        p50_ms: Median of latency.
        p99_ms: 99th percentile of latency, median over rounds.
    """

    cpu_us: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Segments:
    """What the origin takes for a segment, in CPU microseconds; median over rounds.

    Attributes:
        clear_us: Of a clear track.
        encrypted_us: Of the same track, encrypted.
    """

    clear_us: float
    encrypted_us: float

    @property
    def change(self) -> float:
        """By how much encrypted segments cost more, as a share."""
        return self.encrypted_us / self.clear_us - 1


def licences(title: str, keys: Path, folder: Path, *, rounds: int, seconds: int) -> Licences:
    """Ask a licence service, as people run it, for the keys of a title."""
    tokens = folder / "tokens"
    tokens.write_text(f"{make_key(Use.PLAYBACK).line}\n")
    tokens.chmod(0o600)
    keyring = read_keys(tokens.read_text(), str(tokens))
    expires_s = int(time.time()) + 24 * 3600
    grants = (Grant(title, f"account-{number}", "one", expires_s) for number in range(SESSIONS))
    paths = [f"/t/{issue(grant, keyring)}/{title}/licence" for grant in grants]
    kids = (bytes.fromhex(name.kid) for name in key_names(title, Scheme.CBCS))
    named = [base64.urlsafe_b64encode(kid).rstrip(b"=").decode() for kid in kids]
    body = json.dumps({"kids": named, "type": "temporary"})
    runs = []
    with _service(keys, tokens) as server:
        for _ in range(1 + rounds):
            before_s = sum(server.cpu_s().values())
            load = run_wrk(
                server.url, paths, headers={}, connections=CONNECTIONS, seconds=seconds, folder=folder, body=body
            )
            spent_s = sum(server.cpu_s().values()) - before_s
            runs.append((1e6 * spent_s / load.requests, load.requests / load.seconds, load.p50_ms, load.p99_ms))
    return Licences(*(median(column) for column in zip(*runs[1:], strict=True)))  # the first one fills caches


def segments(
    store: str, clear: Presentation, encrypted: Presentation, folder: Path, *, rounds: int, seconds: int
) -> Segments:
    """Ask the origin for the segments of a clear track and of the same track encrypted, in turns."""
    costs: dict[bool, list[float]] = {False: [], True: []}
    with origin.headend(store) as server:
        for number in range(1 + rounds):
            for is_encrypted, release in ((False, clear), (True, encrypted)):
                paths = _paths(release.title, [*release.video, *release.audio])
                before_s = sum(server.cpu_s().values())
                load = run_wrk(server.url, paths, headers={}, connections=CONNECTIONS, seconds=seconds, folder=folder)
                if number:  # the first round fills caches
                    costs[is_encrypted].append(1e6 * (sum(server.cpu_s().values()) - before_s) / load.requests)
    return Segments(median(costs[False]), median(costs[True]))


def _paths(title: str, tracks: Sequence[AnyTrack]) -> list[str]:
    return [
        f"/{title}/tracks/{track.id}/{name}"
        for track in tracks
        for name in (layout.INIT, *(layout.segment_name(track.id, segment.number) for segment in track.segments))
    ]


@contextmanager
def _service(keys: Path, tokens: Path) -> Iterator[Server]:
    words = ["keys", "serve", "--keys", str(keys), "--token-keys", str(tokens), "--port", "0", "--json"]
    argv = [sys.executable, "-m", "headend", *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        try:
            said = ""
            while child.stdout is not None and not said.endswith("}\n"):
                line = child.stdout.readline()
                if not line:
                    raise ToolFailed("headend keys serve does not start: see what it wrote above", argv=argv)
                said += line
            yield Server(json.loads(said)["url"], child.pid)
        finally:
            child.terminate()
            child.wait()
