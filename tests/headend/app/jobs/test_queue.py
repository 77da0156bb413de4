from dataclasses import replace

import pytest

from headend.app.jobs.model import Change, State, Verb
from headend.app.jobs.queue import Queue
from headend.core import layout
from headend.core.errors import ConfigError
from headend.core.storage.memory import MemoryStore
from tests.headend.app.jobs.makers import AT, make_request


class CountingStore(MemoryStore):
    """Counts reads of documents."""

    reads = 0

    def get(self, key: str) -> bytes:
        type(self).reads += 1
        return super().get(key)


def test_jobs_are_listed_in_order_without_reading_any() -> None:
    store = CountingStore()
    queue = Queue(store)
    ids = [queue.add(make_request(f"film-{number}"), priority=number).id for number in range(30)]
    CountingStore.reads = 0
    entries = queue.entries(ended=False)
    assert CountingStore.reads == 0
    assert [entry.id for entry in entries] == sorted(ids)
    assert {(entry.title, entry.priority) for entry in entries} == {(f"film-{n}", n) for n in range(30)}
    assert {entry.state for entry in entries} == {State.QUEUED}


def test_a_command_shows_its_effect_in_the_list_while_no_dispatcher_runs() -> None:
    queue = Queue(MemoryStore())
    job = queue.add(make_request(), priority=50).id
    queue.command(job, Verb.HOLD)
    assert [entry.state for entry in queue.entries(ended=False)] == [State.HELD]
    queue.command(job, Verb.CANCEL)
    assert queue.entries(ended=False) == ()
    assert [entry.state for entry in queue.entries(ended=True)] == [State.CANCELLED]
    queue.command(job, Verb.RETRY)
    queue.command(job, Verb.PRIORITISE, priority=99)
    assert [(entry.state, entry.priority) for entry in queue.all_entries()] == [(State.QUEUED, 99)]
    assert queue.entries(ended=True) == ()


def test_an_impossible_command_is_refused_with_the_state() -> None:
    queue = Queue(MemoryStore())
    job = queue.add(make_request(), priority=50).id
    with pytest.raises(ConfigError, match="is queued: it can't be retried"):
        queue.command(job, Verb.RETRY)
    with pytest.raises(ConfigError, match="there is no job 20261128t200000000-00000a"):
        queue.command("20261128t200000000-00000a", Verb.CANCEL)


def test_a_status_is_combined_with_later_commands() -> None:
    queue = Queue(MemoryStore())
    job = queue.read(queue.add(make_request(), priority=50).id)
    history = (*job.history, Change(State.RUNNING, AT))
    queue.write(replace(job, state=State.RUNNING, history=history, status=replace(job.status, history=history)))
    assert [entry.state for entry in queue.entries(ended=False)] == [State.RUNNING]
    assert queue.command(job.id, Verb.CANCEL).cancelling


def test_queueing_the_same_job_twice_is_harmless() -> None:
    queue = Queue(MemoryStore())
    job = "20261128t200000000-00000a"
    assert queue.add(make_request(), priority=50, job=job).id == queue.add(make_request(), priority=50, job=job).id
    assert len(queue.all_entries()) == 1


def test_the_higher_serial_counts_if_a_killed_writer_left_two_markers() -> None:
    store = MemoryStore()
    queue = Queue(store)
    job = queue.add(make_request(), priority=50).id
    store.put(f"{layout.job_markers(ended=True)}{job}.000002.cancelled.050.film", b"")
    assert [entry.state for entry in queue.all_entries()] == [State.CANCELLED]
    queue.mark(queue.read(job))  # its documents say that it is queued
    assert [(entry.serial, entry.state) for entry in queue.all_entries()] == [(3, State.QUEUED)]


def test_a_request_without_marker_is_found_again() -> None:
    store = MemoryStore()
    queue = Queue(store)
    job = queue.add(make_request(), priority=50).id
    for info in list(store.list(layout.job_markers(ended=False))):
        store.delete(info.key)
    assert queue.all_entries() == ()
    queue.add_missing_markers()
    assert [entry.id for entry in queue.all_entries()] == [job]


def test_commands_in_quick_succession_keep_their_order() -> None:
    queue = Queue(MemoryStore())
    job = queue.add(make_request(), priority=50).id
    for priority in range(20):
        queue.command(job, Verb.PRIORITISE, priority=priority)
    assert queue.read(job).priority == 19


def test_changes_list_new_jobs_and_commands_once() -> None:
    queue = Queue(MemoryStore())
    job = queue.add(make_request(), priority=50).id
    queue.command(job, Verb.PRIORITISE, priority=70)
    entries, keys = queue.news()
    assert [(entry.id, entry.priority) for entry in entries if entry] == [(job, 50), (job, 70)]
    queue.delete_news(keys)
    assert queue.news() == ((), ())


def test_queueing_many_jobs_makes_one_change() -> None:
    queue = Queue(MemoryStore())
    for number in range(3):
        queue.add(make_request(f"film-{number}"), priority=50, news=False)
    queue.notify_of_many()
    assert queue.news()[0] == (None,)
