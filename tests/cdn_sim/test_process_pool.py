"""Processes that share the work of a simulation."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import active_children
from pathlib import Path

import psutil
import pytest

from cdn_sim import process_pool
from headend.core.errors import ConfigError, HeadendError
from tests.support.command_line import ROOT, environment
from tests.support.waiting import wait_until


def square(number: int, _steps: object) -> tuple[int, int]:
    return number * number, os.getpid()


def die_at_first(folder: Path, number: int, _steps: object) -> int:
    mark = folder / str(number)
    if number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def sleep(seconds: float, steps: Callable[[int], None]) -> None:
    steps(1)
    time.sleep(seconds)
    steps(2)


def die(_number: int, _steps: object) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def refuse(number: int, _steps: object) -> int:
    if number == 1:
        raise ConfigError("this one can't be")
    time.sleep(60)
    return number


def fail(_number: int, _steps: object) -> int:
    raise ZeroDivisionError


@pytest.mark.parametrize("is_alone", [True, False])
def test_every_task_is_done_once_by_other_processes(is_alone: bool) -> None:
    other = threading.Event()
    thread = threading.Thread(target=other.wait, daemon=True)
    if not is_alone:
        thread.start()
    found = list(process_pool.run_tasks(range(9), square, 2))
    other.set()
    assert sorted((task, result) for task, (result, _) in found) == [(n, n * n) for n in range(9)]
    assert os.getpid() not in {pid for _, (_, pid) in found}


def test_a_task_whose_process_is_killed_is_given_to_another_one(tmp_path: Path) -> None:
    assert sorted(result for _, result in process_pool.run_tasks(range(5), partial(die_at_first, tmp_path), 2)) == list(
        range(5)
    )


def test_a_task_that_kills_every_process_ends_the_work() -> None:
    with pytest.raises(HeadendError, match="was killed 3 times; free some memory"):
        list(process_pool.run_tasks(range(2), die, 2))


def test_an_error_reaches_the_caller_at_once_and_leaves_no_process() -> None:
    began_s = time.monotonic()
    with pytest.raises(ConfigError, match="this one can't be"):
        list(process_pool.run_tasks(range(2), refuse, 2))
    with pytest.raises(HeadendError, match="unexpected ZeroDivisionError"):
        list(process_pool.run_tasks(range(2), fail, 2))
    assert time.monotonic() - began_s < 50
    assert not active_children()


def test_a_long_silence_is_reported() -> None:
    progress: list[int] = []

    def note(done: int) -> None:
        progress.append(done)

    assert len(list(process_pool.run_tasks([0.3, 0.0], sleep, 1, on_idle=note, idle_s=0.05))) == 2
    assert progress and set(progress) <= {0, 1}


def test_the_steps_of_tasks_are_reported_as_they_are_done() -> None:
    steps: list[tuple[int, int]] = []
    results = process_pool.run_tasks([0.0, 0.0], sleep, 1, on_step=lambda task, done: steps.append((task, done)))
    assert len(list(results)) == 2
    assert steps == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_a_parent_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    program = (
        "import os, time\nfrom pathlib import Path\nfrom cdn_sim import process_pool\n"
        "def note(number, steps):\n"
        f"    Path({str(tmp_path)!r}, str(number)).write_text(str(os.getpid()))\n"
        "    time.sleep(600)\n"
        "list(process_pool.run_tasks(range(2), note, 2))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], env=environment(), cwd=ROOT) as parent:
        try:
            wait_until(
                lambda: (
                    [path.read_text() for path in tmp_path.iterdir()].count("") == 0
                    and len(list(tmp_path.iterdir())) == 2
                )
            )
            pids = [int(path.read_text()) for path in tmp_path.iterdir()]
        finally:
            parent.kill()
    wait_until(lambda: not any(_is_alive(pid) for pid in pids))


def _pids(folder: Path) -> list[int]:
    return [int(text) for path in folder.iterdir() if (text := path.read_text())]


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
