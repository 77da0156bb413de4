"""Runs an edge: as a process until a signal, or in a thread of another process."""

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
from cdn_sim.live.peers import Peers
from cdn_sim.live.running import in_thread, until_signalled
from cdn_sim.live.upstream import Role, Upstream, Upstreams
from cdn_sim.request_logs.decisions import MAGIC, DecisionLog, LoggedPolicy
from headend.core.access.grants import EDGE, GrantChecker, without_token
from headend.core.access.leases import Leases
from headend.core.access.tokens import Keyring, sign_territory
from headend.core.errors import ConfigError
from headend.core.http.access_log import FLUSH_S, AccessLog
from headend.core.http.server import HttpServer, Limits
from headend.core.metrics import Registry

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8081
DEFAULT_DISK_BYTES = 20 << 30
DEFAULT_MEMORY_BYTES = 32 << 20
FLUSH_DECISIONS_S = 1.0
"""Time between two flushes of the decision log."""
KEEP_FREE_BYTES = 64 << 20
"""Space on the disk that the cache should leave free."""
LIMITS = Limits()
"""Limits of the HTTP server."""

log = logging.getLogger("headend.edge")


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Settings of an edge.

    Attributes:
        origin: Address of the origin.
        disk: Folder of the cache.
        disk_bytes: Size of the cache.
        name: Name, unique among all edges; if empty, the host's name and the port.
        tier: ``edge`` or ``shield``.
        shield: Address of the shield, which is tried before the origin; None for no shield.
        peers: Addresses of the site's other edges.
        itself: This edge's own address, as its peers know it; required with ``peers``.
        policy: A name in `cdn_sim.policies.POLICIES`.
        admission: A name in `cdn_sim.admission.RULES`.
        memory_bytes: Memory for manifests.
        decisions: File of the decision log; None for no log.
        keys: Keys that sign tokens; None serves everyone without tokens.
        state_dir: Folder for leases of screens; required with ``keys``.
        territory: Territory of the edge, ISO 3166-1 alpha-2; empty if unknown.
        access_log: Whether to write each request to standard output, as a line of JSON.
        rate_bps: Maximum rate, from which the load is calculated; the steering server sends no new viewers to an edge
            with full load.
        fill: File of a fill plan, as ``headend fill plan`` writes it; None for no fill.
        linger_s: How long the edge still serves after a signal to stop. Meanwhile ``/readyz`` says that it is not
            ready.
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
    """Serve until SIGTERM or SIGINT, then finish pending requests.

    Raises:
        ConfigError: An address is malformed, it is not possible to listen on it, or the folder can't be used.
    """
    until_signalled(partial(_run, settings), host, port, on_ready)


def running(
    settings: EdgeSettings, *, host: str = DEFAULT_HOST, port: int = 0
) -> contextlib.AbstractContextManager[str]:
    """Serve from a thread of this process until the ``with`` block ends; yields the base URL without trailing slash."""
    return in_thread(partial(_run, settings), "edge", host, port)


async def _run(
    settings: EdgeSettings, listener: socket.socket, stop: asyncio.Event, on_ready: Callable[[], object]
) -> None:
    name = settings.name or f"{socket.gethostname()}-{listener.getsockname()[1]}"
    folder = Folder(settings.disk)
    with contextlib.ExitStack() as stack:
        stream, decisions = _open_decisions(settings.decisions)
        if stream is not None:
            stack.enter_context(stream)
        policy = _start_policy(settings, folder, decisions)
        upstreams = Upstreams(_upstreams(settings), name, lambda: _vouched(settings))
        checker = None
        if settings.keys is not None:
            if settings.state_dir is None:
                raise ConfigError("tokens need a folder for leases")
            leases = stack.enter_context(contextlib.closing(Leases(settings.state_dir)))
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
            peers=Peers(settings.peers, settings.itself),
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
        raise ConfigError("--peer needs --self URL: the edge's own address among its peers")
    named = [
        *((peer, Role.PEER) for peer in settings.peers),
        *([(settings.shield, Role.SHIELD)] if settings.shield else []),
        (settings.origin, Role.ORIGIN),
    ]
    return [Upstream(url, role, time.monotonic) for url, role in named]


def _vouched(settings: EdgeSettings) -> dict[str, str]:
    """Headers that sign_territory for the edge's territory."""
    if settings.keys is None:
        return {}
    try:
        return {EDGE: sign_territory(settings.territory or "ZZ", int(time.time()), settings.keys)}
    except ConfigError:
        return {}  # no key for edges, so the origin ignores territories


def _start_policy(settings: EdgeSettings, folder: Folder, decisions: DecisionLog | None) -> LoggedPolicy:
    """Make the policy, with the objects of an earlier process; remove those that don't fit."""
    found = tuple(folder.found())
    _check_room(folder, settings, sum(size_bytes for _, size_bytes in found))
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
            folder.remove(key)  # the cache was larger before
    return policy


def _open_decisions(path: Path | None) -> tuple[TextIO | None, DecisionLog | None]:
    """Open the decision log for appending; if a killed process left an incomplete last line, end it."""
    if path is None:
        return None, None
    try:
        fresh = not path.exists() or path.stat().st_size == 0
        stream = path.open("a", encoding="ascii", newline="\n")
        if not fresh:
            with path.open("rb") as file:
                if file.read(len(MAGIC)).decode("ascii", "replace") != MAGIC:
                    raise ConfigError(f"{path} exists and is not a decision log: choose another with --decisions")
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
            "%s has only %.1f GB free, less than --disk-bytes; objects that don't fit are not cached",
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
