"""The steering server: sends players steering manifests, based on the health and load of the edges.

It keeps no state of viewers: a viewer's random number, which spreads viewers over replicas, is in the address of the
viewer's next request. So any number of steering servers with the same options return the same manifests.
"""

import asyncio
import contextlib
import gc
import ipaddress
import json
import logging
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import aiohttp
from prometheus_client import CONTENT_TYPE_LATEST

from cdn_sim.live.load import HEADER as LOAD
from cdn_sim.live.running import in_thread, until_signalled
from cdn_sim.pathways import Address, Health, Network, SteeredEdge, SteeringMap, manifest, order
from headend.core.http import responses
from headend.core.http.connections import NO_ROUTE
from headend.core.http.requests import Request
from headend.core.http.responses import Response
from headend.core.http.server import HttpServer
from headend.core.metrics import Registry

log = logging.getLogger("headend.steering")

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8083
CHECK_S = 2.0
"""Time between health checks of an edge."""
CHECK_TIMEOUT_S = 2.0
"""Timeout of a health check."""
RISES = 2
"""Consecutive successful checks before an edge that was down gets viewers again."""
PATHWAY = re.compile(r"(?:^|&)_(?:HLS|DASH)_pathway=(?:%22|\")?([A-Za-z0-9._-]{1,96})")
"""Query parameter with the player's current pathway."""
TITLE = re.compile(r"/([a-z0-9-]{1,64})")
VIEWER = re.compile(r"(?:^|&)viewer=([0-9]{1,10})(?=&|$)")
"""Query parameter with the viewer's random number."""
MAX_QUERY_CHARACTERS = 2048
"""The rest of a longer query is ignored."""
MAX_FORWARDED_CHARACTERS = 512
"""Only this many characters at the end of X-Forwarded-For are read."""
LOOPBACK = frozenset({"127.0.0.1", "::1"})
_OK = responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)


@dataclass(frozen=True, slots=True)
class SteeringSettings:
    """Settings of a steering server.

    Attributes:
        steering_map: The edges and their providers' networks.
        proxies: Networks of trusted reverse proxies, whose X-Forwarded-For is used.
        check_s: Time between health checks of an edge.
    """

    steering_map: SteeringMap
    proxies: tuple[Network, ...] = ()
    check_s: float = CHECK_S


def serve(
    settings: SteeringSettings,
    *,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    on_ready: Callable[[str], object] = lambda _url: None,
) -> None:
    """Serve until SIGTERM or SIGINT; raises `ConfigError` if it is not possible to listen on the address."""
    until_signalled(partial(_run, settings), host, port, on_ready)


def running(
    settings: SteeringSettings, *, host: str = DEFAULT_HOST, port: int = 0
) -> contextlib.AbstractContextManager[str]:
    """Serve from a thread of this process until the ``with`` block ends; yields the base URL."""
    return in_thread(partial(_run, settings), "steering", host, port)


class Steering:
    """Answers players' requests; belongs to one event loop.

    Args:
        settings: Settings.
        registry: Registry for metrics.
    """

    def __init__(self, settings: SteeringSettings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._health = {edge.name: Health() for edge in settings.steering_map.edges}
        self._rises = dict.fromkeys(self._health, 0)
        self._replies = registry.counter("replies", "Steering manifests by their first edge.", "edge")
        self._changes = registry.counter("changes", "How often an edge went down or came up.", "edge")
        registry.gauge(
            "edges_up", "Edges that take requests.", lambda: sum(state.is_up for state in self._health.values())
        )

    async def respond(self, request: Request) -> tuple[str, Response]:
        """Return the name of the request's route, and the response."""
        path = request.path
        if path in ("/healthz", "/livez", "/readyz"):
            return "health", _OK
        if path == "/metrics":
            if request.local[0].removeprefix("::ffff:") not in LOOPBACK:
                return NO_ROUTE, responses.NOT_FOUND
            return "metrics", responses.document(self._registry.exposition(), CONTENT_TYPE_LATEST, responses.NO_STORE)
        title = TITLE.fullmatch(path)
        if title is None:
            return NO_ROUTE, responses.NOT_FOUND
        query = request.query[:MAX_QUERY_CHARACTERS]
        viewer, current = VIEWER.search(query), PATHWAY.search(query)
        draw = int(viewer[1]) & 0x7FFFFFFF if viewer else secrets.randbits(31)
        ordered = order(
            self._settings.steering_map,
            self._health,
            address=self._viewer(request),
            title=title[1],
            draw=draw,
            current=current[1] if current else None,
        )
        self._replies.inc(ordered[0].name if ordered else "none")
        reload_uri = f"{title[1]}?viewer={draw}"
        body = json.dumps(manifest(self._settings.steering_map, ordered, reload_uri, keeps_port="_HLS_" in query))
        return "steering", responses.document(body.encode(), responses.JSON_TYPE, responses.NO_STORE)

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Nothing to do: the server counts responses."""

    def note(self, name: str, health: Health) -> None:
        """Record the result of an edge's health check; see `RISES` for edges that come up."""
        last = self._health[name]
        self._rises[name] = self._rises[name] + 1 if health.is_up else 0
        is_up = health.is_up and (last.is_up or self._rises[name] >= RISES)
        if is_up != last.is_up:
            self._changes.inc(name)
            log.warning("edge %s is %s", name, "up" if is_up else "down")
        self._health[name] = replace(health, is_up=is_up)

    def _viewer(self, request: Request) -> Address | None:
        """The viewer's address; None if it is unknown.

        It is the address of the connection or, if that is a trusted proxy, the last address in X-Forwarded-For that is
        not a trusted proxy.
        """
        address = _parse_address(request.client)
        if address is None or not self._is_proxy(address):
            return address
        forwarded = ",".join(request.headers.getall("X-Forwarded-For", ()))[-MAX_FORWARDED_CHARACTERS:]
        for hop in reversed(forwarded.split(",")):
            address = _parse_address(hop.strip())
            if address is None or not self._is_proxy(address):
                return address
        return None

    def _is_proxy(self, address: Address) -> bool:
        return any(network.version == address.version and address in network for network in self._settings.proxies)


async def check(steering: Steering, edges: Sequence[SteeredEdge], every_s: float) -> None:
    """Check the health of all edges periodically; never returns."""
    timeout = aiohttp.ClientTimeout(total=CHECK_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:

        async def check_forever(edge: SteeredEdge) -> None:
            while True:
                steering.note(edge.name, await _health(session, edge))
                await asyncio.sleep(every_s)

        async with asyncio.TaskGroup() as group:
            for edge in edges:
                group.create_task(check_forever(edge))


async def _health(session: aiohttp.ClientSession, edge: SteeredEdge) -> Health:
    try:
        async with session.get(f"{edge.url}/readyz", allow_redirects=False) as response:
            load = response.headers.get(LOAD, "0")[:16]
            is_number = re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", load) is not None
            return Health(response.status == 200, float(load) if is_number else 0.0)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        return Health(is_up=False)


async def _run(
    settings: SteeringSettings, listener: socket.socket, stop: asyncio.Event, on_ready: Callable[[], object]
) -> None:
    registry = Registry("headend_steering")
    steering = Steering(settings, registry)
    server = HttpServer(steering, registry)
    await server.start([listener])
    gc.freeze()
    with _checking(steering, settings):
        on_ready()
        await stop.wait()
        await server.stop()


@contextmanager
def _checking(steering: Steering, settings: SteeringSettings) -> Iterator[None]:
    task = asyncio.get_running_loop().create_task(check(steering, settings.steering_map.edges, settings.check_s))
    try:
        yield
    finally:
        task.cancel()


def _parse_address(text: str) -> Address | None:
    """Parse an IP address, an IPv4 address in IPv6 form as IPv4; None if it is malformed."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address
