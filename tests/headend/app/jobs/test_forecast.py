import pytest

from headend.app.jobs.forecast import WINDOW_S, Pace, Remaining, left_s


def test_a_single_job_takes_its_cost_divided_by_the_speed() -> None:
    assert left_s("a", {"a": Remaining(50, 600)}, 2.0) == 300


def test_more_urgent_jobs_go_first_and_less_urgent_ones_do_not_matter() -> None:
    remaining = {"a": Remaining(50, 600), "urgent": Remaining(90, 1000), "later": Remaining(10, 9999)}
    assert left_s("a", remaining, 2.0) == 800
    assert left_s("urgent", remaining, 2.0) == 500


def test_jobs_of_equal_priority_take_turns() -> None:
    remaining = {"short": Remaining(50, 100), "long": Remaining(50, 1000)}
    assert left_s("short", remaining, 1.0) == 200
    assert left_s("long", remaining, 1.0) == 1100


@pytest.mark.parametrize(("cost", "expected"), [(100.0, None), (0.0, 0.0)])
def test_without_progress_there_is_no_forecast(cost: float, expected: float | None) -> None:
    assert left_s("a", {"a": Remaining(50, cost)}, 0.0) == expected


def test_the_pace_is_that_of_all_jobs_over_the_last_minutes() -> None:
    now_s = 0.0
    pace = Pace(lambda: now_s)
    pace.update({"a": 0.0, "b": 0.0})
    assert pace.speed == 0
    now_s = 10.0
    pace.update({"a": 30.0, "b": 10.0})
    assert pace.speed == 4
    for _ in range(200):  # then it makes no progress, with one job fewer
        now_s += 1.0
        pace.update({"a": 30.0})
    assert pace.speed == 0
    assert now_s > WINDOW_S
