from fractions import Fraction

import pytest

from encoder.timelines.restarts import PacketTime, check
from headend.core.errors import MasterError
from tests.support.makers import make_master

TICK = Fraction(1, 100)


def of_keyframes(*ticks: int, stated: bool = True) -> list[PacketTime]:
    return [PacketTime(at, keyframe=True, stated=stated) for at in ticks]


@pytest.mark.parametrize(
    "times",
    [
        [],
        of_keyframes(*range(0, 400, 4)),
        of_keyframes(0, 4, 40_000, 40_004),
        of_keyframes(0, 4, 3, 8),
        # Decoding times lie before those at which frames are shown.
        [PacketTime(40, keyframe=False), *of_keyframes(24, stated=False)],
        # Frames that are far apart, and shown in another order than they are decoded in.
        [PacketTime(at, keyframe=at in (0, 900)) for at in (0, 800, 200, 100, 900)],
    ],
)
def test_continuous_times_are_accepted(times: list[PacketTime]) -> None:
    check(make_master(), times, TICK)


@pytest.mark.parametrize("bumper", [10, 25, 1000])
@pytest.mark.parametrize("restart", [-5, 0, 3, 30])
def test_times_that_restart_are_refused_with_the_place(bumper: int, restart: int) -> None:
    times = of_keyframes(*range(0, 4 * bumper, 4), *range(restart, 4000, 4))

    with pytest.raises(MasterError, match=rf"begin again \d+\.\d+ s after the start \(frame {bumper:,}\)"):
        check(make_master(), times, TICK)


def test_a_step_back_that_ffmpeg_takes_for_the_wrap_of_a_clock_is_a_restart() -> None:
    wrap = (1 << 33) // 900
    times = of_keyframes(*range(10_000, 10_300, 4), *range(wrap, wrap + 400, 4))

    with pytest.raises(MasterError, match=r"begin again 2\.960 s after the start \(frame 75\), at -?0\.00\d s"):
        check(make_master(), times, TICK)
