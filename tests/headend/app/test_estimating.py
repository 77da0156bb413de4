import pytest

from encoder.costs import measured
from headend.app.estimating import estimate
from headend.core.media import EncodePlan
from tests.support.releases import make_plan


@pytest.fixture
def plan() -> EncodePlan:
    return make_plan(trick_play=True)


def test_the_costs_of_renditions_add_up_to_those_of_tasks(plan: EncodePlan) -> None:
    found = estimate(plan, measured())
    assert sum(each.cpu_s for each in found.renditions) == pytest.approx(sum(task.cost for task in plan.tasks))
    assert sum(cpu_s for cpu_s, _ in found.by_codec().values()) == pytest.approx(found.cpu_s)


def test_no_number_of_cores_is_faster_than_the_longest_task(plan: EncodePlan) -> None:
    found = estimate(plan, measured())
    assert found.wall_s(1) == pytest.approx(found.cpu_s)
    assert found.wall_s(10_000) == pytest.approx(max(task.cost for task in plan.tasks))


def test_bytes_are_those_of_the_nominal_rates(plan: EncodePlan) -> None:
    found = {each.id: each.stored_bytes for each in estimate(plan, measured()).renditions}
    [picture] = plan.video
    assert found[picture.id] == round(picture.average_bps * float(plan.grid.duration_s) / 8)


def test_measuring_is_part_of_a_titles_cost(plan: EncodePlan) -> None:
    without, with_quality = estimate(plan, measured()), estimate(plan, measured(), 12.5)
    assert with_quality.cpu_s == without.cpu_s + 12.5
    assert with_quality.wall_s(2) >= without.wall_s(2)
