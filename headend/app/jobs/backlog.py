"""The open jobs of a queue in memory: which one is next, and how many are in which state. Pure.

No step looks at all jobs: those that may start lie in a heap, and an entry that a newer one has replaced is passed over
when it comes to the top.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush

from headend.app.jobs.model import State
from headend.app.jobs.queue import Entry


class Backlog:
    """What is open, as far as it is known."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._states: Counter[State] = Counter()
        self._urgent: list[tuple[int, bool, str, int]] = []
        self._oldest: list[str] = []

    def load(self, entries: Iterable[Entry]) -> None:
        """Take in all that is open, in place of what is known."""
        self._entries = {entry.id: entry for entry in entries}
        self._states = Counter(entry.state for entry in self._entries.values())
        self._urgent = [_urgency(entry) for entry in self._entries.values() if _may_start(entry)]
        self._oldest = [entry.id for entry in self._entries.values() if entry.state is State.QUEUED]
        heapify(self._urgent)
        heapify(self._oldest)

    def see(self, entry: Entry) -> None:
        """Take in how a job stands now; one that has ended is forgotten, and what is older than known passed over."""
        known = self._entries.get(entry.id)
        if known is not None and (known == entry or known.serial > entry.serial):
            return
        self.forget(entry.id)
        if entry.state.ended:
            return
        self._entries[entry.id] = entry
        self._states[entry.state] += 1
        if _may_start(entry):
            heappush(self._urgent, _urgency(entry))
        if entry.state is State.QUEUED:
            heappush(self._oldest, entry.id)

    def forget(self, job: str) -> None:
        """A job has ended."""
        if (known := self._entries.pop(job, None)) is not None:
            self._states[known.state] -= 1

    def take_next(self, running: Mapping[str, int], places: int) -> Entry | None:
        """Take the job that is to start next; None if none may start now.

        A job waits for a place, unless it is more urgent than one that runs: its tasks go before those of all others,
        so that up to twice as many jobs may run as there are places. It also waits for another job of its title: both
        would encode the same tracks. Jobs that a dispatcher left behind go before others of their priority. A job that
        is taken is not offered again until `see` or `load` tells of it.

        Args:
            running: Titles of the jobs that run, with their priorities.
            places: How many jobs run at once.
        """
        passed = []
        found = None
        while found is None and self._urgent:
            top = self._urgent[0]
            entry = self._entries.get(top[2])
            if entry is None or entry.serial != top[3] or not _may_start(entry):
                heappop(self._urgent)
            elif entry.title in running:
                passed.append(heappop(self._urgent))
            elif len(running) < places or (
                len(running) < 2 * places and running and entry.priority > min(running.values())
            ):
                heappop(self._urgent)
                found = entry
            else:
                break
        for top in passed:
            heappush(self._urgent, top)
        return found

    @property
    def states(self) -> Mapping[State, int]:
        """How many open jobs are in which state."""
        return self._states

    @property
    def oldest(self) -> str | None:
        """The queued job that was submitted first; None if none is queued."""
        while self._oldest:
            entry = self._entries.get(self._oldest[0])
            if entry is not None and entry.state is State.QUEUED:
                return entry.id
            heappop(self._oldest)
        return None

    @property
    def waits(self) -> bool:
        """Whether a job waits that may start."""
        return any(self._states[state] for state in State if state is State.QUEUED or state.active)


def _may_start(entry: Entry) -> bool:
    return entry.state is State.QUEUED or entry.state.active


def _urgency(entry: Entry) -> tuple[int, bool, str, int]:
    return (-entry.priority, not entry.state.active, entry.id, entry.serial)
