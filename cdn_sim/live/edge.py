"""A caching edge: answers requests from its disk, its memory and its upstream servers.

Each request for an object of a track goes to the policy at once: the track index has its size and digest, so the
decision does not depend on whether its bytes have arrived. So an offline replay of the decision log gives the same
hits.
"""

import asyncio
import hashlib
import logging
import math
import os
import re
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import hdrs
from prometheus_client import CONTENT_TYPE_LATEST

from cdn_sim.live.documents import Document, Documents, with_age
from cdn_sim.live.folder import ArrivingFile, Folder, NoRoom
from cdn_sim.live.load import HEADER as LOAD
from cdn_sim.live.load import LoadMeter
from cdn_sim.live.tracks import Tracks, Wanted
from cdn_sim.live.upstream import LOOP, Absent, ObjectFacts, Unreachable, Upstreams
from cdn_sim.policies import Verdict
from cdn_sim.request_logs.decisions import LoggedPolicy
from headend.core import layout
from headend.core.access.grants import Denied, GrantChecker, split_token
from headend.core.access.tokens import Grant
from headend.core.caching.receiving import Mismatch, Pieces, receive
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.caching.single_flight import SingleFlight, TookTooLong, TooMany
from headend.core.http import cmcd, responses
from headend.core.http.access_log import AccessLog
from headend.core.http.blobs import Blob
from headend.core.http.conditions import CONDITIONS
from headend.core.http.connections import NO_ROUTE
from headend.core.http.requests import Request
from headend.core.http.responses import File, Response
from headend.core.http.server import client_key
from headend.core.manifests import selection
from headend.core.metrics import Registry
from headend.core.metrics.primitives import CounterValue

log = logging.getLogger("headend.edge")

OBJECT = re.compile(
    r"/(?P<title>[a-z0-9-]{1,64})/tracks/(?P<track>[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64}){0,3})"
    rf"/(?P<name>{layout.INIT_PATTERN}|[1-9][0-9]{{0,6}}\.(?:m4s|vtt|jpg))"
)
DOCUMENT = re.compile(r"/(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){0,5})?")
QUERY = re.compile(r"[A-Za-z0-9._~=&,:+%/-]{0,1024}")
HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
LONGEST_PATH = 512
LOOPS = re.compile(r"[A-Za-z0-9._:;=, -]{0,512}")
OPEN_FILES = 2048
"""Maximum number of open files of cached objects."""
WAIT_S = 30.0
FLIGHTS = 1024
FLIGHTS_PER_CLIENT = 64
ORIGIN_TERMS = frozenset({"after", "steering"})
"""Query parameters that the origin's documents depend on, besides filters.

Others are dropped, so that clients can't fill the memory with copies or bypass the cache.
"""
LOOPBACK = frozenset({"127.0.0.1", "::1"})
PREPARED = 4096
"""Maximum number of prepared responses to requests for documents."""
PREPARED_CHARACTERS = 2048
"""Maximum length of a prepared response's key; requests with longer keys are not prepared."""
UNPREPARED = (LOOP, *(name for name in CONDITIONS if name != hdrs.IF_NONE_MATCH))
"""Requests with any of these headers never use a prepared response."""
_NONE: tuple[str | None] = (None,)
_LOOP = responses.error(HTTPStatus.LOOP_DETECTED)
_GATEWAY_TIMEOUT = responses.error(HTTPStatus.GATEWAY_TIMEOUT)
_BAD_GATEWAY = responses.error(HTTPStatus.BAD_GATEWAY)
_STOPPING = responses.error(HTTPStatus.SERVICE_UNAVAILABLE, reason="this edge is stopping")
_OK = responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)


@dataclass(slots=True)
class _Ready:
    """An object that can be sent.

    Attributes:
        file: The file, with its open blob.
        since_s: When it came from upstream, on the monotonic clock.
    """

    file: File
    since_s: float


@dataclass(slots=True)
class _Prepared:
    """A prepared response to a request for a document.

    Attributes:
        key: Key of the document.
        document: The document.
        response: The response without ``Age``.
        age: Age in ``aged``, in whole seconds.
        aged: The response with ``Age``.
    """

    key: tuple[str, ...]
    document: Document
    response: Response
    age: int
    aged: Response


class EdgeCounts:
    """An edge's counters; their names are those of the simulation's report."""

    def __init__(self, registry: Registry, tier: str, name: str) -> None:
        self._tier, self._name = tier, name
        self._decisions: dict[str, CounterValue] = {}
        self._requests = registry.counter("decisions", "Requests by decision.", "tier", "edge", "decision")
        self._fetched = registry.counter("fetched_bytes", "Bytes from upstream.", "from")
        self._filled = registry.counter("fill_bytes", "Bytes of planned fill by result.", "result")
        self.damaged = registry.counter("damaged", "Bodies from upstream with a wrong digest.")
        self.no_room = registry.counter("no_room", "Objects that did not fit on the disk.")
        self.denied = registry.counter("denied", "Requests that their tokens don't cover.", "reason")
        self.starved = registry.counter("players_starved", "Requests of players whose buffer ran empty (CMCD).")

    def decided(self, decision: str) -> None:
        """Count a request by its decision."""
        counter = self._decisions.get(decision)
        if counter is None:
            counter = self._decisions[decision] = self._requests.labels(self._tier, self._name, decision)
        counter.value += 1

    def fetched(self, role: str, size_bytes: int) -> None:
        """Count bytes from upstream."""
        self._fetched.labels(role).value += size_bytes

    def filled(self, result: str, size_bytes: int) -> None:
        """Count bytes of fill: ``arrived``, ``late`` or ``replaced``."""
        self._filled.labels(result).value += size_bytes


Pace = Callable[[int], Awaitable[None]]
"""Waits until a number of bytes fit the rate of fill."""


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
        peers: Addresses of the other edges of the cluster, as in ``upstreams``.
        itself: This edge's own address among its peers; empty without peers.
        access_log: Log of requests; None for no log.
        rate_bps: Maximum rate, used for the load in ``/readyz``.
        clock: Monotonic clock, in seconds.

    Attributes:
        name: Name of the edge.
        is_draining: Whether the edge is stopping; then it is not ready.
        counts: Counters.
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
        peers: Sequence[str] = (),
        itself: str = "",
        access_log: AccessLog | None = None,
        rate_bps: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.is_draining = False
        self.counts = EdgeCounts(registry, tier, name)
        self._registry = registry
        self._upstreams = upstreams
        self._folder = folder
        self._policy = policy
        self._clock = clock
        self._tracks = Tracks(upstreams, clock)
        self._documents = Documents(upstreams, documents_bytes, self._count_document, clock)
        self._checker = checker
        self._territory = territory
        self._peers = tuple(peers)
        self._itself = itself
        self._access_log = access_log
        self._meter = LoadMeter(rate_bps, clock)
        self._open: SegmentedLRU[str, _Ready] = SegmentedLRU(OPEN_FILES)
        self._arriving: dict[str, _Ready] = {}
        self._flights: SingleFlight[str, _Ready] = SingleFlight(FLIGHTS, FLIGHTS_PER_CLIENT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._paced: set[str] = set()
        self._prepared: dict[tuple[object, ...], _Prepared] = {}
        registry.gauge("disk_bytes", "Bytes of cached objects on the disk.", lambda: policy.policy.used_bytes)
        registry.gauge("pinned_bytes", "Bytes of the planned part.", lambda: policy.policy.pinned_bytes)
        registry.gauge("load", "Load as a share of the edge's rate.", lambda: self._meter.load)
        registry.gauge("inflight", "Objects being fetched.", lambda: len(self._arriving))
        registry.gauge("document_bytes", "Memory for manifests.", lambda: self._documents.size_bytes)

    async def close(self) -> None:
        """Cancel all reads, and close all connections to upstream servers."""
        for task in self._tasks:
            task.cancel()
        self._flights.cancel()
        self._tracks.cancel()
        self._documents.cancel()
        await self._upstreams.close()

    # --- requests ---

    def respond_at_once(self, request: Request) -> tuple[str, Response] | None:
        """The prepared response to an equal request, if it is still fresh; the fast path of most manifest hits."""
        headers = request.headers
        key = _prepared_key(request)
        found = self._prepared.get(key) if key is not None else None
        if found is None or not headers.keys().isdisjoint(UNPREPARED):
            return None
        document = found.document
        now_s = self._clock()
        if not self._documents.is_fresh(found.key, document, now_s):
            return None
        age = int(document.age_s + now_s - document.at_s)
        if age != found.age:
            found.age, found.aged = age, with_age(found.response, age)
        self.counts.decided("document hit")
        return "document", found.aged

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
        if len(rest) > LONGEST_PATH:
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
        if token is None and found.file is not None:
            self._prepare(request, key, found, found.file)
        return found.response(request.method, request.headers, now_s, is_personal=grant is not None)

    def _prepare(self, request: Request, key: tuple[str, ...], document: Document, file: File) -> None:
        """Keep the response to a request for later, if both are small."""
        prepared_key = _prepared_key(request)
        if prepared_key is None or len(repr(prepared_key)) > PREPARED_CHARACTERS or request.method != hdrs.METH_GET:
            return
        if request.headers.keys().isdisjoint(UNPREPARED):
            response = responses.for_file(request.method, request.headers, file)
            if response.head and isinstance(response.body, bytes):
                if len(self._prepared) >= PREPARED:
                    self._prepared.clear()
                self._prepared[prepared_key] = _Prepared(key, document, response, -1, response)

    def _count_document(self, decision: str) -> None:
        self.counts.decided(f"document {decision}")

    # --- objects of tracks ---

    async def _object(self, request: Request, path: re.Match[str], token: str | None, loops: str) -> Response:
        grant = self._grant(token, path["title"], request)
        client = client_key(request.client)
        prefix = f"/t/{token}" if token is not None else ""
        wanted = await self._tracks.find(
            path["title"], path["track"], path["name"], prefix=prefix, client=client, loops=loops
        )
        if wanted is None:
            return responses.NOT_FOUND
        if grant is not None and self._checker is not None:
            self._checker.check_plan(grant, (wanted.height_px,))
            if wanted.is_segment:
                await self._checker.take_screen(grant, segment_s=wanted.segment_s)
        ready = await self._ready(wanted, f"{prefix}{path[0]}", client, loops)
        caching = responses.PRIVATE_IMMUTABLE if grant is not None else None
        found = responses.for_file(request.method, request.headers, ready.file, caching)
        return with_age(found, self._clock() - ready.since_s)

    async def _ready(self, wanted: Wanted, target: str, client: str, loops: str) -> _Ready:
        """Let the policy decide, and return the object from the disk, a running fetch or a new one."""
        key = wanted.key
        arriving = self._arriving.get(key)
        is_arriving = arriving is not None or key in self._flights
        self._paced.discard(key)  # a client waits for it, so fetch it at full rate
        verdict = self._request(wanted, delayed=is_arriving)
        if verdict.hit and not is_arriving:
            ready = self._open.get(key) or self._opened(wanted)
            if ready is not None:
                self.counts.decided("hit")
                return ready
            # The file is missing or damaged: remove it from the policy, too.
            self._policy.remove(key)
            self._forget(key)
            verdict = self._request(wanted, delayed=False)
        self.counts.decided("delayed" if verdict.hit else "miss" if verdict.admitted else "passed")
        if arriving is not None:
            return arriving
        try:
            return await self._flights.do(key, lambda: self._begin(wanted, target, loops), wait_s=WAIT_S, client=client)
        except TooMany:
            if verdict.admitted:
                self._policy.failed(key)
            raise

    def _request(self, wanted: Wanted, *, delayed: bool) -> Verdict:
        verdict = self._policy.request(wanted.key, wanted.size_bytes, delayed=delayed)
        for evicted in verdict.evicted:
            self._forget(str(evicted))
        return verdict

    def _opened(self, wanted: Wanted) -> _Ready | None:
        blob = self._folder.open(wanted.key, wanted.size_bytes, wanted.sha256)
        if blob is None:
            return None
        modified = datetime.fromtimestamp(os.fstat(blob.fd).st_mtime, UTC)
        ready = _Ready(_file(wanted, blob, modified), self._clock())
        self._open.put(wanted.key, ready)
        return ready

    def _forget(self, key: str) -> None:
        """Remove an object from the disk; responses that are being sent from it continue."""
        self._open.drop(key)
        self._folder.remove(key)

    async def _begin(
        self, wanted: Wanted, target: str, loops: str, peers: Sequence[str] | None = None, pace: Pace | None = None
    ) -> _Ready:
        """Start to fetch an object; returns when its first bytes have arrived."""
        first: asyncio.Future[_Ready] = asyncio.get_running_loop().create_future()
        facts = ObjectFacts()
        asked_peers = self._ranked(wanted.key) if peers is None else peers
        pieces: Pieces = self._upstreams.body(target, wanted.size_bytes, peers=asked_peers, loops=loops, facts=facts)
        if pace is not None:
            pieces = self._throttled(wanted.key, pieces, pace)
        task = asyncio.get_running_loop().create_task(self._fetch(wanted, pieces, facts, first))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await first

    async def _throttled(self, key: str, pieces: Pieces, pace: Pace) -> Pieces:
        """Limit the rate of fill, until a client waits for the object."""
        self._paced.add(key)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if key in self._paced:
                        await pace(len(piece))
                    yield piece
        finally:
            self._paced.discard(key)

    async def _fetch(self, wanted: Wanted, pieces: Pieces, facts: ObjectFacts, first: "asyncio.Future[_Ready]") -> None:
        key = wanted.key
        place = self._placed(wanted)

        def begun(blob: Blob) -> None:
            if not first.done():
                ready = _Ready(_file(wanted, blob, facts.modified), self._clock())
                self._arriving[key] = ready
                first.set_result(ready)

        try:
            await receive(
                pieces,
                size_bytes=wanted.size_bytes,
                sha256=wanted.sha256,
                on_data=begun,
                place=place.blob if place is not None else None,
            )
            if place is not None and key in self._policy.policy:
                place.finish(facts.modified.timestamp())
                self._open.put(key, first.result())
            elif place is not None:
                place.discard()  # evicted during the fetch
        except BaseException as error:
            if place is not None:
                place.discard()
            self._failed(key, error, facts)
            if not first.done():
                first.set_exception(error)
            elif not isinstance(error, Exception):
                raise
        finally:
            self._arriving.pop(key, None)
            self.counts.fetched(str(facts.role or "nobody"), facts.bytes)

    def _placed(self, wanted: Wanted) -> ArrivingFile | None:
        """A file for an object that the policy stores; None if it is not stored or the disk is full."""
        if wanted.key not in self._policy.policy:
            return None
        try:
            return self._folder.create(wanted.key, wanted.size_bytes)
        except NoRoom as error:
            self.counts.no_room.inc()
            log.warning("can't store %s: %s", wanted.key, error)
            self._policy.failed(wanted.key)
            return None

    def _failed(self, key: str, error: BaseException, facts: ObjectFacts) -> None:
        if key in self._policy.policy:
            self._policy.failed(key)
        if isinstance(error, Mismatch):
            self.counts.damaged.inc()
            log.warning("%s from the %s is damaged", key, facts.role)
            if facts.role is not None:
                self._upstreams.blame(facts.role)

    # --- the planned part ---

    @property
    def budget_bytes(self) -> int:
        """Size of the cache, including the planned part."""
        return self._policy.policy.budget_bytes

    @property
    def pinned_bytes(self) -> int:
        """Bytes of the planned part."""
        return self._policy.policy.pinned_bytes

    def has_pinned(self, wanted: Wanted) -> bool:
        """Whether an object is in the planned part."""
        return self._policy.policy.is_pinned(wanted.key)

    async def track(self, title: str, track: str, prefix: str) -> tuple[Wanted, ...]:
        """All objects of a track; raises like `Tracks.find`."""
        return await self._tracks.all(title, track, prefix=prefix)

    async def pin(self, wanted: Wanted, target: str, pace: Pace, *, from_peers: bool) -> bool:
        """Add an object to the planned part: move it from the reactive part, or fetch it.

        Args:
            wanted: The object.
            target: Its path for upstream servers.
            pace: Limits the rate of fill.
            from_peers: Whether another edge of the site pulls it from the origin, so that peers are asked first.

        Returns:
            Whether it is complete on the disk; False while a client's fetch of it is not stored.

        Raises:
            Absent, Unreachable, Mismatch, Incomplete, TooMany, TookTooLong: It can't be fetched.
        """
        key = wanted.key
        held = key in self._policy.policy
        if not held and (key in self._arriving or key in self._flights):
            return False
        if not self.has_pinned(wanted):
            for evicted in self._policy.pin(key, wanted.size_bytes):
                self._forget(str(evicted))
        if held and (key in self._arriving or key in self._flights or self._open.get(key) or self._opened(wanted)):
            return True
        peers = self._all_ranked(key) if from_peers else ()
        ready = await self._flights.do(
            key, lambda: self._begin(wanted, target, "", peers, pace), wait_s=WAIT_S, client=""
        )
        body = ready.file.plain.body
        if isinstance(body, Blob) and wanted.size_bytes:
            await body.wait_beyond(wanted.size_bytes - 1)
        self.counts.filled("arrived", wanted.size_bytes)
        return self.has_pinned(wanted)

    def unpin_others(self, tracks: Collection[str]) -> None:
        """Remove objects of all other tracks from the planned part and from the disk."""
        for key in self._policy.policy.pinned:
            name = str(key)
            if name.rpartition("/")[0] not in tracks:
                before = self.pinned_bytes
                if self._policy.unpin(name):
                    self._forget(name)
                    self.counts.filled("replaced", before - self.pinned_bytes)

    def _all_ranked(self, key: str) -> tuple[str, ...]:
        """All peers, ranked for an object by rendezvous hashing."""
        return tuple(sorted(self._peers, key=lambda url: _weight(url, key), reverse=True))

    def _ranked(self, key: str) -> tuple[str, ...]:
        """The best peer for an object, if it ranks above this edge by rendezvous hashing."""
        ranked = sorted((*self._peers, self._itself), key=lambda url: _weight(url, key), reverse=True)
        return tuple(ranked[: ranked.index(self._itself)])[:1]


def _prepared_key(request: Request) -> tuple[str | None, ...] | None:
    """Everything that a prepared response depends on; None if a header is repeated."""
    headers = request.headers
    path, mark, query = request.target.partition("?")
    codings, known = headers.getall(hdrs.ACCEPT_ENCODING, _NONE), headers.getall(hdrs.IF_NONE_MATCH, _NONE)
    if len(codings) != 1 or len(known) != 1:
        return None
    return path, selection.terms(query, ORIGIN_TERMS) if mark else "", codings[0], known[0], headers.get(hdrs.ACCEPT)


def _weight(url: str, key: str) -> bytes:
    return hashlib.blake2b(key.encode(), key=url.encode()[:64], digest_size=8).digest()


def _file(wanted: Wanted, blob: Blob, modified: datetime) -> File:
    """The file with the same media type, ETag and lifetime as at the origin."""
    return responses.media_file("segment", blob, wanted.sha256.hex(), modified, wanted.content_type)
