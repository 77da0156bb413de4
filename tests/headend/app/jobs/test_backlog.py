from dataclasses import replace

from headend.app.jobs.backlog import Backlog
from headend.app.jobs.model import State
from headend.app.jobs.queue import Entry


def make_entry(number: int, *, priority: int = 50, state: State = State.QUEUED, serial: int = 1) -> Entry:
    return Entry(f"20261128t2000{number:05}-000000", serial, state, priority, f"film-{number}")


def backlog_of(*entries: Entry) -> Backlog:
    backlog = Backlog()
    backlog.load(entries)
    return backlog


def order(backlog: Backlog) -> list[str]:
    found = []
    while (entry := backlog.take_next({}, 1)) is not None:
        found.append(entry.title)
    return found


def test_interrupted_jobs_go_first_then_the_most_urgent_then_the_oldest() -> None:
    backlog = backlog_of(
        make_entry(1), make_entry(2, priority=80), make_entry(3), make_entry(4, state=State.RUNNING), make_entry(5)
    )
    assert order(backlog) == ["film-2", "film-4", "film-1", "film-3", "film-5"]


def test_held_jobs_wait_until_they_are_released() -> None:
    held = make_entry(1, state=State.HELD)
    backlog = backlog_of(held)
    assert (order(backlog), backlog.has_waiting, backlog.oldest) == ([], False, None)
    backlog.update(replace(held, state=State.QUEUED, serial=2))
    assert (backlog.has_waiting, backlog.oldest, order(backlog)) == (True, held.id, ["film-1"])


def test_a_new_priority_applies_and_an_older_entry_is_ignored() -> None:
    backlog = backlog_of(make_entry(1), make_entry(2))
    backlog.update(make_entry(2, priority=90, serial=3))
    backlog.update(make_entry(2, priority=10, serial=2))
    assert order(backlog) == ["film-2", "film-1"]


def test_a_cancelled_job_is_not_started() -> None:
    backlog = backlog_of(make_entry(1), make_entry(2))
    backlog.update(make_entry(1, state=State.CANCELLED, serial=2))
    assert (order(backlog), dict(backlog.states)[State.QUEUED]) == (["film-2"], 1)


def test_if_all_places_are_taken_only_a_more_urgent_job_starts() -> None:
    backlog = backlog_of(make_entry(1), make_entry(2, priority=60))
    assert backlog.take_next({"a": 60}, 1) is None
    assert backlog.take_next({"a": 50}, 1) == make_entry(2, priority=60)
    assert backlog.take_next({"a": 50, "b": 60}, 1) is None  # at most twice as many as free places


def test_a_job_waits_for_another_one_of_its_title_and_delays_no_third() -> None:
    first, second = make_entry(1, priority=90), make_entry(2)
    backlog = backlog_of(first, second)
    assert backlog.take_next({first.title: 50}, 8) == second
    assert backlog.take_next({first.title: 50}, 8) is None
    assert backlog.take_next({}, 8) == first


def test_repeated_entries_do_not_accumulate() -> None:
    running = make_entry(1, state=State.RUNNING)
    backlog = backlog_of(running)
    for _ in range(100):
        backlog.update(running)
    assert len(backlog._startable) == 1


def test_polling_ten_thousand_jobs_takes_few_comparisons() -> None:
    compared = 0

    class Priority(int):
        def __neg__(self) -> "Priority":
            return Priority(-int(self))

        def __lt__(self, other: int) -> bool:
            nonlocal compared
            compared += 1
            return int(self) < int(other)

    backlog = backlog_of(*(make_entry(n, priority=Priority(n % 101)) for n in range(10_000)))
    compared = 0
    entry = backlog.take_next({}, 8)
    assert entry is not None and entry.priority == 100
    backlog.update(make_entry(10_001, priority=Priority(50)))
    assert compared < 100
