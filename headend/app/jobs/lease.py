"""A lease with a fencing number: one dispatcher works, another stands by and takes over when the first falls silent.

The holder renews its lease every few seconds. A stand-by watches by its own clock, so that clocks of machines need not
agree: when the lease has not changed for `EXPIRES_S`, it takes the next number. While the store is away or slow the
holder can't renew, so that time does not count. On a store that honours conditional
writes only one can get a number. On others (rclone's S3 server) two may write the same number at the same moment; each
waits `SETTLE_S` and reads back who is named, and the one that is not named stands by.

What is written under an older number than the lease's is not to be believed: a holder that was frozen checks its lease
before it writes (`Lease.check`), and stops when it is no longer named.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from headend.app.jobs.model import new_id, utc_now
from headend.core import documents, layout
from headend.core.errors import ObjectMissing, StorageError
from headend.core.storage import Store

RENEW_S = 3.0
"""How often the holder renews its lease."""
EXPIRES_S = 12.0
"""How long a lease lasts after it was last seen to change; takeover then needs one look and `SETTLE_S`."""
SLOW_S = 4.0
"""A look at the lease that takes longer shows a slow store, and says nothing about the holder."""
SETTLE_S = 2.0
"""How long a new holder waits before it reads back whether it is the one."""


@dataclass(frozen=True, slots=True)
class Holding:
    """The lease as it lies in the store.

    Attributes:
        fence: Counts holders, from 1.
        holder: Id of the holding process.
        who: User and machine, for people.
        renewed_at: UTC, ISO 8601; for people.
        renewals: Counts renewals, so that every one differs from the one before.
        released: Whether the holder has given it back.
    """

    fence: int
    holder: str
    who: str
    renewed_at: str
    renewals: int = 0
    released: bool = False


class LeaseLost(Exception):
    """Another dispatcher has taken over; this one has to stand by."""


class Lease:
    """A dispatcher's claim to be the one that works.

    Args:
        store: Where the lease lies.
        who: User and machine, for people.
        clock: Seconds that never go back.
        sleep: Waits for seconds.
    """

    def __init__(
        self,
        store: Store,
        who: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._who = who
        self._clock = clock
        self._sleep = sleep
        self._holder = new_id()
        self._seen: Holding | None = None
        self._seen_s = clock()
        self._fence = 0
        self._renewals = 0
        self._renewed_s = clock()

    @property
    def fence(self) -> int:
        """The number under which this dispatcher works; 0 while it does not."""
        return self._fence

    @property
    def other(self) -> Holding | None:
        """The lease as it was last seen; None before the first look."""
        return self._seen

    def try_take(self) -> bool:
        """Look at the lease once and take it if it is free or has expired; whether this dispatcher holds it now.

        Raises:
            StorageError: The store can't be read or written.
        """
        began_s = self._clock()
        try:
            found = self._read()
        except StorageError:
            # The holder can't renew it either while the store is away: it gets its time when the store is back.
            self._seen = None
            raise
        if self._clock() - began_s > SLOW_S:
            self._seen = None
        if found != self._seen:
            self._seen, self._seen_s = found, self._clock()
        if found and not found.released and self._clock() - self._seen_s < EXPIRES_S:
            return False
        fence = found.fence + 1 if found else 1
        mine = Holding(fence, self._holder, self._who, utc_now())
        if not self._store.put_if_absent(layout.lease(fence), documents.write(mine)):
            return False
        self._sleep(SETTLE_S)
        now = self._read()
        if now is None or (now.fence, now.holder) != (fence, self._holder):
            return False
        self._fence, self._renewed_s = fence, self._clock()
        self._seen = now
        if fence > 1:
            self._store.delete(layout.lease(fence - 1))
        return True

    def renew(self) -> None:
        """Renew the lease, if it is time.

        Raises:
            LeaseLost: Another dispatcher has taken over.
            StorageError: The store can't be read or written.
        """
        if self._clock() - self._renewed_s < RENEW_S:
            return
        fence = self._fence
        self.check()
        self._renewals += 1
        renewed = Holding(fence, self._holder, self._who, utc_now(), self._renewals)
        self._store.put(layout.lease(fence), documents.write(renewed))
        self._renewed_s = self._clock()

    def check(self) -> None:
        """Raise `LeaseLost` unless this dispatcher still holds the lease."""
        found = self._read()
        if found is None or (found.fence, found.holder) != (self._fence, self._holder):
            by = f" by {found.who}" if found else ""
            self._fence = 0
            raise LeaseLost(f"another dispatcher has taken over{by}: this one stands by")

    def release(self) -> None:
        """Give the lease back, so that a stand-by need not wait for it to expire."""
        if not self._fence:
            return
        with suppress(LeaseLost):
            self.check()
            done = Holding(self._fence, self._holder, self._who, utc_now(), self._renewals, released=True)
            self._store.put(layout.lease(self._fence), documents.write(done))
        self._fence = 0

    def _read(self) -> Holding | None:
        fences = [int(name) for key in self._store.keys(layout.LEASES) if (name := _fence_name(key)).isdigit()]
        if not fences:
            return None
        key = layout.lease(max(fences))
        try:
            return documents.read(Holding, self._store.get(key), key=key)
        except ObjectMissing:  # taken over in this very moment; the next look sees it
            return self._seen


def _fence_name(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")
