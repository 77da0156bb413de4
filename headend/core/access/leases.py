"""Leases on an account's screens, shared by all worker processes of a server.

A lease is renewed by what its session fetches, and expires by itself. Leases are kept in one SQLite file, best in
memory: a process may be killed at any moment without leaving a lock behind, and the file needs no server.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import ConfigError

SHORTEST_S = 30.0
"""How long a lease lasts at least: a player with a full buffer may be quiet for a while."""
SEGMENTS = 3
"""How many segments' time a lease lasts, if that is longer."""
WRITES = 3
"""How often a lease is written in its lifetime; between, a renewal costs no more than a look into memory."""
REMEMBERED = 200_000
"""Sessions whose last write a process remembers."""
LOCKED_S = 1.0
"""How long a process waits for another one's write."""

_FILE = "leases.sqlite3"
_SET_UP = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS lease (
    account TEXT, session TEXT, ends_s REAL, PRIMARY KEY (account, session)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ending ON lease (ends_s);
"""

log = logging.getLogger("headend.core.access")


class Leases:
    """The leases of one server, as one of its workers sees them; belongs to one event loop.

    Args:
        folder: Where the file is, the same for all processes; made if it is missing.
        on_fault: Called when leases can't be read or written.
        clock: Unix time in seconds, the same for all processes.

    Raises:
        ConfigError: The folder can't be used.
    """

    def __init__(
        self,
        folder: Path,
        *,
        on_fault: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._on_fault = on_fault
        self._clock = clock
        self._settled: SegmentedLRU[str, float] = SegmentedLRU(REMEMBERED)
        # One thread: SQLite takes one writer at a time anyway, and the event loop must not wait for another process.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="leases")
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = sqlite3.connect(
                folder / _FILE, timeout=LOCKED_S, isolation_level=None, check_same_thread=False
            )
            self._file.executescript(_SET_UP)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{folder} can't hold leases ({error}): choose another with --state-dir") from error

    def is_settled(self, account: str, session: str) -> bool:
        """Whether a session's lease was written so lately that `take` would only look into memory."""
        return self._clock() < (self._settled.get(f"{account}\0{session}") or 0.0)

    async def take(self, account: str, session: str, *, screens: int, segment_s: float) -> float:
        """Take or renew a session's lease.

        Leases that can't be read or written keep nobody from watching: the limit is a matter of fairness, and a full
        disk must not darken all screens.

        Args:
            account: Whose screens are counted.
            session: One screen.
            screens: How many of them the account may have.
            segment_s: Length of a segment.

        Returns:
            0 if the session has its lease; otherwise in how many seconds the first lease of the account may end.
        """
        if self.is_settled(account, session):
            return 0.0
        now_s = self._clock()
        life_s = max(SHORTEST_S, SEGMENTS * segment_s)
        try:
            wait_s = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._write, account, session, screens, now_s, now_s + life_s
            )
        except sqlite3.Error as error:
            log.warning("leases can't be kept: %s", error)
            self._on_fault()
            wait_s = 0.0
        if not wait_s:
            self._settled.put(f"{account}\0{session}", now_s + life_s / WRITES)
        return wait_s

    def close(self) -> None:
        """Let go of the file; leases go on until they end."""
        self._thread.shutdown()
        self._file.close()

    def _write(self, account: str, session: str, screens: int, now_s: float, ends_s: float) -> float:
        with self._file as file:  # commits, or rolls back
            file.execute("BEGIN IMMEDIATE")
            file.execute("DELETE FROM lease WHERE ends_s <= ?", (now_s,))
            live = dict(file.execute("SELECT session, ends_s FROM lease WHERE account = ?", (account,)))
            if session not in live and len(live) >= screens:
                return float(min(live.values())) - now_s
            file.execute("INSERT OR REPLACE INTO lease VALUES (?, ?, ?)", (account, session, ends_s))
        return 0.0
