"""A caching edge: routes requests to its caches of objects and documents, and maps their errors to HTTP statuses."""

import logging
import math
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus

from aiohttp import hdrs
from prometheus_client import CONTENT_TYPE_LATEST

from cdn_sim.live.counts import EdgeCounts
from cdn_sim.live.documents import Documents, with_age
from cdn_sim.live.folder import Folder
from cdn_sim.live.load import HEADER as LOAD
from cdn_sim.live.load import LoadMeter
from cdn_sim.live.object_cache import ObjectCache
from cdn_sim.live.peers import ALONE, Peers
from cdn_sim.live.prepared import ORIGIN_TERMS, PreparedResponses
from cdn_sim.live.tracks import Tracks
from cdn_sim.live.upstream import LOOP, Absent, Unreachable, Upstreams
from cdn_sim.request_logs.decisions import LoggedPolicy
from headend.core import layout
from headend.core.access.grants import Denied, GrantChecker, split_token
from headend.core.access.tokens import Grant
from headend.core.caching.receiving import Mismatch
from headend.core.caching.single_flight import TookTooLong, TooMany
from headend.core.http import cmcd, responses
from headend.core.http.access_log import AccessLog
from headend.core.http.connections import NO_ROUTE
from headend.core.http.requests import Request
from headend.core.http.responses import Response
from headend.core.http.server import client_key
from headend.core.manifests import selection
from headend.core.metrics import Registry

log = logging.getLogger("headend.edge")

OBJECT = re.compile(
    r"/(?P<title>[a-z0-9-]{1,64})/tracks/(?P<track>[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64}){0,3})"
    rf"/(?P<name>{layout.INIT_PATTERN}|[1-9][0-9]{{0,6}}\.(?:m4s|vtt|jpg))"
)
DOCUMENT = re.compile(r"/(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,5})?")
QUERY = re.compile(r"[A-Za-z0-9._~=&,:+%/-]{0,1024}")
HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
MAX_PATH_CHARACTERS = 512
LOOPS = re.compile(r"[A-Za-z0-9._:;=, -]{0,512}")
LOOPBACK = frozenset({"127.0.0.1", "::1"})
_LOOP = responses.error(HTTPStatus.LOOP_DETECTED)
_GATEWAY_TIMEOUT = responses.error(HTTPStatus.GATEWAY_TIMEOUT)
_BAD_GATEWAY = responses.error(HTTPStatus.BAD_GATEWAY)
_STOPPING = responses.error(HTTPStatus.SERVICE_UNAVAILABLE, reason="this edge is stopping")
_OK = responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)


class Edge:
    """Answers requests from its disk and its upstream servers; belongs to one event loop.

    Args:
        name: Name, unique among all edges.
        upstreams: The upstream servers.
        folder: The disk.
        policy: Cache policy of the disk.
        documents_bytes: Memory for manifests.
        registry: Registry for metrics.
        tier: ``edge`` or ``shield``.
        checker: Checks tokens; None serves everyone without tokens.
        territory: Territory of the edge, ISO 3166-1 alpha-2; empty if unknown.
        peers: The other edges of the cluster; their addresses are also in ``upstreams``.
        access_log: Log of requests; None for no log.
        rate_bps: Maximum rate, used for the load in ``/readyz``.
        clock: Monotonic clock, in seconds.

    Attributes:
        name: Name of the edge.
        is_draining: Whether the edge is stopping; then it is not ready.
        counts: Counters.
        objects: Objects on the disk.
        tracks: Indexes of tracks.
    """

    def __init__(
        self,
        *,
        name: str,
        upstreams: Upstreams,
        folder: Folder,
        policy: LoggedPolicy,
        documents_bytes: int,
        registry: Registry,
        tier: str = "edge",
        checker: GrantChecker | None = None,
        territory: str = "",
        peers: Peers = ALONE,
        access_log: AccessLog | None = None,
        rate_bps: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.is_draining = False
        self.counts = EdgeCounts(registry, tier, name)
        self._registry = registry
        self._upstreams = upstreams
        self._clock = clock
        self.tracks = Tracks(upstreams, clock)
        self.objects = ObjectCache(upstreams, folder, policy, peers, self.counts, clock)
        self._documents = Documents(
            upstreams, documents_bytes, lambda result: self.counts.decided(f"document {result}"), clock
        )
        self._checker = checker
        self._territory = territory
        self._access_log = access_log
        self._meter = LoadMeter(rate_bps, clock)
        self._prepared = PreparedResponses(self._documents, clock)
        registry.gauge("disk_bytes", "Bytes of cached objects on the disk.", lambda: policy.policy.used_bytes)
        registry.gauge("pinned_bytes", "Bytes of the planned part.", lambda: policy.policy.pinned_bytes)
        registry.gauge("load", "Load as a share of the edge's rate.", lambda: self._meter.load)
        registry.gauge("inflight", "Objects being fetched.", lambda: self.objects.arriving)
        registry.gauge("document_bytes", "Memory for manifests.", lambda: self._documents.size_bytes)

    async def close(self) -> None:
        """Cancel all reads, and close all connections to upstream servers."""
        self.objects.cancel()
        self.tracks.cancel()
        self._documents.cancel()
        await self._upstreams.close()

    # --- requests ---

    def respond_at_once(self, request: Request) -> tuple[str, Response] | None:
        """The prepared response to an equal request, if it is still fresh; the fast path of most manifest hits."""
        response = self._prepared.find(request)
        if response is None:
            return None
        self.counts.decided("document hit")
        return "document", response

    async def respond(self, request: Request) -> tuple[str, Response]:
        """Return the name of the request's route, and the response."""
        path = request.path
        if path in HEALTH:
            return "health", self._health(path)
        if path == "/metrics":
            return "metrics", self._metrics(request)
        loops = ", ".join(request.headers.getall(LOOP, ()))
        if not LOOPS.fullmatch(loops):
            return NO_ROUTE, responses.MALFORMED
        if self.name in re.split(r"[\s,;]+", loops):
            return NO_ROUTE, _LOOP
        token, rest = split_token(path)
        if len(rest) > MAX_PATH_CHARACTERS:
            return NO_ROUTE, responses.NOT_FOUND
        found = OBJECT.fullmatch(rest)
        if found is not None:
            return "segment", await self._guarded(self._object(request, found, token, loops))
        # A track's only document is its index, which other edges request.
        if not DOCUMENT.fullmatch(rest) or ("/tracks/" in rest and not rest.endswith(f"/{layout.INDEX}")):
            return NO_ROUTE, responses.NOT_FOUND
        return "document", await self._guarded(self._document(request, rest, token, loops))

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Count sent bytes and the player's CMCD report, and log the request."""
        self._meter.add(sent_bytes)
        if request is None:
            return
        if (cmcd.MARK in request.target or cmcd.REQUEST in request.headers) and cmcd.read(
            request.target, request.headers
        ).starved:
            self.counts.starved.inc()
        if self._access_log is not None:
            self._access_log.add(request.client, request.method, request.target, route, status, sent_bytes, seconds)

    def _health(self, path: str) -> Response:
        if path != "/readyz":
            return _OK
        if self.is_draining:
            return _STOPPING
        return replace(_OK, headers={**_OK.headers, LOAD: f"{min(self._meter.load, 999.0):.3f}"}, head=b"")

    async def _guarded(self, answer: Awaitable[Response]) -> Response:
        try:
            return await answer
        except Denied as denied:
            self.counts.denied.inc(denied.reason.name.lower())
            return responses.forbidden(denied.reason, denied.retry_s)
        except Absent:
            return responses.NOT_FOUND
        except TooMany:
            return responses.BUSY
        except TookTooLong:
            return _GATEWAY_TIMEOUT
        except (Unreachable, Mismatch):
            self.counts.decided("failed")
            return _BAD_GATEWAY
        except Exception:
            log.exception("a request failed")
            return responses.FAILED

    def _metrics(self, request: Request) -> Response:
        if request.local[0].removeprefix("::ffff:") not in LOOPBACK:
            return responses.NOT_FOUND
        return responses.document(self._registry.exposition(), CONTENT_TYPE_LATEST, responses.NO_STORE)

    def _grant(self, token: str | None, title: str, request: Request) -> Grant | None:
        if self._checker is None:
            return None
        territory = self._checker.territory(request.headers) or self._territory or None
        return self._checker.grant(token, title, territory)

    # --- documents ---

    async def _document(self, request: Request, rest: str, token: str | None, loops: str) -> Response:
        query = selection.terms(request.query, ORIGIN_TERMS)
        if not QUERY.fullmatch(query):
            return responses.MALFORMED
        title = rest.split("/")[1] if rest != "/" else ""
        grant = self._grant(token, title, request) if title and title != "watch" else None
        prefix = f"/t/{token}" if token is not None else ""
        wants_page = "text/html" in request.headers.get(hdrs.ACCEPT, "")[:1024]
        accept = "text/html" if wants_page else "*/*"
        plan = "" if grant is None or grant.max_height_px is None else str(grant.max_height_px)
        target = f"{prefix}{rest}{'?' + query if query else ''}"
        # A document may depend on the token's plan, which is part of the key, but not on the token itself.
        key = (rest, query, accept, plan, "" if self._checker is not None else prefix)
        found, now_s = await self._documents.get(
            key, target, client=client_key(request.client), loops=loops, accept=accept
        )
        if token is None:
            self._prepared.keep(request, key, found)
        return found.response(request.method, request.headers, now_s, is_personal=grant is not None)

    # --- objects of tracks ---

    async def _object(self, request: Request, path: re.Match[str], token: str | None, loops: str) -> Response:
        grant = self._grant(token, path["title"], request)
        client = client_key(request.client)
        prefix = f"/t/{token}" if token is not None else ""
        wanted = await self.tracks.find(
            path["title"], path["track"], path["name"], prefix=prefix, client=client, loops=loops
        )
        if wanted is None:
            return responses.NOT_FOUND
        if grant is not None and self._checker is not None:
            self._checker.check_plan(grant, (wanted.height_px,))
            if wanted.is_segment:
                await self._checker.take_screen(grant, segment_s=wanted.segment_s)
        ready = await self.objects.get(wanted, f"{prefix}{path[0]}", client=client, loops=loops)
        caching = responses.PRIVATE_IMMUTABLE if grant is not None else None
        found = responses.for_file(request.method, request.headers, ready.file, caching)
        return with_age(found, self._clock() - ready.since_s)
