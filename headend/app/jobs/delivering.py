"""Delivering events in the background, with few threads.

Each receiver of a job gets that job's events in order. An event that is not taken is sent again later and holds no
thread meanwhile. An address, or the hook command, takes `AT_ONCE` of the `THREADS` at most, so one that does not answer
can't hold up the others.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush

from headend.app.jobs.notifying import Letter, Notifier
from headend.app.jobs.webhooks import Refusal
from headend.core.errors import HeadendError

THREADS = 8
"""Events that are sent at once."""
AT_ONCE = 2
"""Those of them that go to one address."""
ATTEMPTS = 6
"""Times that an event is sent before it goes to the dead-letter list."""
BACKOFF_S = 2.0
"""Wait before the second attempt; doubles with each, so that all take about a minute."""
RECORD_AGAIN_S = 30.0
"""Wait before what became of an event is recorded again, after the store has refused it."""


@dataclass(slots=True)
class _Lane:
    """The events of one job for one receiver; the first one is on its way."""

    letters: deque[Letter] = field(default_factory=deque)
    attempts: int = 0
    is_sent: bool = False
    """Whether it only is to be recorded what became of the first one."""
    refusal: Refusal | None = None


class Courier:
    """Sends letters until their receivers take them, or it is of no use.

    Args:
        notifier: Sends each one, and records what became of it.
        say: Called with the letter and a line for people, from any thread.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        notifier: Notifier,
        say: Callable[[Letter, str], None] = lambda _letter, _text: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._notifier = notifier
        self._say = say
        self._clock = clock
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._due: dict[str, list[tuple[float, int, Letter]]] = {}
        """By receiver: a heap of the first letters of its lanes, by the time when they are to be sent."""
        self._busy: Counter[str] = Counter()
        self._planned = 0
        self._threads = 0
        self._changed = threading.Condition()

    @property
    def threads(self) -> int:
        """How many threads it has started."""
        return self._threads

    def add(self, letters: Iterable[Letter]) -> None:
        """Take over letters."""
        with self._changed:
            for letter in letters:
                lane = self._lanes.setdefault(letter.lane, _Lane())
                lane.letters.append(letter)
                if len(lane.letters) == 1:
                    self._plan(letter, self._clock())
            self._changed.notify_all()

    def start(self) -> None:
        """Have as many threads as there is work for, up to `THREADS`; they wait for more and end with the process."""
        with self._changed:
            while self._threads < min(THREADS, len(self._lanes)):
                self._threads += 1
                threading.Thread(target=self._work, name="delivering", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until everything is delivered or given up; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._lanes, seconds)

    def step(self) -> float | None:
        """Send one letter that is due; returns how long nothing is to be done, None if nothing is left."""
        with self._changed:
            letter = self._take()
            if letter is None:
                return self._idle_s()
        self._send(letter)
        return 0.0

    def _work(self) -> None:
        while True:
            with self._changed:
                while (letter := self._take()) is None:
                    self._changed.wait(self._idle_s())
            self._send(letter)

    def _plan(self, letter: Letter, at_s: float) -> None:
        self._planned += 1
        heappush(self._due.setdefault(letter.receiver, []), (at_s, self._planned, letter))

    def _free(self) -> Iterable[list[tuple[float, int, Letter]]]:
        """The letters of receivers that may get one now."""
        return (due for receiver, due in self._due.items() if self._busy[receiver] < AT_ONCE)

    def _take(self) -> Letter | None:
        first = min(self._free(), key=lambda due: due[0][:2], default=None)
        if first is None or first[0][0] > self._clock():
            return None
        _, _, letter = heappop(first)
        if not first:
            del self._due[letter.receiver]
        self._busy[letter.receiver] += 1
        return letter

    def _idle_s(self) -> float | None:
        soonest_s = min((due[0][0] for due in self._free()), default=None)
        return None if soonest_s is None else max(0.0, soonest_s - self._clock())

    def _send(self, letter: Letter) -> None:
        lane = self._lanes[letter.lane]
        again_s = None
        try:
            again_s = self._attempt(lane, letter)
        except Exception as error:
            # It stays in the outbox, for the next dispatcher.
            self._say(letter, f"a notification could not be sent: unexpected {type(error).__name__}: {error}")
        finally:
            with self._changed:
                self._busy[letter.receiver] -= 1
                if not self._busy[letter.receiver]:
                    del self._busy[letter.receiver]
                if again_s is not None:
                    self._plan(letter, self._clock() + again_s)
                else:
                    self._next(lane, letter)
                self._changed.notify_all()

    def _attempt(self, lane: _Lane, letter: Letter) -> float | None:
        """Send a letter, or record what became of it; returns when to go on with it, None if it is done."""
        if not lane.is_sent:
            lane.refusal = self._notifier.send(letter)
            lane.attempts += 1
            if lane.refusal is not None and not lane.refusal.is_final and lane.attempts < ATTEMPTS:
                return BACKOFF_S * 2.0 ** (lane.attempts - 1)
        try:
            self._notifier.settle(letter, lane.refusal.error if lane.refusal else None)
        except HeadendError as error:
            if not lane.is_sent:
                self._say(letter, f"what became of a notification can't be recorded yet: {error.message}")
            lane.is_sent = True
            return RECORD_AGAIN_S
        return None

    def _next(self, lane: _Lane, letter: Letter) -> None:
        lane.letters.popleft()
        lane.attempts, lane.is_sent, lane.refusal = 0, False, None
        if lane.letters:
            self._plan(lane.letters[0], self._clock())
        else:
            with suppress(KeyError):
                del self._lanes[letter.lane]
