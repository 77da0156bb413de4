"""Measures the cost of serving protected titles: of licences, and of encrypted segments compared with clear ones.

wrk generates the load on the same machine. The result is the CPU time of the server alone, per request.
"""

import base64
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import origin
from benchmarks.load import run_wrk
from benchmarks.servers import run_program
from headend.core import layout
from headend.core.access.tokens import Grant, Use, issue, make_key, read_keys
from headend.core.media import AnyTrack, Presentation, Scheme
from headend.core.media.protection import key_names

CONNECTIONS = 4
SESSIONS = 64
"""Number of viewers that request licences, each with its own token."""


@dataclass(frozen=True, slots=True)
class Licences:
    """Cost of a licence with all keys of a title; medians over rounds.

    Attributes:
        cpu_us: CPU microseconds of the service per licence.
        requests_per_s: Licences per second, with the load generator on the same cores.
        p50_ms: Median latency.
        p99_ms: 99th percentile of latency.
    """

    cpu_us: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Segments:
    """The origin's CPU microseconds per segment; medians over rounds.

    Attributes:
        clear_us: Segments of a clear track.
        encrypted_us: Segments of the same track, encrypted.
    """

    clear_us: float
    encrypted_us: float

    @property
    def change(self) -> float:
        """Additional cost of encrypted segments, as a share."""
        return self.encrypted_us / self.clear_us - 1


def measure_licences(title: str, keys: Path, folder: Path, *, rounds: int, seconds: int) -> Licences:
    """Measure licences for a title from ``headend keys serve``."""
    tokens = folder / "tokens"
    tokens.write_text(f"{make_key(Use.PLAYBACK).line}\n")
    tokens.chmod(0o600)
    keyring = read_keys(tokens.read_text(), str(tokens))
    expires_s = int(time.time()) + 24 * 3600
    grants = (Grant(title, f"account-{number}", "one", expires_s) for number in range(SESSIONS))
    paths = [f"/t/{issue(grant, keyring)}/{title}/licence" for grant in grants]
    kids = (bytes.fromhex(name.kid) for name in key_names(title, Scheme.CBCS))
    encoded_kids = [base64.urlsafe_b64encode(kid).rstrip(b"=").decode() for kid in kids]
    body = json.dumps({"kids": encoded_kids, "type": "temporary"})
    runs = []
    serve = [sys.executable, "-m", "headend", "keys", "serve", "--keys", str(keys), "--token-keys", str(tokens)]
    with run_program([*serve, "--port", "0", "--json"]) as server:
        for _ in range(1 + rounds):
            before_s = sum(server.cpu_s().values())
            load = run_wrk(
                server.url, paths, headers={}, connections=CONNECTIONS, seconds=seconds, folder=folder, body=body
            )
            spent_s = sum(server.cpu_s().values()) - before_s
            runs.append((1e6 * spent_s / load.requests, load.requests / load.seconds, load.p50_ms, load.p99_ms))
    return Licences(*(median(column) for column in zip(*runs[1:], strict=True)))  # the first round warms the caches


def measure_segments(
    store: str, clear: Presentation, encrypted: Presentation, folder: Path, *, rounds: int, seconds: int
) -> Segments:
    """Measure segments of a clear release and of the same release encrypted, alternating between them."""
    costs: dict[bool, list[float]] = {False: [], True: []}
    with origin.headend(store) as server:
        for number in range(1 + rounds):
            for is_encrypted, release in ((False, clear), (True, encrypted)):
                paths = _paths(release.title, [*release.video, *release.audio])
                before_s = sum(server.cpu_s().values())
                load = run_wrk(server.url, paths, headers={}, connections=CONNECTIONS, seconds=seconds, folder=folder)
                if number:  # the first round warms the caches
                    costs[is_encrypted].append(1e6 * (sum(server.cpu_s().values()) - before_s) / load.requests)
    return Segments(median(costs[False]), median(costs[True]))


def _paths(title: str, tracks: Sequence[AnyTrack]) -> list[str]:
    return [
        f"/{title}/tracks/{track.id}/{name}"
        for track in tracks
        for name in (layout.INIT, *(layout.segment_name(track.id, segment.number) for segment in track.segments))
    ]
