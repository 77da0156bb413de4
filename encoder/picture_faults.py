"""Find black, frozen and wrong pictures in a rendition by comparing small pictures with the master's. Pure.

Each pixel of a small picture is the mean of many pixels, so it hardly shows grain or the artefacts of a low rate, but
does show a missing picture. A rendition has a fault only if the master shows something else. The thresholds for the
master are looser than those for a rendition, so that pictures close to a threshold are not reported.
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
"""Change of luma between measured frames up to which a rendition is frozen, and from which the master moves. Both are
means over the pixels that change most."""
CHANGED_SHARE = 0.01
"""Share of the pixels that are averaged: those that change most."""
MOVING_SHARE, AROUND_S = 0.3, Fraction(1, 2)
"""The master moves at a frame if at least this share of the frames around it do, within this time before and after: in
animation on threes, a third of them do."""
OTHER = 0.06
"""Two pictures differ if their mean difference of luma exceeds this."""
OTHER_COARSE = 0.03
"""The same for means over blocks: noise that is missing at a low rate only changes single pixels."""
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
"""If a master is frozen for less than this, it is not reported."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The frames at which a rendition differs from its master.

    Attributes:
        black: The rendition is black, and the master is not.
        frozen: The rendition is frozen, and the master moves.
        other: The rendition shows another picture; includes black ones.
    """

    black: tuple[Span, ...]
    frozen: tuple[Span, ...]
    other: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """The frames of the grid that the small pictures show.

    Attributes:
        first_frame: First frame.
        end_frame: End of the measured range, exclusive.
        step_frames: Distance from one small picture to the next.
        frame_rate: Frames of the grid per second.
    """

    first_frame: int
    end_frame: int
    step_frames: int
    frame_rate: Fraction

    def spans(self, flags: Flags, *, min_pictures: int = 1) -> tuple[Span, ...]:
        """Turn flags of small pictures into ranges of frames; drops ranges of fewer than ``min_pictures`` pictures."""
        return tuple(
            (
                self.first_frame + first * self.step_frames,
                min(self.end_frame, self.first_frame + end * self.step_frames),
            )
            for first, end in _runs(flags)
            if end - first >= min_pictures
        )

    def pictures(self, duration_s: Fraction) -> int:
        """Number of small pictures in a duration, at least 1."""
        return max(1, round(duration_s * self.frame_rate / self.step_frames))


def of_master(master: Miniatures, timing: Timing) -> MasterSamples:
    """Find the frames at which a master is black or frozen, and the first frame of each shot.

    Args:
        master: Its small pictures.
        timing: The frames that they show.
    """
    luma = _luma(master)
    cuts = np.concatenate([[False], _difference(luma[1:], luma[:-1]) > CUT])
    return MasterSamples(
        seen=((timing.first_frame, timing.end_frame),),
        black=timing.spans(_is_dark(luma, DARK, DARK_SHARE)),
        frozen=timing.spans(_largest_changes(luma) <= STILL, min_pictures=timing.pictures(STILL_S)),
        cuts=tuple(timing.first_frame + int(index) * timing.step_frames for index in np.flatnonzero(cuts)),
    )


def of_rendition(
    rendition: Miniatures, master: Miniatures, timing: Timing, colours: tuple[Colours, Colours] | None = None
) -> Faults:
    """Find the frames at which a rendition differs from its master.

    Args:
        rendition: Its small pictures.
        master: The master's, of the same frames.
        timing: The frames that they show.
        colours: The colours of both; None to compare luma only.
    """
    ours, theirs = _luma(rendition), _luma(master)
    black = _is_dark(ours, DARK, DARK_SHARE) & ~_is_dark(theirs, MASTER_DARK, MASTER_DARK_SHARE)
    our_blocks, their_blocks = _blocks(ours), _blocks(theirs)
    around = timing.pictures(AROUND_S)
    # Moving objects are larger than a block; noise that is missing at a low rate only changes single pixels.
    moves = _share_around(_largest_changes(their_blocks) >= MOVING, around) >= MOVING_SHARE
    # A sync frame differs a little from the previous frame, even if both show the same picture: close such gaps.
    frozen = _close_gaps(_largest_changes(ours) <= STILL) & moves
    other = (_difference(ours, theirs) > OTHER) & (_difference(our_blocks, their_blocks) > OTHER_COARSE)
    if colours is not None:
        other |= _other_colours(*colours)
    return Faults(black=timing.spans(black), frozen=timing.spans(frozen, min_pictures=2), other=timing.spans(other))


def _other_colours(ours: Colours, theirs: Colours) -> Flags:
    our_chroma, their_chroma = _chroma(ours), _chroma(theirs)
    difference = np.abs(our_chroma - their_chroma).mean(axis=(1, 2, 3))
    from_grey = np.abs(their_chroma).mean(axis=(1, 2, 3))
    colourless = (difference > COLOURLESS) & (difference > COLOURLESS_SHARE * from_grey)
    return np.asarray((difference > COLOUR) | colourless | (_edge_difference(ours, theirs) > EDGE))


def _edge_difference(ours: Colours, theirs: Colours) -> Numbers:
    """For each picture, the mean difference of chroma along that edge where it is largest."""
    differences = np.abs(ours.astype(np.float64) - theirs) / _CHROMA_RANGE
    edges = (differences[..., 0], differences[..., -1], differences[..., 0, :], differences[..., -1, :])
    return np.max([edge.mean(axis=(1, 2)) for edge in edges], axis=0) if len(differences) else np.zeros(0)


def _chroma(colours: Colours) -> Numbers:
    """Chroma of blocks, 0 for grey; a block has the same size as one of luma."""
    count, planes, height, width = colours.shape
    size = BLOCK_PX // 2
    rows, columns = height // size, width // size
    chroma = (colours[:, :, : rows * size, : columns * size].astype(np.float64) - _GREY) / _CHROMA_RANGE
    return np.asarray(chroma.reshape(count, planes, rows, size, columns, size).mean(axis=(3, 5)))


def _luma(pictures: Miniatures) -> Numbers:
    """Luma, 0 for black to 1 for white."""
    return (pictures.astype(np.float64) - _BLACK) / _RANGE


def _blocks(luma: Numbers) -> Numbers:
    """Means over blocks."""
    count, height, width = luma.shape
    rows, columns = height // BLOCK_PX, width // BLOCK_PX
    cropped = luma[:, : rows * BLOCK_PX, : columns * BLOCK_PX]
    return np.asarray(cropped.reshape(count, rows, BLOCK_PX, columns, BLOCK_PX).mean(axis=(2, 4)))


def _is_dark(luma: Numbers, dark: float, share: float) -> Flags:
    return np.asarray((luma < dark).mean(axis=(1, 2)) >= share)


def _difference(one: Numbers, other: Numbers) -> Numbers:
    return np.asarray(np.abs(one - other).mean(axis=(1, 2)))


def _largest_changes(luma: Numbers) -> Numbers:
    """For each picture, the mean change of luma since the previous one, over the pixels that change most."""
    count, pixels = len(luma), luma[0].size if len(luma) else 0
    if count < 2:
        return np.ones(count)
    changes = np.abs(np.diff(luma, axis=0)).reshape(count - 1, pixels)
    count_changed = max(1, int(pixels * CHANGED_SHARE))
    top = np.partition(changes, pixels - count_changed, axis=1)[:, pixels - count_changed :].mean(axis=1)
    return np.concatenate([top[:1], top])


def _share_around(flags: Flags, around: int) -> Numbers:
    window = np.ones(2 * around + 1)
    counted = np.convolve(flags.astype(float), window, "full")[around : around + len(flags)]
    present = np.convolve(np.ones(len(flags)), window, "full")[around : around + len(flags)]
    return np.asarray(counted / present)


def _close_gaps(flags: Flags) -> Flags:
    """Set single false flags between two true ones."""
    closed = flags.copy()
    closed[1:-1] |= flags[:-2] & flags[2:]
    return closed


def _runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """Start and end of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from ((int(first), int(end)) for first, end in edges.reshape(-1, 2))
