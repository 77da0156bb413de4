"""The open jobs of a queue in memory: which one is next, and how many are in each state. Pure.

No operation scans all jobs: jobs that may start are in a heap, and outdated heap entries are dropped when they reach
the top.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from headend.app.jobs.model import State
from headend.app.jobs.queue import Entry


class Backlog:
    """The open jobs that are known."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._states: Counter[State] = Counter()
        self._startable: list[tuple[int, bool, str, int]] = []
        self._oldest: list[str] = []

    def load(self, entries: Iterable[Entry]) -> None:
        """Replace the known jobs with these."""
        self._entries = {entry.id: entry for entry in entries}
        self._states = Counter(entry.state for entry in self._entries.values())
        self._startable = [_urgency(entry) for entry in self._entries.values() if _may_start(entry)]
        self._oldest = [entry.id for entry in self._entries.values() if entry.state is State.QUEUED]
        heapify(self._startable)
        heapify(self._oldest)

    def update(self, entry: Entry) -> None:
        """Update a job; drop it if it has ended, and ignore an entry that is older than the known one."""
        known = self._entries.get(entry.id)
        if known is not None and (known == entry or known.serial > entry.serial):
            return
        self.drop(entry.id)
        if entry.state.ended:
            return
        self._entries[entry.id] = entry
        self._states[entry.state] += 1
        if _may_start(entry):
            heappush(self._startable, _urgency(entry))
        if entry.state is State.QUEUED:
            heappush(self._oldest, entry.id)

    def drop(self, job: str) -> None:
        """Drop a job."""
        if (known := self._entries.pop(job, None)) is not None:
            self._states[known.state] -= 1

    def take_next(self, running: Mapping[str, int], places: int) -> Entry | None:
        """Take the job that starts next; None if none may start now.

        A job waits for a free place unless its priority is higher than that of a running job; this way up to twice
        ``places`` jobs may run. It also waits for a running job of the same title, since both would encode the same
        tracks. Jobs that an earlier dispatcher had started go before others of their priority. A job that is taken is
        not returned again until `update` or `load` brings it back.

        Args:
            running: Priorities of the running jobs, by title.
            places: Number of jobs that run at once.
        """
        skipped = []
        job = None
        while job is None and self._startable:
            top = self._startable[0]
            entry = self._entries.get(top[2])
            if entry is None or entry.serial != top[3] or not _may_start(entry):
                heappop(self._startable)
            elif entry.title in running:
                skipped.append(heappop(self._startable))
            elif len(running) < places or (
                len(running) < 2 * places and running and entry.priority > min(running.values())
            ):
                heappop(self._startable)
                job = entry
            else:
                break
        for top in skipped:
            heappush(self._startable, top)
        return job

    @property
    def states(self) -> Mapping[State, int]:
        """Number of open jobs in each state."""
        return self._states

    @property
    def oldest(self) -> str | None:
        """Id of the oldest queued job; None if none is queued."""
        while self._oldest:
            entry = self._entries.get(self._oldest[0])
            if entry is not None and entry.state is State.QUEUED:
                return entry.id
            heappop(self._oldest)
        return None

    @property
    def has_waiting(self) -> bool:
        """Whether any job is waiting to start."""
        return any(self._states[state] for state in State if state is State.QUEUED or state.active)


def _may_start(entry: Entry) -> bool:
    return entry.state is State.QUEUED or entry.state.active


def _urgency(entry: Entry) -> tuple[int, bool, str, int]:
    return (-entry.priority, not entry.state.active, entry.id, entry.serial)
