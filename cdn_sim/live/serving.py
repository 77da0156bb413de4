"""Running an edge: as a program until it is told to stop, or beside something else for a while."""

import asyncio
import contextlib
import gc
import logging
import math
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from cdn_sim.live.edge import Edge
from cdn_sim.live.filler import Filler
from cdn_sim.live.folder import Folder
from cdn_sim.live.running import in_thread, until_signalled
from cdn_sim.live.upstream import Role, Upstream, Upstreams
from cdn_sim.request_logs.decisions import MAGIC, DecisionLog, LoggedPolicy
from headend.core.access.grants import EDGE, GrantChecker, without_token
from headend.core.access.leases import Leases
from headend.core.access.tokens import Keyring, vouch
from headend.core.errors import ConfigError
from headend.core.http.access_log import FLUSH_S, AccessLog
from headend.core.http.server import HttpServer, Limits
from headend.core.metrics import Registry

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8081
DEFAULT_DISK_BYTES = 20 << 30
DEFAULT_MEMORY_BYTES = 32 << 20
FLUSH_DECISIONS_S = 1.0
KEEP_FREE_BYTES = 64 << 20
LIMITS = Limits()

log = logging.getLogger("headend.edge")


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """How an edge runs.

    Attributes:
        origin: The origin's address.
        disk: Folder for objects.
        disk_bytes: Room for them.
        name: Unique among the edges of a plant; the host's name and port by default.
        tier: ``edge`` or ``shield``.
        shield: Address of the shield that is asked before the origin; None for none.
        peers: Addresses of the cluster's other edges.
        itself: Under which address peers know this edge; needed with peers.
        policy: A name of `cdn_sim.policies.POLICIES`.
        admission: A name of `cdn_sim.admission.RULES`.
        memory_bytes: Memory for manifests.
        decisions: File of the decision log; None for none.
        keys: What tokens are signed with; None serves everything to everyone.
        state_dir: Where screens are counted; needed with keys.
        territory: Where the edge is, ISO 3166-1 alpha-2; empty if that is not known.
        access_log: Whether each request is written to standard output, as a line of JSON.
        rate_bps: What the edge may send; the steering server sends no more viewers to an edge that is full.
        fill: A plan that ``headend fill plan`` wrote; None for none.
        linger_s: How long the edge goes on after it is told to stop, while it says that it is not ready.
    """

    origin: str
    disk: Path
    disk_bytes: int = DEFAULT_DISK_BYTES
    name: str = ""
    tier: str = "edge"
    shield: str | None = None
    peers: tuple[str, ...] = ()
    itself: str = ""
    policy: str = "slru"
    admission: str = "all"
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    decisions: Path | None = None
    keys: Keyring | None = None
    state_dir: Path | None = None
    territory: str = ""
    access_log: bool = False
    rate_bps: float = math.inf
    fill: Path | None = None
    linger_s: float = 0.0


def serve(
    settings: EdgeSettings,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    on_ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are finished first.

    Raises:
        ConfigError: An address is malformed, the port can't be listened on, or the folder can't be used.
    """
    until_signalled(partial(_run, settings), host, port, on_ready)


def running(
    settings: EdgeSettings, *, host: str = DEFAULT_HOST, port: int = 0
) -> contextlib.AbstractContextManager[str]:
    """Serve from a thread of this process until the block is left; yields the base URL, without a slash at its end."""
    return in_thread(partial(_run, settings), "edge", host, port)


async def _run(
    settings: EdgeSettings, listener: socket.socket, stop: asyncio.Event, on_ready: Callable[[], object]
) -> None:
    name = settings.name or f"{socket.gethostname()}-{listener.getsockname()[1]}"
    folder = Folder(settings.disk)
    found = tuple(folder.found())
    _check_room(folder, settings, sum(size_bytes for _, size_bytes in found))
    with contextlib.ExitStack() as held:
        stream, decisions = _decisions(settings.decisions)
        if stream is not None:
            held.enter_context(stream)
        policy = LoggedPolicy(
            settings.policy,
            settings.disk_bytes,
            decisions,
            lambda: time.time_ns() // 1_000_000,
            admission=settings.admission,
            kept=found,
        )
        for key, _ in found:
            if key not in policy.policy:
                folder.remove(key)  # from a larger cache
        upstreams = Upstreams(_upstreams(settings), name, lambda: _vouched(settings))
        checker = None
        if settings.keys is not None and settings.state_dir is not None:
            leases = held.enter_context(contextlib.closing(Leases(settings.state_dir)))
            checker = GrantChecker(settings.keys, leases)
        registry = Registry("headend_edge")
        access_log = AccessLog(sys.stdout, redact=without_token) if settings.access_log else None
        edge = Edge(
            name=name,
            upstreams=upstreams,
            folder=folder,
            policy=policy,
            documents_bytes=settings.memory_bytes,
            registry=registry,
            tier=settings.tier,
            checker=checker,
            territory=settings.territory,
            peers=settings.peers,
            itself=settings.itself,
            access_log=access_log,
            rate_bps=settings.rate_bps,
        )
        filler = Filler(edge, settings.fill, settings.keys) if settings.fill is not None else None
        server = HttpServer(edge, registry, LIMITS, at_once=edge.respond_at_once)
        await server.start([listener])
        writing = asyncio.create_task(_write(stream, access_log))
        filling = asyncio.create_task(filler.run()) if filler is not None else None
        gc.freeze()
        on_ready()
        try:
            await stop.wait()
            edge.is_draining = True
            await asyncio.sleep(settings.linger_s)
        finally:
            if filling is not None:
                filling.cancel()
            await server.stop()
            await edge.close()
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing


def _upstreams(settings: EdgeSettings) -> list[Upstream]:
    if settings.peers and not settings.itself:
        raise ConfigError("with --peer the edge needs --self URL, its own address among them")
    named = [
        *((peer, Role.PEER) for peer in settings.peers),
        *([(settings.shield, Role.SHIELD)] if settings.shield else []),
        (settings.origin, Role.ORIGIN),
    ]
    return [Upstream(url, role, time.monotonic) for url, role in named]


def _vouched(settings: EdgeSettings) -> dict[str, str]:
    """What the edge says of itself to the origin."""
    if settings.keys is None:
        return {}
    try:
        return {EDGE: vouch(settings.territory or "ZZ", int(time.time()), settings.keys)}
    except ConfigError:
        return {}  # there is no key for edges: the origin knows nothing of territories then


def _decisions(path: Path | None) -> tuple[TextIO | None, DecisionLog | None]:
    """Open the decision log for appending; a line that a killed process cut is ended first."""
    if path is None:
        return None, None
    try:
        fresh = not path.exists() or path.stat().st_size == 0
        stream = path.open("a", encoding="ascii", newline="\n")
        if not fresh:
            with path.open("rb") as file:
                if file.read(len(MAGIC)).decode("ascii", "replace") != MAGIC:
                    raise ConfigError(f"{path} is there and is no decision log: choose another with --decisions")
                file.seek(-1, 2)
                if file.read(1) != b"\n":
                    stream.write("\n")
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror}; choose another with --decisions") from error
    return stream, DecisionLog(stream, fresh=fresh)


def _check_room(folder: Folder, settings: EdgeSettings, kept_bytes: int) -> None:
    room = folder.free_bytes + kept_bytes - KEEP_FREE_BYTES
    if settings.disk_bytes > room:
        log.warning(
            "%s has room for %.1f GB, less than --disk-bytes: what does not fit is passed on without being kept",
            settings.disk,
            max(0, room) / 1e9,
        )


async def _write(stream: TextIO | None, access_log: AccessLog | None) -> None:
    try:
        while True:
            await asyncio.sleep(min(FLUSH_DECISIONS_S, FLUSH_S))
            if stream is not None:
                stream.flush()
            if access_log is not None:
                await asyncio.to_thread(access_log.write, access_log.take())
    finally:
        if stream is not None:
            stream.flush()
        if access_log is not None:
            access_log.write(access_log.take())
