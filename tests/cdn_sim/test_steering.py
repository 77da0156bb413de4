import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_sim.steering import FULL, LEAVE, pick, rank

ORDER = (2, 0, 1)
UP, IDLE = (True, True, True), (0.0, 0.0, 0.0)


def ranked(**changes: object) -> tuple[int, ...]:
    given: dict[str, object] = {"replicas": 1, "draw": 0, "up": UP, "load": IDLE}
    return rank(ORDER, **{**given, **changes})  # type: ignore[arg-type]


def test_an_idle_title_keeps_its_order_of_edges() -> None:
    assert ranked() == (2, 0, 1)


def test_viewers_are_spread_over_replicas() -> None:
    assert {ranked(replicas=2, draw=draw)[0] for draw in range(10)} == {2, 0}
    assert ranked(replicas=2, draw=1) == (0, 2, 1)


def test_an_unreachable_edge_is_not_listed() -> None:
    assert ranked(up=(True, True, False)) == (0, 1)
    assert ranked(up=(False, False, False)) == ()


def test_a_full_edge_is_listed_last() -> None:
    assert ranked(load=(0.2, 0.2, 0.99)) == (0, 1, 2)


def test_viewers_stay_with_a_busy_edge_until_its_load_exceeds_the_threshold_for_leaving() -> None:
    load = (0.1, 0.1, (FULL + LEAVE) / 2)
    assert ranked(load=load)[0] == 0
    assert ranked(load=load, current=2)[0] == 2
    assert ranked(load=(0.1, 0.1, LEAVE), current=2)[0] == 0


@pytest.mark.usefixtures("engine")
@given(
    replicas=st.integers(1, 3),
    draw=st.integers(0, 2**31 - 1),
    up=st.lists(st.booleans(), min_size=3, max_size=3),
    load=st.lists(st.floats(0, 1.2), min_size=3, max_size=3),
    current=st.integers(-1, 2),
)
def test_every_reachable_edge_is_listed_once(
    replicas: int, draw: int, up: list[bool], load: list[float], current: int
) -> None:
    found = rank(ORDER, replicas=replicas, draw=draw, up=up, load=load, current=None if current < 0 else current)
    assert sorted(found) == [edge for edge in range(3) if up[edge]]
    chosen, _ = pick(np.array(ORDER), replicas, draw, np.array(up, dtype=np.uint8), np.array(load), current)
    assert chosen == (found[0] if found else -1)
