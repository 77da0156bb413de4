from fractions import Fraction

import pytest

from encoder.timelines.restarts import check
from headend.core.errors import MasterError
from tests.support.nouns import make_master

TICK = Fraction(1, 100)


def of_keyframes(*ticks: int) -> list[tuple[int | None, bool]]:
    return [(at, True) for at in ticks]


@pytest.mark.parametrize(
    "times",
    [
        [],
        [(None, True)],
        of_keyframes(*range(0, 400, 4)),
        of_keyframes(0, 4, 40_000, 40_004),
        # Frames that are far apart, and shown in another order than decoded.
        [(0, True), (800, False), (200, False), (100, False), (900, True)],
    ],
)
def test_continuous_times_are_accepted(times: list[tuple[int | None, bool]]) -> None:
    check(make_master(), times, TICK)


@pytest.mark.parametrize("bumper", [10, 25, 1000])
@pytest.mark.parametrize("restart", [-5, 0, 3])
def test_times_that_restart_are_refused_with_the_place(bumper: int, restart: int) -> None:
    times = of_keyframes(*range(0, 4 * bumper, 4), *range(restart, 4000, 4))

    with pytest.raises(MasterError, match=rf"begin again \d+\.\d+ s after the start \(frame {bumper:,}\)"):
        check(make_master(), times, TICK)
