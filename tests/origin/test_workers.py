"""Several processes on one port are one origin."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from headend.core.access.tokens import read_keys
from headend.core.http import workers as processes
from headend.core.storage.local import LocalStore
from tests.origin.grants import PLAYBACK, STRANGE, token
from tests.origin.releases import PICTURE, SEGMENTS, TITLE, ask, put_release
from tests.support.command_line import command, environment, read_ready
from tests.support.marks import repeated
from tests.support.waiting import wait_until

SEGMENT = f"/{TITLE}/tracks/{PICTURE}/1.m4s"


@contextmanager
def two_workers(folder: Path, *options: str, **more: str) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    argv = command("serve", "--store", folder, "--port", "0", "--workers", "2", "--json", *options)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment(**more)) as child:
        try:
            yield child, read_ready(child)["url"]
        finally:
            child.terminate()


def workers(child: "subprocess.Popen[str]") -> list[psutil.Process]:
    found = []
    for each in psutil.Process(child.pid).children():
        with suppress(psutil.NoSuchProcess):  # including zombies
            if "spawn_main" in " ".join(each.cmdline()):
                found.append(each)
    return found


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def segments_by_worker(url: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(ask(url, "/metrics").body.decode()):
        for sample in family.samples:
            if sample.name == "headend_origin_requests_total" and sample.labels["object"] == "segment":
                found[sample.labels["worker"]] = sample.value
    return found


def workers_in_metrics(url: str) -> set[str]:
    text = ask(url, "/metrics").body.decode()
    return {
        sample.labels["worker"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "headend_origin_connections"
    }


def test_metrics_cover_all_workers_and_dead_workers_are_replaced(tmp_path: Path) -> None:
    put_release(LocalStore(tmp_path))
    with two_workers(tmp_path) as (child, url):
        for _ in range(40):
            assert ask(url, SEGMENT).body == SEGMENTS[0]
        counts = segments_by_worker(url)
        assert set(counts) == {"0", "1"} and sum(counts.values()) == 40

        victim = workers(child)[0]
        victim.kill()
        wait_until(lambda: len(workers(child)) == 2 and victim.pid not in [each.pid for each in workers(child)])
        wait_until(lambda: workers_in_metrics(url) == {"0", "1"})
        for _ in range(20):
            assert ask(url, SEGMENT).body == SEGMENTS[0]


def end_at_once(on_begun: Callable[[], None], _: int) -> None:
    on_begun()


class SeenAliveOnce:
    """A dead process that looks alive when it is first polled."""

    def __init__(self, process: processes.SpawnProcess) -> None:
        self._process = process
        self._is_asked = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._process, name)

    def is_alive(self) -> bool:
        self._is_asked, was_asked = True, self._is_asked
        return not was_asked


def test_a_worker_that_dies_while_it_is_polled_is_replaced() -> None:
    worker = processes.Worker(end_at_once)
    worker.process.join()
    dead = worker.process = cast(processes.SpawnProcess, SeenAliveOnce(worker.process))
    alarm, ringer = socket.socketpair()
    with alarm, ringer:
        timer = threading.Timer(30, ringer.send, [b"."])
        timer.start()
        while worker.process is dead:
            assert alarm not in processes._watch([worker], alarm), "its death was not reported"
        timer.cancel()
    worker.process.join()


def test_screens_are_counted_across_workers(tmp_path: Path) -> None:
    put_release(LocalStore(tmp_path))
    with two_workers(tmp_path, HEADEND_TOKEN_KEYS=PLAYBACK.line) as (_, url):
        assert {ask(url, f"/t/{token(session='one')}{SEGMENT}").status for _ in range(20)} == {200}
        assert {ask(url, f"/t/{token(session='two')}{SEGMENT}").status for _ in range(20)} == {403}


@pytest.mark.parametrize("workers", [2, repeated(1)])
def test_sighup_reads_the_keys_again_in_all_workers(tmp_path: Path, workers: int) -> None:
    store, keys = tmp_path / "store", tmp_path / "keys"
    put_release(LocalStore(store))
    keys.write_text(f"{PLAYBACK.line}\n")
    keys.chmod(0o600)
    new = read_keys(STRANGE.line, "keys")

    def statuses(**changes: Any) -> set[int]:
        return {ask(url, f"/t/{token(**changes)}{SEGMENT}").status for _ in range(8)}

    with two_workers(store, "--token-keys", str(keys), "--workers", str(workers)) as (child, url):
        assert (statuses(), statuses(keys=new)) == ({200}, {403})
        keys.write_text(f"{STRANGE.line}\n{PLAYBACK.line}\n")
        child.send_signal(signal.SIGHUP)
        wait_until(lambda: statuses(keys=new) == {200})
        assert statuses() == {200}
        keys.write_text("nonsense\n")
        child.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert (statuses(), statuses(keys=new)) == ({200}, {200})  # keys that can't be read change nothing
        assert child.poll() is None


def test_all_workers_finish_their_requests_and_end(tmp_path: Path) -> None:
    large = bytes(range(256)) * (64 << 10)  # more than the kernel takes at once
    put_release(LocalStore(tmp_path), segments=(large,))
    with two_workers(tmp_path) as (child, url):
        place = urlsplit(url)
        asked = []
        for _ in range(6):
            connection = HTTPConnection(place.hostname or "", place.port, timeout=30)
            connection.request("GET", SEGMENT)
            asked.append((connection, connection.getresponse()))
        child.send_signal(signal.SIGTERM)
        for connection, answer in asked:
            with closing(connection):
                assert answer.read() == large
        assert child.wait(30) == 0


def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    put_release(LocalStore(tmp_path))
    with two_workers(tmp_path) as (child, _):
        children = workers(child)
        child.kill()
        wait_until(lambda: not any(is_alive(each) for each in children))


def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        argv = command("serve", "--store", tmp_path, "--port", taken.getsockname()[1], "--workers", "2")
        ended = subprocess.run(argv, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert ended.returncode == 2
    assert "is in use: choose another with --port" in ended.stderr
