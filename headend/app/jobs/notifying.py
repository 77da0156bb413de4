"""Notifications of job events: signed webhooks with retries, a dead-letter list, and a hook command.

Before a change is written, it is put into the store's outbox, once for each receiver; it stays there until the receiver
has accepted it or it is on the dead-letter list. If a dispatcher is killed, the next one delivers the rest: at least
once, and receivers drop duplicates by the event's id. Receivers don't wait for each other.
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
    """An event for one receiver, as listed in the outbox.

    Attributes:
        job: The job's id.
        number: Index of the change in the job's history.
        position: Index of the webhook among those of the job; the hook command comes after them.
    """

    job: str
    number: int
    position: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be delivered.

    Attributes:
        job: The job's id.
        number: Index of the change in the job's history.
        url: The webhook without its query, or the hook command.
        at: When it was given up: UTC, ISO 8601.
        error: The error of the last attempt.
        body: The event.
    """

    job: str
    number: int
    url: str
    at: str
    error: str
    body: str


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it is sent to one receiver.

    Attributes:
        delivery: Identifies the event and the receiver.
        receiver: URL of the webhook; empty for the hook command.
        event_id: The event's id.
        title: The job's title.
        state: The job's new state.
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
        """Messages with the same lane are sent in order."""
        return self.delivery.job, self.delivery.position


def without_query(url: str) -> str:
    """Return a URL for display, without its query, which may hold a secret."""
    return url.partition("?")[0]


class Notifier:
    """Sends events to webhooks and the hook command.

    Args:
        store: Holds the outbox and the dead-letter list.
        hook: A command that gets each event on its standard input; empty for none.
        variables: Variables for that command, added to this process's environment.
    """

    def __init__(self, store: Store, hook: Sequence[str] = (), variables: Mapping[str, str] | None = None) -> None:
        self._store = store
        self._hook = tuple(hook)
        self._variables = dict(variables or {})
        secret = os.environ.get(SECRET_VARIABLE)
        self._secret = secret_of(secret) if secret else None

    def receivers(self, request: JobRequest) -> int:
        """Return the number of receivers of a job's events."""
        return len(request.notify) + bool(self._hook)

    def announce(self, job: Job, number: int) -> tuple[Delivery, ...]:
        """Put a change into the outbox, before the status is written.

        Args:
            job: The job, with the change in its history.
            number: Index of the change in the job's history.

        Returns:
            What to deliver once the status is written.

        Raises:
            StorageError: The store can't be written.
        """
        deliveries = tuple(Delivery(job.id, number, position) for position in range(self.receivers(job.request)))
        for delivery in deliveries:
            self._store.put(layout.outbox(delivery.job, delivery.number, delivery.position), b"")
        return deliveries

    def outbox(self) -> tuple[Delivery, ...]:
        """Return undelivered events of an earlier dispatcher, by job and number."""
        return tuple(filter(None, map(_delivery_of, self._store.keys(layout.JOB_OUTBOX))))

    def remove(self, delivery: Delivery) -> None:
        """Remove an event from the outbox."""
        self._store.delete(layout.outbox(delivery.job, delivery.number, delivery.position))

    def message(self, job: Job, delivery: Delivery) -> Message | None:
        """Make the message for a delivery; None if its receiver no longer exists.

        Args:
            job: The job, with the change in its history.
            delivery: Identifies the event and the receiver.
        """
        addresses = job.request.notify
        if delivery.position >= len(addresses) and not self._hook:
            return None
        content = event(job, delivery.number)
        receiver = addresses[delivery.position] if delivery.position < len(addresses) else ""
        state = job.history[delivery.number].state.value
        return Message(delivery, receiver, str(content["id"]), job.title, state, body_of(content))

    def send(self, message: Message) -> Refusal | None:
        """Send a message once; return why its receiver did not accept it, or None."""
        if message.receiver:
            headers = signed_headers(message.event_id, message.body, sent_s=int(time.time()), secret=self._secret)
            return webhooks.post(message.receiver, headers, message.body)
        facts = {hooks.JOB_ID: message.delivery.job, hooks.JOB_TITLE: message.title, hooks.JOB_STATE: message.state}
        error = hooks.run(self._hook, message.body, {**self._variables, **facts})
        return Refusal(error, is_final=True) if error else None

    def settle(self, message: Message, error: str | None) -> None:
        """Remove a message from the outbox; if it failed, add it to the dead-letter list.

        Args:
            message: The message.
            error: Why it failed; None if it was delivered.

        Raises:
            StorageError: The store can't be written.
        """
        delivery = message.delivery
        if error:
            receiver = without_query(message.receiver) or shlex.join(self._hook)
            dead = DeadLetter(delivery.job, delivery.number, receiver, utc_now(), error, message.body.decode())
            key = layout.dead_letter(delivery.job, delivery.number, delivery.position)
            self._store.put(key, documents.write(dead))
        self.remove(delivery)


def _delivery_of(key: str) -> Delivery | None:
    job, number, position = [*key.rpartition("/")[2].split("."), "", ""][:3]
    return Delivery(job, int(number), int(position)) if number.isdigit() and position.isdigit() else None


def dead_letters(store: Store) -> tuple[DeadLetter, ...]:
    """Return all events that could not be delivered, by job and number."""
    keys = tuple(store.keys(layout.DEAD_LETTERS))
    return tuple(documents.read(DeadLetter, store.get(key), key=key) for key in keys)
