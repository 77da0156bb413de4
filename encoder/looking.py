"""Black, frozen and wrong stretches of a film, found in small pictures. Pure.

Small pictures are means over many pixels, so that grain and the coarse look of a low rate hardly show in them, and a
picture that is missing does. What a rendition shows counts as a fault only where the master shows something else. So
that what lies just at a limit is no fault, the master is taken for black or still sooner than a rendition is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from encoder.measuring import Miniatures
from headend.core.media.quality import MasterSamples, Span

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

_BLACK, _RANGE = 64, 876
"""Black, and the distance from there to white, in video range at 10 bits."""
DARK, DARK_SHARE = 0.08, 0.98
"""A rendition is black where so many of its pixels are so dark, as a share of white."""
MASTER_DARK, MASTER_DARK_SHARE = 0.13, 0.93
"""The same for the master."""
STILL, MOVING = 0.008, 0.08
"""Up to what change from one measured frame to the next a rendition stands still, and from what change on the master
moves, as a share of white; of those pixels that change most."""
MOST_SHARE = 0.01
"""How many pixels these are."""
MOVING_SHARE, AROUND_S = 0.3, Fraction(1, 2)
"""In how many of the frames around one the master has to move; films drawn on threes move in a third of them."""
OTHER = 0.06
"""From what mean difference on two pictures are not the same, as a share of white."""
OTHER_COARSE = 0.03
"""The same for means over blocks: noise that a low rate has smoothed away differs in single pixels only."""
BLOCK_PX = 10
"""Width and height of a block."""
CUT = 0.12
"""From what mean difference on a frame begins a new shot."""
STILL_S = Fraction(1, 2)
"""Shorter stretches in which a master stands still are not told."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Where a rendition shows what its master does not.

    Attributes:
        black: Where it is black.
        frozen: Where it stands still.
        other: Where it shows another picture; black ones included.
    """

    black: tuple[Span, ...]
    frozen: tuple[Span, ...]
    other: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """Which frames of the grid small pictures show.

    Attributes:
        first_frame: The first one.
        end_frame: The first frame behind what was measured.
        step_frames: From one to the next.
        frame_rate: Frames of the grid per second.
    """

    first_frame: int
    end_frame: int
    step_frames: int
    frame_rate: Fraction

    def spans(self, flags: Flags, *, least: int = 1) -> tuple[Span, ...]:
        """Turn flags of small pictures into stretches of frames; those of fewer than ``least`` pictures are dropped."""
        return tuple(
            (
                self.first_frame + first * self.step_frames,
                min(self.end_frame, self.first_frame + end * self.step_frames),
            )
            for first, end in _runs(flags)
            if end - first >= least
        )

    def pictures(self, duration_s: Fraction) -> int:
        """How many small pictures a length of time has, at least 1."""
        return max(1, round(duration_s * self.frame_rate / self.step_frames))


def of_master(master: Miniatures, timing: Timing) -> MasterSamples:
    """Say what a master shows.

    Args:
        master: Its small pictures.
        timing: Which frames these are.
    """
    light = _light(master)
    cuts = np.concatenate([[False], _difference(light[1:], light[:-1]) > CUT])
    return MasterSamples(
        seen=((timing.first_frame, timing.end_frame),),
        black=timing.spans(_is_dark(light, DARK, DARK_SHARE)),
        frozen=timing.spans(_most_changed(light) <= STILL, least=timing.pictures(STILL_S)),
        cuts=tuple(timing.first_frame + int(place) * timing.step_frames for place in np.flatnonzero(cuts)),
    )


def of_rendition(rendition: Miniatures, master: Miniatures, timing: Timing) -> Faults:
    """Find where a rendition shows what its master does not.

    Args:
        rendition: Its small pictures.
        master: Those of the master, at the same frames.
        timing: Which frames these are.
    """
    ours, theirs = _light(rendition), _light(master)
    black = _is_dark(ours, DARK, DARK_SHARE) & ~_is_dark(theirs, MASTER_DARK, MASTER_DARK_SHARE)
    our_blocks, their_blocks = _blocks(ours), _blocks(theirs)
    around = timing.pictures(AROUND_S)
    # What moves is larger than a block: noise that a low rate leaves out changes single pixels only.
    moves = _mean_around(_most_changed(their_blocks) >= MOVING, around) >= MOVING_SHARE
    # A sync frame looks a little different from the frame before, though both show the same.
    frozen = _closed(_most_changed(ours) <= STILL) & moves
    return Faults(
        black=timing.spans(black),
        frozen=timing.spans(frozen, least=2),
        other=timing.spans(
            (_difference(ours, theirs) > OTHER) & (_difference(our_blocks, their_blocks) > OTHER_COARSE)
        ),
    )


def _light(pictures: Miniatures) -> Numbers:
    """Luma, 0 for black to 1 for white."""
    return (pictures.astype(np.float64) - _BLACK) / _RANGE


def _blocks(light: Numbers) -> Numbers:
    """Means over blocks."""
    count, height, width = light.shape
    rows, columns = height // BLOCK_PX, width // BLOCK_PX
    whole = light[:, : rows * BLOCK_PX, : columns * BLOCK_PX]
    return np.asarray(whole.reshape(count, rows, BLOCK_PX, columns, BLOCK_PX).mean(axis=(2, 4)))


def _is_dark(light: Numbers, dark: float, share: float) -> Flags:
    return np.asarray((light < dark).mean(axis=(1, 2)) >= share)


def _difference(one: Numbers, other: Numbers) -> Numbers:
    return np.asarray(np.abs(one - other).mean(axis=(1, 2)))


def _most_changed(light: Numbers) -> Numbers:
    """Of each picture: the mean change, from the one before, of those pixels that change most."""
    count, pixels = len(light), light[0].size if len(light) else 0
    if count < 2:
        return np.ones(count)
    changes = np.abs(np.diff(light, axis=0)).reshape(count - 1, pixels)
    most = max(1, int(pixels * MOST_SHARE))
    top = np.partition(changes, pixels - most, axis=1)[:, pixels - most :].mean(axis=1)
    return np.concatenate([top[:1], top])


def _mean_around(flags: Flags, around: int) -> Numbers:
    window = np.ones(2 * around + 1)
    counted = np.convolve(flags.astype(float), window, "full")[around : around + len(flags)]
    present = np.convolve(np.ones(len(flags)), window, "full")[around : around + len(flags)]
    return np.asarray(counted / present)


def _closed(flags: Flags) -> Flags:
    """Single gaps are closed."""
    closed = flags.copy()
    closed[1:-1] |= flags[:-2] & flags[2:]
    return closed


def _runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """First and end of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from ((int(first), int(end)) for first, end in edges.reshape(-1, 2))
