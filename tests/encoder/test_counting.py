from fractions import Fraction

import pytest

from encoder.probing.counting import numbered_times

STEP = Fraction(3600)
RIGHT = [45_000 + 3600 * number for number in range(200)]


def early(first: int, count: int, frames: int = 2) -> list[int]:
    """Return times of which a few in a row are some frames too early."""
    wrong = range(first, first + count)
    return [time - 3600 * frames * (number in wrong) for number, time in enumerate(RIGHT)]


def test_times_that_ascend_are_kept() -> None:
    assert numbered_times(RIGHT, STEP) is None
    assert numbered_times([*RIGHT[:50], *RIGHT[60:]], STEP) is None


@pytest.mark.parametrize(("first", "count"), [(24, 1), (24, 40), (190, 10)])
def test_times_that_go_back_are_replaced_by_numbers(first: int, count: int) -> None:
    assert numbered_times(early(first, count), STEP) == tuple(RIGHT)


def test_decoding_times_are_put_in_order() -> None:
    reordered = [RIGHT[number + (0, 1, 1, -2)[number % 4]] for number in range(200)]

    assert numbered_times(reordered, STEP) == tuple(RIGHT)


def test_numbers_are_rounded_to_ticks() -> None:
    step = Fraction(90_000 * 1001, 24_000)
    right = [round(number * step) for number in range(100)]

    assert numbered_times([*right[:40], *[time - 7508 for time in right[40:50]], *right[50:]], step) == tuple(right)


@pytest.mark.parametrize(
    "times",
    [early(24, 100), early(100, 100), [*RIGHT[:100], *RIGHT[:100]], [2 * time for time in early(24, 5)]],
    ids=["too many", "up to the end", "twice", "another rate"],
)
def test_times_of_another_kind_are_not_replaced(times: list[int]) -> None:
    assert numbered_times(times, STEP) is None
