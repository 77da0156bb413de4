from collections.abc import Iterator
from dataclasses import replace

import pytest

from headend.app.jobs.lease import EXPIRES_S, RENEW_S, Lease, LeaseLost, LeaseRecord
from headend.core import documents, layout
from headend.core.errors import StoreUnavailable
from headend.core.storage.memory import MemoryStore


class Clock:
    """A clock that tests advance."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def make_lease(store: MemoryStore, clock: Clock, who: str = "a@one") -> Lease:
    return Lease(store, who, clock=clock, sleep=clock.sleep)


def test_the_first_dispatcher_takes_the_lease_and_a_second_is_a_standby() -> None:
    store, clock = MemoryStore(), Clock()
    first, second = make_lease(store, clock), make_lease(store, clock, "b@two")
    assert first.try_take() and first.fence == 1
    assert not second.try_take()
    assert second.last_read and second.last_read.who == "a@one"


def test_a_renewed_lease_is_never_taken() -> None:
    store, clock = MemoryStore(), Clock()
    first, second = make_lease(store, clock), make_lease(store, clock)
    assert first.try_take()
    for _ in range(20):
        clock.sleep(RENEW_S)
        first.renew()
        assert not second.try_take()


def test_a_silent_holder_is_replaced_within_thirty_seconds_and_fenced_off() -> None:
    store, clock = MemoryStore(), Clock()
    first, second = make_lease(store, clock), make_lease(store, clock)
    assert first.try_take()
    assert not second.try_take()
    since_s = clock()
    while not second.try_take():
        clock.sleep(1)
    assert clock() - since_s <= 30
    assert second.fence == 2
    with pytest.raises(LeaseLost):
        first.check()
    assert first.fence == 0


def test_a_released_lease_is_free_at_once() -> None:
    store, clock = MemoryStore(), Clock()
    first, second = make_lease(store, clock), make_lease(store, clock)
    assert first.try_take()
    assert not second.try_take()
    first.release()
    assert second.try_take() and second.fence == 2


def test_if_two_dispatchers_write_the_same_number_only_the_named_one_works() -> None:
    # A server that ignores conditions lets both writes succeed.
    store, clock = MemoryStore(), Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        rival = LeaseRecord(1, "rival", "b@two", "now")
        store.put(layout.lease(1), documents.write(rival))

    lease = Lease(store, "a@one", clock=clock, sleep=sleep)
    assert not lease.try_take()
    assert lease.fence == 0


def test_a_clock_of_another_machine_does_not_matter() -> None:
    store, clock = MemoryStore(), Clock()
    first, second = make_lease(store, clock), make_lease(store, clock)
    assert first.try_take()
    held = documents.read(LeaseRecord, store.get(layout.lease(1)))
    store.put(layout.lease(1), documents.write(replace(held, renewed_at="1999-01-01T00:00:00.000+00:00")))
    assert not second.try_take()
    clock.sleep(EXPIRES_S - 1)
    assert not second.try_take()


class AwayStore(MemoryStore):
    """A store that is unreachable for a while."""

    away = False

    def keys(self, prefix: str) -> Iterator[str]:
        if type(self).away:
            raise StoreUnavailable("no answer")
        return super().keys(prefix)


def test_a_holder_has_its_time_to_renew_after_the_store_was_away() -> None:
    store, clock = AwayStore(), Clock()
    first, second = make_lease(store, clock), make_lease(store, clock)
    assert first.try_take()
    assert not second.try_take()
    AwayStore.away = True
    for _ in range(60):
        clock.sleep(1)
        with pytest.raises(StoreUnavailable):
            second.try_take()
    AwayStore.away = False
    assert not second.try_take()
    first.renew()
    clock.sleep(EXPIRES_S - 1)
    assert not second.try_take()


class SlowStore(MemoryStore):
    """A store that answers slowly."""

    clock = Clock()
    takes_s = 0.0

    def keys(self, prefix: str) -> Iterator[str]:
        type(self).clock.sleep(type(self).takes_s)
        return super().keys(prefix)


def test_time_in_which_the_store_is_slow_does_not_count_against_the_holder() -> None:
    store, clock = SlowStore(), SlowStore.clock
    first, second = make_lease(store, clock), make_lease(store, clock)
    assert first.try_take()
    assert not second.try_take()
    SlowStore.takes_s = EXPIRES_S + 1
    for _ in range(3):
        assert not second.try_take()
    SlowStore.takes_s = 0.0
    clock.sleep(EXPIRES_S - 1)
    assert not second.try_take()
    clock.sleep(1)
    assert second.try_take()
