"""Telling others of a job's changes: signed webhooks with retries, a dead-letter list, and a command to run.

A change lies in the outbox of the store, once for each receiver, from before it is written until the receiver has taken
it or it is on the dead-letter list. What a killed dispatcher leaves there is delivered by the next one: at least once,
and receivers drop repeats by the event's id. No receiver waits for another one.
"""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import urllib3

from headend.app.jobs.events import SECRET_VARIABLE, body_of, event, secret_of, signed_headers
from headend.app.jobs.model import Job, JobRequest, utc_now
from headend.core import documents, layout
from headend.core.errors import ConfigError
from headend.core.storage import Store

ATTEMPTS = 6
"""Deliveries of an event before it goes to the dead-letter list."""
BACKOFF_S = 2.0
"""Wait before the second attempt; doubles with each, so that all take about a minute."""
ANSWER_S = 10.0
"""How long a receiver may take to answer."""
HOOK_S = 60.0
"""How long the command may run."""


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


def check_url(url: str) -> str:
    """Return ``url`` if events can be sent there; raises `ConfigError` if not."""
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.auth:
        raise ConfigError(f"{url[:80]!r} is not an http:// or https:// address without a password in it")
    return url


def shown(url: str) -> str:
    """An address for people: a query may hold a secret."""
    return url.partition("?")[0]


class Notifier:
    """Tells webhooks and the hook command of changes.

    Args:
        store: Where the dead-letter list lies.
        hook: A command that gets each event on its standard input; empty for none.
        sleep: Waits for seconds.
    """

    def __init__(self, store: Store, hook: Sequence[str] = (), sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._hook = tuple(hook)
        self._sleep = sleep
        self._pool = urllib3.PoolManager(timeout=ANSWER_S, retries=False)
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

    def deliver(self, job: Job, delivery: Delivery) -> None:
        """Deliver an event; one that its receiver does not take goes to the dead-letter list.

        Args:
            job: As it stands, or later.
            delivery: What to deliver; a receiver that is not there any more is passed over.

        Raises:
            StorageError: The dead-letter list can't be written.
        """
        told = event(job, delivery.number)
        body, addresses = body_of(told), job.request.notify
        receiver, error = "", None
        if delivery.position < len(addresses):
            url = addresses[delivery.position]
            receiver, error = shown(url), self._post(url, str(told["id"]), body)
        elif self._hook:
            receiver, error = shlex.join(self._hook), self._run(body, job, delivery.number)
        if error:
            letter = DeadLetter(job.id, delivery.number, receiver, utc_now(), error, body.decode())
            self._store.put(layout.dead_letter(job.id, delivery.number, delivery.position), documents.write(letter))
        self.forget(delivery)

    def _post(self, url: str, event_id: str, body: bytes) -> str | None:
        """Send an event; what went wrong at the last attempt, or None."""
        error = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(BACKOFF_S * 2 ** (attempt - 1))
            headers = signed_headers(event_id, body, sent_s=int(time.time()), secret=self._secret)
            try:
                answer = self._pool.request(
                    "POST", url, body=body, headers=headers, redirect=False, preload_content=False
                )
                answer.close()  # what it says beside its status is not read: it may be endless
            except urllib3.exceptions.HTTPError as failure:
                error = f"{type(failure).__name__}: no answer from {urllib3.util.parse_url(url).host}"
                continue
            if 200 <= answer.status < 300:
                return None
            error = f"status {answer.status}"
            if answer.status in (400, 401, 403, 404, 405, 410, 413, 415, 422):
                return error  # the receiver does not want it: asking again changes nothing
        return error

    def _run(self, body: bytes, job: Job, number: int) -> str | None:
        state = job.history[number].state.value
        names = {"HEADEND_JOB": job.id, "HEADEND_TITLE": job.title, "HEADEND_STATE": state}
        inherited = {name: value for name, value in os.environ.items() if name != SECRET_VARIABLE}
        try:
            done = subprocess.run(
                self._hook, input=body, env={**inherited, **names}, capture_output=True, timeout=HOOK_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as failure:
            return str(failure)
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return f"exit status {done.returncode}: {' '.join(last)}" if done.returncode else None


def _delivery_of(key: str) -> Delivery | None:
    job, number, position = [*key.rpartition("/")[2].split("."), "", ""][:3]
    return Delivery(job, int(number), int(position)) if number.isdigit() and position.isdigit() else None


def dead_letters(store: Store) -> tuple[DeadLetter, ...]:
    """All events that were not delivered, by job and number."""
    keys = tuple(store.keys(layout.DEAD_LETTERS))
    return tuple(documents.read(DeadLetter, store.get(key), key=key) for key in keys)
