"""Limits how many screens an account uses at the same time, with leases that all worker processes of a server share.

Each session holds a lease, which its requests renew; otherwise it expires. Leases are stored in one SQLite file,
preferably in a memory file system. SQLite needs no server, and a process that is killed leaves no lock behind.
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

MIN_LEASE_S = 30.0
"""Minimum lifetime of a lease: a player with a full buffer may send no requests for a while."""
SEGMENTS = 3
"""Lifetime of a lease as a number of segments, if that is longer than `MIN_LEASE_S`."""
WRITES = 3
"""How many times a lease is written during its lifetime; other renewals are answered from memory."""
REMEMBERED = 200_000
"""Maximum number of sessions whose last write is remembered in memory."""
LOCKED_S = 1.0
"""How long a process waits for another process's write."""

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
    """The leases of one server, as used by one of its workers; belongs to one event loop.

    Args:
        folder: Folder of the file, shared by all processes; created if missing.
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
        self._renewed: SegmentedLRU[str, float] = SegmentedLRU(REMEMBERED)
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

    def is_renewed(self, account: str, session: str) -> bool:
        """Whether a session's lease was written so recently that `take` needs no write."""
        return self._clock() < (self._renewed.get(f"{account}\0{session}") or 0.0)

    async def take(self, account: str, session: str, *, screens: int, segment_s: float) -> float:
        """Take or renew a session's lease.

        If leases can't be read or written, every session may watch: a full disk must not stop playback.

        Args:
            account: Whose screens are counted.
            session: Id of one screen.
            screens: How many screens the account may use.
            segment_s: Length of a segment.

        Returns:
            0 if the session has its lease; otherwise the number of seconds until the account's first lease may expire.
        """
        if self.is_renewed(account, session):
            return 0.0
        now_s = self._clock()
        life_s = max(MIN_LEASE_S, SEGMENTS * segment_s)
        try:
            wait_s = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._write, account, session, screens, now_s, now_s + life_s
            )
        except sqlite3.Error as error:
            log.warning("leases can't be kept: %s", error)
            self._on_fault()
            wait_s = 0.0
        if not wait_s:
            self._renewed.put(f"{account}\0{session}", now_s + life_s / WRITES)
        return wait_s

    def close(self) -> None:
        """Close the file; leases stay valid until they expire."""
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
