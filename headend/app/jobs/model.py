"""The documents of the queue, and the pure rules that derive a job's state from them.

Each document has one writer. The submitter writes the request, once. Operators add commands and never change one. The
dispatcher that holds the lease writes the status. Readers fold the three into a `Job`, so that a command shows its
effect at once, even while no dispatcher runs.
"""

import re
import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from headend.app.request import Request
from headend.core.errors import ConfigError

PRIORITIES = range(101)
DEFAULT_PRIORITY = 50
_ID = re.compile(r"[0-9]{8}t[0-9]{9}-[0-9a-f]{6}")
_making_id = threading.Lock()
_last_ms = 0
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}")


class State(StrEnum):
    """The state of a job."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job is finished; it may be retried."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)

    @property
    def active(self) -> bool:
        """Whether a dispatcher is working on it."""
        return self in (State.RUNNING, State.PUBLISHING)


class Verb(StrEnum):
    """What a command does with a job."""

    CANCEL = "cancel"
    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    PRIORITISE = "prioritise"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """The request of a job; written once.

    Attributes:
        id: The job's id, which sorts by time of submission.
        request: The title to make.
        submitted_at: UTC, ISO 8601.
        submitted_by: User and machine.
        priority: 0 to 100; higher runs first.
        labels: Pairs of name and value, sorted by name.
        notify: Webhooks that get the job's events.
    """

    id: str
    request: Request
    submitted_at: str
    submitted_by: str
    priority: int = DEFAULT_PRIORITY
    labels: tuple[tuple[str, str], ...] = ()
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Command:
    """A command of an operator; written once.

    Attributes:
        id: Sorts by time.
        verb: What to do.
        by: User and machine.
        at: UTC, ISO 8601.
        priority: The new priority; with `Verb.PRIORITISE` only.
    """

    id: str
    verb: Verb
    by: str
    at: str
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state in a job's history.

    Attributes:
        state: The new state.
        at: UTC, ISO 8601.
        why: The reason; empty if it is obvious.
    """

    state: State
    at: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a job, as last recorded by the dispatcher.

    Attributes:
        at: UTC, ISO 8601.
        share: Fraction of the work that is done, 0 to 1.
        tasks: Number of tasks of this run.
        tasks_done: Tasks that are done.
        tasks_running: Tasks that are running.
        reused_parts: Chunks of renditions that were already in the store.
        retries: Failed attempts that were retried.
        frames_per_s: Encoded frames per second, all video renditions together.
        realtime: Seconds of the title that are encoded to the whole ladder per second.
        left_s: Estimated seconds until the job is done, waiting for other jobs included; None while unknown.
    """

    at: str
    share: float = 0.0
    tasks: int = 0
    tasks_done: int = 0
    tasks_running: int = 0
    reused_parts: int = 0
    retries: int = 0
    frames_per_s: float = 0.0
    realtime: float = 0.0
    left_s: float | None = None

    @property
    def tasks_waiting(self) -> int:
        """Tasks that have not begun, or wait for a retry."""
        return max(0, self.tasks - self.tasks_done - self.tasks_running)


@dataclass(frozen=True, slots=True)
class Account:
    """Resource usage of a job so far.

    Attributes:
        cpu_s: CPU seconds of successful attempts by codec, sorted; other work is listed as text, analysis and quality.
        task_s: Wall-clock seconds of successful attempts, storing included.
        failed_cpu_s: CPU seconds of failed attempts, as far as known.
        predicted_cpu_s: Predicted CPU seconds of the tasks that were run.
        stored_bytes: Bytes written to the store.
        put_requests: Objects written to the store.
    """

    cpu_s: tuple[tuple[str, float], ...] = ()
    task_s: float = 0.0
    failed_cpu_s: float = 0.0
    predicted_cpu_s: float = 0.0
    stored_bytes: int = 0
    put_requests: int = 0

    @property
    def total_cpu_s(self) -> float:
        """CPU seconds of all attempts."""
        return sum(cpu_s for _, cpu_s in self.cpu_s) + self.failed_cpu_s


@dataclass(frozen=True, slots=True)
class Status:
    """The dispatcher's record of a job.

    Attributes:
        history: Changes of state since submission, oldest first; empty until a dispatcher has taken the job.
        taken: Id of the last command that has been applied; empty for none.
        priority: The priority set by commands; None if it is as submitted.
        told: Number of changes of the history that are delivered or in the outbox.
        fence: Fencing number of the lease under which this was written.
        release: The release that was made; empty until then.
        progress: The job's progress.
        account: The job's resource usage.
    """

    history: tuple[Change, ...] = ()
    taken: str = ""
    priority: int | None = None
    told: int = 0
    fence: int = 0
    release: str = ""
    progress: Progress | None = None
    account: Account = Account()


@dataclass(frozen=True, slots=True)
class Job:
    """A job: its request and its status, with all commands applied.

    Attributes:
        request: The request.
        status: The dispatcher's last status.
        state: The current state.
        priority: The current priority.
        history: All changes of state, including those by commands that the dispatcher has not processed yet.
        taken: Id of the last command applied; empty for none.
        cancelling: Whether a running job has been cancelled but has not stopped yet.
    """

    request: JobRequest
    status: Status
    state: State
    priority: int
    history: tuple[Change, ...]
    taken: str = ""
    cancelling: bool = False

    @property
    def id(self) -> str:
        """The job's id."""
        return self.request.id

    @property
    def title(self) -> str:
        """The job's title."""
        return self.request.request.title

    @property
    def why(self) -> str:
        """The reason for its state; empty if it is obvious."""
        return self.history[-1].why if self.history else ""


def fold(request: JobRequest, status: Status, commands: Iterable[Command]) -> Job:
    """Derive a job from its documents.

    Args:
        request: The request.
        status: The dispatcher's last status; an empty one if there is none.
        commands: Commands in any order; those that the status includes are skipped.
    """
    history = status.history or (Change(State.QUEUED, request.submitted_at),)
    priority = request.priority if status.priority is None else status.priority
    job = Job(request, status, history[-1].state, priority, history, status.taken)
    for command in sorted(commands, key=lambda command: command.id):
        if command.id > status.taken:
            job = replace(apply(job, command), taken=command.id)
    return job


def apply(job: Job, command: Command) -> Job:
    """Apply a command to a job; a command that is invalid in the job's state changes nothing."""
    verb, state = command.verb, job.state
    if verb is Verb.PRIORITISE and command.priority is not None:
        return replace(job, priority=command.priority)
    if verb is Verb.CANCEL:
        if state.active:
            return replace(job, cancelling=True)
        return job if state.ended else _moved(job, State.CANCELLED, command)
    if verb is Verb.HOLD and state is State.QUEUED:
        return _moved(job, State.HELD, command)
    if verb is Verb.RELEASE and state is State.HELD:
        return _moved(job, State.QUEUED, command)
    if verb is Verb.RETRY and state in (State.FAILED, State.CANCELLED):
        return _moved(job, State.QUEUED, command)
    return job


def refusal(job: Job, verb: Verb) -> str | None:
    """Return why a command is invalid in a job's state; None if it is valid."""
    allowed = {
        Verb.CANCEL: not job.state.ended,
        Verb.HOLD: job.state is State.QUEUED,
        Verb.RELEASE: job.state is State.HELD,
        Verb.RETRY: job.state in (State.FAILED, State.CANCELLED),
        Verb.PRIORITISE: not job.state.ended,
    }
    if allowed[verb]:
        return None
    if job.state == _PAST[verb]:
        return f"job {job.id} is {job.state} already"
    return f"job {job.id} is {job.state}: it can't be {_PAST[verb]} now"


def new_id() -> str:
    """Make an id for a job or a command: UTC to the millisecond, and a random suffix.

    Ids made by one process are in ascending order.
    """
    global _last_ms
    with _making_id:
        _last_ms = max(time.time_ns() // 1_000_000, _last_ms + 1)
        now = datetime.fromtimestamp(_last_ms // 1000, UTC)
        return f"{now:%Y%m%dt%H%M%S}{_last_ms % 1000:03}-{secrets.token_hex(3)}"


def check_id(text: str) -> str:
    """Return ``text`` if it is a job's id; raise `ConfigError` if not."""
    if not _ID.fullmatch(text):
        raise ConfigError(
            f"{text[:80]!r} is not a job's id, such as 20261128t201500123-1a2b3c; 'headend jobs' lists them"
        )
    return text


def check_priority(priority: int) -> int:
    """Return ``priority`` if it is 0 to 100; raise `ConfigError` if not."""
    if priority not in PRIORITIES:
        raise ConfigError(f"priority {priority} is not 0 to 100")
    return priority


def label_of(text: str) -> tuple[str, str]:
    """Parse ``NAME=VALUE``; raise `ConfigError` if it is something else."""
    name, mark, value = text.partition("=")
    if not mark or not _LABEL.fullmatch(name) or len(value) > 256 or not value.isprintable():
        raise ConfigError(f"{text[:80]!r} is not a label: give NAME=VALUE, such as season=2")
    return name, value


def utc_now() -> str:
    """Return the current UTC time in ISO 8601, with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_PAST = {
    Verb.CANCEL: "cancelled",
    Verb.RETRY: "retried",
    Verb.HOLD: "held",
    Verb.RELEASE: "released",
    Verb.PRIORITISE: "prioritised",
}


def _moved(job: Job, state: State, command: Command) -> Job:
    why = f"{command.verb} by {command.by}"
    return replace(job, state=state, history=(*job.history, Change(state, command.at, why)), cancelling=False)
