from fractions import Fraction

import pytest

from encoder.timelines.restarts import check
from headend.errors import MasterError
from tests.support.nouns import make_master

TICK = Fraction(1, 100)


@pytest.mark.parametrize("order", [[], [None], [*range(0, 400, 4)], [0, 4, 40_000, 40_004], [0, 8, None, 4, 12]])
def test_times_that_go_on_are_taken(order: list[int | None]) -> None:
    check(make_master(), order, TICK)


@pytest.mark.parametrize("bumper", [10, 25, 1000])
@pytest.mark.parametrize("restart", [-5, 0, 3])
def test_times_that_begin_again_are_refused_with_the_place(bumper: int, restart: int) -> None:
    order = [*range(0, 4 * bumper, 4), *range(restart, 4000, 4)]

    with pytest.raises(MasterError, match=rf"begin again \d+\.\d+ s after the start \(frame {bumper:,}\)"):
        check(make_master(), order, TICK)
