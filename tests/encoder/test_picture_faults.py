"""Small pictures show black, frozen and wrong pictures if the master has none there."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from encoder.measuring import Colours, Miniatures
from encoder.picture_faults import Timing, of_master, of_rendition

COUNT = 40
TIMING = Timing(100, 100 + 3 * COUNT, 3, Fraction(24))
"""Numbers of forty pictures, three frames apart: five seconds."""


def film(seed: int = 1, *, still: bool = False, level: float = 400.0) -> Miniatures:
    """Stripes that move or stand still."""
    across = np.arange(160)
    rows = []
    for number in range(COUNT):
        shift = 0 if still else 4 * number
        rows.append(np.tile(level + 150 * np.sin((across + shift + 17 * seed) / 7), (90, 1)))
    return np.array(rows).round().astype(np.uint16)


def noisy(pictures: Miniatures, strength: float, seed: int = 5) -> Miniatures:
    noise = np.random.default_rng(seed).normal(0, strength, pictures.shape)
    return np.clip(pictures + noise, 64, 940).astype(np.uint16)


def changed(pictures: Miniatures, places: slice, value: int) -> Miniatures:
    made = pictures.copy()
    made[places] = value
    return made


def test_a_correct_rendition_has_no_fault() -> None:
    assert of_rendition(noisy(film(), 4), film(), TIMING) == of_rendition(film(), film(), TIMING)
    faults = of_rendition(noisy(film(), 4), film(), TIMING)
    assert (faults.black, faults.frozen, faults.other) == ((), (), ())


@pytest.mark.parametrize("value", [500, 940, 200], ids=["grey", "white", "dark"])
def test_a_second_of_wrong_picture_is_found(value: int) -> None:
    faults = of_rendition(changed(film(), slice(8, 16), value), film(), TIMING)

    assert faults.other == ((124, 148),)
    assert faults.black == ()


def tinted(strength: float, noise: float = 0.0) -> Colours:
    """Two colours side by side: one far from grey in one plane, and one in the other."""
    made = np.full((COUNT, 2, 45, 80), 512.0)
    made[:, 0, :, :40] += strength
    made[:, 1, :, 40:] -= strength
    return (made + np.random.default_rng(3).normal(0, noise, made.shape)).round().astype(np.uint16)


@pytest.mark.parametrize("strength", [30, 200], ids=["pale", "strong"])
@pytest.mark.parametrize(
    "damage", [lambda _: 512, lambda colours: colours[:, ::-1]], ids=["colours are gone", "colours are swapped"]
)
def test_a_second_in_other_colours_is_found(strength: float, damage: Callable[[Colours], Colours | int]) -> None:
    master, made = tinted(strength), tinted(strength, noise=2)
    made[8:16] = damage(made[8:16])

    assert of_rendition(film(), film(), TIMING, (made, master)).other == ((124, 148),)
    # Luma alone does not show it.
    assert of_rendition(film(), film(), TIMING).other == ()


@pytest.mark.parametrize("edge", [(..., 0), (..., -1), (..., 0, slice(None)), (..., -1, slice(None))])
def test_a_second_with_a_green_edge_is_found(edge: tuple[object, ...]) -> None:
    made = tinted(30, noise=20)
    made[8:16][edge] = 300

    assert of_rendition(film(), film(), TIMING, (made, tinted(30))).other == ((124, 148),)


def test_colours_changed_by_a_low_rate_are_not_a_wrong_picture() -> None:
    weaker = ((tinted(60, noise=20).astype(float) - 512) * 0.7 + 512).round().astype(np.uint16)

    assert of_rendition(film(), film(), TIMING, (weaker, tinted(60))).other == ()
    # Neither are those of a film without any.
    assert of_rendition(film(), film(), TIMING, (tinted(8), tinted(0))).other == ()


def test_black_is_found_where_the_master_is_not_black() -> None:
    made = changed(film(), slice(0, 8), 64)

    assert of_rendition(made, film(), TIMING).black == ((100, 124),)
    assert of_rendition(made, made, TIMING).black == ()
    # A nearly black master may become black.
    nearly = changed(film(), slice(0, 8), 150)
    assert of_rendition(made, nearly, TIMING).black == ()


def test_a_frozen_picture_is_found_where_the_master_moves() -> None:
    frozen = film()
    frozen[10:30] = frozen[10]

    faults = of_rendition(frozen, film(), TIMING)

    assert len(faults.frozen) == 1
    first, end = faults.frozen[0]
    assert first <= 136 and end >= 187
    assert of_rendition(film(still=True), film(still=True), TIMING).frozen == ()


def test_noise_smoothed_away_by_a_low_rate_is_neither_frozen_nor_wrong() -> None:
    noise, grey = noisy(np.full((COUNT, 90, 160), 500, np.uint16), 125), np.full((COUNT, 90, 160), 500, np.uint16)

    faults = of_rendition(grey, noise, TIMING)

    assert (faults.frozen, faults.other) == ((), ())


def test_grain_removed_by_encoding_is_not_a_frozen_picture() -> None:
    grainy = noisy(film(still=True), 9)

    assert of_rendition(film(still=True), grainy, TIMING).frozen == ()


def test_a_sync_frame_does_not_end_a_frozen_stretch() -> None:
    frozen = film()
    frozen[10:30] = frozen[10]
    frozen[20:30] += 12  # the next sync frame is a little lighter

    (only,) = of_rendition(frozen, film(), TIMING).frozen
    assert only[1] - only[0] >= 48


def test_black_and_still_stretches_and_cuts_of_a_master_are_found() -> None:
    master = film()
    master[0:10] = 64
    master[20:40] = film(seed=9, level=700)[5]

    look = of_master(master, TIMING)

    assert look.black == ((100, 130),)
    assert look.frozen[-1] == (160, 220) or look.frozen[-1] == (163, 220)
    assert look.cuts == (130, 160)
    assert look.seen == ((100, 220),)


def test_a_title_of_one_picture_has_no_fault() -> None:
    one = film()[:1]
    timing = Timing(0, 3, 3, Fraction(24))

    assert of_rendition(one, one, timing).other == ()
    assert of_master(one, timing).frozen == ()
