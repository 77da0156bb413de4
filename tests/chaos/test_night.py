"""Ten minutes of random kills with twenty queued jobs: all titles are made, and no work is wasted."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from headend.app.jobs.model import State
from headend.app.jobs.queue import Queue
from headend.app.request import Request
from headend.app.verifying import verify
from headend.core import records
from headend.core.process import killed_with_parent
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local_server import rclone_program
from tests.support.command_line import command, environment
from tests.support.jobs import picture_ladder
from tests.support.masters import make_film

TITLES = 20
FRAMES = 1250
"""Length of each title: enough work for most of the night."""
CHAOS_S = 600.0
END_S = 1500.0
SEED = 20261128
KEYS = {"AWS_ACCESS_KEY_ID": "AKIA0123456789ABCDEF", "AWS_SECRET_ACCESS_KEY": "0123456789" * 4}


class Part:
    """A process that is restarted when it dies, as by systemd."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self.kills = 0
        self._start = start
        self._process = start()

    def kill(self) -> None:
        """Kill it with all its children, and start it again a second later."""
        self._end()
        self.kills += 1
        time.sleep(1)
        self._process = self._start()

    def look(self) -> None:
        """Start it again if it ended by itself."""
        if self._process.poll() is not None:
            self._process = self._start()

    def _end(self) -> None:
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self._process.pid)
            for process in (*parent.children(recursive=True), parent):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> "Part":
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def servers(folder: Path) -> Iterator[tuple[dict[str, Part], StoreSettings]]:
    """An S3 server, a scheduler, two workers and two dispatchers."""
    (folder / "s3" / "films").mkdir(parents=True)
    s3_port, port = free_port(), free_port()
    store = StoreSettings("s3://films/vod", f"http://127.0.0.1:{s3_port}")
    variables = environment(**KEYS, RCLONE_AUTH_KEY=f'"{",".join(KEYS.values())}"', RCLONE_CONFIG="")
    scheduler = f"tcp://127.0.0.1:{port}"

    def start(*words: str) -> Callable[[], subprocess.Popen[bytes]]:
        log = (folder / "log.txt").open("ab")
        return lambda: subprocess.Popen(
            killed_with_parent(words), env=variables, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )

    dask = [sys.executable, "-m", "dask"]
    where = ("--store", store.url, "--s3-endpoint", str(store.endpoint_url), "--scheduler", scheduler)
    commands = {
        "s3": [rclone_program(), "serve", "s3", str(folder / "s3"), "--addr", f"127.0.0.1:{s3_port}"],
        "scheduler": [*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        **{f"worker-{n}": [*dask, "worker", scheduler, "--nthreads", "1", "--memory-limit", "2GB", "--no-dashboard",
                           "--host", "127.0.0.1"] for n in (1, 2)},
        **{f"dispatcher-{n}": command("dispatch", *where) for n in (1, 2)},
    }  # fmt: skip
    with ExitStack() as stack:
        yield {name: stack.enter_context(Part(name, start(*words))) for name, words in commands.items()}, store


@pytest.mark.heavy
@pytest.mark.timeout(2400)
def test_a_night_of_kills_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    seconds = float(os.environ.get("HEADEND_CHAOS_SECONDS", CHAOS_S))
    master = make_film(tmp_path / "film.mov", frame_count=FRAMES, size=(320, 180))
    chance = random.Random(SEED)
    with servers(tmp_path) as (parts, settings):
        store = open_store(replace(settings, patience_s=60))
        queue = Queue(store)
        patient = replace(settings, patience_s=900)
        encode = EncodeSettings(Fraction(2), Fraction(10))
        request = Request(str(master), "film", picture_ladder(), patient, ClusterSettings(), encode)
        jobs = [queue.add(replace(request, title=f"title-{n}"), priority=50).id for n in range(TITLES)]
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            time.sleep(chance.uniform(5, 20))
            for part in parts.values():
                part.look()
            chance.choice(list(parts.values())).kill()
        until_s = time.monotonic() + END_S
        while any(not entry.state.ended for entry in queue.all_entries()):
            assert time.monotonic() < until_s, {e.title: e.state.value for e in queue.all_entries()}
            for part in parts.values():
                part.look()
            time.sleep(2)
        found = queue.read_all(jobs)
        assert {job.title: (job.state, job.why) for job in found if job.state is not State.DONE} == {}
        for job in found:
            assert not verify(store, job.title).findings
        attempts = Counter((job.title, attempt.task) for job in found for attempt in records.attempts(store, job.title))
        begun, done = runs(tmp_path / "log.txt", "task began"), runs(tmp_path / "log.txt", "task done")
        more = {task: count for task, count in begun.items() if count > attempts[task] + 1}
        assert more == {}, "a task was encoded more often than its attempts say"
        # A store that is killed costs waiting. A worker takes the task that it runs with it, and what the scheduler or
        # a dispatcher takes with it runs on two workers of one thread each.
        costs = {"s3": 0, "scheduler": 2, "worker-1": 1, "worker-2": 1, "dispatcher-1": 2, "dispatcher-2": 2}
        most = sum(costs[name] * part.kills for name, part in parts.items())
        lost = begun.total() - done.total()
        print(
            f"{sum(part.kills for part in parts.values())} kills, {begun.total()} runs, {lost} lost of at most {most}"
        )
        assert lost <= most


def runs(log: Path, event: str) -> Counter[tuple[str, str]]:
    """How often workers logged an event, by title and task; a kill may cut off a line."""
    found: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{") and f'"event": "{event}"' in line:
            with suppress(ValueError):
                facts = json.loads(line)
                found[facts["title"], facts["task"]] += 1
    return found
