"""Holds protect tracks and releases of a title from garbage collection while a command needs them.

A command that will use tracks that no release refers to yet writes a hold, then checks for sweeps. A command that
removes objects writes a sweep marker, then checks for holds. So if both run at once, at least one sees the other: the
holder waits until the sweep is over, and the sweep skips held tracks and releases.

A sweep writes its marker again while it works. So the marker of a killed process is known by its age, and holders don't
wait long for it. Ages are differences of times that the store gave, because the clocks of machines differ.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headend.core import documents, layout
from headend.core.errors import ObjectMissing, StorageError, StoreUnavailable
from headend.core.storage import Store

REFRESH_S = 30.0
"""How often a sweep writes its marker again."""
SWEEP_S = 300.0
"""Age after which a sweep's marker is considered to belong to a killed process."""
STALLED_S = 150.0
"""A sweep that has not written its marker for this long, such as one of a suspended machine, must stop."""
WAIT_S = 3600.0
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
        while _is_swept(store, title, key, waited_s):
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


class Sweep:
    """A running sweep.

    Args:
        store: The store.
        key: The sweep's marker.
    """

    def __init__(self, store: Store, key: str) -> None:
        self._store = store
        self._key = key
        self._refreshed_s = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh_forever, daemon=True)

    def start(self) -> None:
        """Write the marker, and go on writing it."""
        self._refresh()
        self._thread.start()

    def stop(self) -> None:
        """Stop writing the marker, and remove it."""
        self._ended.set()
        self._thread.join()  # or it might write the marker after its removal
        with suppress(StoreUnavailable):
            self._store.delete(self._key)

    def check(self) -> None:
        """Raise `StoreUnavailable` if others may consider this sweep dead; call it before each removal."""
        if _boot_s() - self._refreshed_s > STALLED_S:
            raise StoreUnavailable(f"headend gc could not write {self._key} for {STALLED_S:.0f} s; run it again")

    def _refresh(self) -> None:
        began_s = _boot_s()
        self._store.put(self._key, b"{}")
        self._refreshed_s = began_s

    def _refresh_forever(self) -> None:
        while not self._ended.wait(REFRESH_S):
            with suppress(StorageError):
                self._refresh()


@contextmanager
def sweeping(store: Store, title: str) -> Iterator[Sweep]:
    """Mark that parts of a title are being removed, for the duration of a ``with`` block."""
    sweep = Sweep(store, layout.sweep(title, secrets.token_hex(8)))
    sweep.start()
    try:
        yield sweep
    finally:
        sweep.stop()


def dead_sweeps(store: Store, title: str, *, dead_after: timedelta) -> list[str]:
    """Return the keys of markers that killed sweeps have left, if they are older than ``dead_after``."""
    oldest = datetime.now(UTC) - dead_after
    return [info.key for info in store.list(layout.sweeps(title)) if info.modified < oldest]


def _is_swept(store: Store, title: str, hold: str, waited_s: float) -> bool:
    """Whether a sweep is running; ``hold`` is the key of a hold that was written ``waited_s`` ago."""
    markers = tuple(store.list(layout.sweeps(title)))
    if not markers:
        return False
    oldest = store.head(hold).modified + timedelta(seconds=waited_s - SWEEP_S)
    return any(info.modified >= oldest for info in markers)


def _boot_s() -> float:
    """A clock that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
