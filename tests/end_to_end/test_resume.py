"""Whatever is killed, nothing incomplete is visible, and a second run completes the work."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from headend.core import layout
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager.conformance import verify
from tests.support.masters import make_film
from tests.support.processes import encoders_of
from tests.support.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).parents[2]


def start(master: Path, folder: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "headend", "submit", str(master), "--title", "film", "--ladder", "smoke"]
    argv += ["--store", str(folder / "store"), "--workers", "2", "--segment-seconds", "1", "--chunk-seconds", "1"]
    return subprocess.Popen(
        [*argv, "--effort", "high", "--only-codecs", "avc,hevc", "--json"],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def test_a_second_submit_completes_the_work_after_everything_was_killed(tmp_path: Path) -> None:
    master = make_film(tmp_path / "master.mp4", frame_count=150, size=(160, 90), codec_args=("-preset", "ultrafast"))
    store = open_store(StoreSettings(str(tmp_path / "store")))

    def receipts() -> int:
        return sum("/receipts/" in info.key for info in store.list("titles/"))

    first = start(master, tmp_path)
    wait_until(lambda: receipts() >= 2 and encoders_of(tmp_path))
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    wait_until(lambda: not encoders_of(tmp_path))
    kept = receipts()
    assert not [info for info in store.list("titles/") if info.key == layout.current("film")]
    assert not [info for info in store.list("titles/") if info.key.endswith((".m3u8", ".mpd"))]

    second = start(master, tmp_path)
    out, _ = second.communicate(timeout=240)
    assert second.returncode == 0
    result = json.loads(out)
    assert result["reused_parts"] > kept >= 2
    assert result["encoded_tasks"] > 0
    assert verify(store, "film").findings == ()
    assert not encoders_of(tmp_path)


def test_a_worker_that_dies_costs_one_attempt_and_no_frame(tmp_path: Path) -> None:
    master = make_film(tmp_path / "master.mp4", frame_count=100, codec_args=("-preset", "ultrafast"))
    store = open_store(StoreSettings(str(tmp_path / "store")))

    def kill_a_worker() -> bool:
        for encoder in encoders_of(tmp_path):
            with suppress(psutil.NoSuchProcess):  # an encoder may end as soon as it has been seen
                if (worker := encoder.parent()) is not None:
                    worker.kill()
                    return True
        return False

    job = start(master, tmp_path)
    wait_until(kill_a_worker)
    assert job.wait(240) == 0
    attempts = [info.key for info in store.list("titles/") if "/attempts/" in info.key]
    assert attempts
    assert verify(store, "film").findings == ()


def test_an_interrupt_leaves_no_process_and_no_release(tmp_path: Path) -> None:
    master = make_film(tmp_path / "master.mp4", frame_count=250, codec_args=("-preset", "ultrafast"))
    job = start(master, tmp_path)
    wait_until(lambda: encoders_of(tmp_path))
    os.killpg(job.pid, signal.SIGINT)
    assert job.wait(PATIENCE_S) == 130
    wait_until(lambda: not encoders_of(tmp_path))
    wait_until(lambda: not _session(job.pid))
    store = open_store(StoreSettings(str(tmp_path / "store")))
    assert not [info for info in store.list("titles/") if info.key == layout.current("film")]


def _session(leader: int) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
