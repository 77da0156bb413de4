"""Find black, frozen and wrong pictures in a rendition by comparing small pictures with the master's. Pure.

Each pixel of a small picture is the mean of many, so grain and the artefacts of a low rate hardly show in it, while a
missing picture does. A rendition is at fault only where the master shows something else. The thresholds for the master
are looser than those for a rendition, so that pictures close to a threshold are not reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from encoder.measuring import Colours, Miniatures
from headend.core.media.quality import MasterSamples, Span

Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

_BLACK, _RANGE = 64, 876
"""Luma of black, and the range from black to white, in limited range at 10 bits."""
_GREY, _CHROMA_RANGE = 512, 896
"""Chroma of grey, and the range of chroma."""
DARK, DARK_SHARE = 0.08, 0.98
"""A rendition's picture is black if this share of its pixels is below this luma (0 black, 1 white)."""
MASTER_DARK, MASTER_DARK_SHARE = 0.13, 0.93
"""The same for the master."""
STILL, MOVING = 0.008, 0.08
"""A rendition is still up to the first change of luma between measured frames; the master moves from the second one on.
Both are means over the pixels that change most."""
MOST_SHARE = 0.01
"""The share of pixels that counts as changing most."""
MOVING_SHARE, AROUND_S = 0.3, Fraction(1, 2)
"""The master moves at a frame if this share of the frames within this time does; animation on threes has a third."""
OTHER = 0.06
"""Two pictures differ if their mean difference of luma exceeds this."""
OTHER_COARSE = 0.03
"""The same for means over blocks: noise that a low rate smooths away changes single pixels only."""
BLOCK_PX = 10
"""Width and height of a block."""
COLOUR = 0.05
"""Two pictures differ in colour if the mean difference of chroma between their blocks exceeds this. The lowest rates
lose up to 0.02, and tone mapping may double that."""
COLOURLESS, COLOURLESS_SHARE = 0.012, 0.8
"""They also differ if it exceeds both this and this share of the master's own distance from grey: the colours of a pale
picture are gone."""
EDGE = 0.1
"""They also differ if the mean difference of chroma along one of the edges exceeds this, such as at a green line."""
CUT = 0.12
"""A frame starts a new shot if its mean difference from the one before exceeds this."""
STILL_S = Fraction(1, 2)
"""Shorter still stretches of a master are not reported."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Stretches in which a rendition differs from its master.

    Attributes:
        black: It is black, and the master is not.
        frozen: It stands still, and the master moves.
        other: It shows another picture; includes black ones.
    """

    black: tuple[Span, ...]
    frozen: tuple[Span, ...]
    other: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """The frames of the grid that the small pictures show.

    Attributes:
        first_frame: The first one.
        end_frame: End of the measured range, exclusive.
        step_frames: Distance from one small picture to the next.
        frame_rate: Frames of the grid per second.
    """

    first_frame: int
    end_frame: int
    step_frames: int
    frame_rate: Fraction

    def spans(self, flags: Flags, *, least: int = 1) -> tuple[Span, ...]:
        """Turn flags of small pictures into ranges of frames; drops ranges of fewer than ``least`` pictures."""
        return tuple(
            (
                self.first_frame + first * self.step_frames,
                min(self.end_frame, self.first_frame + end * self.step_frames),
            )
            for first, end in _runs(flags)
            if end - first >= least
        )

    def pictures(self, duration_s: Fraction) -> int:
        """Number of small pictures in a duration, at least 1."""
        return max(1, round(duration_s * self.frame_rate / self.step_frames))


def of_master(master: Miniatures, timing: Timing) -> MasterSamples:
    """Find where a master is black or still, and where its shots begin.

    Args:
        master: Its small pictures.
        timing: The frames that they show.
    """
    light = _light(master)
    cuts = np.concatenate([[False], _difference(light[1:], light[:-1]) > CUT])
    return MasterSamples(
        seen=((timing.first_frame, timing.end_frame),),
        black=timing.spans(_is_dark(light, DARK, DARK_SHARE)),
        frozen=timing.spans(_most_changed(light) <= STILL, least=timing.pictures(STILL_S)),
        cuts=tuple(timing.first_frame + int(place) * timing.step_frames for place in np.flatnonzero(cuts)),
    )


def of_rendition(
    rendition: Miniatures, master: Miniatures, timing: Timing, colours: tuple[Colours, Colours] | None = None
) -> Faults:
    """Find where a rendition differs from its master.

    Args:
        rendition: Its small pictures.
        master: The master's, of the same frames.
        timing: The frames that they show.
        colours: The colours of both; None to compare luma only.
    """
    ours, theirs = _light(rendition), _light(master)
    black = _is_dark(ours, DARK, DARK_SHARE) & ~_is_dark(theirs, MASTER_DARK, MASTER_DARK_SHARE)
    our_blocks, their_blocks = _blocks(ours), _blocks(theirs)
    around = timing.pictures(AROUND_S)
    # Moving things are larger than a block; noise that a low rate removes changes single pixels only.
    moves = _mean_around(_most_changed(their_blocks) >= MOVING, around) >= MOVING_SHARE
    # A sync frame differs a little from the frame before even if both show the same picture: close such gaps.
    frozen = _closed(_most_changed(ours) <= STILL) & moves
    other = (_difference(ours, theirs) > OTHER) & (_difference(our_blocks, their_blocks) > OTHER_COARSE)
    if colours is not None:
        other |= _other_colours(*colours)
    return Faults(black=timing.spans(black), frozen=timing.spans(frozen, least=2), other=timing.spans(other))


def _other_colours(ours: Colours, theirs: Colours) -> Flags:
    one, other = _tints(ours), _tints(theirs)
    off = np.abs(one - other).mean(axis=(1, 2, 3))
    colourless = (off > COLOURLESS) & (off > COLOURLESS_SHARE * np.abs(other).mean(axis=(1, 2, 3)))
    return np.asarray((off > COLOUR) | colourless | (_edges_off(ours, theirs) > EDGE))


def _edges_off(ours: Colours, theirs: Colours) -> Numbers:
    """For each picture, the mean difference of chroma along that edge where it is largest."""
    off = np.abs(ours.astype(np.float64) - theirs) / _CHROMA_RANGE
    edges = (off[..., 0], off[..., -1], off[..., 0, :], off[..., -1, :])
    return np.max([edge.mean(axis=(1, 2)) for edge in edges], axis=0) if len(off) else np.zeros(0)


def _tints(colours: Colours) -> Numbers:
    """Chroma of blocks, 0 for grey; a block is as large as one of luma."""
    count, planes, height, width = colours.shape
    size = BLOCK_PX // 2
    rows, columns = height // size, width // size
    light = (colours[:, :, : rows * size, : columns * size].astype(np.float64) - _GREY) / _CHROMA_RANGE
    return np.asarray(light.reshape(count, planes, rows, size, columns, size).mean(axis=(3, 5)))


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
    """For each picture, the mean change from the one before of the pixels that change most."""
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
    """Set single false flags between two true ones."""
    closed = flags.copy()
    closed[1:-1] |= flags[:-2] & flags[2:]
    return closed


def _runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """Start and end of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from ((int(first), int(end)) for first, end in edges.reshape(-1, 2))
