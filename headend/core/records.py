"""Records of failed attempts at tasks.

A worker puts it on record when it begins a run of a task, and removes that when the run is done. So a run that nobody
could tell the end of, because the worker, the scheduler or the dispatcher was killed, is found and becomes an attempt
that was lost: a task is never encoded more often than its attempts say.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from headend.core import documents, layout
from headend.core.errors import HeadendError, ObjectMissing
from headend.core.storage import Store
from headend.core.storage.masters import redact

LOST = "it did not come to its end: its job was stopped, or the worker, scheduler or dispatcher was killed"
"""The error of a run whose end is unknown."""
BEGUN_SUFFIX = layout.begun("", "").rpartition("/")[2]
_BEGUN = re.compile(rf"(.+)-[0-9]+-[0-9a-f]{{8}}{re.escape(BEGUN_SUFFIX)}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One failed attempt at a task, with what a person needs to understand it; or one that has begun.

    Attributes:
        task: The task's id.
        number: From 1, over all runs of the job.
        worker: Where it ran; empty if that is not known.
        at: When it failed or began: UTC, ISO 8601.
        error: The error's line; empty for one that has begun.
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
    """Put a failed attempt on record, without the secrets that its texts may hold.

    It takes the next number that is free: earlier runs of the job may have left records. Runs of the task that have
    begun are at their end: the latest on this worker is this one, and others were lost.

    Raises:
        StorageError: The store does not take it.
    """
    begun = _begun(store, title, attempt.task)
    # One that was killed before it began leaves nothing.
    this = begun[-1:] if begun and begun[-1][0].worker == attempt.worker else []
    _bury(store, title, begun[: len(begun) - len(this)])
    _write(store, title, attempt)
    for _, key in this:
        store.delete(key)


def begin(store: Store, title: str, run: str, attempt: Attempt) -> None:
    """Put it on record that a run of a task begins; raises `StorageError` if the store does not take it."""
    store.put(layout.begun(title, run), documents.write(attempt))


def end(store: Store, title: str, run: str) -> None:
    """A run is done: nothing of it stays on record."""
    store.delete(layout.begun(title, run))


def settle(store: Store, title: str) -> None:
    """Put it on record that runs were lost, when none of the title goes on: those that have begun and not ended.

    Raises:
        StorageError: The store fails.
    """
    _bury(store, title, _begun(store, title))


def _bury(store: Store, title: str, lost: Sequence[tuple[Attempt, str]]) -> None:
    for attempt, key in lost:
        _write(store, title, replace(attempt, error=LOST))
        store.delete(key)


def _begun(store: Store, title: str, task: str | None = None) -> list[tuple[Attempt, str]]:
    """Runs that have begun, in their order, with their keys."""
    prefix = layout.attempts(title)
    found = []
    for info in store.list(f"{prefix}{task}-" if task else prefix):
        name = _BEGUN.fullmatch(info.key[len(prefix) :])
        if name and task in (None, name[1]):
            with suppress(ObjectMissing):  # it has ended a moment ago
                found.append((info.modified, documents.read(Attempt, store.get(info.key), key=info.key), info.key))
    return [(attempt, key) for _, attempt, key in sorted(found, key=lambda one: (one[0], one[2]))]


def _write(store: Store, title: str, attempt: Attempt) -> None:
    clean = replace(
        attempt,
        error=redact(attempt.error),
        argv=tuple(redact(argument) for argument in attempt.argv),
        stderr=redact(attempt.stderr),
    )
    while not store.put_if_absent(layout.attempt(title, clean.task, clean.number), documents.write(clean)):
        clean = replace(clean, number=clean.number + 1)


def attempts(store: Store, title: str) -> tuple[Attempt, ...]:
    """Read all failed attempts on record for a title, by task and number.

    Raises:
        StorageError: The store can't be read, or a record is damaged.
    """
    keys = [key for key in store.keys(layout.attempts(title)) if not key.endswith(BEGUN_SUFFIX)]
    found = (documents.read(Attempt, store.get(key), key=key) for key in keys)
    return tuple(sorted(found, key=lambda attempt: (attempt.task, attempt.number)))
