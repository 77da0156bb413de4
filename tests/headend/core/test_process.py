"""Child processes end with their task, whatever happens."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from headend.core.errors import Cancelled, ToolFailed
from headend.core.process import Watch, available_cores, run

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
    deadline_s = time.monotonic() + 10
    while running(mark) and time.monotonic() < deadline_s:
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


def test_a_childs_memory_does_not_include_its_parents() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from headend.core.process import run\n"
        "ballast = bytearray(300 << 20)\n"
        "for at in range(0, len(ballast), 4096): ballast[at] = 1\n"
        "large = 'bytearray(b\"x\") * (150 << 20)'\n"
        "print(run(['/bin/true']).peak_memory_bytes, run([sys.executable, '-S', '-c', large]).peak_memory_bytes)"
    )
    argv = [PYTHON, "-c", program, *filter(None, sys.path)]
    small, large = map(int, subprocess.run(argv, capture_output=True, check=True, text=True).stdout.split())
    assert small < 50 << 20
    assert 150 << 20 < large < 250 << 20


def test_a_child_gets_no_secrets_and_may_not_dump_core_or_take_more_than_its_limits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "5ecret")
    monkeypatch.setenv("SOME_TOKEN", "5ecret")
    lines: list[str] = []
    program = (
        "import os, resource; print(*sorted(os.environ));"
        "print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_DATA)[1])"
    )
    run([PYTHON, "-c", program], on_line=lines.append, limits={"DATA": 1 << 30}, environment={"SVT_LOG": "1"})
    names = lines[0].split()
    assert "PATH" in names
    assert "SVT_LOG" in names
    assert not [name for name in names if "AWS" in name or "TOKEN" in name]
    assert lines[1] == f"(0, 0) {1 << 30}"
    with pytest.raises(ToolFailed, match="MemoryError"):
        run([PYTHON, "-c", "bytearray(2 << 30)"], limits={"DATA": 1 << 30})


def test_a_signal_that_ends_a_child_is_its_status() -> None:
    with pytest.raises(ToolFailed) as caught:
        run([PYTHON, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"])
    assert caught.value.facts["status"] == -signal.SIGSEGV


def test_a_child_that_prints_but_makes_no_progress_is_stopped() -> None:
    program = "import time\nwhile True: print('frame=7', flush=True); time.sleep(0.1)"
    with pytest.raises(ToolFailed, match="made no progress for 1 s and was stopped"):
        run([PYTHON, "-c", program], watch=Watch(stall_s=1, idle_s=60, progress=lambda: 7))


def test_a_child_that_is_frozen_is_stopped() -> None:
    def freeze(_: str) -> None:
        os.kill(running(mark)[0], signal.SIGSTOP)

    mark = f"frozen-{os.getpid()}"
    program = f"import time; print('up', flush=True); time.sleep(60) # {mark}"
    with pytest.raises(ToolFailed, match="did nothing for 1 s and was stopped"):
        run([PYTHON, "-c", program], on_line=freeze, watch=Watch(stall_s=60, idle_s=1, progress=lambda: 7))
    assert gone(mark)


def test_a_child_that_takes_too_long_is_stopped() -> None:
    with pytest.raises(ToolFailed, match="took longer than 1 s and was stopped"):
        run([PYTHON, "-c", "while True: pass"], watch=Watch(deadline_s=1, progress=time.monotonic))


def test_a_quota_of_a_control_group_counts_as_cores(tmp_path: Path) -> None:
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/outer/inner\n")
    (tmp_path / "outer" / "inner" / "cpu.max").write_text("max 100000\n")
    here = len(os.sched_getaffinity(0))
    assert available_cores(tmp_path / "cgroup", tmp_path) == here
    (tmp_path / "outer" / "cpu.max").write_text("50000 100000\n")
    assert available_cores(tmp_path / "cgroup", tmp_path) == 1

    (tmp_path / "v1").write_text("4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    (tmp_path / "cpu,cpuacct").mkdir()
    (tmp_path / "cpu,cpuacct" / "cpu.cfs_quota_us").write_text("90000")
    (tmp_path / "cpu,cpuacct" / "cpu.cfs_period_us").write_text("100000")
    assert available_cores(tmp_path / "v1", tmp_path) == 1
    assert available_cores(tmp_path / "none", tmp_path / "none") == here


def test_a_missing_program_is_reported() -> None:
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
        run([PYTHON, "-c", "import time; time.sleep(60)"], watch=Watch(stall_s=0.5))


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
            f"from headend.core.process import run; run(['{PYTHON}', '-c', 'import time; time.sleep(60)', '{mark}'])",
        ],
        start_new_session=True,
    )
    while len(running(f"time.sleep(60) {mark}")) < 1:
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert gone(f"time.sleep(60) {mark}")
