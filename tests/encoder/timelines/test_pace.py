"""Sample rates that change, by the times of packets alone."""

from fractions import Fraction

import numpy as np
import pytest

from encoder.timelines import pace
from headend.core.media import Span, Timeline

UNIT = 705_600_000


def times(*parts: tuple[int, float], rounded_to: int = 1, gap_after: int = 0) -> np.ndarray:
    """Start times of packets, given the number and the distance in seconds for each part."""
    steps = np.concatenate([np.full(count, seconds * UNIT) for count, seconds in parts])
    starts = np.concatenate(([0], np.cumsum(steps)[:-1]))
    starts[gap_after or len(starts) :] += UNIT // 2
    return np.round(starts / rounded_to).astype(np.int64) * rounded_to


def changes(starts: np.ndarray) -> tuple[float, ...]:
    lengths = np.full(len(starts), UNIT * 1024 // 48_000)
    return tuple(float(one.at_s) for one in pace.changes(starts, lengths, UNIT))


@pytest.mark.parametrize("rounded_to", [1, UNIT // 90_000, UNIT // 1000])
@pytest.mark.parametrize("rate_hz", [44_100, 24_000, 96_000])
def test_packets_that_get_further_apart_have_another_rate(rate_hz: int, rounded_to: int) -> None:
    starts = times((100, 1024 / 48_000), (900, 1024 / rate_hz), rounded_to=rounded_to)

    assert changes(starts) == pytest.approx([100 * 1024 / 48_000], abs=0.1)


@pytest.mark.parametrize(
    "starts",
    [
        times((1000, 1024 / 48_000)),
        times((1000, 1024 / 44_100)),  # the header is wrong, but wrong throughout
        times((1000, 1024 / 48_000), gap_after=300),
        times((300, 1024 / 48_000), (700, 1024 / 48_000 * 1.01), rounded_to=UNIT // 1000),  # drift
        times((20, 1024 / 48_000), (20, 1024 / 44_100)),  # too short to detect
    ],
)
def test_gaps_and_drift_are_not_mistaken_for_another_rate(starts: np.ndarray) -> None:
    assert changes(starts) == ()


def spans(*ends_s: tuple[float, float]) -> Timeline:
    return Timeline(tuple(Span(Fraction(start).limit_denominator(1000), Fraction(end)) for start, end in ends_s))


@pytest.mark.parametrize(
    ("timeline", "finding"),
    [
        (spans((0, 4), (4.354, 8.707)), "times that count at 48000 Hz"),
        (spans((0, 4), (4.354, 8.707), (8, 12)), "times that count at 48000 Hz"),  # and back again
        (spans((0, 4), (4.354, 8.354)), None),  # a gap of sound that is as long as it should be
        (spans((0, 4), (4.2, 8.707)), None),
        (spans((0, 8.707)), None),
    ],
)
def test_a_part_at_the_position_of_another_rate_has_that_rate(timeline: Timeline, finding: str | None) -> None:
    end_s = Fraction(12 if len(timeline.spans) == 3 else 8)
    change = pace.rate_by_break(timeline, 44_100, start_s=Fraction(0), end_s=end_s)

    assert (change.after if change else None) == finding
    assert change is None or change.at_s == 4
