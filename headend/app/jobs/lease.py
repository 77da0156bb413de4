"""A lease with a fencing number: one dispatcher works, and another takes over when the first stops renewing.

The holder renews its lease every few seconds. A standby measures with its own clock, so clocks need not agree: if the
lease has not changed for `EXPIRES_S`, the standby takes the next number. Time in which the store is down or slow does
not count, since the holder can't renew then. On a store with conditional writes only one dispatcher can get a number.
On other stores (rclone's S3 server) two may write the same number at the same moment: each waits `SETTLE_S`, reads the
lease back, and stands by if it names the other.

A holder that was suspended must not write under an old number: it checks its lease before every write (`Lease.check`)
and stops if it has lost it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from headend.app.jobs.model import new_id, utc_now
from headend.core import documents, layout
from headend.core.errors import ObjectMissing, StorageError
from headend.core.storage import Store

RENEW_S = 3.0
"""How often the holder renews its lease."""
EXPIRES_S = 12.0
"""How long a lease lasts after its last change; a takeover then takes one read and `SETTLE_S`."""
SLOW_S = 4.0
"""A read of the lease that takes longer shows a slow store and doesn't count against the holder."""
SETTLE_S = 2.0
"""How long a new holder waits before it reads the lease back."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The lease document in the store.

    Attributes:
        fence: Fencing number: counts holders, from 1.
        holder: Id of the holding process.
        who: User and machine, for people.
        renewed_at: UTC, ISO 8601; for people.
        renewals: Counts renewals, so that each one changes the document.
        released: Whether the holder has released it.
    """

    fence: int
    holder: str
    who: str
    renewed_at: str
    renewals: int = 0
    released: bool = False


class LeaseLost(Exception):
    """Another dispatcher has taken over; this one must stand by."""


class Lease:
    """A dispatcher's side of the lease.

    Args:
        store: The store that holds the lease.
        who: User and machine, for people.
        clock: A monotonic clock in seconds.
        sleep: Waits for a number of seconds.
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
        self._last_read: LeaseRecord | None = None
        self._changed_s = clock()
        self._fence = 0
        self._renewals = 0
        self._renewed_s = clock()

    @property
    def fence(self) -> int:
        """The fencing number of this dispatcher; 0 while it doesn't hold the lease."""
        return self._fence

    @property
    def last_read(self) -> LeaseRecord | None:
        """The lease as it was last read; None before the first read."""
        return self._last_read

    def try_take(self) -> bool:
        """Read the lease, and take it if it is free or has expired; return whether this dispatcher holds it now.

        Raises:
            StorageError: The store can't be read or written.
        """
        began_s = self._clock()
        try:
            lease = self._read()
        except StorageError:
            # The holder can't renew it either while the store is down: its time starts again afterwards.
            self._last_read = None
            raise
        if self._clock() - began_s > SLOW_S:
            self._last_read = None
        if lease != self._last_read:
            self._last_read, self._changed_s = lease, self._clock()
        if lease and not lease.released and self._clock() - self._changed_s < EXPIRES_S:
            return False
        fence = lease.fence + 1 if lease else 1
        mine = LeaseRecord(fence, self._holder, self._who, utc_now())
        if not self._store.put_if_absent(layout.lease(fence), documents.write(mine)):
            return False
        self._sleep(SETTLE_S)
        now = self._read()
        if now is None or (now.fence, now.holder) != (fence, self._holder):
            return False
        self._fence, self._renewed_s = fence, self._clock()
        self._last_read = now
        if fence > 1:
            self._store.delete(layout.lease(fence - 1))
        return True

    def renew(self) -> None:
        """Renew the lease if it is due.

        Raises:
            LeaseLost: Another dispatcher has taken over.
            StorageError: The store can't be read or written.
        """
        if self._clock() - self._renewed_s < RENEW_S:
            return
        fence = self._fence
        self.check()
        self._renewals += 1
        renewed = LeaseRecord(fence, self._holder, self._who, utc_now(), self._renewals)
        self._store.put(layout.lease(fence), documents.write(renewed))
        self._renewed_s = self._clock()

    def check(self) -> None:
        """Raise `LeaseLost` unless this dispatcher still holds the lease."""
        lease = self._read()
        if lease is None or (lease.fence, lease.holder) != (self._fence, self._holder):
            by = f" by {lease.who}" if lease else ""
            self._fence = 0
            raise LeaseLost(f"another dispatcher has taken over{by}: this one stands by")

    def release(self) -> None:
        """Release the lease, so that a standby need not wait until it expires."""
        if not self._fence:
            return
        with suppress(LeaseLost):
            self.check()
            released = LeaseRecord(self._fence, self._holder, self._who, utc_now(), self._renewals, released=True)
            self._store.put(layout.lease(self._fence), documents.write(released))
        self._fence = 0

    def _read(self) -> LeaseRecord | None:
        fences = [int(name) for key in self._store.keys(layout.LEASES) if (name := _fence_name(key)).isdigit()]
        if not fences:
            return None
        key = layout.lease(max(fences))
        try:
            return documents.read(LeaseRecord, self._store.get(key), key=key)
        except ObjectMissing:  # another dispatcher is taking over; the next read sees it
            return self._last_read


@contextmanager
def renewed(lease: Lease, is_alive: Callable[[], bool]) -> Iterator[None]:
    """Renew a lease in the background, so that neither a slow store nor a starting cluster makes its holder lose it.

    Args:
        lease: The lease, which this process holds.
        is_alive: Returns whether the holder still works; a holder that hangs must lose the lease.
    """
    ended = threading.Event()

    def renew() -> None:
        while lease.fence and not ended.wait(RENEW_S / 3):
            if is_alive():
                with suppress(StorageError, LeaseLost):  # the holder finds out at its next check
                    lease.renew()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _fence_name(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")
