"""Clusters with trouble: workers that join late, freeze or lack something; a scheduler that dies."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, LocalCluster

import headend
from encoder import cluster, tool
from encoder.cluster import Done, Event, Failed, Job, Notice, Runner, TaskRun, link, run_tasks, running
from encoder.cluster import roster as rosters
from encoder.scheduling import slot_count
from headend.core.errors import ConfigError, EncodingError, HeadendError, TaskCrashed, WorkerUnfit
from headend.core.media import Receipt
from headend.core.settings import ClusterSettings
from tests.encoder.test_cluster import Notes, done, failures, receipt, succeed, task
from tests.support.dask_cluster import DaskCluster, dask_cluster
from tests.support.gate import gate_before
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("quick_retries")


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    (tmp_path / "notes").mkdir()
    return Notes(tmp_path / "notes")


@pytest.fixture
def events() -> list[Event]:
    return []


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def take_a_while(notes: Notes, seconds: float, run_: TaskRun) -> Receipt:
    notes.add(run_.task.id)
    time.sleep(seconds)
    return receipt(run_)


def wait_for_workers(notes: Notes, run_: TaskRun) -> Receipt:
    """Take half a second while only one worker has had a task."""
    notes.add(f"worker{os.getpid()}")
    if len({path.name.partition("-")[0] for path in notes.folder.iterdir()}) < 2:
        time.sleep(0.5)
    return receipt(run_)


def full_at(address: str, run_: TaskRun) -> Receipt:
    if run_.worker == address or address == "all":
        raise WorkerUnfit(f"no space left on {run_.worker}")
    return receipt(run_)


def find_another_tool_at(address: str, run_: TaskRun) -> Receipt:
    if run_.worker == address:
        tool.check("another", "0" * 64)
    return receipt(run_)


def worker_of(dask: DaskCluster, number: int = 0) -> str:
    """Return the address of a worker, by its process."""
    pid = dask.workers[number].pid
    with Client(dask.address) as client:
        return next(address for address, found in client.run(os.getpid).items() if found == pid)


def without_headend(folder: Path) -> dict[str, str]:
    """Return the environment of a Python that has Dask, but no headend."""
    blocked = folder / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('headend', 'encoder', 'tests'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    return {"PYTHONPATH": str(blocked)}


# --- too few workers ----------------------------------------------------------------------------------------------


def test_a_lack_of_workers_is_reported_repeatedly_and_ends_the_job_in_time(
    tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "NO_WORKERS_NOTICE_S", 1.0)
    monkeypatch.setattr(running, "REPEAT_NOTICE_S", 2.0)
    with dask_cluster(tmp_path, workers=0) as dask:
        assert cluster.workers_of(ClusterSettings(dask.address)) == cluster.EXPECTED
        with pytest.raises(ConfigError, match=r"it has no workers; waited 6 s\. Start workers with 'dask worker tcp:"):
            run_tasks([task("one")], succeed, ClusterSettings(dask.address, wait_for_workers_s=6), events.append)

    assert len(notices(events)) >= 2
    assert all("no worker at" in text and "waiting for" in text for text in notices(events))


def test_workers_that_join_get_tasks_while_others_are_busy(tmp_path: Path, events: list[Event], notes: Notes) -> None:
    with dask_cluster(tmp_path, workers=1) as dask:

        def note(event: Event) -> None:
            events.append(event)
            if isinstance(event, Done) and len(dask.workers) == 1:
                dask.start_worker()

        tasks = [task(f"t{number:03}") for number in range(200)]
        run_tasks(tasks, partial(wait_for_workers, notes), ClusterSettings(dask.address), note)

    used = {receipt.worker for receipt in done(events)}
    assert len(used) == 2
    assert not failures(events)


@pytest.mark.heavy
def test_a_cluster_that_adapts_grows_for_a_job_and_the_job_starts_without_workers(
    events: list[Event], notes: Notes
) -> None:
    with LocalCluster(
        n_workers=0, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as adaptive:
        adaptive.adapt(minimum=0, maximum=2, interval="200ms", wait_count=10)
        settings = ClusterSettings(adaptive.scheduler_address)
        run_tasks([task(f"t{n}") for n in range(200)], partial(wait_for_workers, notes), settings, events.append)

    assert len(done(events)) == 200
    assert len({receipt.worker for receipt in done(events)}) == 2


# --- workers that lack something ----------------------------------------------------------------------------------


def wait_for_file(path: str, run_: TaskRun) -> Receipt:
    wait_until(Path(path).exists)
    return receipt(run_)


@pytest.mark.heavy
def test_only_workers_without_headend_are_reported_with_the_package(
    tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "NO_WORKERS_NOTICE_S", 0.5)
    with dask_cluster(tmp_path, workers=1, environment=without_headend(tmp_path)) as dask:
        settings = ClusterSettings(dask.address, wait_for_workers_s=5)
        with pytest.raises(ConfigError, match=r"none of its 1 workers can run tasks; .*no Python package 'headend'"):
            run_tasks([task("one")], succeed, settings, events.append)


def test_a_worker_without_a_matching_headend_or_ffmpeg_is_left_out_and_the_job_continues(
    tmp_path: Path, events: list[Event]
) -> None:
    root = Path(headend.__file__).parents[1]
    other = tmp_path / "other"
    for package in ("headend", "encoder", "ladders", "packager", "tests"):
        shutil.copytree(root / package, other / package, ignore=shutil.ignore_patterns("__pycache__"))
    version = other / "headend" / "__init__.py"
    version.write_text(version.read_text().replace(headend.__version__, "0.0.1"))
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho 'ffmpeg version 1.0-other Copyright'\n")
    fake.chmod(0o755)
    with dask_cluster(tmp_path, workers=1) as dask:
        dask.start_worker(environment={"PYTHONPATH": str(other), "PYTHONSAFEPATH": "1"})
        dask.start_worker(environment={tool.OVERRIDE: str(fake)})
        dask.start_worker(environment=without_headend(tmp_path))
        dask.wait_for(4)
        good = worker_of(dask)
        tasks = [task(f"t{n}") for n in range(6)]

        def note(event: Event) -> None:
            events.append(event)
            if len(notices(events)) == 3:
                (tmp_path / "all answered").touch()

        performer = partial(wait_for_file, str(tmp_path / "all answered"))
        run_tasks(tasks, performer, ClusterSettings(dask.address), note, tool=tool.version())

    assert {receipt.worker for receipt in done(events)} == {good}
    assert not failures(events)
    assert any(f"it has headend 0.0.1, and this is {headend.__version__}" in text for text in notices(events))
    assert any("it has 'ffmpeg version 1.0-other'" in text for text in notices(events))
    assert any("gets no tasks: it has no Python package 'headend'" in text for text in notices(events))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Two workers that state no memory."""
    with dask_cluster(tmp_path_factory.mktemp("pair"), arguments=["--memory-limit", "0"]) as dask:
        yield dask


def test_an_ffmpeg_that_changes_under_a_worker_is_the_workers_fault(pair: DaskCluster, events: list[Event]) -> None:
    changed = worker_of(pair, 0)
    tasks = [task(f"t{n}") for n in range(6)]
    run_tasks(tasks, partial(find_another_tool_at, changed), ClusterSettings(pair.address), events.append)

    assert {receipt.worker for receipt in done(events)} == {worker for worker in _workers(events) if worker != changed}
    assert {receipt.attempt for receipt in done(events)} == {1}
    assert len(failures(events)) == 1


def _workers(events: list[Event]) -> set[str]:
    return {receipt.worker for receipt in done(events)} | {failed.worker for failed in failures(events)}


def test_after_a_full_disk_the_task_is_not_retried_on_the_same_worker(pair: DaskCluster, events: list[Event]) -> None:
    full = worker_of(pair, 1)
    run_tasks([task(f"t{n}") for n in range(6)], partial(full_at, full), ClusterSettings(pair.address), events.append)
    assert [failed.worker for failed in failures(events)] == [full]
    assert len(done(events)) == 6

    with pytest.raises(WorkerUnfit, match="no space left on tcp"):
        run_tasks([task("one")], partial(full_at, "all"), ClusterSettings(pair.address), events.append)


def test_memory_that_a_worker_does_not_state_is_measured(pair: DaskCluster) -> None:
    found = cluster.workers_of(ClusterSettings(pair.address))

    machine_bytes = psutil.virtual_memory().total
    assert slot_count(found) == 2
    assert all(worker.memory_bytes is not None for worker in found)
    assert 0.1 * machine_bytes < sum(worker.memory_bytes or 0 for worker in found) <= 0.81 * machine_bytes


# --- workers and schedulers that stop -------------------------------------------------------------------------------


def test_the_task_of_a_frozen_worker_goes_elsewhere(
    tmp_path: Path, events: list[Event], notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rosters, "FROZEN_S", 8.0)
    with dask_cluster(tmp_path, workers=2) as dask:
        frozen = psutil.Process(dask.workers[0].pid)

        def note(event: Event) -> None:
            events.append(event)
            if isinstance(event, Done) and len(done(events)) == 1:
                frozen.suspend()

        tasks = [task(f"t{number:02}") for number in range(12)]
        started_s = time.monotonic()
        run_tasks(tasks, partial(take_a_while, notes, 0.5), ClusterSettings(dask.address), note)

    assert time.monotonic() - started_s < 60
    assert sorted({receipt.task for receipt in done(events)}) == [f"t{number:02}" for number in range(12)]
    assert any("does not answer: its tasks go to other workers" in text for text in notices(events))
    assert len(failures(events)) <= 1


@dataclass(frozen=True)
class FreezesWhenFetched:
    """A result that stops its worker's process if it is fetched after the task's own thread has sent it."""

    receipt: Receipt

    def __reduce__(self) -> tuple[Any, ...]:
        if threading.get_ident() != _task_thread.get(self.receipt.task):
            os.kill(os.getpid(), signal.SIGSTOP)
        return (FreezesWhenFetched, (self.receipt,))


_task_thread: dict[str, int] = {}


def freeze_when_fetched(run_: TaskRun) -> FreezesWhenFetched:
    _task_thread[run_.task.id] = threading.get_ident()
    return FreezesWhenFetched(receipt(run_))


@pytest.mark.heavy
def test_a_result_does_not_wait_on_its_worker_which_might_freeze(tmp_path: Path, events: list[Event]) -> None:
    with dask_cluster(tmp_path, workers=2) as dask:
        tasks = [task(f"t{number}") for number in range(6)]
        settings = ClusterSettings(dask.address, wait_for_workers_s=60)
        run_tasks(tasks, freeze_when_fetched, settings, events.append)

    assert len(done(events)) == len(tasks)
    assert not failures(events)


def test_a_worker_that_freezes_before_its_check_does_not_delay_other_checks(
    tmp_path: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "_QUERY_THREADS", 1)
    monkeypatch.setattr(link, "QUERY_S", 2.0)
    with dask_cluster(tmp_path, workers=2) as dask:
        frozen = worker_of(dask, 0)
        psutil.Process(dask.workers[0].pid).suspend()
        started_s = time.monotonic()
        run_tasks([task(f"t{n}") for n in range(4)], succeed, ClusterSettings(dask.address), events.append)

    assert len(done(events)) == 4
    assert frozen not in {receipt.worker for receipt in done(events)}
    assert time.monotonic() - started_s < rosters.FROZEN_S, "it went on before the worker counted as frozen"


@pytest.mark.heavy
def test_a_frozen_scheduler_is_reported_and_waited_for(
    tmp_path: Path, events: list[Event], notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "NO_ANSWER_S", 2.0)
    with dask_cluster(tmp_path, workers=1) as dask:
        scheduler = psutil.Process(dask.scheduler.pid)

        def note(event: Event) -> None:
            events.append(event)
            if isinstance(event, Done) and len(done(events)) == 1:
                scheduler.suspend()
            if isinstance(event, Notice) and "the scheduler has not answered for" in event.text:
                scheduler.resume()

        tasks = [task(f"t{n}") for n in range(4)]
        run_tasks(tasks, partial(take_a_while, notes, 0.3), ClusterSettings(dask.address), note)

    assert {receipt.task for receipt in done(events)} == {each.id for each in tasks}
    assert any("the scheduler has not answered for" in text for text in notices(events))
    assert not failures(events)


def test_a_paused_worker_finishes_its_task(pair: DaskCluster, events: list[Event]) -> None:
    run_tasks([task("one")], pause_and_look, ClusterSettings(pair.address), events.append)

    assert not failures(events)
    assert [receipt.attempt for receipt in done(events)] == [1]


def pause_and_look(run_: TaskRun) -> Receipt:
    from distributed import Status, get_worker

    worker = get_worker()
    worker.status = Status.paused
    time.sleep(1)
    stopped = run_.cancelled()
    worker.status = Status.running
    assert not stopped
    return receipt(run_)


def test_a_killed_scheduler_ends_the_job_with_one_line(
    tmp_path: Path,
    events: list[Event],
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(link, "RECONNECT_S", 3.0)
    with dask_cluster(tmp_path, workers=1) as dask:

        def note(event: Event) -> None:
            events.append(event)
            if isinstance(event, Done) and len(done(events)) == 1:
                dask.scheduler.kill()

        with pytest.raises(EncodingError, match=r"the scheduler at tcp://.* has gone away; start it again"):
            tasks = [task(f"t{n}") for n in range(40)]
            run_tasks(tasks, partial(take_a_while, notes, 0.5), ClusterSettings(dask.address), note)

    assert capfd.readouterr().err == ""
    assert not [failed for failed in failures(events) if failed.last]


@pytest.mark.heavy
def test_a_scheduler_that_comes_back_is_found_again(tmp_path: Path, events: list[Event], notes: Notes) -> None:
    again: list[threading.Thread] = []
    with dask_cluster(tmp_path, workers=1) as dask:
        port = dask.address.rpartition(":")[2]

        def restart() -> None:
            dask.scheduler.wait()
            dask.restart_scheduler(port)
            dask.start_worker()

        def note(event: Event) -> None:
            events.append(event)
            if isinstance(event, Done) and len(done(events)) == 1:
                dask.scheduler.kill()
                again.append(threading.Thread(target=restart))
                again[0].start()

        tasks = [task(f"t{n}") for n in range(6)]
        run_tasks(tasks, partial(take_a_while, notes, 0.5), ClusterSettings(dask.address), note)
        again[0].join()

    assert {receipt.task for receipt in done(events)} == {each.id for each in tasks}
    assert any("has gone away; reconnecting" in text for text in notices(events))
    assert not [failed for failed in failures(events) if failed.last]


def test_a_connection_that_breaks_while_nothing_runs_is_made_again(
    scheduler: str, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "POLL_S", 0.2)
    ended: list[tuple[str, HeadendError | None]] = []
    with gate_before(scheduler.replace("tcp:", "http:")) as gate:
        address = gate.url.replace("http:", "tcp:")
        runner = Runner(
            partial(link.connect, address),
            ClusterSettings(address),
            link.requirements(None),
            events.append,
            lambda job, error: ended.append((job, error)),
        )
        working = threading.Thread(target=runner.work, args=(lambda: len(ended) == 2,), daemon=True)
        working.start()
        runner.add(Job("before", [task("one")], succeed))
        wait_until(lambda: len(ended) == 1, "the first job")
        gate.become("open")  # this closes all connections
        wait_until(lambda: any("is back" in text for text in notices(events)), "the new connection")
        runner.add(Job("after", [task("two")], succeed))
        working.join(60)

    assert ended == [("before", None), ("after", None)]
    assert [receipt.attempt for receipt in done(events)] == [1, 1]


# --- several jobs -------------------------------------------------------------------------------------------------


def test_jobs_share_a_cluster_and_an_urgent_one_overtakes(scheduler: str, notes: Notes, events: list[Event]) -> None:
    ended: list[tuple[str, HeadendError | None]] = []
    runner = Runner(
        partial(link.connect, scheduler),
        ClusterSettings(scheduler),
        link.requirements(None),
        events.append,
        lambda job, error: ended.append((job, error)),
    )
    slow = partial(take_a_while, notes, 0.2)
    runner.add(Job("long", [task(f"l{n}") for n in range(20)], slow))
    runner.add(Job("bad", [task("b")], full_of_errors))
    runner.add(Job("urgent", [task(f"u{n}") for n in range(4)], slow, priority=90))
    runner.work(until=lambda: len(ended) == 3)

    assert [job for job, _ in ended] in (["bad", "urgent", "long"], ["urgent", "bad", "long"])
    assert [type(error) for job, error in ended if job == "bad"] == [TaskCrashed]
    assert [error for job, error in ended if job != "bad"] == [None, None]
    assert {event.job for event in events if isinstance(event, Failed)} == {"bad"}


def full_of_errors(run_: TaskRun) -> Receipt:
    raise ZeroDivisionError(f"a mistake in {run_.task.id}")
