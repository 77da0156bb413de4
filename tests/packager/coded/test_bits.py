"""Numbers of bits."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core.timing import ceil_div
from packager.coded.bits import Bits, Truncated, Unescaped, leb128


def _written(*fields: tuple[int, int]) -> bytes:
    """Values as bits, each with its number of bits, padded with zeros."""
    text = "".join(f"{value:0{width}b}" for value, width in fields)
    return int(text.ljust(ceil_div(len(text), 8) * 8, "0"), 2).to_bytes(ceil_div(len(text), 8), "big")


@given(st.lists(st.integers(1, 40).flatmap(lambda w: st.tuples(st.integers(0, 2**w - 1), st.just(w))), min_size=1))
def test_numbers_come_back_as_they_were_written(fields: list[tuple[int, int]]) -> None:
    bits = Bits(_written(*fields))
    assert [bits.u(width) for _, width in fields] == [value for value, _ in fields]
    assert bits.position == sum(width for _, width in fields)


@given(st.lists(st.integers(0, 2**32 - 2), min_size=1))
def test_exp_golomb_codes_are_read(values: list[int]) -> None:
    bits = Bits(_written(*((value + 1, 2 * (value + 1).bit_length() - 1) for value in values)))
    assert [bits.ue() for _ in values] == values


@pytest.mark.parametrize(("code", "value"), [(0, 0), (1, 1), (2, -1), (3, 2), (4, -2)])
def test_signed_codes_alternate(code: int, value: int) -> None:
    assert Bits(_written((code + 1, 2 * (code + 1).bit_length() - 1))).se() == value


def test_signed_numbers_are_in_twos_complement() -> None:
    bits = Bits(_written((0b1111111, 7), (0b0000001, 7), (0b1000000, 7)))
    assert [bits.su(7) for _ in range(3)] == [-1, 1, -64]


def test_numbers_below_a_bound_take_fewer_bits() -> None:
    bits = Bits(_written((0b00, 2), (0b01, 2), (0b10, 2), (0b110, 3), (0b111, 3)))
    assert [bits.ns(5) for _ in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("read", [lambda b: b.u(9), lambda b: (b.u(8), b.flag()), lambda b: b.skip(9), Bits.ue])
def test_reading_past_the_end_is_an_error(read: Callable[[Bits], object]) -> None:
    with pytest.raises(Truncated):
        read(Bits(b"\0"))


def test_bytes_against_start_codes_are_left_out_and_counted() -> None:
    head = Unescaped(b"\x80\0\0\3\1\0\0\3\0\0\3\7")
    assert [head.bits.u(8) for _ in range(9)] == [0x80, 0, 0, 1, 0, 0, 0, 0, 7]
    assert head.escaped_bytes() == 12


@pytest.mark.parametrize(("bits", "escaped_bytes"), [(1, 1), (24, 3), (25, 5), (32, 5)])
def test_an_escape_byte_counts_once_the_byte_after_it_is_read(bits: int, escaped_bytes: int) -> None:
    head = Unescaped(b"\x80\0\0\3\1\2")
    head.bits.skip(bits)
    assert head.escaped_bytes() == escaped_bytes


def test_leb128_ends_with_the_first_small_byte() -> None:
    assert leb128(b"\xff\xe5\x8e\x26\xff", 1) == (624485, 4)
    with pytest.raises(Truncated):
        leb128(b"\x80", 0)
