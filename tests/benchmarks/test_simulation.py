import pytest

from benchmarks.simulation import CHURN, STUDY, churning, country, sessions_in_order
from cdn_sim import parallel
from cdn_sim.scenario import BASE, variants


def test_sessions_read_titles_in_order() -> None:
    asked, sizes = sessions_in_order(50, titles=5, segments=20)
    assert asked.max() < len(sizes) == 100
    assert (asked % 20 == 0).sum() == 50


@pytest.mark.parametrize("churn", CHURN)
def test_fill_alternatives_differ_only_in_their_edges(churn: str) -> None:
    ways = churning(churn)
    assert ways["oracle, all pinned"].edge.fill.forecast == "oracle"
    assert {each.popularity for each in ways.values()} == {ways[BASE].popularity}
    assert {each.edge.pinned for each in ways.values()} == {0.0, 0.8, 1.0}


def test_a_country_has_five_caches() -> None:
    assert country(10).isps[0].edges + 1 == 5


def test_the_study_of_two_workers_has_eight_runs() -> None:
    assert len(parallel.tasks(variants(STUDY.format(sessions=10), "study"))) == 8
