"""Delivering events in the background, with few threads.

Each receiver of a job gets that job's events in order. A failed event is sent again later and occupies no thread until
then. One address, or the hook command, occupies at most `MAX_CONCURRENT` of the `THREADS`, so that a receiver that
does not answer can't delay the others.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush

from headend.app.jobs.notifying import Message, Notifier
from headend.app.jobs.webhooks import Refusal
from headend.core.errors import HeadendError

THREADS = 8
"""Events that are sent in parallel."""
MAX_CONCURRENT = 2
"""Events that are sent in parallel to one address."""
ATTEMPTS = 6
"""Attempts to send an event before it goes to the dead-letter list."""
BACKOFF_S = 2.0
"""Wait before the second attempt; doubles with each further one, to about a minute in all."""
RECORD_AGAIN_S = 30.0
"""Wait before the outcome of an event is recorded again after the store has failed."""


@dataclass(slots=True)
class _Lane:
    """The events of one job for one receiver; the first one is being sent."""

    messages: deque[Message] = field(default_factory=deque)
    attempts: int = 0
    is_sent: bool = False
    """Whether the first one has been sent, and only its outcome is still to be recorded."""
    refusal: Refusal | None = None


class Sender:
    """Sends messages until their receivers accept them or refuse them for good.

    Args:
        notifier: Sends a message once, and records the outcome.
        log: Called with the message and a log line, from any thread.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self,
        notifier: Notifier,
        log: Callable[[Message, str], None] = lambda _message, _text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._log = log
        self._clock = clock
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._due: dict[str, list[tuple[float, int, Message]]] = {}
        """By receiver: a heap of the first messages of its lanes, ordered by the time when they are due."""
        self._busy: Counter[str] = Counter()
        self._scheduled = 0
        self._threads = 0
        self._changed = threading.Condition()

    @property
    def threads(self) -> int:
        """Number of threads that have been started."""
        return self._threads

    def add(self, messages: Iterable[Message]) -> None:
        """Queue messages for sending."""
        with self._changed:
            for message in messages:
                lane = self._lanes.setdefault(message.lane, _Lane())
                lane.messages.append(message)
                if len(lane.messages) == 1:
                    self._schedule(message, self._clock())
            self._changed.notify_all()

    def start(self) -> None:
        """Start threads as needed, up to `THREADS`; they stay until the process ends."""
        with self._changed:
            while self._threads < min(THREADS, len(self._lanes)):
                self._threads += 1
                threading.Thread(target=self._work, name="delivering", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until all messages are delivered or given up; return whether that happened in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lanes, seconds)

    def step(self) -> float | None:
        """Send one message that is due; return the seconds until the next one is due, None if there is none."""
        with self._changed:
            message = self._take_due()
            if message is None:
                return self._idle_s()
        self._send(message)
        return 0.0

    def _work(self) -> None:
        while True:
            with self._changed:
                while (message := self._take_due()) is None:
                    self._changed.wait(self._idle_s())
            self._send(message)

    def _schedule(self, message: Message, at_s: float) -> None:
        self._scheduled += 1
        heappush(self._due.setdefault(message.receiver, []), (at_s, self._scheduled, message))

    def _available(self) -> Iterable[list[tuple[float, int, Message]]]:
        """Yield the heaps of receivers that may get another message now."""
        return (due for receiver, due in self._due.items() if self._busy[receiver] < MAX_CONCURRENT)

    def _take_due(self) -> Message | None:
        first = min(self._available(), key=lambda due: due[0][:2], default=None)
        if first is None or first[0][0] > self._clock():
            return None
        _, _, message = heappop(first)
        if not first:
            del self._due[message.receiver]
        self._busy[message.receiver] += 1
        return message

    def _idle_s(self) -> float | None:
        soonest_s = min((due[0][0] for due in self._available()), default=None)
        return None if soonest_s is None else max(0.0, soonest_s - self._clock())

    def _send(self, message: Message) -> None:
        lane = self._lanes[message.lane]
        retry_s = None
        try:
            retry_s = self._attempt(lane, message)
        except Exception as error:
            # It stays in the outbox for the next dispatcher.
            self._log(message, f"a notification could not be sent: unexpected {type(error).__name__}: {error}")
        finally:
            with self._changed:
                self._busy[message.receiver] -= 1
                if not self._busy[message.receiver]:
                    del self._busy[message.receiver]
                if retry_s is not None:
                    self._schedule(message, self._clock() + retry_s)
                else:
                    self._advance(lane, message)
                self._changed.notify_all()

    def _attempt(self, lane: _Lane, message: Message) -> float | None:
        """Send a message or record its outcome; return the seconds until the next attempt, None if it is done."""
        if not lane.is_sent:
            lane.refusal = self._notifier.send(message)
            lane.attempts += 1
            if lane.refusal is not None and not lane.refusal.is_final and lane.attempts < ATTEMPTS:
                return BACKOFF_S * 2.0 ** (lane.attempts - 1)
        try:
            self._notifier.settle(message, lane.refusal.error if lane.refusal else None)
        except HeadendError as error:
            if not lane.is_sent:
                self._log(message, f"the outcome of a notification can't be recorded yet: {error.message}")
            lane.is_sent = True
            return RECORD_AGAIN_S
        return None

    def _advance(self, lane: _Lane, message: Message) -> None:
        lane.messages.popleft()
        lane.attempts, lane.is_sent, lane.refusal = 0, False, None
        if lane.messages:
            self._schedule(lane.messages[0], self._clock())
        else:
            with suppress(KeyError):
                del self._lanes[message.lane]
