"""A real cluster of processes: attempts are counted, deaths cost one of them, and nothing is left running."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil
import pytest
from distributed import Client
from distributed.security import Security

from encoder import cluster, tool
from encoder.cluster import Done, Event, Failed, TaskProgress, TaskRun, link, run_tasks
from encoder.cluster.local import local_cluster, local_workers
from encoder.scheduling import slot_count
from headend.core.errors import (
    ChunkRejected,
    ConfigError,
    EncodingError,
    HeadendError,
    MasterError,
    StoreUnavailable,
    ToolFailed,
)
from headend.core.media import EncodeTask, Receipt
from headend.core.process import run
from headend.core.settings import ATTEMPTS, ClusterSettings
from tests.support.dask_cluster import dask_processes
from tests.support.encodes import task_of
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("quick_retries")

WAIT_S = 60
"""Seconds that a test waits for an event; only failing tests wait that long."""


def task(name: str, cost: float = 1.0) -> EncodeTask:
    return EncodeTask(
        **{**{f: getattr(task_of((), [name]), f) for f in EncodeTask.__slots__}, "id": name, "cost": cost}
    )


def receipt(run_: TaskRun) -> Receipt:
    return Receipt(
        run_.task.id, run_.task.chunk.number, (), run_.attempt, run_.worker, cpu_s=0.0, wall_s=0.0, peak_memory_bytes=0
    )


@dataclass(frozen=True, slots=True)
class Notes:
    """A folder for performers' records, since performers run in other processes."""

    folder: Path

    def add(self, name: str) -> None:
        (self.folder / f"{name}-{time.monotonic_ns()}").touch()

    def of(self, name: str) -> int:
        return len(list(self.folder.glob(f"{name}-*")))


# --- what workers do ----------------------------------------------------------------------------------------------


def succeed(run_: TaskRun) -> Receipt:
    run_.on_frames(24)
    return receipt(run_)


def fail_with(error: Callable[[str], HeadendError], notes: Notes, run_: TaskRun) -> Receipt:
    notes.add(run_.task.id)
    if run_.task.id.startswith("good"):
        return receipt(run_)
    raise error(f"attempt {run_.attempt} went wrong")


def fail_once(notes: Notes, run_: TaskRun) -> Receipt:
    notes.add(run_.task.id)
    if run_.attempt == 1:
        raise ToolFailed("the encoder stumbled", task="a fact that is called like one of ours", status=1)
    return receipt(run_)


def lose_the_store_once(run_: TaskRun) -> Receipt:
    run_.on_encoded()
    if run_.task.id == "unlucky" and run_.attempt == 1:
        raise StoreUnavailable("the store answers 503")
    return receipt(run_)


def fail_foreign(run_: TaskRun) -> Receipt:
    raise ZeroDivisionError(f"a mistake in {run_.task.id}")


def die_once(notes: Notes, run_: TaskRun) -> Receipt:
    notes.add(run_.task.id)
    if run_.task.id == "victim" and run_.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return receipt(run_)


def die_always(notes: Notes, run_: TaskRun) -> Receipt:
    notes.add(run_.task.id)
    if run_.task.id == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return receipt(run_)


def sleep_in_a_child(mark: str, run_: TaskRun) -> Receipt:
    if run_.task.id == "quick":
        wait_until(lambda: bool(children(mark)))
    else:
        run([sys.executable, "-c", "import time; time.sleep(300)", mark], cancelled=run_.cancelled)
    return receipt(run_)


def ask_for_the_tool(run_: TaskRun) -> Receipt:
    tool.check("ffmpeg version of the plan", "0" * 64)
    return receipt(run_)


# --- helpers ------------------------------------------------------------------------------------------------------


def children(mark: str) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if mark in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture(scope="module")
def killable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterSettings]:
    """A cluster for this module only, without FFmpeg, whose workers may be killed."""
    environment = {tool.OVERRIDE: "/nonexistent"}
    with dask_processes(tmp_path_factory.mktemp("killable"), environment=environment, nannies=True) as address:
        yield ClusterSettings(scheduler=address)


def failures(events: list[Event]) -> list[Failed]:
    return [event for event in events if isinstance(event, Failed)]


def done(events: list[Event]) -> list[Receipt]:
    return [event.receipt for event in events if isinstance(event, Done)]


# --- attempts -----------------------------------------------------------------------------------------------------


def test_every_task_returns_its_receipt(scheduler: str, events: list[Event]) -> None:
    run_tasks([task(f"t{n}") for n in range(8)], succeed, ClusterSettings(scheduler), events.append)

    assert sorted(receipt.task for receipt in done(events)) == [f"t{n}" for n in range(8)]
    assert {receipt.attempt for receipt in done(events)} == {1}
    assert not failures(events)
    assert all(event.frames == 24 for event in events if isinstance(event, TaskProgress))


def test_without_tasks_no_cluster_is_needed(events: list[Event]) -> None:
    run_tasks([], succeed, ClusterSettings("tcp://127.0.0.1:1"), events.append)

    assert not events


def test_the_longest_tasks_are_begun_first(scheduler: str, events: list[Event], notes: Notes) -> None:
    tasks = [task(f"good{n}", cost=100.0 - n) for n in range(12)]
    run_tasks(tasks, partial(fail_with, ToolFailed, notes), ClusterSettings(scheduler), events.append)

    begun = [
        path.name.split("-")[0] for path in sorted(notes.folder.iterdir(), key=lambda p: int(p.name.split("-")[1]))
    ]
    # With two workers, neighbours may swap, but no task may run long before its turn.
    assert all(abs(begun.index(f"good{n}") - n) <= 3 for n in range(12))


def test_a_temporary_fault_is_tried_three_times_and_every_attempt_is_reported(
    scheduler: str, events: list[Event], notes: Notes
) -> None:
    with pytest.raises(EncodingError, match="failed 3 times; the last error: attempt 3 went wrong") as caught:
        run_tasks([task("bad")], partial(fail_with, ChunkRejected, notes), ClusterSettings(scheduler), events.append)

    assert ATTEMPTS == 3
    assert notes.of("bad") == 3
    failed_attempts = failures(events)
    assert [(failed.task, failed.attempt, failed.last) for failed in failed_attempts] == [
        ("bad", 1, False), ("bad", 2, False), ("bad", 3, True),
    ]  # fmt: skip
    assert all(isinstance(failed.error, ChunkRejected) for failed in failed_attempts)
    assert all(failed.worker.startswith("tcp://127.0.0.1:") for failed in failed_attempts)
    assert caught.value.facts["task"] == "bad"
    assert not caught.value.retryable


def test_a_second_attempt_may_succeed(scheduler: str, events: list[Event], notes: Notes) -> None:
    run_tasks([task("shaky")], partial(fail_once, notes), ClusterSettings(scheduler), events.append)

    assert [failed.attempt for failed in failures(events)] == [1]
    assert failures(events)[0].error.facts["status"] == 1
    assert [receipt.attempt for receipt in done(events)] == [2]


def test_a_failure_to_store_results_costs_only_their_task_an_attempt(scheduler: str, events: list[Event]) -> None:
    tasks = [task("unlucky"), *(task(f"good{number}") for number in range(6))]
    run_tasks(tasks, lose_the_store_once, ClusterSettings(scheduler), events.append)

    assert [(failed.task, failed.attempt) for failed in failures(events)] == [("unlucky", 1)]
    assert {receipt.task: receipt.attempt for receipt in done(events)} == {one.id: 1 for one in tasks} | {"unlucky": 2}


def test_a_permanent_fault_ends_the_job_at_once(scheduler: str, events: list[Event], notes: Notes) -> None:
    with pytest.raises(MasterError, match=r"^attempt 1 went wrong$"):
        run_tasks([task("bad")], partial(fail_with, MasterError, notes), ClusterSettings(scheduler), events.append)

    assert notes.of("bad") == 1
    assert [(failed.attempt, failed.last) for failed in failures(events)] == [(1, True)]


def test_an_unexpected_error_ends_the_job_with_its_name(scheduler: str, events: list[Event]) -> None:
    with pytest.raises(EncodingError, match="unexpected ZeroDivisionError: a mistake in bad"):
        run_tasks([task("bad")], fail_foreign, ClusterSettings(scheduler), events.append)

    assert len(failures(events)) == 1


def test_a_job_may_run_again_after_it_has_failed(scheduler: str, events: list[Event], notes: Notes) -> None:
    with pytest.raises(MasterError):
        run_tasks([task("again")], partial(fail_with, MasterError, notes), ClusterSettings(scheduler), events.append)
    run_tasks([task("again")], succeed, ClusterSettings(scheduler), events.append)

    assert [receipt.task for receipt in done(events)] == ["again"]


def test_a_local_cluster_is_started_and_ended(events: list[Event]) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    others = listening()
    addresses: set[tuple[str, int]] = set()

    def note(event: Event) -> None:
        events.append(event)
        addresses.update(listening() - others)

    run_tasks([task("one"), task("two")], succeed, ClusterSettings(workers=1), note)

    assert {host for host, _ in addresses} == {"127.0.0.1"}
    assert 8787 not in {port for _, port in addresses}  # Dask's default port, which two jobs would compete for
    assert len(done(events)) == 2
    assert slot_count(cluster.workers_of(ClusterSettings(workers=1))) == 1
    assert slot_count(cluster.workers_of(ClusterSettings())) == len(os.sched_getaffinity(0))
    wait_until(lambda: not workers_of(before))


def listening() -> set[tuple[str, int]]:
    """Addresses at which this process listens."""
    found = psutil.Process().net_connections("tcp")
    return {(each.laddr.ip, each.laddr.port) for each in found if each.status == psutil.CONN_LISTEN}


def workers_of(before: set[int]) -> list[psutil.Process]:
    """New worker processes; multiprocessing's resource tracker stays on purpose."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.pid not in before
        and process.status() != psutil.STATUS_ZOMBIE
        and "resource_tracker" not in " ".join(process.cmdline())
    ]


# --- stopping ---------------------------------------------------------------------------------------------------


def test_an_interrupted_job_leaves_no_child_running(killable: ClusterSettings, tmp_path: Path) -> None:
    mark = f"headend-test-{tmp_path.name}-{os.getpid()}"
    seen = []

    def interrupt(event: Event) -> None:
        if isinstance(event, Done):
            seen.extend(children(mark))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks([task("long", 9.0), task("quick")], partial(sleep_in_a_child, mark), killable, interrupt)

    assert seen
    wait_until(lambda: not children(mark))


def test_a_failed_task_stops_the_others(killable: ClusterSettings, events: list[Event], tmp_path: Path) -> None:
    mark = f"headend-test-{tmp_path.name}-{os.getpid()}"

    with pytest.raises(MasterError):
        run_tasks([task("long", 9.0), task("bad")], partial(sleep_or_fail, mark), killable, events.append)

    wait_until(lambda: not children(mark))


def sleep_or_fail(mark: str, run_: TaskRun) -> Receipt:
    if run_.task.id == "bad":
        wait_until(lambda: bool(children(mark)))
        raise MasterError("the master is damaged")
    return sleep_in_a_child(mark, run_)


# --- tasks of other kinds -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """A task that encodes nothing."""

    id: str
    cost: float = 1.0
    memory_bytes: int = 0

    @property
    def label(self) -> str:
        return f"a look at {self.id}"


def encode_or_look(run_: TaskRun) -> Receipt | str:
    return f"seen {run_.task.id}" if isinstance(run_.task, Look) else receipt(run_)


def test_follow_up_tasks_run_after_their_inputs_and_after_all_other_tasks(scheduler: str, events: list[Event]) -> None:
    def follow(receipts: Receipt | str) -> list[Look]:
        return [Look(receipts.task)] if isinstance(receipts, Receipt) else []

    tasks = [task("t0"), task("t1")]
    run_tasks(tasks, encode_or_look, ClusterSettings(scheduler), events.append, follow=follow)

    receipts = [event.receipt for event in events if isinstance(event, Done)]
    assert sorted(each for each in receipts if isinstance(each, str)) == ["seen t0", "seen t1"]
    assert sorted(each.task for each in receipts if isinstance(each, Receipt)) == ["t0", "t1"]


# --- places -------------------------------------------------------------------------------------------------------


def begin_before_the_other_ends(notes: Notes, run_: TaskRun) -> Receipt:
    notes.add(run_.task.id)
    if run_.task.id == "first":
        run_.on_encoded()
        wait_until(lambda: notes.of("second") > 0)
    return receipt(run_)


def test_the_next_task_begins_while_results_are_stored(events: list[Event], notes: Notes) -> None:
    tasks = [task("first"), task("second")]
    run_tasks(tasks, partial(begin_before_the_other_ends, notes), ClusterSettings(workers=1), events.append)

    assert [receipt.task for receipt in done(events)] == ["second", "first"]


def test_a_task_larger_than_every_worker_is_reported(scheduler: str, events: list[Event]) -> None:
    large = replace(task("large"), memory_bytes=1 << 60)
    for settings in (ClusterSettings(scheduler), ClusterSettings(workers=2)):
        with pytest.raises(
            ConfigError, match=r"chunk 0 of large needs 1152921504\.6 GB of memory, more than any worker"
        ):
            run_tasks([task("small"), large], succeed, settings, events.append)

    assert not done(events)


def test_fewer_workers_are_started_if_a_task_needs_more_memory_than_its_share() -> None:
    whole = cluster.workers_of(ClusterSettings(workers=1))[0].memory_bytes
    assert whole is not None

    started = local_workers(ClusterSettings(workers=4), [replace(task("large"), memory_bytes=whole // 2)])

    assert len(started) == 2
    assert all(worker.memory_bytes == whole // 2 for worker in started)


# --- unusable clusters --------------------------------------------------------------------------------------------


def test_other_users_of_the_machine_can_not_use_a_local_cluster() -> None:
    with local_cluster(ClusterSettings(workers=1), []) as client:
        address = client.scheduler_info()["address"]
        assert address.startswith("tls://127.0.0.1:")
        # Only this process has the keys, so neither plain TCP nor TLS connects.
        for stranger, security in ((address.replace("tls://", "tcp://"), None), (address, Security.temporary())):
            with pytest.raises((OSError, TimeoutError)):
                Client(stranger, security=security, timeout="2s")


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "nonsense://there", "tcp://no.such.host.invalid:1"]
)
def test_a_scheduler_that_does_not_answer_is_reported(
    address: str, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve = socket.getaddrinfo

    def without_network(host: str, *args: Any, **options: Any) -> Any:
        # Some networks take minutes to say that there is no such name.
        if host == "no.such.host.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", without_network)
    monkeypatch.setattr(link, "CONNECT_S", 0.5)
    with pytest.raises(ConfigError, match=f"no Dask scheduler answers at {address}: start one with 'dask scheduler'"):
        cluster.workers_of(ClusterSettings(address))
    with pytest.raises(ConfigError, match="no Dask scheduler answers"):
        run_tasks([task("one")], succeed, ClusterSettings(address), events.append)


def test_a_scheduler_with_tls_needs_a_certificate() -> None:
    with pytest.raises(ConfigError, match=r"tls://127.0.0.1:1 needs a certificate: .* distributed\.comm\.tls"):
        cluster.workers_of(ClusterSettings("tls://127.0.0.1:1"))


def test_failed_connections_leave_no_thread_and_no_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatcher connects again and again while its scheduler is away."""
    monkeypatch.setattr(link, "CONNECT_S", 0.1)

    def opened_after(connections: int) -> tuple[int, int]:
        for _ in range(connections):
            with pytest.raises(ConfigError):
                link.connect("tcp://127.0.0.1:1")
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    assert opened_after(1) == opened_after(3)


def test_a_connection_that_fails_while_it_is_set_up_is_closed(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it were left to the garbage collector, that could block a thread that is just connecting."""
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(link.connect(scheduler))
        return clients[0]

    def fail() -> None:
        raise OSError("the scheduler went away")

    monkeypatch.setattr(link.introspection, "report_deaths", fail)
    nothing = link.Handlers(*[lambda *_: None] * 6)
    with pytest.raises(OSError, match="went away"):
        link.Link(connect, SimpleQueue(), nothing, lambda: ()).open(queries=False)
    wait_until(lambda: clients[0].status == "closed", "closing")


def test_slots_are_the_threads_of_all_workers(scheduler: str) -> None:
    assert slot_count(cluster.workers_of(ClusterSettings(scheduler))) == 2


def test_a_worker_without_ffmpeg_is_reported(killable: ClusterSettings, events: list[Event]) -> None:
    with pytest.raises(EncodingError, match="no FFmpeg at '/nonexistent': HEADEND_FFMPEG must name an executable file"):
        run_tasks([task("one")], ask_for_the_tool, killable, events.append)

    assert all(isinstance(failed.error, ToolFailed) for failed in failures(events))


def test_the_scheduler_keeps_nothing_of_a_job(scheduler: str, events: list[Event]) -> None:
    run_tasks([task(f"t{n}") for n in range(4)], succeed, ClusterSettings(scheduler), events.append)

    def forgotten() -> bool:
        with Client(scheduler) as client:
            left: int = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        return left == 0

    wait_until(forgotten)


# --- deaths -------------------------------------------------------------------------------------------------------


def test_a_worker_that_is_killed_costs_one_attempt_and_no_other_task(
    killable: ClusterSettings, events: list[Event], notes: Notes
) -> None:
    tasks = [task("victim", 9.0), *(task(f"good{n}") for n in range(6))]
    run_tasks(tasks, partial(die_once, notes), killable, events.append)

    assert sorted(receipt.task for receipt in done(events)) == sorted(each.id for each in tasks)
    assert [(failed.task, failed.attempt, failed.last) for failed in failures(events)] == [("victim", 1, False)]
    assert "died while it ran chunk 0 of victim" in str(failures(events)[0].error)
    assert {receipt.task: receipt.attempt for receipt in done(events)}["victim"] == 2
    assert all(notes.of(f"good{n}") == 1 for n in range(6))


def test_a_task_that_kills_every_worker_fails_the_job_after_three(
    killable: ClusterSettings, events: list[Event], notes: Notes
) -> None:
    with pytest.raises(EncodingError, match="failed 3 times"):
        run_tasks([task("poison")], partial(die_always, notes), killable, events.append)

    assert notes.of("poison") == 3
    assert [failed.attempt for failed in failures(events)] == [1, 2, 3]
