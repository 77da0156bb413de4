"""Holds protect tracks and releases of a title from garbage collection while a command needs them.

A command that will use tracks that no release refers to yet writes a hold, then checks for sweeps. A command that
removes objects writes a sweep marker, then checks for holds. So if both run at once, at least one sees the other: the
holder waits until the sweep is over, and the sweep skips held tracks and releases.
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
"""Age after which a sweep's marker is considered to belong to a killed process."""
WAIT_S = 600.0
"""How long holders wait for a sweep to end."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The tracks and releases of a title that one run of a command needs.

    Attributes:
        reason: The command.
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
    """Protect tracks and releases of a title from removal for the duration of a ``with`` block.

    The hold ends with the block, even after an exception. If the process is killed, ``headend gc`` removes it later.

    Raises:
        StoreUnavailable: Parts of the title were being removed for longer than `WAIT_S`.
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
        with suppress(StoreUnavailable):  # it would hide the original error
            store.delete(key)


def read(store: Store, title: str, *, dead_after: timedelta) -> tuple[list[Hold], list[str]]:
    """Read the holds of a title.

    Args:
        store: Store of the title.
        title: Catalogue entry.
        dead_after: Age after which a hold's process is considered dead.

    Returns:
        Holds in use, and the keys of holds that are older than ``dead_after``.
    """
    oldest = datetime.now(UTC) - dead_after
    infos = list(store.list(layout.holds(title)))
    dead = [info.key for info in infos if info.modified < oldest]
    living: list[Hold] = []
    for info in infos:
        if info.modified >= oldest:
            with suppress(ObjectMissing):  # it has just ended
                living.append(documents.read(Hold, store.get(info.key), key=info.key))
    return living, dead


@contextmanager
def sweeping(store: Store, title: str) -> Iterator[None]:
    """Mark that parts of a title are being removed, for the duration of a ``with`` block."""
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
