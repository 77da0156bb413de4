"""An edge's cache of objects on its disk: the policy decides, misses are fetched, and planned objects are pinned.

Each request goes to the policy at once: the track index has the object's size and digest, so the decision does not
depend on whether its bytes have arrived. So an offline replay of the decision log gives the same hits.
"""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from cdn_sim.live.counts import EdgeCounts
from cdn_sim.live.folder import ArrivingFile, Folder, NoRoom
from cdn_sim.live.peers import Peers
from cdn_sim.live.tracks import Wanted
from cdn_sim.live.upstream import ObjectFacts, Upstreams
from cdn_sim.policies import Verdict
from cdn_sim.request_logs.decisions import LoggedPolicy
from headend.core.caching.receiving import Mismatch, Pieces, receive
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.caching.single_flight import SingleFlight, TooMany
from headend.core.http import responses
from headend.core.http.blobs import Blob
from headend.core.http.responses import File

log = logging.getLogger("headend.edge")

OPEN_FILES = 2048
"""Maximum number of open files of cached objects."""
WAIT_S = 30.0
FLIGHTS = 1024
FLIGHTS_PER_CLIENT = 64

Pace = Callable[[int], Awaitable[None]]
"""Waits until a number of bytes fit the rate of fill."""


@dataclass(slots=True)
class Ready:
    """An object that can be sent.

    Attributes:
        file: The file, with its open blob.
        since_s: When it came from upstream, on the monotonic clock.
    """

    file: File
    since_s: float


class ObjectCache:
    """Objects on the disk and those that are being fetched; belongs to one event loop.

    Args:
        upstreams: The upstream servers.
        folder: The disk.
        policy: Cache policy of the disk.
        peers: The other edges of the cluster.
        counts: The edge's counters.
        clock: Monotonic clock, in seconds.
    """

    def __init__(
        self,
        upstreams: Upstreams,
        folder: Folder,
        policy: LoggedPolicy,
        peers: Peers,
        counts: EdgeCounts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._upstreams = upstreams
        self._folder = folder
        self._policy = policy
        self._peers = peers
        self._counts = counts
        self._clock = clock
        self._ready: SegmentedLRU[str, Ready] = SegmentedLRU(OPEN_FILES)
        self._arriving: dict[str, Ready] = {}
        self._flights: SingleFlight[str, Ready] = SingleFlight(FLIGHTS, FLIGHTS_PER_CLIENT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._paced: set[str] = set()

    def cancel(self) -> None:
        """Cancel all fetches."""
        for task in self._tasks:
            task.cancel()
        self._flights.cancel()

    @property
    def arriving(self) -> int:
        """Number of objects that are being fetched."""
        return len(self._arriving)

    # --- requests ---

    async def get(self, wanted: Wanted, target: str, *, client: str, loops: str) -> Ready:
        """Let the policy decide on a request, and return the object from the disk, a running fetch or a new one.

        Args:
            wanted: The object.
            target: Its path for upstream servers.
            client: The client's name or address.
            loops: The client's ``CDN-Loop`` header.

        Raises:
            Absent: No upstream server has it.
            Unreachable: No upstream server responds.
            Mismatch: What an upstream server sends is not the object.
            TooMany: Too many objects are being fetched.
            TookTooLong: The upstream server takes too long.
        """
        key = wanted.key
        arriving = self._arriving.get(key)
        is_arriving = arriving is not None or key in self._flights
        self._paced.discard(key)  # a client waits for it, so fetch it at full rate
        verdict = self._request(wanted, delayed=is_arriving)
        if verdict.hit and not is_arriving:
            ready = self._ready.get(key) or self._open(wanted)
            if ready is not None:
                self._counts.decided("hit")
                return ready
            # The file is missing or damaged: remove it from the policy, too.
            self._policy.remove(key)
            self._forget(key)
            verdict = self._request(wanted, delayed=False)
        self._counts.decided("delayed" if verdict.hit else "miss" if verdict.admitted else "passed")
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

    def _open(self, wanted: Wanted) -> Ready | None:
        blob = self._folder.open(wanted.key, wanted.size_bytes, wanted.sha256)
        if blob is None:
            return None
        modified = datetime.fromtimestamp(os.fstat(blob.fd).st_mtime, UTC)
        ready = Ready(_file(wanted, blob, modified), self._clock())
        self._ready.put(wanted.key, ready)
        return ready

    def _forget(self, key: str) -> None:
        """Remove an object from the disk; responses that are being sent from it continue."""
        self._ready.drop(key)
        self._folder.remove(key)

    async def _begin(
        self, wanted: Wanted, target: str, loops: str, peers: Sequence[str] | None = None, pace: Pace | None = None
    ) -> Ready:
        """Start to fetch an object; returns when its first bytes have arrived."""
        first: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        facts = ObjectFacts()
        asked_peers = self._peers.better(wanted.key) if peers is None else peers
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

    async def _fetch(self, wanted: Wanted, pieces: Pieces, facts: ObjectFacts, first: "asyncio.Future[Ready]") -> None:
        key = wanted.key
        place = self._create(wanted)

        def begun(blob: Blob) -> None:
            if not first.done():
                ready = Ready(_file(wanted, blob, facts.modified), self._clock())
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
                self._ready.put(key, first.result())
            elif place is not None:
                place.discard()  # evicted during the fetch
        except BaseException as error:
            if place is not None:
                place.discard()
            self._fail(key, error, facts)
            if not first.done():
                first.set_exception(error)
            elif not isinstance(error, Exception):
                raise
        finally:
            self._arriving.pop(key, None)
            self._counts.fetched(str(facts.role or "nobody"), facts.bytes)

    def _create(self, wanted: Wanted) -> ArrivingFile | None:
        """A file for an object that the policy stores; None if it is not stored or the disk is full."""
        if wanted.key not in self._policy.policy:
            return None
        try:
            return self._folder.create(wanted.key, wanted.size_bytes)
        except NoRoom as error:
            self._counts.no_room.inc()
            log.warning("can't store %s: %s", wanted.key, error)
            self._policy.failed(wanted.key)
            return None

    def _fail(self, key: str, error: BaseException, facts: ObjectFacts) -> None:
        if key in self._policy.policy:
            self._policy.failed(key)
        if isinstance(error, Mismatch):
            self._counts.damaged.inc()
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
        if held and (key in self._arriving or key in self._flights or self._ready.get(key) or self._open(wanted)):
            return True
        peers = self._peers.ranked(key) if from_peers else ()
        ready = await self._flights.do(
            key, lambda: self._begin(wanted, target, "", peers, pace), wait_s=WAIT_S, client=""
        )
        body = ready.file.plain.body
        if isinstance(body, Blob) and wanted.size_bytes:
            await body.wait_beyond(wanted.size_bytes - 1)
        self._counts.filled("arrived", wanted.size_bytes)
        return self.has_pinned(wanted)

    def unpin_others(self, tracks: Collection[str]) -> None:
        """Remove objects of all other tracks from the planned part and from the disk."""
        for key in self._policy.policy.pinned:
            name = str(key)
            if name.rpartition("/")[0] not in tracks:
                before = self.pinned_bytes
                if self._policy.unpin(name):
                    self._forget(name)
                    self._counts.filled("replaced", before - self.pinned_bytes)


def _file(wanted: Wanted, blob: Blob, modified: datetime) -> File:
    """The file with the same media type, ETag and lifetime as at the origin."""
    return responses.media_file("segment", blob, wanted.sha256.hex(), modified, wanted.content_type)
