"""Fill of a live edge: fetches the plan's tracks during the fill window, at the plan's rate, and pins them.

The wall clock is checked before each object, so the window stays right if the clock is changed. Objects that have not
arrived when the window closes are late, and are fetched in the next window. The plan is read again whenever a window
opens.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cdn_sim.live.edge import Edge
from cdn_sim.live.upstream import Absent, Unreachable
from cdn_sim.plans import FillItem, FillPlan
from headend.core import documents
from headend.core.access.tokens import Grant, Keyring, issue
from headend.core.caching.receiving import Mismatch
from headend.core.caching.single_flight import TookTooLong, TooMany
from headend.core.errors import ConfigError, StorageError
from headend.core.http.blobs import Incomplete

log = logging.getLogger("headend.edge")

DAY_S = 86_400.0
IDLE_S = 30.0
"""Time between checks of the clock while no window is open, or its fill is complete."""
RETRY_S = 60.0
"""Pause before objects that failed are fetched again."""
TOKEN_S = 3600
"""Lifetime of the tokens for fill."""
BURST_S = 0.1
"""Maximum burst after a pause, in seconds of the plan's rate."""


def read_plan(path: Path) -> FillPlan:
    """Read a plan that ``headend fill plan`` wrote.

    Raises:
        ConfigError: The file is not a fill plan, or its values are invalid.
    """
    try:
        plan = documents.read(FillPlan, path.read_bytes(), key=str(path))
        _starts_s(plan)
    except (OSError, StorageError, ValueError) as error:
        raise ConfigError(f"--fill {path} is not a fill plan; make one with 'headend fill plan': {error}") from error
    if not (0 < plan.hours <= 24 and plan.mbps > 0 and plan.budget_bytes >= 0):
        raise ConfigError(f"--fill {path}: its hours, mbps or budget_bytes are invalid; make it again")
    return plan


def left_s(plan: FillPlan, now: datetime) -> float:
    """Time until a plan's window closes, in seconds; 0 while it is closed.

    Args:
        plan: A plan; its window is in local time.
        now: Local time.
    """
    since_start_s = (now.hour * 3600 + now.minute * 60 + now.second - _starts_s(plan)) % DAY_S
    return max(0.0, plan.hours * 3600 - since_start_s)


def _starts_s(plan: FillPlan) -> int:
    """Start of the window in seconds from midnight; raises `ValueError` if the plan's time is malformed."""
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", plan.starts)
    if found is None:
        raise ValueError(f"{plan.starts!r} is not a time of day")
    return int(found[1]) * 3600 + int(found[2]) * 60


class Pace:
    """Limits the rate of fill: callers wait before they take more bytes."""

    def __init__(self, mbps: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_s = mbps * 1e6 / 8
        self._clock = clock
        self._free_s = clock()

    async def __call__(self, size_bytes: int) -> None:
        """Wait until ``size_bytes`` more bytes don't exceed the rate."""
        now_s = self._clock()
        self._free_s = max(self._free_s, now_s - BURST_S) + size_bytes / self._bytes_per_s
        if self._free_s > now_s:
            await asyncio.sleep(self._free_s - now_s)


class Filler:
    """Fills an edge according to a plan; belongs to one event loop.

    Args:
        edge: The edge, which fetches, pins and unpins objects.
        path: File of the plan.
        keys: Keys to sign tokens; None if upstream servers don't check tokens.
        local: Returns local time.

    Raises:
        ConfigError: The file is not a fill plan, or the plan is for a larger edge.
    """

    def __init__(
        self, edge: Edge, path: Path, keys: Keyring | None, local: Callable[[], datetime] = datetime.now
    ) -> None:
        self._edge = edge
        self._objects = edge.objects
        self._path = path
        self._keys = keys
        self._local = local
        self._plan = read_plan(path)
        if self._plan.budget_bytes > edge.objects.budget_bytes:
            raise ConfigError(
                f"--fill {path} is for an edge with {self._plan.budget_bytes:,} planned bytes, more than --disk-bytes"
            )

    async def run(self) -> None:
        """Fill in every window; never returns."""
        while True:
            if not left_s(self._plan, self._local()):
                await asyncio.sleep(IDLE_S)
                continue
            self._reload_plan()
            await self._fill_window()
            while left_s(self._plan, self._local()):
                await asyncio.sleep(IDLE_S)

    async def _fill_window(self) -> None:
        """Fetch until all objects have arrived or the window closes."""
        plan = self._plan
        pace = Pace(plan.mbps)
        self._objects.unpin_others({f"{item.title}/{item.track}" for item in plan.items})
        late_bytes = 0
        while left_s(plan, self._local()):
            late_bytes = 0
            for item in plan.items:
                late_bytes += await self._fetch_track(item, plan, pace)
            if not late_bytes:
                log.info("the fill of %s is complete", plan.edge)
                return
            await asyncio.sleep(min(RETRY_S, left_s(plan, self._local())))
        self._edge.counts.filled("late", late_bytes)
        log.warning("the fill window of %s closed with %s bytes missing", plan.edge, f"{late_bytes:,}")

    async def _fetch_track(self, item: FillItem, plan: FillPlan, pace: Pace) -> int:
        """Fetch one track's objects; returns the bytes that are missing, at least 1 if the number is unknown."""
        prefix = f"/t/{self._token(item.title)}" if self._keys is not None else ""
        missing_bytes = 0
        try:
            for wanted in await self._edge.tracks.all(item.title, item.track, prefix=prefix):
                if not left_s(plan, self._local()):
                    return missing_bytes + wanted.size_bytes
                if self._objects.pinned_bytes + wanted.size_bytes > plan.budget_bytes and not self._objects.has_pinned(
                    wanted
                ):
                    continue  # tracks are larger than planned, so skip what does not fit
                target = f"{prefix}/{item.title}/tracks/{wanted.key.partition('/')[2]}"
                if not await self._objects.pin(wanted, target, pace, from_peers=item.pulled_by != plan.edge):
                    missing_bytes += wanted.size_bytes
        except (Absent, Unreachable, Mismatch, Incomplete, TooMany, TookTooLong) as error:
            log.warning("can't fill %s of %s: %s", item.track, item.title, type(error).__name__)
            return missing_bytes + 1
        return missing_bytes

    def _reload_plan(self) -> None:
        try:
            plan = read_plan(self._path)
        except ConfigError as error:
            log.error("can't reload the fill plan, so the old one stays in use: %s", error)
            return
        if plan.budget_bytes <= self._objects.budget_bytes:
            self._plan = plan

    def _token(self, title: str) -> str:
        assert self._keys is not None
        account = f"fill-{self._edge.name}"[:64]
        return issue(Grant(title, account, account, int(time.time()) + TOKEN_S), self._keys)
