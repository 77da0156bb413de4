"""What is kept of the way to a release: the attempts of tasks that failed."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from headend import documents, layout
from headend.errors import HeadendError
from headend.storage import Store
from headend.storage.masters import redact


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed attempt at a task, with what a person needs to understand it.

    Attributes:
        task: The task's id.
        number: From 1, over all runs of the job.
        worker: Where it ran; empty if that is not known.
        at: When it failed: UTC, ISO 8601.
        error: The error's line.
        argv: The command, as far as there was one.
        stderr: The end of what the command said.
    """

    task: str
    number: int
    worker: str
    at: str
    error: str
    argv: tuple[str, ...] = ()
    stderr: str = ""


def attempt_of(task: str, number: int, error: HeadendError) -> Attempt:
    """Describe an attempt that has just failed, from the error and its facts ``worker``, ``argv`` and ``stderr``."""
    return Attempt(
        task=task,
        number=number,
        worker=str(error.facts.get("worker", "")),
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        error=error.message,
        argv=tuple(str(argument) for argument in error.facts.get("argv", ())),
        stderr=str(error.facts.get("stderr", "")),
    )


def write_attempt(store: Store, title: str, attempt: Attempt) -> None:
    """Put an attempt on record, without the secrets that its texts may hold.

    Where an earlier run of the job has left a record of that number, this one gets the next that is free.

    Raises:
        StorageError: The store does not take it.
    """
    clean = replace(
        attempt,
        error=redact(attempt.error),
        argv=tuple(redact(argument) for argument in attempt.argv),
        stderr=redact(attempt.stderr),
    )
    while not store.put_if_absent(layout.attempt(title, clean.task, clean.number), documents.write(clean)):
        clean = replace(clean, number=clean.number + 1)


def attempts(store: Store, title: str) -> tuple[Attempt, ...]:
    """Read all attempts on record for a title, by task and number.

    Raises:
        StorageError: The store can't be read, or a record is damaged.
    """
    keys = [info.key for info in store.list(layout.attempts(title))]
    found = (documents.read(Attempt, store.get(key), key=key) for key in keys)
    return tuple(sorted(found, key=lambda attempt: (attempt.task, attempt.number)))
