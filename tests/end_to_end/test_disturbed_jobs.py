"""Interruptions and failures of a job: the command in a separate process, and its messages."""

import os
import re
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from encoder.cluster import Failed
from encoder.tool import ffmpeg_path
from headend.app import pipeline
from headend.app.jobs.model import Verb
from headend.app.jobs.queue import Queue
from headend.app.request import Event, Request
from headend.app.verifying import verify
from headend.core.errors import WorkerUnfit
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local_server import LocalS3
from tests.encoder.test_troubled_clusters import worker_of
from tests.support.command_line import command, environment, headend, headend_here
from tests.support.dask_cluster import dask_cluster
from tests.support.gate import gate_before
from tests.support.jobs import picture_ladder
from tests.support.marks import repeated
from tests.support.masters import make_film
from tests.support.s3_servers import BUCKET
from tests.support.waiting import wait_until

SILENCE_S = 30.0
"""Longest silence of a command, in seconds."""
LATE_S = 10.0
"""Extra delay of a line on a busy machine, in seconds."""


@dataclass
class Running:
    """A running command, and its standard error.

    Attributes:
        process: The process.
        lines: Lines, and their times.
    """

    process: subprocess.Popen[str]
    lines: list[tuple[float, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All lines."""
        return "\n".join(line for _, line in self.lines)

    def wait_for(self, pattern: str, seconds: float = 120) -> float:
        """Wait for a line; returns its time."""
        deadline_s = time.monotonic() + seconds
        while True:
            for at_s, line in list(self.lines):
                if re.search(pattern, line):
                    return at_s
            assert time.monotonic() < deadline_s, f"no line matches {pattern!r}:\n{self.text}"
            assert self.process.poll() is None, f"it ended without a line that matches {pattern!r}:\n{self.text}"
            time.sleep(0.05)

    def end(self, seconds: float = 120) -> int:
        """Wait for the end; returns the status."""
        status = self.process.wait(seconds)
        time.sleep(0.2)  # for the last line
        return status


@contextmanager
def running(*args: str | Path, **more: str) -> Iterator[Running]:
    """Run the command, and kill it at the end of the block."""
    process = subprocess.Popen(
        command(*args), env=environment(**more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    found = Running(process)

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            found.lines.append((time.monotonic(), line.rstrip("\n")))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield found
    finally:
        for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
            child.kill()
        process.kill()
        process.wait()
        reader.join(10)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "film.mov", frame_count=100, size=(160, 90))


# --- signals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("delay_s", "send"), [(0.7, os.kill), repeated(0.0, os.kill), repeated(1.2, os.killpg)])
def test_sigterm_while_the_cluster_of_a_submit_starts_leaves_no_traceback(
    film: Path, delay_s: float, send: Callable[[int, int], None], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with running("submit", film, "--title", "film", "--ladder", "smoke", "--store", store, "--workers", "2") as job:
        job.wait_for("renditions? of")
        time.sleep(delay_s)
        children = psutil.Process(job.process.pid).children(recursive=True)
        send(job.process.pid, signal.SIGTERM)
        assert job.end() == 128 + signal.SIGTERM
    assert job.lines[-1][1].startswith("headend: terminated"), job.text
    assert "Traceback" not in job.text
    assert not psutil.wait_procs(children, timeout=20)[1]


@pytest.mark.parametrize("send", [os.killpg, repeated(os.kill)])
def test_sigterm_while_the_cluster_of_a_dispatcher_starts_leaves_no_traceback(
    send: Callable[[int, int], None], tmp_path: Path
) -> None:
    with running("dispatch", "--store", tmp_path / "store", "--workers", "2") as dispatcher:
        dispatcher.wait_for("dispatching the jobs")
        pid = dispatcher.process.pid
        # A container's stop signals the whole group; the workers start a moment later.
        wait_until(lambda: send is os.kill or len(psutil.Process(pid).children()) > 1, "the workers start")
        send(pid, signal.SIGTERM)
        assert dispatcher.end() == 0, dispatcher.text
    assert dispatcher.lines[-1][1] == "headend: stopped", dispatcher.text
    assert "Traceback" not in dispatcher.text


# --- clusters -----------------------------------------------------------------------------------------------------


@pytest.mark.heavy
def test_a_scheduler_that_dies_ends_a_submit_with_one_line(tmp_path: Path) -> None:
    long = make_film(tmp_path / "long.mov", frame_count=1500, size=(320, 180))
    with (
        dask_cluster(tmp_path, workers=1) as dask,
        running(
            "submit", long, "--title", "film", "--ladder", "smoke", "--store", tmp_path / "store",
            "--scheduler", dask.address,
        ) as job,
    ):  # fmt: skip
        job.wait_for("encoding: ")
        dask.scheduler.kill()
        noticed_s = job.wait_for("has gone away; reconnecting")
        assert job.end() == 4
    assert job.lines[-1][1].startswith(f"headend: error: the scheduler at {dask.address} has gone away; start it again")
    assert "Traceback" not in job.text
    assert job.lines[-1][0] - noticed_s < 60


@pytest.mark.heavy
def test_a_submit_without_workers_reports_it_within_ten_seconds_and_continues_when_one_joins(
    film: Path, tmp_path: Path
) -> None:
    with (
        dask_cluster(tmp_path, workers=0) as dask,
        running(
            "submit", film, "--title", "film", "--ladder", "smoke", "--store", tmp_path / "store",
            "--scheduler", dask.address,
        ) as job,
    ):  # fmt: skip
        began_s = job.wait_for("renditions? of")
        assert job.wait_for("no worker at .* can take a task: it has no workers; waiting") - began_s < 10 + LATE_S
        time.sleep(35)
        dask.start_worker()
        assert job.end(240) == 0, job.text
    assert job.text.count("no worker at") >= 2
    gaps = [later[0] - earlier[0] for earlier, later in zip(job.lines, job.lines[1:], strict=False)]
    assert max(gaps) < SILENCE_S + LATE_S


def test_work_split_by_little_memory_is_reported_with_its_cost(tmp_path: Path) -> None:
    large = make_film(tmp_path / "large.mov", frame_count=4, size=(3840, 2160))
    with dask_cluster(tmp_path, workers=1, arguments=["--memory-limit", "1GB"]) as dask:
        where = "--title", "film", "--scheduler", dask.address, "--ladder", "web", "--effort", "draft"
        planned = headend_here("plan", large, *where)
        with running("submit", large, *where, "--store", tmp_path / "store") as job:
            job.wait_for("memory of", 60)
    line = r"memory of 1\.0 GB for each task splits the renditions: about ([\d,]+) CPU s instead of ([\d,]+); give"
    for text in (planned.stdout, job.text):
        found = re.search(line, " ".join(text.split()))
        assert found, text + planned.stderr
        assert int(found[1].replace(",", "")) >= int(found[2].replace(",", ""))


def test_a_full_scratch_disk_sends_a_task_to_another_worker(film: Path, tmp_path: Path) -> None:
    store = StoreSettings(str(tmp_path / "store"))
    events: list[Event] = []
    with dask_cluster(tmp_path, workers=2) as dask:
        full = worker_of(dask, 0)
        # Like a disk with limited room: FFmpeg's files there are cut off.
        psutil.Process(dask.workers[0].pid).rlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        encode = EncodeSettings(segment_s=Fraction(1, 2), chunk_s=Fraction(1, 2), thumbnails=False)
        request = Request(str(film), "film", picture_ladder(), store, ClusterSettings(dask.address), encode)
        pipeline.submit(request, events.append)
    failed = [event for event in events if isinstance(event, Failed)]
    assert [(event.worker, type(event.error), event.last) for event in failed] == [(full, WorkerUnfit, False)]
    output = failed[0].error.message
    assert re.search(r"scratch folder \S+ is full: the task needs .* MB and .* MB are free", output), output
    assert not verify(open_store(store), "film").findings


def test_scratch_files_are_in_the_given_folder_and_none_is_left(film: Path, tmp_path: Path) -> None:
    scratch, arguments = tmp_path / "scratch", tmp_path / "arguments"
    scratch.mkdir()
    recorder = tmp_path / "ffmpeg"
    recorder.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {arguments}\nexec {ffmpeg_path()} "$@"\n')
    recorder.chmod(0o755)
    options = ("--title", "film", "--ladder", "smoke", "--only-codecs", "avc", "--no-thumbnails", "--workers", "1")
    done = headend(
        "submit", film, *options, "--store", tmp_path / "store", "--scratch", scratch, HEADEND_FFMPEG=str(recorder)
    )
    assert done.returncode == 0, done.stderr
    outputs = {
        Path(word).parent for word in arguments.read_text().splitlines() if word.endswith(".mp4") and "avc-" in word
    }
    assert outputs and all(scratch in folder.parents for folder in outputs), outputs
    assert not [path for path in scratch.rglob("*") if path.is_file() and path.suffix != ".lock"]


# --- stores -------------------------------------------------------------------------------------------------------


def test_job_wait_continues_after_an_outage_of_the_store(film: Path, rclone_s3: LocalS3) -> None:
    with gate_before(rclone_s3.endpoint_url) as gate:
        store = StoreSettings(f"s3://{BUCKET}/waited", gate.url)
        queue = Queue(open_store(store))
        job = queue.add(
            Request(str(film), "film", picture_ladder(), store, ClusterSettings(), EncodeSettings()), priority=50
        ).id
        with running("job", "wait", job, "--store", store.url, "--s3-endpoint", gate.url) as waiting:
            waiting.wait_for("is queued")
            gate.become("refuse")
            waiting.wait_for("waiting for the store")
            gate.become("open")
            queue.command(job, Verb.CANCEL)
            assert waiting.end() == 130, waiting.text


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_a_submit_reports_a_store_that_does_not_answer_and_continues_when_it_does(
    tmp_path: Path, rclone_s3: LocalS3
) -> None:
    long = make_film(tmp_path / "long.mov", frame_count=400, size=(160, 90))
    with gate_before(rclone_s3.endpoint_url) as gate:
        where = "--store", f"s3://{BUCKET}/silent", "--s3-endpoint", gate.url
        encode = "--ladder", "smoke", "--segment-seconds", "1", "--chunk-seconds", "2", "--workers", "1"
        with running("submit", long, "--title", "film", *where, *encode) as job:
            job.wait_for("encoding: ")
            gate.become("silent")
            silent_s = time.monotonic()
            waiting_s = job.wait_for("waiting for the store", 200)
            time.sleep(max(0.0, silent_s + 100 - time.monotonic()))
            gate.become("open")
            assert job.end(240) == 0, job.text
        assert waiting_s - silent_s < 100
        gaps = [later[0] - earlier[0] for earlier, later in zip(job.lines, job.lines[1:], strict=False)]
        assert max(gaps) < SILENCE_S + LATE_S, job.text
        assert "attempt" not in job.text
        assert not verify(open_store(StoreSettings(f"s3://{BUCKET}/silent", gate.url)), "film").findings
