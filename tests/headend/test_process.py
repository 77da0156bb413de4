"""Children end with their task, whatever happens."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from headend.errors import Cancelled, ToolFailed
from headend.process import run

PYTHON = sys.executable
SLEEPER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "{mark}"])
print("up", flush=True)
time.sleep(60)
"""


def running(mark: str) -> list[int]:
    return [
        p.pid
        for p in psutil.process_iter(["cmdline", "status"])
        if mark in " ".join(p.info["cmdline"] or []) and p.info["status"] != psutil.STATUS_ZOMBIE
    ]


def gone(mark: str) -> bool:
    deadline = time.monotonic() + 10
    while running(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(mark)


def test_a_finished_child_reports_its_cost() -> None:
    lines: list[str] = []
    finished = run([PYTHON, "-c", "print('frame=1'); sum(range(3_000_000))"], on_line=lines.append)
    assert lines == ["frame=1"]
    assert finished.cpu_s > 0.01
    assert finished.peak_memory_bytes > 1_000_000


def test_a_failed_child_carries_its_evidence() -> None:
    with pytest.raises(ToolFailed) as caught:
        run([PYTHON, "-c", "import sys; print('bad news', file=sys.stderr); sys.exit(3)"])
    assert caught.value.facts["status"] == 3
    assert "bad news" in caught.value.facts["stderr"]
    assert "bad news" in str(caught.value)


def test_a_missing_program_is_a_clear_failure() -> None:
    with pytest.raises(ToolFailed, match="No such file"):
        run(["/nowhere/ffmpeg"])


def test_cancelling_kills_the_child_and_its_children() -> None:
    mark = f"cancel-{os.getpid()}"
    up = threading.Event()
    with pytest.raises(Cancelled):
        run([PYTHON, "-c", SLEEPER.format(mark=mark)], on_line=lambda _: up.set(), cancelled=up.is_set)
    assert gone(mark)


def test_a_silent_child_is_stopped() -> None:
    with pytest.raises(ToolFailed, match="silent"):
        run([PYTHON, "-c", "import time; time.sleep(60)"], stall_s=0.5)


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    up = threading.Event()
    with pytest.raises(Cancelled):
        run([PYTHON, "-c", program], on_line=lambda _: up.set(), cancelled=up.is_set)


def test_a_child_dies_with_a_parent_that_is_killed_without_warning() -> None:
    mark = f"orphan-{os.getpid()}"
    parent = subprocess.Popen(
        [
            PYTHON,
            "-c",
            f"from headend.process import run; run(['{PYTHON}', '-c', 'import time; time.sleep(60)', '{mark}'])",
        ],
        start_new_session=True,
    )
    while len(running(f"time.sleep(60) {mark}")) < 1:
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone(f"time.sleep(60) {mark}")
