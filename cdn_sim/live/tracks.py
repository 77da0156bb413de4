"""Sizes, digests and heights of tracks' objects, from the tracks' indexes."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from cdn_sim.live.upstream import Unreachable, Upstreams
from headend.core import layout, track_index
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.caching.single_flight import SingleFlight
from headend.core.errors import StorageError
from headend.core.track_index import TrackIndex

MEMORY_BYTES = 32 << 20
"""Memory for indexes: about 700 tracks of two hours."""
ABSENT_S = 5.0
"""How long a missing track is remembered as missing."""
WAIT_S = 20.0
"""How long a client waits for an index."""
FLIGHTS = 256
"""Maximum number of indexes that are being read."""
FLIGHTS_PER_CLIENT = 32
"""Maximum number of these reads that one client has started."""
_NUMBER = re.compile(r"([1-9][0-9]{0,6})\.[a-z0-9]{3,4}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object of a track.

    Attributes:
        key: Key of the object for the policy and the disk.
        size_bytes: Size.
        sha256: Digest.
        content_type: Media type.
        height_px: Shorter side of the track's pictures; 0 for sound and text.
        segment_s: Length of the track's first segment.
        is_segment: Whether it is a media segment.
    """

    key: str
    size_bytes: int
    sha256: bytes
    content_type: str
    height_px: int
    segment_s: float
    is_segment: bool


class Tracks:
    """A cache of track indexes; belongs to one event loop.

    Args:
        upstreams: Servers to read them from.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, upstreams: Upstreams, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstreams = upstreams
        self._clock = clock
        self._known: SegmentedLRU[str, TrackIndex] = SegmentedLRU(MEMORY_BYTES)
        self._absent: SegmentedLRU[str, float] = SegmentedLRU(10_000)
        self._flights: SingleFlight[str, TrackIndex | None] = SingleFlight(FLIGHTS, FLIGHTS_PER_CLIENT)

    async def find(self, title: str, track: str, name: str, *, prefix: str, client: str, loops: str) -> Wanted | None:
        """Find an object by its path; None if there is no such track or object.

        Args:
            title: The title.
            track: The track's id.
            name: The object's name in the track.
            prefix: Prefix of the path with the client's token.
            client: The client's name or address.
            loops: The client's ``CDN-Loop`` header.

        Raises:
            Unreachable: The index is not cached, and no upstream returns it.
            TooMany: Too many indexes are being read.
            TookTooLong: The upstream takes too long.
        """
        path = f"{title}/{track}"
        index = await self._index(path, prefix, client, loops)
        return wanted(path, name, index) if index is not None else None

    async def all(self, title: str, track: str, *, prefix: str) -> tuple[Wanted, ...]:
        """All objects of a track, in playback order; empty if there is no such track.

        Raises:
            Unreachable, TooMany, TookTooLong: As `find`.
        """
        path = f"{title}/{track}"
        index = await self._index(path, prefix, "", "")
        if index is None:
            return ()
        inits = (layout.init_name(period) for period, _ in enumerate(index.facts.inits_sha256, start=1))
        names = (*inits, *(layout.segment_name(track, number) for number in range(1, index.segment_count + 1)))
        objects = (wanted(path, name, index) for name in names)
        return tuple(found for found in objects if found is not None)

    async def _index(self, path: str, prefix: str, client: str, loops: str) -> TrackIndex | None:
        index = self._known.get(path)
        if index is None:
            absent_until_s = self._absent.get(path)
            if absent_until_s is not None and self._clock() < absent_until_s:
                return None
            title, _, track = path.partition("/")
            target = f"{prefix}/{title}/tracks/{track}/{layout.INDEX}"
            index = await self._flights.do(path, lambda: self._fetch(path, target, loops), wait_s=WAIT_S, client=client)
        return index

    async def _fetch(self, path: str, target: str, loops: str) -> TrackIndex | None:
        response = await self._upstreams.document(target, loops=loops)
        if response.status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            self._absent.put(path, self._clock() + ABSENT_S)
            return None
        if response.status != HTTPStatus.OK:
            raise Unreachable
        try:
            index = await asyncio.to_thread(track_index.decode, response.body, key=path)
        except StorageError as error:
            raise Unreachable from error
        self._known.put(path, index, index.memory_bytes)
        return index

    def cancel(self) -> None:
        """Cancel all reads."""
        self._flights.cancel()


def wanted(path: str, name: str, index: TrackIndex) -> Wanted | None:
    """An object of a track by its name; None if the track has no such object.

    Args:
        path: The title's slug and the track's id, separated by a slash.
        name: Name of the object in the track.
        index: Index of the track.
    """
    facts = index.facts
    bounds = index.bounds_ticks
    segment_s = (bounds[1] - bounds[0]) / facts.timescale if len(bounds) > 1 else 0.0
    key = f"{path}/{name}"
    if (period := layout.init_period(name)) > 0:
        if period > len(facts.inits_sha256):
            return None
        digest = bytes.fromhex(facts.inits_sha256[period - 1])
        return Wanted(key, facts.init_bytes, digest, facts.content_type, facts.short_side_px, segment_s, False)
    found = _NUMBER.fullmatch(name)
    if found is None or not index.has(number := int(found[1])) or layout.segment_name(facts.track, number) != name:
        return None
    size_bytes, digest = index.size_bytes(number), index.sha256(number)
    return Wanted(key, size_bytes, digest, facts.content_type, facts.short_side_px, segment_s, True)
