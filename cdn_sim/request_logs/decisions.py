"""The decision log: all calls of a cache policy and its decisions, so that they can be replayed exactly.

It is a text file. The first line is `MAGIC`. Each other line is a record of seven fields, separated by tabs: its
number, its time in ms, its kind, and four fields that depend on the kind:

=========  ==========  ===========  ===============  ===============
kind       key         size_bytes   word             evicted
=========  ==========  ===========  ===============  ===============
start      policy      budget       admission rule
kept       object      its size
request    object      its size     decision         evicted objects
failed     object
removed    object
pinned     object      its size                      evicted objects
unpinned   object
=========  ==========  ===========  ===============  ===============

A process that starts appends a ``start`` record to the same file, with number 0, because its policy is empty. Then
``kept`` records list the objects that it found in its folder, oldest first. ``failed`` is a failed fetch, and
``removed`` an object that was purged or damaged; the policy removes both. ``pinned`` and ``unpinned`` objects join and
leave the planned part. Evicted objects are separated by spaces.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

from cdn_sim import policies
from cdn_sim.admission import RULES, rule
from cdn_sim.policies import Policy, Verdict
from headend.core.errors import ConfigError

MAGIC = "#headend-decisions 1"
_FIELDS = 7
LIMIT = 1 << 62
"""Times in ms and sizes in bytes must be below this, so that their sums fit into 64 bits."""


class Kind(StrEnum):
    """Kind of a record."""

    START = "start"
    KEPT = "kept"
    REQUEST = "request"
    FAILED = "failed"
    REMOVED = "removed"
    PINNED = "pinned"
    UNPINNED = "unpinned"


class Decision(StrEnum):
    """Decision on a request; the last two are misses."""

    HIT = "hit"
    """The object is stored."""
    DELAYED = "delayed"
    """A hit on an object that is still being fetched."""
    MISS = "miss"
    """A miss; the object is fetched and stored."""
    PASSED = "passed"
    """A miss; the object is not stored, because it is too large or the admission rule refuses it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the log.

    Attributes:
        kind: Kind of the record.
        time_ms: Unix time in ms.
        key: The object; for `Kind.START`, the policy's name.
        size_bytes: The object's size; for `Kind.START`, the cache's size; 0 for kinds without a size.
        decision: For `Kind.REQUEST`: the decision.
        evicted: For `Kind.REQUEST` and `Kind.PINNED`: objects evicted to make room.
        admission: For `Kind.START`: name of the admission rule.
    """

    kind: Kind
    time_ms: int
    key: str
    size_bytes: int = 0
    decision: Decision | None = None
    evicted: tuple[str, ...] = ()
    admission: str = ""


class DecisionLog:
    r"""Writes records. The caller opens, flushes and closes the stream.

    Args:
        stream: A text stream opened for appending, with newline="" or "\n".
        fresh: Whether the file is empty, so that `MAGIC` must be written first. Otherwise the caller must make sure
            that its last line ends with a newline.
    """

    def __init__(self, stream: TextIO, *, fresh: bool = True) -> None:
        self._stream = stream
        self._number = 0
        if fresh:
            stream.write(f"{MAGIC}\n")

    def start(self, time_ms: int, policy: str, budget_bytes: int, admission: str = "all") -> None:
        """Log the start of an empty policy."""
        self._number = 0
        self._put(time_ms, Kind.START, policy, str(budget_bytes), admission)

    def kept(self, time_ms: int, key: str, size_bytes: int) -> None:
        """Log an object that an earlier process left in the cache folder."""
        self._put(time_ms, Kind.KEPT, key, str(size_bytes))

    def request(self, time_ms: int, key: str, size_bytes: int, verdict: Verdict, *, delayed: bool = False) -> None:
        """Log a request; ``delayed`` says that the object is still being fetched, which matters only for a hit."""
        if verdict.hit:
            decision = Decision.DELAYED if delayed else Decision.HIT
        else:
            decision = Decision.MISS if verdict.admitted else Decision.PASSED
        self._put(time_ms, Kind.REQUEST, key, str(size_bytes), decision, verdict.evicted)

    def failed(self, time_ms: int, key: str) -> None:
        """Log that a fetch failed and the policy removed the object."""
        self._put(time_ms, Kind.FAILED, key)

    def removed(self, time_ms: int, key: str) -> None:
        """Log that an object was purged or damaged and the policy removed it."""
        self._put(time_ms, Kind.REMOVED, key)

    def pinned(self, time_ms: int, key: str, size_bytes: int, evicted: tuple[object, ...] = ()) -> None:
        """Log that an object joined the planned part."""
        self._put(time_ms, Kind.PINNED, key, str(size_bytes), "", evicted)

    def unpinned(self, time_ms: int, key: str) -> None:
        """Log that an object left the planned part, and so the cache."""
        self._put(time_ms, Kind.UNPINNED, key)

    def _put(
        self, time_ms: int, kind: Kind, key: str, size: str = "", word: str = "", evicted: tuple[object, ...] = ()
    ) -> None:
        if key.split() != [key]:
            raise ValueError(f"{key!r} can't be a key in a decision log: it is empty or has white space")
        evicted_keys = " ".join(map(str, evicted))
        self._stream.write(f"{self._number}\t{time_ms}\t{kind}\t{key}\t{size}\t{word}\t{evicted_keys}\n")
        self._number += 1


class LoggedPolicy:
    """A policy that logs all its calls.

    Args:
        name: A name in `cdn_sim.policies.POLICIES`.
        budget_bytes: Size of the cache.
        log: The log; None for no log.
        clock_ms: Returns the time.
        admission: A name in `cdn_sim.admission.RULES`.
        kept: Keys and sizes of objects that are already on disk, oldest first.

    Raises:
        ConfigError: There is no such policy.
    """

    def __init__(
        self,
        name: str,
        budget_bytes: int,
        log: DecisionLog | None,
        clock_ms: Callable[[], int],
        *,
        admission: str = "all",
        kept: Iterable[tuple[str, int]] = (),
    ) -> None:
        self.policy = policies.make(name, budget_bytes, rule(admission)())
        self._log = log
        self._clock_ms = clock_ms
        if log:
            log.start(clock_ms(), name, budget_bytes, admission)
        for key, size_bytes in kept:
            self.policy.request(key, size_bytes)
            if log:
                log.kept(clock_ms(), key, size_bytes)

    def request(self, key: str, size_bytes: int, *, delayed: bool = False) -> Verdict:
        """Like `Policy.request`; ``delayed`` says that the object is still being fetched."""
        verdict = self.policy.request(key, size_bytes)
        if self._log:
            self._log.request(self._clock_ms(), key, size_bytes, verdict, delayed=delayed)
        return verdict

    def failed(self, key: str) -> None:
        """Remove an object whose fetch failed."""
        self.policy.remove(key)
        if self._log:
            self._log.failed(self._clock_ms(), key)

    def remove(self, key: str) -> None:
        """Remove an object that was purged or is damaged."""
        self.policy.remove(key)
        if self._log:
            self._log.removed(self._clock_ms(), key)

    def pin(self, key: str, size_bytes: int) -> tuple[object, ...]:
        """Add an object to the planned part; returns the evicted objects."""
        evicted = self.policy.pin([(key, size_bytes)])
        if self._log:
            self._log.pinned(self._clock_ms(), key, size_bytes, evicted)
        return evicted

    def unpin(self, key: str) -> bool:
        """Remove an object from the planned part, and so from the cache; returns whether it was pinned."""
        removed = bool(self.policy.unpin([key]))
        if removed and self._log:
            self._log.unpinned(self._clock_ms(), key)
        return removed


def parse(lines: Iterable[str], name: str) -> Iterator[Record]:
    """Parse a decision log.

    A damaged line is skipped where a process may have been killed: at the end of the log, or before a ``start``.

    Args:
        lines: The log, including `MAGIC`.
        name: Name of the log in errors.

    Raises:
        ConfigError: The text is not a decision log, a line is damaged, or lines are missing.
    """
    expected = -1
    damaged_line = 0
    for line_number, line in enumerate(lines, 1):
        if line_number == 1:
            if line.rstrip("\n") != MAGIC:
                raise ConfigError(f"{name} is not a decision log: its first line is not {MAGIC!r}")
            continue
        record = _parse_line(line)
        if record is None:
            damaged_line = damaged_line or line_number
            continue
        number = int(line[: line.index("\t")])
        if record.kind is Kind.START:
            damaged_line = 0
        elif damaged_line:
            raise ConfigError(f"{name}, line {damaged_line}, is damaged: repair it, or truncate the log before it")
        elif expected < 0:
            raise ConfigError(f"{name} does not begin with a 'start' record, so its policy is unknown")
        elif number != expected:
            raise ConfigError(
                f"{name}, line {line_number}: record {expected} is missing, so later ones can't be verified"
            )
        expected = number + 1
        yield record


def _parse_line(line: str) -> Record | None:
    fields = line.rstrip("\n").split("\t")
    if len(fields) != _FIELDS or not line.endswith("\n"):
        return None
    number, time_ms, kind, key, size, word, evicted = fields
    try:
        int(number)
        record_kind = Kind(kind)
        decision = Decision(word) if record_kind is Kind.REQUEST else None
        size_bytes = int(size) if size else 0
        if (
            not 0 <= size_bytes < LIMIT
            or not -LIMIT < int(time_ms) < LIMIT
            or not key
            or (record_kind is Kind.START and (word not in RULES or size_bytes < 1))
        ):
            return None
        admission = word if record_kind is Kind.START else ""
        return Record(record_kind, int(time_ms), key, size_bytes, decision, tuple(evicted.split()), admission)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Difference:
    """A decision that differs between the log and the replay.

    Attributes:
        number: Number of the request in the log, from 1.
        key: The object.
        live: Decision in the log, evicted objects included.
        offline: Decision in the replay, likewise.
    """

    number: int
    key: str
    live: str
    offline: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Result of a replay with the log's own policies.

    Attributes:
        requests: Number of replayed requests.
        hits: Number of hits, delayed hits included.
        delayed: Number of delayed hits.
        starts: Number of process starts.
        failed: Number of failed fetches.
        different: Number of decisions that differ, in their evictions or otherwise.
        first: The first of these differences, at most ten.
    """

    requests: int
    hits: int
    delayed: int
    starts: int
    failed: int
    different: int
    first: tuple[Difference, ...]


def verify(records: Iterable[Record], name: str) -> Verification:
    """Replay a log with its own policies and compare every decision.

    Args:
        records: The log.
        name: Name of the log in errors.

    Raises:
        ConfigError: The log has no requests, or does not begin with a ``start`` record.
    """
    policy: Policy | None = None
    counts = dict.fromkeys(("requests", "hits", "delayed", "starts", "failed", "different"), 0)
    first: list[Difference] = []
    for record in records:
        if record.kind is Kind.START:
            policy = policies.make(record.key, record.size_bytes, rule(record.admission)())
            counts["starts"] += 1
            continue
        if policy is None:
            raise ConfigError(f"{name} does not begin with a 'start' record, so its policy is unknown")
        live, offline = _replay(policy, record)
        if record.kind is Kind.REQUEST:
            counts["requests"] += 1
            counts["hits"] += record.decision in (Decision.HIT, Decision.DELAYED)
            counts["delayed"] += record.decision is Decision.DELAYED
        counts["failed"] += record.kind is Kind.FAILED
        if live != offline:
            counts["different"] += 1
            if len(first) < 10:
                first.append(Difference(counts["requests"], record.key, live, offline))
    if not counts["requests"]:
        raise ConfigError(f"{name} has no requests: give the log of an edge that has served some")
    return Verification(**counts, first=tuple(first))


def _replay(policy: Policy, record: Record) -> tuple[str, str]:
    """Replay a record; returns the logged and the replayed decision, as text."""
    if record.kind is Kind.REQUEST:
        verdict = policy.request(record.key, record.size_bytes)
        replayed = Decision.HIT if verdict.hit else Decision.MISS if verdict.admitted else Decision.PASSED
        logged = Decision.HIT if record.decision is Decision.DELAYED else record.decision
        return _text(str(logged), record.evicted), _text(str(replayed), verdict.evicted)
    if record.kind is Kind.PINNED:
        return _text("pinned", record.evicted), _text("pinned", policy.pin([(record.key, record.size_bytes)]))
    if record.kind is Kind.KEPT:
        policy.request(record.key, record.size_bytes)
    elif record.kind is Kind.UNPINNED:
        policy.unpin([record.key])
    else:
        policy.remove(record.key)
    return "", ""


def _text(decision: str, evicted: tuple[object, ...]) -> str:
    return f"{decision}, evicts {' '.join(map(str, evicted))}" if evicted else decision
