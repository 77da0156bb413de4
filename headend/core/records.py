"""Records of failed attempts at tasks.

A worker stores a record when a run of a task begins, and removes it when the run succeeds. If the worker, the scheduler
or the dispatcher is killed, the record stays and later counts as a lost attempt. So no run of a task is left out of its
attempts.
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

LOST = "it did not finish: its job was stopped, or the worker, scheduler or dispatcher was killed"
"""The error of a run whose end is unknown."""
BEGUN_SUFFIX = layout.begun("", "").rpartition("/")[2]
_BEGUN = re.compile(rf"(.+)-[0-9]+-[0-9a-f]{{8}}{re.escape(BEGUN_SUFFIX)}")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A failed attempt at a task, with the evidence for a person; or a run that has begun.

    Attributes:
        task: The task's id.
        number: Counted from 1 over all submits of the job.
        worker: Worker that ran it; empty if unknown.
        at: When it failed or began: UTC, ISO 8601.
        error: The error message; empty for a run that has begun.
        argv: The command, if there was one.
        stderr: The end of the command's standard error.
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
    """Record a failed attempt, without secrets in its texts.

    The record gets the next free number, because earlier submits of the job may have left records. No run of the task
    is still active: the latest one on this worker is the failed attempt, and the others were lost.

    Raises:
        StorageError: The store rejects it.
    """
    begun = _begun(store, title, attempt.task)
    # A run that was killed before it began has left no record.
    this = begun[-1:] if begun and begun[-1][0].worker == attempt.worker else []
    _record_lost(store, title, begun[: len(begun) - len(this)])
    _write(store, title, attempt)
    for _, key in this:
        store.delete(key)


def begin(store: Store, title: str, run: str, attempt: Attempt) -> None:
    """Record that a run of a task begins; raises `StorageError` if the store rejects it."""
    store.put(layout.begun(title, run), documents.write(attempt))


def end(store: Store, title: str, run: str) -> None:
    """Remove the record of a run that has succeeded."""
    store.delete(layout.begun(title, run))


def record_lost_runs(store: Store, title: str) -> None:
    """Record all runs that have begun as lost attempts. No run of the title may be active.

    Raises:
        StorageError: The store fails.
    """
    _record_lost(store, title, _begun(store, title))


def _record_lost(store: Store, title: str, lost: Sequence[tuple[Attempt, str]]) -> None:
    for attempt, key in lost:
        _write(store, title, replace(attempt, error=LOST))
        store.delete(key)


def _begun(store: Store, title: str, task: str | None = None) -> list[tuple[Attempt, str]]:
    """Runs that have begun, in order, with their keys."""
    prefix = layout.attempts(title)
    runs = []
    for info in store.list(f"{prefix}{task}-" if task else prefix):
        name = _BEGUN.fullmatch(info.key[len(prefix) :])
        if name and task in (None, name[1]):
            with suppress(ObjectMissing):  # it has just ended
                runs.append((info.modified, documents.read(Attempt, store.get(info.key), key=info.key), info.key))
    return [(attempt, key) for _, attempt, key in sorted(runs, key=lambda run: (run[0], run[2]))]


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
    """Read all failed attempts of a title, by task and number.

    Raises:
        StorageError: The store can't be read, or a record is damaged.
    """
    keys = [key for key in store.keys(layout.attempts(title)) if not key.endswith(BEGUN_SUFFIX)]
    records = (documents.read(Attempt, store.get(key), key=key) for key in keys)
    return tuple(sorted(records, key=lambda attempt: (attempt.task, attempt.number)))
