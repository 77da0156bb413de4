"""Simulated workers follow the real policy: no task is lost, and failures have their real cost."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scaling import CASES, Case, Dask, Local, Report, Simulated, draw, findings, run_empty_tasks, simulate
from headend.core.media import Effort, EncodeTask
from tests.support.encodes import task_of

CALM, SLOW, LOST = CASES


def tasks(count: int, cost: float = 100.0) -> list[EncodeTask]:
    return [replace(task_of((), [str(n)]), id=str(n), cost=cost, memory_bytes=1) for n in range(count)]


def test_a_single_worker_takes_all_the_work() -> None:
    end_s, lost_s, work_s, longest_s, speed = simulate(tasks(50), 1, CALM)

    assert end_s == pytest.approx(work_s)
    assert (lost_s, speed) == (0, 1)
    assert longest_s > 100


def test_slow_workers_count_by_their_speed() -> None:
    end_s, lost_s, work_s, _, speed = simulate(tasks(4000, 1.0), 40, SLOW)

    assert speed == 39
    assert lost_s == 0
    assert work_s / speed <= end_s < 1.05 * work_s / speed


def test_tasks_of_a_lost_worker_are_repeated() -> None:
    calm_s, *_ = simulate(tasks(50), 1, CALM)
    end_s, lost_s, work_s, *_ = simulate(tasks(50), 1, LOST)

    assert 0 < lost_s < 200
    assert end_s == pytest.approx(work_s + lost_s + 120)
    assert end_s > calm_s


def test_the_same_job_gives_the_same_result() -> None:
    case = Case("both", slow=0.1, lost=0.1)

    assert simulate(tasks(200), 20, case) == simulate(tasks(200), 20, case)


def test_the_cost_of_scheduling_is_measured_on_a_real_scheduler() -> None:
    dask = run_empty_tasks(20, tasks(1)[0], 100.0)

    assert dask.tasks == 20
    assert dask.cpu_s > 0
    assert dask.share == pytest.approx(dask.cpu_s / 20 / 100)


def test_findings_report_missed_targets(tmp_path: Path) -> None:
    rows = tuple(Simulated(case.name, 10, 30.0, 9, 1.0, 0.0, 1.0, 1.2, 1.2, 0.0, 0.1) for case in CASES)
    report = Report(
        2.0, 57, Effort.STANDARD, Local((2.0,), (1.0,), 2.0, 0.98, 1.01, (0.1,)), rows, Dask(9, 2, 1.0, 1.0, 1.0, 0.001)
    )

    output = list(findings(report))

    assert output[0].endswith("missed")
    assert output[1].endswith("reached")
    pytest.importorskip("matplotlib")
    draw(report, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_no_chart_is_drawn_without_a_simulation(tmp_path: Path) -> None:
    draw(
        Report(2.0, 57, Effort.STANDARD, Local((2.0,), (1.0,), 2.0, 0.98, 1.01, (0.1,)), (), None),
        tmp_path / "scaling.png",
    )

    assert not list(tmp_path.iterdir())
