import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdn_sim.engine import links
from cdn_sim.engine.state import CLASSES, SLOTS

fair_share = getattr(links.fair_share, "py_func", links.fair_share)
reserve = getattr(links.reserve, "py_func", links.reserve)


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(1, 1.99)), min_size=CLASSES, max_size=CLASSES),
    st.floats(1, 1e6),
)
def test_flows_get_their_rate_or_an_equal_share_of_the_rest(flows: list[tuple[float, float]], capacity: float) -> None:
    active = np.array([count if count > 1e-3 else 0.0 for count, _ in flows])
    wanted = active * np.array([rate * 2**number for number, (_, rate) in enumerate(flows)])
    share = fair_share(capacity, active, wanted)
    used = np.minimum(wanted, share * active).sum()
    assert used == pytest.approx(min(capacity, wanted.sum()), rel=1e-6)


def test_a_transfer_takes_what_a_second_has_left_and_the_rest_of_a_long_one_is_its_tail() -> None:
    carried, traffic, tail = np.zeros((1, SLOTS)), np.zeros((1, 2)), np.zeros(1)
    assert reserve(0, 500.0, 1000.0, 2.0, 1.0, carried, traffic, tail) == 1000.0
    assert reserve(0, 600.0, 500.0, 2.0, 1.0, carried, traffic, tail) == 1500.0  # the first second is full
    assert carried[0, :3].tolist() == [1000.0, 500.0, 0.0]
    reserve(0, 2000.0, 1e6, 10.0, 1.0, carried, traffic, tail)
    assert tail[0] == 1e6 - 1000.0 * (SLOTS - 2)
    assert traffic.sum() == 1500.0 + 1e6
