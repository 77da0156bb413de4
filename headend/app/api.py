"""headend from Python: scripts, notebooks and schedulers such as Airflow.

    import headend

    title = headend.submit("film.mov", title="film", ladder="web").result()

    job = headend.submit("film.mov", title="film", store="s3://films/vod", scheduler="tcp://10.0.0.5:8786")
    async for event in job.events():
        print(event.name, event.facts)
    title = await job

`submit` runs the command of the same name in a separate process. So it needs no ``if __name__ == "__main__"`` guard,
works inside a running event loop, and can be cancelled safely. Keyword arguments are the command's options, with
underscores. `queue`, `list_jobs`, `show_job` and `command_job` work on the queue of a store, which ``headend dispatch``
processes.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from headend.core import errors
from headend.core.errors import HeadendError

if TYPE_CHECKING:
    from headend.app.jobs.queue import Queue

Option = str | int | float | bool | Sequence[str] | None
"""A value of an option: True sets a flag, a sequence repeats the option, None omits it."""
_STOP_S = 30.0
_LOOK_S = 0.1
"""How often `Submission.events` polls for events."""
_KINDS: Mapping[int, type[HeadendError]] = {
    2: errors.ConfigError,
    3: errors.MasterError,
    4: errors.EncodingError,
    5: errors.StorageError,
    6: errors.QualityRefused,
}
"""By exit status: the error to raise if the command's own error is not public."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a job.

    Attributes:
        name: ``step``, ``planned``, ``progress``, ``measured``, ``attempt_failed``, ``notice``, ``published_early``,
            ``failed`` or ``done``.
        facts: The event's fields, as ``headend submit --json-lines`` prints them.
    """

    name: str
    facts: Mapping[str, Any]


class Submission:
    """A running job, started by `submit`.

    Each event can be read once, by `events` or by iterating; `result` and ``await`` discard the rest. The job runs on
    whether its events are read or not.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._last: Event | None = None
        self._stderr: deque[str] = deque(maxlen=20)
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        # The command would block on a full pipe if nothing reads it.
        threading.Thread(target=self._read, name="headend-events", daemon=True).start()

    def __iter__(self) -> Iterator[Event]:
        """Yield events until the job ends; blocks while waiting."""
        while (event := self._next()) is not None:
            yield event

    async def events(self) -> AsyncIterator[Event]:
        """Yield events until the job ends, without blocking the event loop."""
        while True:
            try:
                event = self._events.get_nowait()
            except Empty:
                await asyncio.sleep(_LOOK_S)
                continue
            if event is None:
                self._events.put(None)
                return
            yield event

    def result(self) -> Mapping[str, Any]:
        """Wait for the job; return the document that ``headend submit --json`` prints.

        Raises:
            HeadendError: The job failed; the error has the same type as the job's.
        """
        for _ in self:
            pass
        return self._outcome()

    def __await__(self) -> Generator[Any, None, Mapping[str, Any]]:
        """Wait for the job without blocking the event loop; see `result`."""
        return self._result().__await__()

    def cancel(self) -> None:
        """Stop the job gracefully. Encoded parts stay in the store, so submitting again resumes the job."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()

    async def _result(self) -> Mapping[str, Any]:
        async for _ in self.events():
            pass
        return self._outcome()

    def _next(self) -> Event | None:
        if (event := self._events.get()) is None:
            self._events.put(None)  # wakes up other readers
        return event

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                try:
                    facts = json.loads(line)
                    self._last = Event(facts.pop("event"), facts)
                except (ValueError, KeyError, AttributeError):
                    self._stderr.append(line.rstrip())  # standard error, which shares the pipe
                else:
                    self._events.put(self._last)
            self._process.wait()
        finally:
            self._events.put(None)

    def _outcome(self) -> Mapping[str, Any]:
        if self._process.returncode == 0 and self._last is not None and self._last.name == "done":
            return self._last.facts
        if self._last is not None and self._last.name == "failed":
            kind = getattr(errors, str(self._last.facts.get("error")), None) or self._kind
            raise kind(str(self._last.facts.get("message")), status=self._process.returncode)
        reason = self._stderr[-1] if self._stderr else f"the job ended with status {self._process.returncode}"
        raise self._kind(reason.removeprefix("headend: error: "), status=self._process.returncode)

    @property
    def _kind(self) -> type[HeadendError]:
        return _KINDS.get(self._process.returncode, HeadendError)


def submit(master: str | os.PathLike[str], *, title: str, **options: Option) -> Submission:
    """Start encoding a master and publishing it as a title; return at once.

    Args:
        master: A path, or ``s3://bucket/key``.
        title: The title's slug in the catalogue.
        **options: Options of ``headend submit`` with underscores, such as ``ladder="web"``.
    """
    words = submit_words(master, {"title": title, "json_lines": True, **options})
    return Submission(
        subprocess.Popen(
            [sys.executable, "-m", "headend", *words],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace",
        )
    )  # fmt: skip


def queue(master: str | os.PathLike[str], *, title: str, **options: Option) -> str:
    """Queue a job for ``headend dispatch``; return its id.

    Args:
        master: A path, or ``s3://bucket/key``.
        title: The title's slug in the catalogue.
        **options: Options of ``headend submit`` with underscores, such as ``priority=80`` or ``label=["season=2"]``.

    Raises:
        ConfigError: An option is wrong.
        StorageError: The store can't be written.
    """
    from headend.app.cli import queueing
    from headend.app.jobs.lists import Row

    words = submit_words(master, {"title": title, "queue": True, **options})[1:]
    [submission] = queueing.parse([Row(os.fspath(master), tuple(words))])
    [job] = queueing.enqueue([submission], submission.request.store)
    return job.id


def list_jobs(*, store: str | None = None, s3_endpoint: str | None = None) -> list[Mapping[str, Any]]:
    """List the jobs of a store, as ``headend jobs --json`` prints them.

    Raises:
        ConfigError: There is no such store.
    """
    from headend.app.jobs.plain import entry_plain

    return [entry_plain(entry) for entry in _queue(store, s3_endpoint).all_entries()]


def show_job(id: str, *, store: str | None = None, s3_endpoint: str | None = None) -> Mapping[str, Any]:
    """Return a job, as ``headend job show --json`` prints it.

    Raises:
        ConfigError: There is no such job.
    """
    from headend.app.jobs.plain import full_plain
    from headend.core import prices

    queue = _queue(store, s3_endpoint)
    return full_plain(queue, queue.read(id), prices.load(prices.DEFAULT))


def command_job(
    id: str, verb: str, *, priority: int | None = None, store: str | None = None, s3_endpoint: str | None = None
) -> str:
    """Give a job a command; return its new state.

    Args:
        id: The job's id.
        verb: ``cancel``, ``retry``, ``hold``, ``release`` or ``prioritise``.
        priority: 0 to 100; with ``prioritise`` only.
        store: As ``--store``.
        s3_endpoint: As ``--s3-endpoint``.

    Raises:
        ConfigError: There is no such job or verb, or the command is invalid in the job's state.
    """
    from headend.app.jobs.model import Verb

    if verb not in list(Verb):
        raise errors.ConfigError(f"{verb!r} is not a command for a job: use one of {', '.join(Verb)}")
    return _queue(store, s3_endpoint).command(id, Verb(verb), priority=priority).state.value


def submit_words(master: str | os.PathLike[str], options: Mapping[str, Option]) -> list[str]:
    """Build the words of a ``submit`` command from options with Python names.

    Raises:
        ConfigError: A value has a type other than `Option`.
    """
    words = ["submit"]
    for option, value in options.items():
        flag = f"--{option.replace('_', '-')}"
        if value is None or value is False:
            continue
        if value is True:
            words.append(flag)
        elif isinstance(value, str | int | float):
            words.append(f"{flag}={value}")
        elif isinstance(value, Sequence) and all(isinstance(item, str) for item in value):
            words += [f"{flag}={item}" for item in value]
        else:
            raise errors.ConfigError(f"{option} must be a string, a number, a bool or a list of strings")
    return [*words, "--", os.fspath(master)]


def _queue(store: str | None, s3_endpoint: str | None) -> "Queue":
    from headend.app.jobs.queue import Queue
    from headend.core.paths import expanded
    from headend.core.settings import DEFAULT_STORE, StoreSettings
    from headend.core.storage import open_store

    url = store or os.environ.get("HEADEND_STORE") or DEFAULT_STORE
    if "://" not in url and not expanded(url).is_dir():
        raise errors.ConfigError(f"there is no store at {url}: check the path, or create a store with headend.submit")
    return Queue(open_store(StoreSettings(url, s3_endpoint or os.environ.get("AWS_ENDPOINT_URL_S3"))))
