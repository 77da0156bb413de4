"""The queue in the store: requests, commands and statuses, and markers that list jobs without reading them.

A marker is an empty object whose key holds what a list shows: id, serial number, state, priority and title. Markers of
ended jobs are in a separate folder, so that a dispatcher lists only open jobs, no matter how many there have been. A
new marker is written before the old one is deleted; if both exist, the higher serial number counts.

News are copies of the markers of changed jobs: the dispatcher reads these instead of listing all jobs.
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
"""Documents that are read in parallel, to hide the latency of S3."""
_STATES = frozenset(State)
_MARKER = re.compile(r"([0-9]{8}t[0-9]{9}-[0-9a-f]{6})\.([0-9]{6})\.([a-z]+)\.([0-9]{3})\.([a-z0-9-]+)(\.hold)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """The part of a job that is in its marker.

    Attributes:
        id: The job's id.
        serial: Counts the job's markers.
        state: The job's state.
        priority: 0 to 100.
        title: The job's title.
        hold: Whether its release waits for `headend publish`.
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
        store: The store.
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
            request: The title to make.
            priority: 0 to 100; higher runs first.
            labels: Pairs of name and value.
            notify: Webhooks that get the job's events.
            job: An id from `new_id`, which makes repeating the call harmless; None for a new one.
            news: Whether to notify the dispatcher; callers that add many jobs call `notify_of_many` once instead.

        Raises:
            ConfigError: The priority is out of range.
            StorageError: The store can't be written.
        """
        submitted = JobRequest(
            id=check_id(job) if job else new_id(),
            request=request,
            submitted_at=utc_now(),
            submitted_by=whoami(),
            priority=check_priority(priority),
            labels=tuple(sorted(dict(labels).items())),
            notify=tuple(notify),
        )
        if self._store.put_if_absent(layout.job_request(submitted.id), documents.write(submitted)):
            entry = Entry(submitted.id, 1, State.QUEUED, priority, request.title, request.hold)
            self._mark(entry, ())
            if news:
                self._notify(entry)
        return submitted

    def notify_of_many(self) -> None:
        """Make the dispatcher list all open jobs."""
        self._store.put(f"{layout.JOB_NEWS}many.{new_id()}", b"")

    def news(self) -> tuple[tuple[Entry | None, ...], tuple[str, ...]]:
        """Read the news that the dispatcher has not processed.

        Returns:
            The changed jobs, with None for "many jobs"; and the keys to `delete_news` once they are processed.
        """
        keys = tuple(info.key for info in self._store.page(layout.JOB_NEWS))
        return tuple(map(_entry_of, keys)), keys

    def delete_news(self, keys: Sequence[str]) -> None:
        """Delete news that have been processed."""
        if not keys:
            return
        with ThreadPoolExecutor(READERS) as pool:
            list(pool.map(self._store.delete, keys))

    def entries(self, *, ended: bool) -> tuple[Entry, ...]:
        """List the open or the ended jobs in order of submission; reads no documents."""
        newest: dict[str, Entry] = {}
        for entry in self._markers(layout.job_markers(ended=ended)):
            if entry.id not in newest or entry.serial > newest[entry.id].serial:
                newest[entry.id] = entry
        return tuple(newest.values())

    def ahead(self, job: Job) -> int:
        """Count the jobs before a queued one: those that run, and those that start before it."""
        mine = (-job.priority, job.id)
        return sum(
            entry.state.active or (entry.state is State.QUEUED and (-entry.priority, entry.id) < mine)
            for entry in self.entries(ended=False)
        )

    def quality_page(self, job: Job) -> bytes:
        """Return the quality report of a job's release as an HTML page.

        Raises:
            ConfigError: The job has no release yet, or its quality was not measured.
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
        """Return failed attempts at a job's tasks: those of its title since the job first started."""
        began = next((change.at for change in job.history if change.state is State.RUNNING), None)
        if began is None:
            return ()
        return tuple(attempt for attempt in records.attempts(self._store, job.title) if attempt.at >= began)

    def all_entries(self) -> tuple[Entry, ...]:
        """List all jobs in order of submission."""
        newest = {entry.id: entry for entry in self.entries(ended=True)}
        for entry in self.entries(ended=False):
            if entry.id not in newest or entry.serial > newest[entry.id].serial:
                newest[entry.id] = entry
        return tuple(newest[job] for job in sorted(newest))

    def read(self, job: str) -> Job:
        """Read a job; raise `ConfigError` if it does not exist, and `StorageError` if it can't be read."""
        return fold(self.request(job), self.status(job), self.commands(job))

    def request(self, job: str) -> JobRequest:
        """Read a job's request; raise as `read`."""
        try:
            data = self._store.get(layout.job_request(check_id(job)))
        except ObjectMissing as error:
            raise ConfigError(f"there is no job {job} in {self._store.url}; 'headend jobs' lists them") from error
        return documents.read(JobRequest, data, key=layout.job_request(job))

    def requests(self, jobs: Sequence[str]) -> tuple[JobRequest, ...]:
        """Read the requests of jobs in parallel; return them in the given order."""
        with ThreadPoolExecutor(READERS) as pool:
            return tuple(pool.map(self.request, jobs))

    def read_all(self, jobs: Sequence[str]) -> tuple[Job, ...]:
        """Read jobs in parallel; return them in the given order."""
        with ThreadPoolExecutor(READERS) as pool:
            return tuple(pool.map(self.read, jobs))

    def status(self, job: str) -> Status:
        """Read a job's status; an empty one if no dispatcher has written any."""
        key = layout.job_status(job)
        try:
            return documents.read(Status, self._store.get(key), key=key)
        except ObjectMissing:
            return Status()

    def commands(self, job: str) -> tuple[Command, ...]:
        """Read all commands for a job, in order."""
        keys = tuple(self._store.keys(layout.job_commands(job)))
        return tuple(documents.read(Command, self._store.get(key), key=key) for key in keys)

    def command(self, job: str, verb: Verb, *, priority: int | None = None) -> Job:
        """Give a job a command; return the job after it.

        Raises:
            ConfigError: There is no such job, or the command is invalid in its state.
            StorageError: The store can't be read or written.
        """
        before = self.read(job)
        if reason := refusal(before, verb):
            raise ConfigError(reason)
        if priority is not None:
            check_priority(priority)
        command = Command(new_id(), verb, whoami(), utc_now(), priority)
        last = max((earlier.id for earlier in self.commands(job)), default="")
        if command.id <= last:  # another machine's clock is ahead, but the new command must sort last
            command = replace(command, id=f"{last}+")
        self._store.put(layout.job_command(job, command.id), documents.write(command))
        after = self.read(job)
        self._notify(self.mark(after, touch=True))
        return after

    def write(self, job: Job, marked: Entry | None = None) -> Entry:
        """Write a job's status and marker; only the dispatcher that holds the lease may call this.

        Args:
            job: The job.
            marked: The caller's last marker of this job. If it is still right, no marker is read or written: most
                statuses change only the progress.

        Returns:
            The marker.
        """
        self._store.put(layout.job_status(job.id), documents.write(job.status))
        if marked is not None and marked == _entry(job, marked.serial):
            return marked
        return self.mark(job)

    def mark(self, job: Job, *, touch: bool = False) -> Entry:
        """Update a job's marker.

        Args:
            job: The job.
            touch: Whether to write a new marker even if nothing has changed, so that the dispatcher reads the job
                again.

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

    def add_missing_markers(self) -> None:
        """Add missing markers: those of jobs whose submitter was killed after writing the request."""
        known = {entry.id for entry in self.all_entries()}
        for job in self._store.folders(layout.JOB_DOCUMENTS):
            if job not in known:
                try:
                    self.mark(self.read(job))
                except (ConfigError, StorageError):
                    continue  # the request is incomplete, or the folder is not a job

    def _markers(self, prefix: str) -> Iterator[Entry]:
        for key in self._store.keys(prefix):
            if (entry := _entry_of(key)) is not None:
                yield entry

    def _mark(self, entry: Entry, older: Iterable[tuple[Entry, bool]]) -> None:
        self._store.put(_marker_key(entry, ended=entry.state.ended), b"")
        for old, ended in older:
            self._store.delete(_marker_key(old, ended=ended))

    def _notify(self, entry: Entry) -> None:
        self._store.put(f"{layout.JOB_NEWS}{_marker_name(entry)}", b"")


def _entry(job: Job, serial: int) -> Entry:
    """Return the marker that fits a job."""
    return Entry(job.id, serial, job.state, job.priority, job.title, job.request.request.hold)


def _entry_of(key: str) -> Entry | None:
    """Parse the key of a marker or of news; None for another object."""
    match = _MARKER.fullmatch(key.rpartition("/")[2])
    if match is None or match[3] not in _STATES:
        return None
    return Entry(match[1], int(match[2]), State(match[3]), int(match[4]), match[5], bool(match[6]))


def _marker_name(entry: Entry) -> str:
    return (
        f"{entry.id}.{entry.serial:06}.{entry.state}.{entry.priority:03}.{entry.title}{'.hold' if entry.hold else ''}"
    )


def _marker_key(entry: Entry, *, ended: bool) -> str:
    return f"{layout.job_markers(ended=ended)}{_marker_name(entry)}"


def whoami() -> str:
    """Return user and machine, for records."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{platform.node() or 'unknown'}"
