"""Holds: what running work needs of a title, so that garbage collection spares it.

Whoever is going to read or name tracks that no release names yet writes a hold first, and looks for sweeps then.
Whoever is going to remove something writes a sweep first, and looks for holds then. So one of two that meet always sees
the other: who holds waits until the sweep is over, who sweeps leaves alone what is held.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headend.core import documents, layout
from headend.core.errors import ObjectMissing, StoreUnavailable
from headend.core.storage import Store

SWEEP_S = 3600.0
"""A sweep's mark of this age is of one that was killed."""
WAIT_S = 600.0
"""How long work waits for a sweep to end."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What one run of something needs.

    Attributes:
        reason: Which command holds it.
        since: UTC, ISO 8601.
        tracks: Ids of the tracks.
        releases: Ids of the releases.
    """

    reason: str
    since: str
    tracks: tuple[str, ...] = ()
    releases: tuple[str, ...] = ()


@contextmanager
def held(
    store: Store,
    title: str,
    *,
    tracks: Iterable[str] = (),
    releases: Iterable[str] = (),
    reason: str,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Keep tracks and releases of a title from being removed while something is done with them.

    The hold ends with the context, whatever happens in it; that of a process that is killed ends when `gc` takes it for
    dead.

    Raises:
        StoreUnavailable: Somebody has been removing parts of the title for `WAIT_S`.
    """
    key = layout.hold(title, secrets.token_hex(8))
    since = datetime.now(UTC).isoformat(timespec="seconds")
    store.put(key, documents.write(Hold(reason, since, tuple(sorted(tracks)), tuple(sorted(releases)))))
    try:
        waited_s = 0.0
        while _is_swept(store, title):
            if waited_s >= WAIT_S:
                raise StoreUnavailable(f"headend gc is removing parts of {title!r}; try again when it is done")
            sleep(1.0)
            waited_s += 1.0
        yield
    finally:
        with suppress(StoreUnavailable):  # it would hide what went wrong
            store.delete(key)


def read(store: Store, title: str, *, dead_after: timedelta) -> tuple[list[Hold], list[str]]:
    """All holds of a title, and the keys of those that are so old that their owner is taken for dead.

    Args:
        store: Where the title is.
        title: Catalogue entry.
        dead_after: How old a hold may be.
    """
    oldest = datetime.now(UTC) - dead_after
    found = list(store.list(layout.holds(title)))
    dead = [info.key for info in found if info.modified < oldest]
    living: list[Hold] = []
    for info in found:
        if info.modified >= oldest:
            with suppress(ObjectMissing):  # it has ended a moment ago
                living.append(documents.read(Hold, store.get(info.key), key=info.key))
    return living, dead


@contextmanager
def sweeping(store: Store, title: str) -> Iterator[None]:
    """Tell others that parts of a title are being removed."""
    key = layout.sweep(title, secrets.token_hex(8))
    store.put(key, b"{}")
    try:
        yield
    finally:
        with suppress(StoreUnavailable):
            store.delete(key)


def _is_swept(store: Store, title: str) -> bool:
    oldest = datetime.now(UTC) - timedelta(seconds=SWEEP_S)
    return any(info.modified >= oldest for info in store.list(layout.sweeps(title)))
