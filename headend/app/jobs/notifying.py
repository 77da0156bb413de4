"""Telling others of a job's changes: signed webhooks with retries, a dead-letter list, and a command to run.

A change lies in the outbox of the store, once for each receiver, from before it is written until the receiver has taken
it or it is on the dead-letter list. What a killed dispatcher leaves there is delivered by the next one: at least once,
and receivers drop repeats by the event's id. No receiver waits for another one.
"""

import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headend.app.jobs import hooks, webhooks
from headend.app.jobs.events import SECRET_VARIABLE, body_of, event, secret_of, signed_headers
from headend.app.jobs.model import Job, JobRequest, utc_now
from headend.app.jobs.webhooks import Refusal
from headend.core import documents, layout
from headend.core.storage import Store


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to one receiver.

    Attributes:
        job: The job's id.
        number: Which change of its history, from 0.
        position: Which of the job's addresses, from 0; the hook command comes behind them.
    """

    job: str
    number: int
    position: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a receiver did not take.

    Attributes:
        job: The job's id.
        number: Which change of its history, from 0.
        url: Where it was to go, without its query.
        at: When it was given up: UTC, ISO 8601.
        error: What happened at the last attempt.
        body: The event.
    """

    job: str
    number: int
    url: str
    at: str
    error: str
    body: str


@dataclass(frozen=True, slots=True)
class Letter:
    """An event as one receiver gets it.

    Attributes:
        delivery: Which event, and which receiver.
        receiver: The address; empty for the hook command.
        event_id: The event's id.
        title: The job's title.
        state: The job's state from then on.
        body: The event.
    """

    delivery: Delivery
    receiver: str
    event_id: str
    title: str
    state: str
    body: bytes

    @property
    def lane(self) -> tuple[str, int]:
        """What the letters have in common that must arrive in order."""
        return self.delivery.job, self.delivery.position


def shown(url: str) -> str:
    """An address for people: a query may hold a secret."""
    return url.partition("?")[0]


class Notifier:
    """Tells webhooks and the hook command of changes.

    Args:
        store: Where the dead-letter list lies.
        hook: A command that gets each event on its standard input; empty for none.
        variables: Environment of that command, on top of this process's.
    """

    def __init__(self, store: Store, hook: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._hook = tuple(hook)
        self._variables = dict(variables or {})
        secret = os.environ.get(SECRET_VARIABLE)
        self._secret = secret_of(secret) if secret else None

    def receivers(self, request: JobRequest) -> int:
        """How many are told of a job's changes."""
        return len(request.notify) + bool(self._hook)

    def announce(self, job: Job, number: int) -> tuple[Delivery, ...]:
        """Put a change into the outbox, before it is written.

        Args:
            job: As it stands.
            number: Which change of its history, from 0.

        Returns:
            What is to be delivered once the change is written.

        Raises:
            StorageError: The store refuses.
        """
        found = tuple(Delivery(job.id, number, position) for position in range(self.receivers(job.request)))
        for each in found:
            self._store.put(layout.outbox(each.job, each.number, each.position), b"")
        return found

    def outbox(self) -> tuple[Delivery, ...]:
        """What an earlier dispatcher has announced and not delivered, by job and number."""
        return tuple(filter(None, map(_delivery_of, self._store.keys(layout.JOB_OUTBOX))))

    def forget(self, delivery: Delivery) -> None:
        """Take an event out of the outbox."""
        self._store.delete(layout.outbox(delivery.job, delivery.number, delivery.position))

    def letter(self, job: Job, delivery: Delivery) -> Letter | None:
        """What a receiver gets; None if there is no such receiver any more.

        Args:
            job: As it stands, or later.
            delivery: Which event, and which receiver.
        """
        addresses = job.request.notify
        if delivery.position >= len(addresses) and not self._hook:
            return None
        told = event(job, delivery.number)
        receiver = addresses[delivery.position] if delivery.position < len(addresses) else ""
        state = job.history[delivery.number].state.value
        return Letter(delivery, receiver, str(told["id"]), job.title, state, body_of(told))

    def send(self, letter: Letter) -> Refusal | None:
        """Send a letter once; returns why its receiver did not take it, or None."""
        if letter.receiver:
            headers = signed_headers(letter.event_id, letter.body, sent_s=int(time.time()), secret=self._secret)
            return webhooks.post(letter.receiver, headers, letter.body)
        told = {hooks.JOB_ID: letter.delivery.job, hooks.JOB_TITLE: letter.title, hooks.JOB_STATE: letter.state}
        error = hooks.run(self._hook, letter.body, {**self._variables, **told})
        return Refusal(error, is_final=True) if error else None

    def settle(self, letter: Letter, error: str | None) -> None:
        """Take a letter out of the outbox; one that was not taken goes to the dead-letter list.

        Args:
            letter: The letter.
            error: Why it was not taken, None if it was.

        Raises:
            StorageError: The store refuses.
        """
        delivery = letter.delivery
        if error:
            receiver = shown(letter.receiver) or shlex.join(self._hook)
            dead = DeadLetter(delivery.job, delivery.number, receiver, utc_now(), error, letter.body.decode())
            key = layout.dead_letter(delivery.job, delivery.number, delivery.position)
            self._store.put(key, documents.write(dead))
        self.forget(delivery)


def _delivery_of(key: str) -> Delivery | None:
    job, number, position = [*key.rpartition("/")[2].split("."), "", ""][:3]
    return Delivery(job, int(number), int(position)) if number.isdigit() and position.isdigit() else None


def dead_letters(store: Store) -> tuple[DeadLetter, ...]:
    """All events that were not delivered, by job and number."""
    keys = tuple(store.keys(layout.DEAD_LETTERS))
    return tuple(documents.read(DeadLetter, store.get(key), key=key) for key in keys)
