import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdn_sim import filling, forecasting, placement, topology
from cdn_sim.filling import window_bytes

GOLDEN = json.loads((Path(__file__).parent / "golden/open_connect.json").read_text())
TB = 10**12


def test_a_window_transfers_as_much_as_arithmetic_predicts() -> None:
    exact = GOLDEN["exact"]
    assert window_bytes(1200, 12) == exact["storage_bytes_per_window"] == 6_480 * 10**9
    assert window_bytes(400, 12) == exact["global_bytes_per_window"] == 2_160 * 10**9
    assert window_bytes(300, 12) == exact["flash_bytes_per_window"] == 1_620 * 10**9


def night(new: Any, sizes: Any, worth: Any, order: Any, mbps: float = 1200.0) -> filling.Filled:
    return filling.fill(new, worth, sizes, order, start_ms=0.0, hours=12.0, mbps=mbps)


def test_a_plan_that_exceeds_the_window_is_late_by_the_excess() -> None:
    """6.5 TB in pieces of 20 GB at 1.2 Gb/s for 12 hours: the 20 GB with the least demand are late."""
    count = 325
    sizes = np.full((count, 1), 20e9)
    worth = np.arange(count, dtype=np.float64)[::-1].reshape(count, 1)
    filled = night(np.ones((1, count, 1), dtype=bool), sizes, worth, topology.order(count, 1, "site"))
    assert filled.bytes == 6_480 * 10**9
    assert filled.late_bytes == GOLDEN["exact"]["late_bytes_of_a_6.5_TB_plan_in_12_h"]
    assert np.flatnonzero(np.isinf(filled.arrives_ms)).tolist() == [count - 1]


def test_a_rendition_crosses_transit_once_for_all_edges_of_a_site() -> None:
    order = topology.order(4, 3, "site")
    filled = night(np.ones((3, 4, 1), dtype=bool), np.full((4, 1), 1e9), np.ones((4, 1)), order)
    assert filled.bytes == 12e9
    assert filled.pulled_bytes == 4e9
    first = np.sort(filled.arrives_ms, axis=0)[0]
    for title in range(4):
        assert filled.arrives_ms[order[title, 0], title, 0] == first[title, 0]


def test_an_unchanged_plan_transfers_nothing() -> None:
    filled = night(np.zeros((2, 3, 1), dtype=bool), np.ones((3, 1)), np.ones((3, 1)), topology.order(3, 2, "site"))
    assert (filled.bytes, filled.late_bytes, filled.pulls) == (0, 0, ())


@given(
    sizes=st.lists(st.integers(1, 50), min_size=6, max_size=6),
    views=st.lists(st.integers(0, 20), min_size=6, max_size=6),
    budget=st.integers(0, 120),
    edges=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_placements_fit_and_contain_only_titles_with_demand(
    sizes: list[int], views: list[int], budget: int, edges: int
) -> None:
    order = topology.order(6, edges, "site")
    plan = placement.place(
        np.array(views, dtype=np.float64)[:, None],
        np.array(sizes, dtype=np.float64)[:, None],
        np.full(6, 10),
        order,
        np.ones(6, dtype=np.int64),
        np.zeros((edges, 6, 1), dtype=bool),
        budget,
    )
    for edge in range(edges):
        held = np.flatnonzero(plan.planned[edge, :, 0])
        assert sum(sizes[title] for title in held) <= budget
        assert all(views[title] > 0 and order[title, 0] == edge for title in held)
        left = budget - sum(sizes[title] for title in held)
        missing = [t for t in range(6) if order[t, 0] == edge and views[t] > 0 and t not in held]
        assert all(sizes[title] > left for title in missing)


def test_a_title_stays_unless_the_newcomer_is_worth_a_tenth_more() -> None:
    def planned(newcomer: float) -> list[bool]:
        held = np.array([[[True], [False]]])
        plan = placement.place(
            np.array([[100.0], [newcomer]]),
            np.ones((2, 1)),
            np.array([10, 10]),
            topology.order(2, 1, "site"),
            np.ones(2, dtype=np.int64),
            held,
            1.0,
            stays=1.1,
        )
        return plan.planned[0, :, 0].tolist()

    assert planned(109.0) == [True, False]
    assert planned(111.0) == [False, True]


def test_hot_titles_are_spread_until_the_hottest_edge_is_below_its_rate() -> None:
    order = topology.order(50, 3, "site")
    demand = np.full(50, 1e9)
    demand[7] = 1e12
    assert placement.replicas(demand, order, 1e12, 0.1, 3).max() == 1
    shared = placement.replicas(demand, order, 2e7, 0.1, 3)
    assert shared[7] == 3
    assert (shared == 3).sum() < 5


def test_views_of_days_are_weighted_by_their_age() -> None:
    assert forecasting.ewma([np.array([10.0]), np.array([20.0])], 0.4) == pytest.approx([14.0])


def test_expected_releases_follow_from_earlier_ones() -> None:
    views = np.array([[60.0, 40.0], [0.0, 0.0], [0.0, 0.0]])
    expected = forecasting.releases(
        views,
        np.array([10, 10, 10]),
        np.array([1.0, 0.0, 0.0]),
        np.array([0.5, 2.0, 2.0]),
        np.array([False, True, False]),
        seed=1,
    )
    assert expected[0].tolist() == expected[2].tolist() == [0, 0]
    assert expected[1, 0] / expected[1, 1] == pytest.approx(1.5)
    assert 200 / np.e < expected[1].sum() < 200 * np.e


def test_the_oracle_knows_future_sessions() -> None:
    views = np.array([[3.0, 1.0], [0.0, 0.0]])
    assert forecasting.oracle(views, np.array([0, 1, 1]), np.array([4, 8, 12])).tolist() == [[3, 1], [15, 5]]


def test_a_lost_edge_moves_only_its_own_titles() -> None:
    three, two = topology.order(1000, 3, "site"), topology.order(1000, 2, "site")
    stayed = three[:, 0] != 2
    assert (three[stayed, 0] == two[stayed, 0]).all()
    assert 250 < (~stayed).sum() < 420
