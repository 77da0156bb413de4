from collections.abc import Generator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.forward_reader import MAX_SKIP_S, ForwardReader

LENGTH_S = 100
STEP_S = Fraction(1, 2)


class Stream:
    """A stream with a value each half second, which can be sought to whole tens of seconds, as to keyframes."""

    def __init__(self) -> None:
        self.starts: list[Fraction] = []
        self.read = 0

    def start(self, at_s: Fraction) -> Generator[tuple[Fraction, int], None, None]:
        self.starts.append(at_s)
        for number in range(max(0, int(at_s // 10)) * 20, int(LENGTH_S / STEP_S)):
            self.read += 1
            yield number * STEP_S, number


def expected(first_s: Fraction, last_s: Fraction) -> list[tuple[Fraction, int]]:
    values = [(number * STEP_S, number) for number in range(int(LENGTH_S / STEP_S))]
    before = [value for value in values if value[0] < first_s][-1:]
    return before + [value for value in values if first_s <= value[0] <= last_s]


def test_parts_in_order_are_read_once() -> None:
    stream = Stream()
    reader = ForwardReader(stream.start)
    for first_s in range(0, LENGTH_S, 4):
        for _ in range(60):  # renditions
            assert reader.part(Fraction(first_s), Fraction(first_s + 12)) == expected(
                Fraction(first_s), Fraction(first_s + 12)
            )

    assert stream.starts == [0]
    assert stream.read == LENGTH_S / STEP_S


def test_a_part_far_ahead_or_behind_is_sought() -> None:
    stream = Stream()
    reader = ForwardReader(stream.start)
    reader.part(Fraction(0), Fraction(4))
    reader.part(Fraction(4 + MAX_SKIP_S + 30), Fraction(60))
    reader.part(Fraction(12), Fraction(14))

    assert stream.starts == [0, 54, 12]


@given(
    st.lists(
        st.tuples(st.fractions(1, 110, max_denominator=8), st.fractions(0, 20, max_denominator=8)),
        min_size=1,
        max_size=9,
    )
)
def test_any_order_of_parts_gives_the_same_values(parts: list[tuple[Fraction, Fraction]]) -> None:
    reader = ForwardReader(Stream().start)
    for first_s, length_s in parts:
        # At a keyframe, the value before it is not known.
        if first_s % 10 or first_s >= LENGTH_S:
            found = reader.part(first_s, first_s + length_s)
            if first_s < LENGTH_S:
                assert found == expected(first_s, first_s + length_s)


def test_an_error_of_the_stream_reaches_the_caller() -> None:
    def start(_at_s: Fraction) -> Generator[tuple[Fraction, int], None, None]:
        yield Fraction(0), 0
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        ForwardReader(start).part(Fraction(0), Fraction(9))
