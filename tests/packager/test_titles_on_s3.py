"""A title on a real S3 server that ignores conditional writes: parallel submits, gc and ``kill -9``.

Each action runs in a separate process, so that a kill really ends it; its holds and sweeps stay.
"""

import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headend.core import layout
from headend.core.errors import ConfigError, PackagingError, StoreUnavailable
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store
from headend.core.storage.base import ObjectInfo
from headend.core.storage.local_server import LocalS3
from packager import garbage, lifecycle
from packager.publishing import now
from packager.reading import read_pointer
from tests.packager.test_lifecycle import check_release, edit, kept_releases, plan_with, submit
from tests.support.s3_servers import BUCKET

# Fork from a process that has only imported this module: threads of libraries don't survive a fork, and importing takes
# longer than most actions.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__])
KILLED = -signal.SIGKILL
REFUSED = 3
"""Exit status of a process whose action was refused."""


@dataclass(frozen=True, slots=True)
class Action:
    """An action on the title.

    Attributes:
        call: The function, which gets the store first.
        args: Its other arguments.
        writes: Number of writes before it is killed; None for no kill.
    """

    call: Callable[..., object]
    args: tuple[Any, ...]
    writes: int | None = None


class KilledStore:
    """A store that kills its process instead of making one more write than ``writes``."""

    def __init__(self, store: Store, writes: int | None) -> None:
        self._store, self._left = store, writes

    def __getattr__(self, name: str) -> Any:
        if name in ("put", "put_if_absent", "put_if_match", "delete") and self._left is not None:
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1
        return getattr(self._store, name)


def carry_out(address: StoreSettings, environment: dict[str, str], action: Action) -> None:
    os.environ.update(environment)
    try:
        action.call(KilledStore(open_store(address), action.writes), *action.args)
    except (ConfigError, PackagingError, StoreUnavailable) as error:
        print(error, file=sys.stderr)
        raise SystemExit(REFUSED) from None


def sweep(store: Store, keep: int, days: int) -> None:
    garbage.remove(store, "film", keep=keep, at=datetime.now(UTC) + timedelta(days=days))


def put(store: Store, video: int, audio: int, at: str) -> None:
    submit(store, plan_with(video, audio), at=at, sleep=time.sleep)  # a sweep runs at the same time


@dataclass(slots=True)
class TitleOnS3:
    """A title that is checked after each action: kept releases are complete, and immutable objects unchanged.

    Attributes:
        server: Where it is.
        address: Its store.
        store: The same, open.
        seen: Size and ETag of every immutable object, when it was seen first.
    """

    server: LocalS3
    address: StoreSettings
    store: Store
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)

    def do(self, *actions: Action) -> Sequence[int]:
        """Run actions in parallel; return the exit status of each."""
        environment = self.server.environment()
        children = [PROCESSES.Process(target=carry_out, args=(self.address, environment, action)) for action in actions]
        for child in children:
            child.start()
        for child in children:
            child.join(60)
            assert child.exitcode in (0, KILLED, REFUSED)
        # Time passes, so holds of killed processes expire.
        for folder in (layout.holds("film"), layout.sweeps("film")):
            for info in self.store.list(folder):
                self.store.delete(info.key)
        return [child.exitcode for child in children]

    def submit(self, video: int, audio: int, writes: int | None) -> None:
        self.do(Action(put, (video, audio, now()), writes))

    def submit_twice_at_once(self, first: int, second: int, writes: int | None, gc: bool) -> None:
        older = now()
        time.sleep(0.001)
        newer = now()
        submits = [Action(put, (first, 1, older), writes), Action(put, (second, 2, newer))]
        statuses = self.do(*submits, *([Action(sweep, (0, 30))] if gc else []))
        assert statuses[1] == 0
        pointer = read_pointer(self.store, "film")
        assert pointer is not None
        # The server ignores conditions: if both end at the same moment, either may be current.
        assert pointer.submitted_at in (older, newer) if statuses[0] == 0 else pointer.submitted_at == newer

    def relabel(self, name: str, writes: int | None) -> None:
        self.do(Action(edit, (name,), writes))

    def roll(self, number: int, writes: int | None) -> None:
        self.do(Action(lifecycle.make_current, ("film", self.some_release(number)), writes))

    def delete(self, number: int | None, writes: int | None) -> None:
        release = None if number is None else self.some_release(number)
        self.do(Action(lifecycle.delete, ("film", release), writes))

    def some_release(self, number: int) -> str:
        """Return one of the kept releases, if there are any; which ones there are depends on timing."""
        kept = sorted(kept_releases(self.store))
        return kept[number % len(kept)] if kept else "nothing"

    def collect(self, keep: int, days: int, writes: int | None, twice: bool) -> None:
        before = self.current()
        self.do(Action(sweep, (keep, days), writes), *([Action(sweep, (keep, days))] if twice else []))
        assert self.current() == before

    def current(self) -> str:
        pointer = read_pointer(self.store, "film")
        return pointer.release if pointer else ""

    def check(self) -> None:
        existing = list(self.store.list(""))
        for info in existing:
            if immutable(info):
                assert self.seen.setdefault(info.key, (info.size_bytes, info.etag)) == (info.size_bytes, info.etag)
        keys = {info.key for info in existing}
        for release in kept_releases(self.store) | ({self.current()} - {""}):
            check_release(self.store, release, keys)


def immutable(info: ObjectInfo) -> bool:
    return "/tracks/" in info.key or ("/releases/" in info.key and not info.key.endswith(".json"))


WRITES = st.none() | st.integers(0, 40)
SOME = st.integers(1, 3)
SUBMIT = st.tuples(st.just(TitleOnS3.submit), SOME, st.integers(0, 2), WRITES)
STEP: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    SUBMIT,
    st.tuples(st.just(TitleOnS3.submit_twice_at_once), SOME, SOME, WRITES, st.booleans()),
    st.tuples(st.just(TitleOnS3.relabel), st.sampled_from(["One", "Two"]), WRITES),
    st.tuples(st.just(TitleOnS3.roll), st.integers(0, 5), WRITES),
    st.tuples(st.just(TitleOnS3.delete), st.none() | st.integers(0, 5), WRITES),
    st.tuples(st.just(TitleOnS3.collect), st.integers(0, 2), st.sampled_from([0, 30]), WRITES, st.booleans()),
)


def run(server: LocalS3, *, examples: int, steps: int) -> None:
    # A sequence is drawn before it is run, since a second run of the same sequence may have another outcome.
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(SUBMIT, st.lists(STEP, min_size=steps - 1, max_size=steps - 1)))
    def any_sequence(sequence: tuple[tuple[Any, ...], list[tuple[Any, ...]]]) -> None:
        first, others = sequence
        address = StoreSettings(f"s3://{BUCKET}/titles-{secrets.token_hex(4)}", server.endpoint_url)
        title = TitleOnS3(server, address, open_store(address))
        for step, *args in (first, *others):
            step(title, *args)
            title.check()

    any_sequence()


def test_any_sequence_of_commands_keeps_a_title_playable_on_a_server_that_ignores_conditions(
    rclone_s3: LocalS3,
) -> None:
    run(rclone_s3, examples=2, steps=6)


@pytest.mark.heavy
def test_many_sequences_of_commands_keep_a_title_playable_on_a_server_that_ignores_conditions(
    rclone_s3: LocalS3,
) -> None:
    run(rclone_s3, examples=30, steps=15)
