"""Makers and checks of hard masters: the drawn content is read back, and wrong colours are detected."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from headend.core.media import Colour
from tests.support.colours import delta_e, light_of, signal_from
from tests.support.hard_masters import (
    BT601_525,
    BT709,
    FULL_RANGE,
    HLG,
    KINDS,
    PATCHES,
    PQ,
    HardMaster,
    Painter,
    read_picture,
)

USUAL = KINDS[0]


def planes(kind: HardMaster, number: int) -> list[npt.NDArray[np.uint8]]:
    width, height = kind.size
    data = np.frombuffer(Painter(kind)(number), np.uint8)
    luma, chroma = np.split(data, [width * height])
    return [luma.reshape(height, width), *chroma.reshape(2, height // 2, width // 2)]


def worst(drawn: Colour, read: Colour) -> float:
    """Differences of the patches when one colour encoding is read as another."""
    codes = read_picture(planes(replace(USUAL, colour=drawn), 7), 8).patches
    light = light_of(signal_from(codes, read, 8), read)
    return max(delta_e(seen, patch) for seen, patch in zip(light, PATCHES, strict=True))


@pytest.mark.parametrize("number", [0, 1, 2, 53, 54])
def test_a_picture_is_read_as_it_was_drawn(number: int) -> None:
    reading = read_picture(planes(USUAL, number), 8)
    assert reading.number == number
    assert (reading.band > 128) == (0 <= (number - USUAL.flashes[1]) < 2)


@pytest.mark.parametrize("colour", [BT709, BT601_525, FULL_RANGE, PQ, HLG])
def test_patches_show_their_light_in_every_colour(colour: Colour) -> None:
    assert worst(colour, colour) < 1.5  # eight bits are coarse for PQ


@pytest.mark.parametrize(
    ("drawn", "read"),
    [
        (BT601_525, BT709),
        (BT709, BT601_525),
        (BT709, replace(BT601_525, primaries="bt709")),  # the matrix alone
        (FULL_RANGE, BT709),
        (BT709, FULL_RANGE),
        (PQ, BT709),
        (HLG, PQ),
        (replace(PQ, primaries="bt709"), PQ),
    ],
)
def test_a_mistaken_colour_exceeds_what_is_allowed(drawn: Colour, read: Colour) -> None:
    assert worst(drawn, read) > USUAL.most_delta_e


def test_kinds_have_different_names() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
