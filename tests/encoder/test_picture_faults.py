"""Small pictures show black, frozen and wrong pictures if the master has none there."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from encoder.picture_faults import Timing, of_master, of_rendition
from encoder.small_pictures import Samples, SmallPictures
from headend.core.media.quality import PictureFaults

COUNT = 40
TIMING = Timing(100, 100 + 3 * COUNT, 3, Fraction(24))
"""Numbers of forty pictures, three frames apart: five seconds."""


def film(seed: int = 1, *, still: bool = False, level: float = 400.0) -> Samples:
    """Stripes that move or stand still."""
    across = np.arange(160)
    rows = []
    for number in range(COUNT):
        shift = 0 if still else 4 * number
        rows.append(np.tile(level + 150 * np.sin((across + shift + 17 * seed) / 7), (90, 1)))
    return np.array(rows).round().astype(np.uint16)


def noisy(pictures: Samples, strength: float, seed: int = 5) -> Samples:
    noise = np.random.default_rng(seed).normal(0, strength, pictures.shape)
    return np.clip(pictures + noise, 64, 940).astype(np.uint16)


def changed(pictures: Samples, places: slice, value: int) -> Samples:
    rendition = pictures.copy()
    rendition[places] = value
    return rendition


def small(luma: Samples, chroma: Samples | None = None) -> SmallPictures:
    """Small pictures with these samples; the frames in between look like the scored ones before them."""
    tints = np.full((len(luma), 2, 45, 80), 512, np.uint16) if chroma is None else chroma
    planes = np.concatenate([luma.reshape(-1, 1, 45, 2, 80, 2).mean((3, 5)), tints], axis=1)
    blocks = np.repeat(planes.reshape(-1, 3, 9, 5, 16, 5).mean((3, 5)), 3, axis=0)
    sides = (planes[..., 0], planes[..., -1], planes[..., 0, :], planes[..., -1, :])
    strips = np.stack([side[..., np.arange(80) * side.shape[-1] // 80] for side in sides], axis=2)
    return SmallPictures(luma, tints, strips.round().astype(np.uint16), blocks.round().astype(np.uint16))


def found(luma: Samples, master: Samples, chroma: Samples | None = None, tints: Samples | None = None) -> PictureFaults:
    return of_rendition(small(luma, chroma), small(master, tints), TIMING)


def test_a_correct_rendition_has_no_fault() -> None:
    assert found(noisy(film(), 4), film()) == found(film(), film()) == PictureFaults()


@pytest.mark.parametrize("value", [500, 940, 200], ids=["grey", "white", "dark"])
def test_a_second_of_wrong_picture_is_found(value: int) -> None:
    faults = found(changed(film(), slice(8, 16), value), film())

    assert faults.other == ((124, 148),)
    assert faults.black == ()


def tinted(strength: float, noise: float = 0.0) -> Samples:
    """Two colours side by side: one far from grey in one plane, and one in the other."""
    rendition = np.full((COUNT, 2, 45, 80), 512.0)
    rendition[:, 0, :, :40] += strength
    rendition[:, 1, :, 40:] -= strength
    return (rendition + np.random.default_rng(3).normal(0, noise, rendition.shape)).round().astype(np.uint16)


@pytest.mark.parametrize("strength", [30, 200], ids=["pale", "strong"])
@pytest.mark.parametrize(
    "damage", [lambda _: 512, lambda colours: colours[:, ::-1]], ids=["colours are gone", "colours are swapped"]
)
def test_a_second_in_other_colours_is_found(strength: float, damage: Callable[[Samples], Samples | int]) -> None:
    master, rendition = tinted(strength), tinted(strength, noise=2)
    rendition[8:16] = damage(rendition[8:16])

    assert found(film(), film(), rendition, master).recoloured == ((124, 148),)
    # Luma does not show it.
    assert found(film(), film(), rendition, master).other == ()


MIXED = {
    "BT.601 for BT.709": [[1, 0.102, 0.196], [0, 0.990, -0.111], [0, -0.072, 0.983]],
    "hue turned by 20 degrees": [[1, 0, 0], [0, 0.940, -0.342], [0, 0.342, 0.940]],
    "full range": [[255 / 219, 0, 0], [0, 255 / 224, 0], [0, 0, 255 / 224]],
}


def in_colours(noise: float = 0.0) -> SmallPictures:
    """Blocks of random colours, the same in all frames, with noise that differs."""
    recoloured, random = small(film()), np.random.default_rng(7)
    colours = np.repeat(
        random.normal([[[500]], [[512]], [[512]]], [[[150]], [[60]], [[60]]], (1, 3, 9, 16)), 3 * COUNT, 0
    )
    recoloured.blocks[:] = (colours + np.random.default_rng(8).normal(0, noise, colours.shape)).clip(64, 940).round()
    return recoloured


@pytest.mark.parametrize("matrix", MIXED.values(), ids=MIXED.keys())
def test_a_wrong_conversion_is_found_and_the_losses_of_a_low_rate_are_not(matrix: list[list[float]]) -> None:
    zero, black = np.array([64, 512, 512])[:, None, None], 0 if matrix[0][0] > 1 else 64
    wrong = in_colours(noise=3)
    converted = np.einsum("ij,fjyx->fiyx", np.array(matrix), wrong.blocks - zero)
    wrong.blocks[:] = converted + np.array([black, 512, 512])[:, None, None]

    assert of_rendition(wrong, in_colours(), TIMING).recoloured == ((100, 220),)
    assert of_rendition(in_colours(noise=15), in_colours(), TIMING).recoloured == ()


@pytest.mark.parametrize("edge", [(..., 0), (..., -1), (..., 0, slice(None)), (..., -1, slice(None))])
def test_a_second_with_a_green_edge_is_found(edge: tuple[object, ...]) -> None:
    rendition = tinted(30, noise=20)
    rendition[8:16][edge] = 300

    assert found(film(), film(), rendition, tinted(30)).lined == ((124, 148),)


def test_colours_changed_by_a_low_rate_are_not_a_wrong_picture() -> None:
    weaker = ((tinted(60, noise=20).astype(float) - 512) * 0.7 + 512).round().astype(np.uint16)

    assert found(film(), film(), weaker, tinted(60)) == PictureFaults()
    # Neither are those of a film without any.
    assert found(film(), film(), tinted(8), tinted(0)) == PictureFaults()


def test_a_single_frame_is_found_even_between_scored_ones() -> None:
    rendition = small(film())
    rendition.blocks[25, 0] = 500

    assert of_rendition(rendition, small(film()), TIMING) == PictureFaults(stray=((125, 126),))


def by_frame(*, late: int) -> SmallPictures:
    """A film whose blocks change with every frame, ``late`` frames late."""
    numbers = np.maximum(np.arange(3 * COUNT) - late, 0)[:, None, None]
    luma = 500 + 120 * np.sin(numbers / 6 + np.arange(144).reshape(9, 16))
    rendition = small(film())
    rendition.blocks[:, 0] = luma.round()
    return rendition


def test_a_rendition_that_is_a_frame_late_is_found_and_one_without_motion_is_not() -> None:
    assert of_rendition(by_frame(late=1), by_frame(late=0), TIMING).shifted == ((100, 220),)
    assert of_rendition(by_frame(late=0), by_frame(late=2), TIMING).shifted == ((100, 220),)
    still = found(noisy(film(still=True), 9), film(still=True))
    assert still.shifted == ()


def test_black_is_found_where_the_master_is_not_black() -> None:
    rendition = changed(film(), slice(0, 8), 64)

    assert found(rendition, film()).black == ((100, 124),)
    assert found(rendition, rendition).black == ()
    # A nearly black master may become black.
    nearly = changed(film(), slice(0, 8), 150)
    assert found(rendition, nearly).black == ()


def test_a_frozen_picture_is_found_where_the_master_moves() -> None:
    frozen = film()
    frozen[10:30] = frozen[10]

    faults = found(frozen, film())

    assert len(faults.frozen) == 1
    first, end = faults.frozen[0]
    assert first <= 136 and end >= 187
    assert found(film(still=True), film(still=True)).frozen == ()


def test_noise_smoothed_away_by_a_low_rate_is_neither_frozen_nor_wrong() -> None:
    noise, grey = noisy(np.full((COUNT, 90, 160), 500, np.uint16), 125), np.full((COUNT, 90, 160), 500, np.uint16)

    faults = found(grey, noise)

    assert (faults.frozen, faults.other) == ((), ())


def test_grain_removed_by_encoding_is_not_a_frozen_picture() -> None:
    grainy = noisy(film(still=True), 9)

    assert found(film(still=True), grainy).frozen == ()


def test_a_sync_frame_does_not_end_a_frozen_stretch() -> None:
    frozen = film()
    frozen[10:30] = frozen[10]
    frozen[20:30] += 12  # the next sync frame is a little lighter

    (only,) = found(frozen, film()).frozen
    assert only[1] - only[0] >= 48


def test_black_and_still_stretches_and_cuts_of_a_master_are_found() -> None:
    master = film()
    master[0:10] = 64
    master[20:40] = film(seed=9, level=700)[5]

    look = of_master(small(master), TIMING)

    assert look.black == ((100, 130),)
    assert look.frozen[-1] == (160, 220) or look.frozen[-1] == (163, 220)
    assert look.cuts == (130, 160)
    assert look.seen == ((100, 220),)


def test_a_title_of_one_picture_has_no_fault() -> None:
    one = film()[:1]
    timing = Timing(0, 3, 3, Fraction(24))

    assert of_rendition(small(one), small(one), timing).other == ()
    assert of_master(small(one), timing).frozen == ()
