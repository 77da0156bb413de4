"""Viewers of a live run: real-time HTTP clients, each with its own player and shaped access link."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np

from cdn_sim.compiling import Array, compiled
from cdn_sim.engine.playback import MAX_RETRIES, RETRY_MS
from cdn_sim.live.shaping import Link
from cdn_sim.live.titles import Level, LiveTitle
from cdn_sim.outcomes import (
    CHANGE_KBPS,
    ENDED,
    EXPERIENCE,
    GAVE_UP,
    KBPS,
    SEGMENTS,
    SESSIONS,
    STALL_MS,
    STALLS,
    START_MS,
)
from cdn_sim.players.choosing import choose, downloaded, waited
from cdn_sim.players.session import utilities_of
from cdn_sim.players.state import LAST, Setup, fresh

READ_BYTES = 16 << 10
"""Maximum bytes that a player reads at once."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A viewer's session.

    Attributes:
        starts_s: Start of the session, in seconds from the start of the run.
        title: The title.
        codec: Codec of the device, which determines the switching set.
        most_kbps: Maximum bitrate of the device; None for no limit.
        left: Number of segments to play.
        rule: Number of the ABR rule in `cdn_sim.players.state`.
        quality: Quality for the rule ``fixed``.
        most_ms: Size of the player's buffer.
        kbps: Rate of the access link.
        rtt_ms: Round trip of the access link.
        draw: The viewer's random number.
    """

    starts_s: float
    title: LiveTitle
    codec: str
    most_kbps: float | None
    left: int
    rule: int
    quality: int
    most_ms: float
    kbps: float
    rtt_ms: float
    draw: int


class Audience:
    """The viewers of one provider, and statistics of their sessions; belongs to one event loop.

    Args:
        steering: Base URL of the steering server.
        address: Source address of the viewers' connections.

    Attributes:
        experience: Sums of the viewers' experience; columns as in `cdn_sim.outcomes.EXPERIENCE`.
        active: Number of viewers playing now.
        peak: Highest value of ``active`` so far.
    """

    def __init__(self, steering: str, address: str) -> None:
        self.experience = np.zeros(len(EXPERIENCE))
        self.active = self.peak = 0
        self._steering = steering
        connector = aiohttp.TCPConnector(limit=0, local_addr=(address, 0), force_close=False)
        timeout = aiohttp.ClientTimeout(total=60, sock_connect=5, sock_read=10)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def watch(self, viewer: Viewer) -> None:
        """Play a session to its end."""
        self.experience[SESSIONS] += 1
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            await _Playing(self, viewer).play()
            self.experience[ENDED] += 1
        except _GaveUp:
            self.experience[GAVE_UP] += 1
        finally:
            self.active -= 1

    async def order(self, title: str, draw: int, current: str) -> tuple[tuple[str, ...], dict[str, str], float]:
        """Request a steering manifest: pathways in order, host of each pathway, and TTL in seconds."""
        query = f"viewer={draw}&_DASH_pathway=%22{current}%22" if current else f"viewer={draw}"
        async with self._session.get(f"{self._steering}/{title}?{query}") as response:
            document = await response.json()
        hosts = {clone["ID"]: clone["URI-REPLACEMENT"]["HOST"] for clone in document.get("PATHWAY-CLONES", ())}
        pathways = tuple(pathway for pathway in document["PATHWAY-PRIORITY"] if pathway in hosts)
        return pathways, hosts, float(document["TTL"])

    async def get(self, url: str, link: Link) -> tuple[int, float, float]:
        """Download over an access link; returns the bytes, ms to the first byte, and ms from the first to the last.

        Raises:
            aiohttp.ClientError: The download failed; also `TimeoutError` and `OSError`.
        """
        started_s = time.monotonic()
        await asyncio.sleep(2 * link.delay_s)
        async with self._session.get(url) as response:
            response.raise_for_status()
            first_s = time.monotonic()
            size_bytes = 0
            while piece := await response.content.read(READ_BYTES):
                size_bytes += len(piece)
                await link.carry(len(piece))
        return size_bytes, (first_s - started_s) * 1000, (time.monotonic() - first_s) * 1000


class _GaveUp(Exception):
    """A viewer gave up after too many failed requests."""


class _Playing:
    """One session."""

    def __init__(self, audience: Audience, viewer: Viewer) -> None:
        self._audience, self._viewer = audience, viewer
        self._link = Link(viewer.kbps * 1000, viewer.rtt_ms)
        self._pathways: tuple[str, ...] = ()
        self._hosts: dict[str, str] = {}
        self._steered_s = -1e9
        self._ttl_s = 0.0

    async def play(self) -> None:
        viewer, experience = self._viewer, self._audience.experience
        levels = levels_of(viewer.title, viewer.codec, viewer.most_kbps)
        rates = np.array([level.kbps for level in levels])
        setup = Setup(rates, utilities_of(rates), len(levels), viewer.title.segment_ms, viewer.most_ms)
        row = fresh(1, with_mpc=True)[0]
        row[LAST] = min(viewer.quality, len(levels) - 1)
        segment_ms = viewer.title.segment_ms
        # The buffer runs empty at `empty_s`, if nothing more arrives.
        began_s, empty_s, last = time.monotonic(), 0.0, -1
        await self._fetch(viewer.title.manifest)
        count = min(viewer.left, len(levels[0].paths))
        for number in range(count):
            buffer_ms = max(0.0, (empty_s - time.monotonic()) * 1000)
            if number and (excess_ms := buffer_ms + segment_ms - viewer.most_ms) > 0:
                await asyncio.sleep(excess_ms / 1000)
                note_wait(viewer.rule, row, excess_ms)
                buffer_ms -= excess_ms
            quality, delay_ms = next_quality(viewer.rule, row, buffer_ms, number, count, setup)
            if delay_ms > 0:
                await asyncio.sleep(delay_ms / 1000)
            size_bytes, latency_ms, transfer_ms = await self._fetch(levels[quality].paths[number])
            if number < len(viewer.title.sound):
                await self._fetch(viewer.title.sound[number])
            now_s = time.monotonic()
            if not number:
                experience[START_MS] += (now_s - began_s) * 1000
            elif now_s > empty_s:
                experience[STALLS] += 1
                experience[STALL_MS] += (now_s - empty_s) * 1000
            empty_s = max(empty_s, now_s) + segment_ms / 1000
            experience[SEGMENTS] += 1
            experience[KBPS] += rates[quality]
            experience[CHANGE_KBPS] += abs(rates[quality] - rates[last]) if last >= 0 else 0.0
            last = quality
            note_download(
                viewer.rule,
                row,
                quality,
                (empty_s - now_s) * 1000,
                size_bytes * 8.0,
                latency_ms,
                max(transfer_ms, 1.0),
                setup,
            )
        await asyncio.sleep(max(0.0, empty_s - time.monotonic()))

    async def _fetch(self, path: str) -> tuple[int, float, float]:
        """Download from the first edge that responds."""
        for _ in range(MAX_RETRIES):
            await self._steer()
            for pathway in self._pathways:
                try:
                    measured = await self._audience.get(f"http://{self._hosts[pathway]}{path}", self._link)
                except (aiohttp.ClientError, TimeoutError, OSError):
                    continue
                if pathway != self._pathways[0]:  # stay with this edge until the next steering manifest
                    others = (other for other in self._pathways if other != pathway)
                    self._pathways = (pathway, *others)
                return measured
            await asyncio.sleep(RETRY_MS / 1000)
        raise _GaveUp

    async def _steer(self) -> None:
        """Request a steering manifest if the last one has expired."""
        if time.monotonic() < self._steered_s + self._ttl_s and self._pathways:
            return
        current = self._pathways[0] if self._pathways else ""
        try:
            steered = await self._audience.order(self._viewer.title.name, self._viewer.draw, current)
            self._pathways, self._hosts, self._ttl_s = steered
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            self._ttl_s = 5.0  # keep the last order for this time
        self._steered_s = time.monotonic()


def levels_of(title: LiveTitle, codec: str, most_kbps: float | None) -> Sequence[Level]:
    """The levels that a device plays: in its codec, or in H.264 if the title lacks that, up to its maximum bitrate."""
    levels = title.levels.get(codec) or title.levels.get("avc") or next(iter(title.levels.values()))
    return [level for level in levels if most_kbps is None or level.kbps <= most_kbps] or levels[:1]


# The rules are inlined into their callers. These functions are compiled by themselves, and cached on disk.


@compiled
def next_quality(
    rule: int,
    row: Array,
    buffer_ms: float,
    segment: int,
    segments: int,
    setup: Setup,
) -> tuple[int, float]:
    """Compiled `cdn_sim.players.choosing.choose`."""
    return choose(rule, row, buffer_ms, segment, segments, setup)


@compiled
def note_download(
    rule: int,
    row: Array,
    quality: int,
    buffer_ms: float,
    size_bits: float,
    latency_ms: float,
    transfer_ms: float,
    setup: Setup,
) -> None:
    """Compiled `cdn_sim.players.choosing.downloaded`."""
    downloaded(rule, row, quality, buffer_ms, size_bits, latency_ms, transfer_ms, setup)


@compiled
def note_wait(rule: int, row: Array, wait_ms: float) -> None:
    """Compiled `cdn_sim.players.choosing.waited`."""
    waited(rule, row, wait_ms)


def warm_up() -> None:
    """Compile the rules before the run starts."""
    rates, row = np.array([100.0, 200.0]), fresh(1, with_mpc=True)[0]
    setup = Setup(rates, utilities_of(rates), 2, 1000.0, 9000.0)
    next_quality(0, row, 0.0, 0, 9, setup)
    note_wait(0, row, 1.0)
    note_download(0, row, 0, 1000.0, 1e5, 1.0, 10.0, setup)
