"""The queue in the store: requests, commands and statuses, and markers that list jobs without reading them.

A marker is an empty object whose key holds what a list shows: id, a serial number, state, priority and title. Those of
jobs that have ended lie in a folder of their own, so that a dispatcher lists only what is open, however many jobs there
have been. A new marker is written before the older one is removed; if both are found, the higher serial number counts.

News are copies of markers that the dispatcher has not heard of yet: it looks at these instead of listing all jobs.
"""

import getpass
import platform
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from headend.app.jobs.model import (
    Command,
    Job,
    JobRequest,
    State,
    Status,
    Verb,
    check_id,
    check_priority,
    fold,
    new_id,
    refusal,
    utc_now,
)
from headend.app.request import Request
from headend.core import documents, layout, records
from headend.core.errors import ConfigError, ObjectMissing, StorageError
from headend.core.records import Attempt
from headend.core.storage import Store

READERS = 16
"""Documents that are read at once: hides the latency of S3."""
_STATES = frozenset(State)
_MARKER = re.compile(r"([0-9]{8}t[0-9]{9}-[0-9a-f]{6})\.([0-9]{6})\.([a-z]+)\.([0-9]{3})\.([a-z0-9-]+)(\.hold)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A job as its marker tells it, without reading any document.

    Attributes:
        id: The job's id.
        serial: Counts the markers that the job has had.
        state: Where it is.
        priority: 0 to 100.
        title: The title that it makes.
        hold: Whether its release is left to a person to publish.
    """

    id: str
    serial: int
    state: State
    priority: int
    title: str
    hold: bool = False


class Queue:
    """The jobs of a store.

    Args:
        store: Where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(
        self,
        request: Request,
        *,
        priority: int,
        labels: Iterable[tuple[str, str]] = (),
        notify: Iterable[str] = (),
        job: str | None = None,
        news: bool = True,
    ) -> JobRequest:
        """Queue a request.

        Args:
            request: What to make.
            priority: 0 to 100; higher runs first.
            labels: Names with values.
            notify: URLs that are told of the job's events.
            job: The job's id, if the caller has made one with `new_id`, so that asking twice is harmless.
            news: Whether the dispatcher is notified; callers that add many jobs notify it once, with `tell_of_many`.

        Raises:
            ConfigError: The priority is out of range.
            StorageError: The store refuses.
        """
        asked = JobRequest(
            id=check_id(job) if job else new_id(),
            request=request,
            submitted_at=utc_now(),
            submitted_by=whoami(),
            priority=check_priority(priority),
            labels=tuple(sorted(dict(labels).items())),
            notify=tuple(notify),
        )
        if self._store.put_if_absent(layout.job_request(asked.id), documents.write(asked)):
            entry = Entry(asked.id, 1, State.QUEUED, priority, request.title, request.hold)
            self._mark(entry, ())
            if news:
                self._tell(entry)
        return asked

    def tell_of_many(self) -> None:
        """Have the dispatcher list all jobs."""
        self._store.put(f"{layout.JOB_NEWS}many.{new_id()}", b"")

    def news(self) -> tuple[tuple[Entry | None, ...], tuple[str, ...]]:
        """What has happened since the dispatcher looked last.

        Returns:
            The jobs that it is about, None for many of them; and the keys to `forget` once it is taken in.
        """
        keys = tuple(info.key for info in self._store.page(layout.JOB_NEWS))
        return tuple(map(_entry_of, keys)), keys

    def forget(self, keys: Sequence[str]) -> None:
        """Remove news that were taken in."""
        if not keys:
            return
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self._store.delete, keys))

    def entries(self, *, ended: bool) -> tuple[Entry, ...]:
        """List jobs that are open, or those that have ended, in order of submission: one listing, no reads."""
        found: dict[str, Entry] = {}
        for entry in self._markers(layout.job_markers(ended=ended)):
            if entry.id not in found or entry.serial > found[entry.id].serial:
                found[entry.id] = entry
        return tuple(found.values())

    def ahead(self, job: Job) -> int:
        """How many jobs go before one that is queued: those that run, and those that start first."""
        mine = (-job.priority, job.id)
        return sum(
            entry.state.active or (entry.state is State.QUEUED and (-entry.priority, entry.id) < mine)
            for entry in self.entries(ended=False)
        )

    def quality_page(self, job: Job) -> bytes:
        """The page of the report on a job's release.

        Raises:
            ConfigError: It has no release yet, or its quality was not measured.
        """
        release = job.status.release
        try:
            if release:
                return self._store.get(layout.report_page(job.title, release))
        except ObjectMissing:
            pass
        what = f"the quality of its release {release} was not measured" if release else "it has no release yet"
        raise ConfigError(f"job {job.id} of {job.title!r} has no report: {what}")

    def attempts(self, job: Job) -> tuple[Attempt, ...]:
        """The attempts at a job's tasks that have failed: those of its title since it was started first."""
        began = next((change.at for change in job.history if change.state is State.RUNNING), None)
        if began is None:
            return ()
        return tuple(attempt for attempt in records.attempts(self._store, job.title) if attempt.at >= began)

    def all_entries(self) -> tuple[Entry, ...]:
        """List all jobs in order of submission."""
        found = {entry.id: entry for entry in self.entries(ended=True)}
        for entry in self.entries(ended=False):
            if entry.id not in found or entry.serial > found[entry.id].serial:
                found[entry.id] = entry
        return tuple(found[job] for job in sorted(found))

    def read(self, job: str) -> Job:
        """Read a job; raises `ConfigError` if there is none, and `StorageError` if it can't be read."""
        return fold(self.request(job), self.status(job), self.commands(job))

    def request(self, job: str) -> JobRequest:
        """What was asked for; raises as `read`."""
        try:
            data = self._store.get(layout.job_request(check_id(job)))
        except ObjectMissing as error:
            raise ConfigError(f"there is no job {job} in {self._store.url}; 'headend jobs' lists them") from error
        return documents.read(JobRequest, data, key=layout.job_request(job))

    def requests(self, jobs: Sequence[str]) -> tuple[JobRequest, ...]:
        """What was asked for by jobs, several at once, in the order asked for."""
        with ThreadPoolExecutor(READERS) as pool:
            return tuple(pool.map(self.request, jobs))

    def read_all(self, jobs: Sequence[str]) -> tuple[Job, ...]:
        """Read jobs, several at once, in the order asked for."""
        with ThreadPoolExecutor(READERS) as pool:
            return tuple(pool.map(self.read, jobs))

    def status(self, job: str) -> Status:
        """What the dispatcher said last of a job; an empty status if none has."""
        key = layout.job_status(job)
        try:
            return documents.read(Status, self._store.get(key), key=key)
        except ObjectMissing:
            return Status()

    def commands(self, job: str) -> tuple[Command, ...]:
        """All commands that were given for a job, in order."""
        keys = tuple(self._store.keys(layout.job_commands(job)))
        return tuple(documents.read(Command, self._store.get(key), key=key) for key in keys)

    def command(self, job: str, verb: Verb, *, priority: int | None = None) -> Job:
        """Ask something of a job, and say how it stands then.

        Raises:
            ConfigError: There is no such job, or the command makes no sense in its state.
            StorageError: The store refuses.
        """
        before = self.read(job)
        if said := refusal(before, verb):
            raise ConfigError(said)
        if priority is not None:
            check_priority(priority)
        given = Command(new_id(), verb, whoami(), utc_now(), priority)
        last = max((command.id for command in self.commands(job)), default="")
        if given.id <= last:  # another machine's clock is ahead: the later command must sort behind
            given = replace(given, id=f"{last}+")
        self._store.put(layout.job_command(job, given.id), documents.write(given))
        after = self.read(job)
        self._tell(self.mark(after, touch=True))
        return after

    def write(self, job: Job, marked: Entry | None = None) -> Entry:
        """Write a job's status, and mark it; only the dispatcher that holds the lease may.

        Args:
            job: As it stands.
            marked: The marker that the caller wrote last. While it tells the same, it is neither looked for nor
                written: most statuses only tell of progress.

        Returns:
            The marker.
        """
        self._store.put(layout.job_status(job.id), documents.write(job.status))
        if marked is not None and marked == _entry(job, marked.serial):
            return marked
        return self.mark(job)

    def mark(self, job: Job, *, touch: bool = False) -> Entry:
        """Bring a job's marker up to date.

        Args:
            job: As it stands.
            touch: Whether it gets a new marker in any case, so that the dispatcher reads the job again.

        Returns:
            The marker.
        """
        markers = [
            (entry, ended)
            for ended in (False, True)
            for entry in self._markers(f"{layout.job_markers(ended=ended)}{job.id}.")
        ]
        newest = max((entry for entry, _ in markers), key=lambda entry: entry.serial, default=None)
        serial = newest.serial + 1 if newest else 1
        wanted = _entry(job, serial)
        if newest and replace(wanted, serial=newest.serial) == newest and len(markers) == 1 and not touch:
            return newest
        self._mark(wanted, markers)
        return wanted

    def mend(self) -> None:
        """Mark jobs whose request is there but whose marker is not: the submitter was killed in between."""
        known = {entry.id for entry in self.all_entries()}
        for job in self._store.folders(layout.JOB_DOCUMENTS):
            if job not in known:
                try:
                    self.mark(self.read(job))
                except (ConfigError, StorageError):
                    continue  # the request is not whole, or no job of ours

    def _markers(self, prefix: str) -> Iterator[Entry]:
        for key in self._store.keys(prefix):
            if (entry := _entry_of(key)) is not None:
                yield entry

    def _mark(self, entry: Entry, older: Iterable[tuple[Entry, bool]]) -> None:
        self._store.put(_marker_key(entry, ended=entry.state.ended), b"")
        for old, ended in older:
            self._store.delete(_marker_key(old, ended=ended))

    def _tell(self, entry: Entry) -> None:
        self._store.put(f"{layout.JOB_NEWS}{_marker_name(entry)}", b"")


def _entry(job: Job, serial: int) -> Entry:
    """The marker that a job ought to have."""
    return Entry(job.id, serial, job.state, job.priority, job.title, job.request.request.hold)


def _entry_of(key: str) -> Entry | None:
    """The job that a marker or a piece of news tells of; None for another object."""
    found = _MARKER.fullmatch(key.rpartition("/")[2])
    if found is None or found[3] not in _STATES:
        return None
    return Entry(found[1], int(found[2]), State(found[3]), int(found[4]), found[5], bool(found[6]))


def _marker_name(entry: Entry) -> str:
    return (
        f"{entry.id}.{entry.serial:06}.{entry.state}.{entry.priority:03}.{entry.title}{'.hold' if entry.hold else ''}"
    )


def _marker_key(entry: Entry, *, ended: bool) -> str:
    return f"{layout.job_markers(ended=ended)}{_marker_name(entry)}"


def whoami() -> str:
    """The user and the machine, for records."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"
