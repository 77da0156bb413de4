"""Jobs through a real dispatcher in a separate process, on a local cluster."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headend.app.jobs.model import Job, State, Verb
from headend.app.jobs.notifying import Notifier
from headend.app.jobs.queue import Queue
from headend.app.request import Request
from headend.app.verifying import verify
from headend.core import layout, measured
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import Store, open_store
from packager.reading import read_pointer
from tests.headend.app.jobs.test_notifying import Receiver
from tests.support.command_line import command, environment, headend, headend_here
from tests.support.jobs import picture_ladder
from tests.support.marks import repeated
from tests.support.masters import make_film
from tests.support.waiting import PATIENCE_S, wait_until


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreSettings(str(tmp_path / "store")))


@pytest.fixture
def queue(store: Store) -> Queue:
    return Queue(store)


def add(queue: Queue, store: Store, master: Path, title: str, priority: int = 50) -> str:
    request = Request(
        str(master), title, picture_ladder(), StoreSettings(store.url), ClusterSettings(), EncodeSettings()
    )
    return queue.add(request, priority=priority).id


def current_pointer(store: Store, title: str) -> str | None:
    pointer = read_pointer(store, title)
    return pointer.release if pointer else None


@contextmanager
def dispatching(store: Store, *more: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command("dispatch", "--store", store.url, "--workers", "1", "--json", *more),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def states(job: Job) -> list[State]:
    return [change.state for change in job.history]


def test_queued_jobs_run_by_priority_and_an_unusable_master_fails_its_job_with_a_reason(
    queue: Queue, store: Store, tmp_path: Path
) -> None:
    master = make_film(tmp_path / "film.mov", frame_count=25, size=(160, 90))
    slow, urgent = add(queue, store, master, "slow", 10), add(queue, store, master, "urgent", 90)
    broken = add(queue, store, tmp_path / "nowhere.mov", "broken")
    held = add(queue, store, master, "held")
    queue.command(held, Verb.HOLD)
    done = headend("dispatch", "--store", store.url, "--workers", "1", "--max-jobs", "1", "--until-idle")
    assert done.returncode == 0, done.stderr
    jobs = {job.title: job for job in queue.read_all([slow, urgent, broken, held])}
    assert states(jobs["slow"]) == [State.QUEUED, State.RUNNING, State.PUBLISHING, State.DONE]
    assert jobs["urgent"].history[-1].at <= jobs["slow"].history[1].at
    assert (jobs["broken"].state, "nowhere.mov" in jobs["broken"].why) == (State.FAILED, True)
    assert states(jobs["held"]) == [State.QUEUED, State.HELD]
    for title in ("slow", "urgent"):
        assert not verify(store, title).findings
        account = jobs[title].status.account
        assert account.total_cpu_s > 0 and account.predicted_cpu_s > 0 and account.stored_bytes > 0
        assert jobs[title].status.progress and jobs[title].status.progress.share == 1


def test_a_release_that_fails_the_rules_fails_its_job_and_can_be_published_despite_that(
    queue: Queue, store: Store, tmp_path: Path
) -> None:
    master = make_film(tmp_path / "film.mov", frame_count=25, size=(160, 90))
    options = (
        "--ladder",
        "smoke",
        "--only-codecs",
        "avc",
        "--qc",
        "sampled",
        "--qc-min-vmaf",
        "99.9",
        "--queue",
        "--json",
    )
    queued = headend_here("submit", master, "--title", "film", "--store", store.url, *options, "--json")
    assert queued.returncode == 0, queued.stderr
    (entry,) = queue.all_entries()
    assert headend("dispatch", "--store", store.url, "--workers", "1", "--until-idle").returncode == 0

    found = queue.read(entry.id)
    release = found.status.release
    assert (found.state, current_pointer(store, "film")) == (State.FAILED, None)
    assert "fails the rule on 'best rendition'" in found.why
    assert dict(found.status.account.cpu_s)["quality"] > 0
    waited = headend_here("job", "wait", entry.id, "--store", store.url)
    assert (waited.returncode, release in waited.stderr) == (6, True), waited.stderr

    refused = headend_here("publish", "film", release, "--store", store.url, "--yes")
    assert refused.returncode == 6, refused.stderr
    done = headend_here("publish", "film", release, "--store", store.url, "--yes", "--despite-quality")
    assert done.returncode == 0, done.stderr
    report = measured.read_report(store, "film", release)
    assert report is not None and len(report.overrides) == 1
    assert report.overrides[0].who.encode() in store.get(layout.report_page("film", release))
    assert current_pointer(store, "film") == release


def test_a_dispatcher_that_is_killed_is_replaced_and_nothing_is_encoded_twice(
    queue: Queue, store: Store, tmp_path: Path
) -> None:
    master = make_film(tmp_path / "film.mov", frame_count=150, size=(160, 90))
    job = add(queue, store, master, "film")
    with dispatching(store) as first:
        wait_until(lambda: queue.read(job).state is State.RUNNING)
        first.send_signal(signal.SIGKILL)
        first.wait()
    with dispatching(store, "--until-idle") as second:
        wait_until(lambda: queue.read(job).status.fence == 2)
        assert second.wait(120) == 0
    found = queue.read(job)
    assert found.state is State.DONE
    assert [change.why.split(" by ")[0] for change in found.history][1:3] == ["started", "resumed"]
    assert not verify(store, "film").findings


def test_receivers_are_notified_of_every_change_in_order_independently(
    queue: Queue, store: Store, tmp_path: Path
) -> None:
    master = make_film(tmp_path / "film.mov", frame_count=25, size=(160, 90))
    request = Request(
        str(master), "film", picture_ladder(), StoreSettings(store.url), ClusterSettings(), EncodeSettings()
    )
    good = Receiver()
    all_states = ["queued", "held", "queued", "running", "publishing", "done"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        job = queue.add(request, priority=50, notify=(f"http://127.0.0.1:{port}/", good.url)).id
        queue.command(job, Verb.HOLD)
        with dispatching(store) as first:
            wait_until(lambda: good.states == all_states[:2])
            queue.command(job, Verb.RELEASE)
            wait_until(lambda: good.states == all_states)
            wait_until(lambda: {left.position for left in Notifier(store).outbox()} == {0})
            first.kill()
    late = Receiver(port=port)
    with dispatching(store, "--until-idle") as second:
        wait_until(lambda: late.states == all_states)
        assert second.wait(60) == 0
    assert (Notifier(store).outbox(), good.states) == ((), all_states)
    for receiver in (good, late):
        receiver.close()


@pytest.mark.heavy
def test_a_damaged_job_with_events_in_the_outbox_does_not_stop_a_dispatcher(
    queue: Queue, store: Store, tmp_path: Path
) -> None:
    damaged = add(queue, store, tmp_path / "film.mov", "damaged")
    queue.command(damaged, Verb.HOLD)
    store.put(layout.outbox(damaged, 0, 0), b"")
    store.put(layout.job_request(damaged), b"{")
    with dispatching(store, "--until-idle") as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert any("a notification can't be delivered" in json.loads(line)["text"] for line in out.splitlines())
    assert store.get(layout.outbox(damaged, 0, 0)) == b""


@pytest.mark.parametrize("document", [layout.job_status, repeated(layout.job_request)])
def test_a_document_that_is_damaged_while_its_job_runs_ends_neither_the_job_nor_its_dispatcher(
    document: Callable[[str], str], queue: Queue, store: Store, tmp_path: Path
) -> None:
    master = make_film(tmp_path / "film.mov", frame_count=100, size=(160, 90))
    short = make_film(tmp_path / "short.mov", frame_count=25, size=(160, 90))
    film, later = add(queue, store, master, "film"), add(queue, store, short, "later", 40)
    with dispatching(store, "--until-idle", "--max-jobs", "1") as process:
        wait_until(lambda: queue.read(film).state is State.RUNNING)
        store.put(document(film), b"{")
        queue.notify_of_many()  # as after somebody queued many jobs: all running ones are checked
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    output = [json.loads(line)["text"] for line in out.splitlines()]
    assert "film: done" in output and "later: done" in output
    assert current_pointer(store, "film") and current_pointer(store, "later")
    assert queue.read(later).state is State.DONE


def test_sigterm_puts_running_jobs_back_and_leaves_no_process(queue: Queue, store: Store, tmp_path: Path) -> None:
    master = make_film(tmp_path / "film.mov", frame_count=500, size=(320, 180))
    job = add(queue, store, master, "film")
    with dispatching(store) as process:
        wait_until(lambda: queue.read(job).state is State.RUNNING)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in err) == (0, False), err
        lines = [json.loads(line) for line in out.splitlines()]
        assert lines[0]["text"].startswith("dispatching the jobs of")
        assert [line["text"] for line in lines[-2:]] == ["film: back in the queue", "stopped"]
    found = queue.read(job)
    assert (found.state, found.why) == (State.QUEUED, "the dispatcher was stopped; the next run resumes the job")
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_running_job_is_cancelled_within_seconds(queue: Queue, store: Store, tmp_path: Path) -> None:
    master = make_film(tmp_path / "film.mov", frame_count=500, size=(320, 180))
    job = add(queue, store, master, "film")
    with dispatching(store, "--until-idle") as process:
        wait_until(lambda: queue.read(job).state is State.RUNNING)
        assert queue.command(job, Verb.CANCEL).cancelling
        assert process.wait(60) == 0
    assert queue.read(job).state is State.CANCELLED
