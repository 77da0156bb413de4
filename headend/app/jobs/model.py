"""The nouns of the queue, and the pure rules that say what a job's state is.

Each document has one writer. The submitter writes the request, once. Operators add commands and never change one. The
dispatcher that holds the lease writes the status. A reader folds the three into a `Job`, so that a command shows its
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
    """Where a job is on its way."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job is finished, unless a user changes that."""
        return self in (State.DONE, State.FAILED, State.CANCELLED)

    @property
    def active(self) -> bool:
        """Whether a dispatcher works on it."""
        return self in (State.RUNNING, State.PUBLISHING)


class Verb(StrEnum):
    """What an operator may ask of a job."""

    CANCEL = "cancel"
    RETRY = "retry"
    HOLD = "hold"
    RELEASE = "release"
    PRIORITISE = "prioritise"


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a person asked for; never changed.

    Attributes:
        id: The job's id, which sorts by the time of submission.
        request: What to make.
        submitted_at: UTC, ISO 8601.
        submitted_by: User and machine.
        priority: 0 to 100; higher runs first.
        labels: Names with values, sorted by name.
        notify: URLs that are told of the job's events.
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
    """What an operator asked of a job; never changed.

    Attributes:
        id: Sorts by the time it was given.
        verb: What to do.
        by: User and machine.
        at: UTC, ISO 8601.
        priority: With `Verb.PRIORITISE` only.
    """

    id: str
    verb: Verb
    by: str
    at: str
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A step in a job's history.

    Attributes:
        state: The state from then on.
        at: UTC, ISO 8601.
        why: Why it came to this; empty if that needs no word.
    """

    state: State
    at: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is, as its dispatcher saw it last.

    Attributes:
        at: UTC, ISO 8601.
        share: Part of the work that is done, 0 to 1.
        tasks: Number of tasks of this run.
        tasks_done: Those that are done.
        tasks_running: Those that run now.
        reused_parts: Chunks of renditions that were in the store before.
        retries: Failed attempts that were followed by another.
        frames_per_s: Frames of all video renditions a second.
        realtime: Seconds of the title that pass through the whole ladder in a second.
        left_s: Seconds until the job is done, waiting behind other jobs included; None while that is not known.
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
        """Tasks that have not begun, or wait for another attempt."""
        return max(0, self.tasks - self.tasks_done - self.tasks_running)


@dataclass(frozen=True, slots=True)
class Account:
    """What a job has used so far.

    Attributes:
        cpu_s: CPU seconds of encoders by codec, in attempts that succeeded; sorted by codec. What is no encoder's has
            names of its own: text, analysis, quality.
        task_s: Seconds of workers' time in attempts that succeeded, storing included.
        failed_cpu_s: CPU seconds of attempts that failed, as far as they are known.
        predicted_cpu_s: CPU seconds that the plan predicted for the tasks that were run.
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
    """What the dispatcher says of a job.

    Attributes:
        history: States since the submission, the first one first; empty until a dispatcher has taken the job up.
        taken: Id of the last command that was taken in; empty for none.
        priority: As commands have set it; None as it was submitted.
        told: How many changes of the history are delivered to others, or are in the outbox.
        fence: Number of the lease under which this was written.
        release: The release that was made; empty until then.
        progress: How far it is.
        account: What it has used.
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
    """A job as it stands: its request, its status, and what commands have made of both.

    Attributes:
        request: What was asked for.
        status: What the dispatcher said last.
        state: Where the job is.
        priority: As it stands.
        history: All states, those that a waiting command brings included.
        taken: Id of the last command that this includes; empty for none.
        cancelling: Whether a running job was told to stop and has not stopped yet.
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
        """The title that it makes."""
        return self.request.request.title

    @property
    def why(self) -> str:
        """Why it is in its state; empty if that needs no word."""
        return self.history[-1].why if self.history else ""


def fold(request: JobRequest, status: Status, commands: Iterable[Command]) -> Job:
    """Say how a job stands.

    Args:
        request: What was asked for.
        status: What the dispatcher said last; an empty one if none has.
        commands: In any order; those that the status has taken in are passed over.
    """
    history = status.history or (Change(State.QUEUED, request.submitted_at),)
    priority = request.priority if status.priority is None else status.priority
    job = Job(request, status, history[-1].state, priority, history, status.taken)
    for command in sorted(commands, key=lambda command: command.id):
        if command.id > status.taken:
            job = replace(apply(job, command), taken=command.id)
    return job


def apply(job: Job, command: Command) -> Job:
    """Say how a job stands after a command; one that makes no sense in the job's state changes nothing."""
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
    """Why a command makes no sense for a job now; None if it does."""
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
    """Make an id for a job or a command: UTC to the millisecond, and a random end.

    Ids that one process makes are in ascending order.
    """
    global _last_ms
    with _making_id:
        _last_ms = max(time.time_ns() // 1_000_000, _last_ms + 1)
        now = datetime.fromtimestamp(_last_ms // 1000, UTC)
        return f"{now:%Y%m%dt%H%M%S}{_last_ms % 1000:03}-{secrets.token_hex(3)}"


def check_id(text: str) -> str:
    """Return ``text`` if it is a job's id; raises `ConfigError` if not."""
    if not _ID.fullmatch(text):
        raise ConfigError(
            f"{text[:80]!r} is not a job's id, such as 20261128t201500123-1a2b3c; 'headend jobs' lists them"
        )
    return text


def check_priority(priority: int) -> int:
    """Return ``priority`` if it is 0 to 100; raises `ConfigError` if not."""
    if priority not in PRIORITIES:
        raise ConfigError(f"priority {priority} is not 0 to 100")
    return priority


def label_of(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``; raises `ConfigError` if it is something else."""
    name, mark, value = text.partition("=")
    if not mark or not _LABEL.fullmatch(name) or len(value) > 256 or not value.isprintable():
        raise ConfigError(f"{text[:80]!r} is not a label: give NAME=VALUE, such as season=2")
    return name, value


def utc_now() -> str:
    """The time: UTC, ISO 8601, milliseconds."""
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
