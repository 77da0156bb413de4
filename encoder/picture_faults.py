"""Find black, frozen and wrong pictures in a rendition by comparing small pictures with the master's. Pure.

A rendition has a fault only if the master shows something else. The thresholds for the master are looser than those for
a rendition, so that pictures close to a threshold are not reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from encoder.small_pictures import Samples, SmallPictures
from headend.core.media.quality import MasterSamples, PictureFaults, Span

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
STRAY = 0.12
"""A single frame differs if the mean difference of luma between its blocks exceeds this."""
TONED_FACTOR = 2.0
"""In tone-mapped HDR, these three limits are higher by this factor: tone mapping enlarges what a low rate loses."""
EXPLAINED, EXPLAINED_TONED = 0.88, 0.9
"""A picture has other colours if a linear function of the master's Y, U and V explains this share of the difference, as
after a conversion with a wrong matrix. What a low rate loses has no such pattern: at most 0.86 of it is explained."""
MIXED = 0.004
"""Smallest difference of luma, or of chroma, that comes from other planes."""
PALE_GAIN, PALE = -0.4, 0.006
"""A picture is pale if chroma has lost this share, and differs by this. A fade that is a frame late loses less."""
TONED = 0.04
"""Smallest difference of chroma in tone-mapped HDR, where the lowest rates have a pattern, too."""
COLOURS_AROUND_S = Fraction(1, 4)
"""Within this time before and after, most pictures must have other colours."""
RANGES = ((255 / 219 - 1, -0.0731), (219 / 255 - 1, 0.0628))
"""Gain and offset of luma after a conversion from limited to full range, and the reverse."""
REGULARIZATION = 1e-5
"""Square of a difference of colour that does not count."""
GAIN_TOLERANCE, OFFSET_TOLERANCE = 0.03, 0.02
EDGE, EDGE_TONED, EDGE_LUMA = 0.12, 0.2, 0.25
"""A picture has a line along an edge if the mean difference there exceeds this: of chroma, of chroma in tone-mapped
HDR, or of luma. The lowest rates reach 0.08, 0.16 and 0.16."""
MAX_SHIFT_FRAMES = 3
"""Largest distance in time that is searched for."""
SHIFTED, SHIFTED_SHARE = 0.004, 0.5
"""Pictures are early or late if the mean difference of luma between blocks exceeds this, and if less than this share of
it is left at another time."""
CUT = 0.12
"""A frame starts a new shot if its mean difference from the one before exceeds this."""
STILL_S = Fraction(1, 2)
"""If a master is frozen for less than this, it is not reported."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The frames of the grid that the small pictures show.

    Attributes:
        first_frame: First frame.
        end_frame: End of the measured range, exclusive.
        step_frames: Distance from one small picture to the next.
        frame_rate: Frames of the grid per second.
        block_frames: Distance from one frame that has blocks to the next.
    """

    first_frame: int
    end_frame: int
    step_frames: int
    frame_rate: Fraction
    block_frames: int = 1

    @property
    def of_blocks(self) -> "Timing":
        """The frames that the blocks show."""
        return replace(self, step_frames=self.block_frames)

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


def of_master(master: SmallPictures, timing: Timing) -> MasterSamples:
    """Find the frames at which a master is black or frozen, and the first frame of each shot.

    Args:
        master: Its small pictures.
        timing: The frames that they show.
    """
    luma = _luma(master.luma)
    cuts = np.concatenate([[False], _difference(luma[1:], luma[:-1]) > CUT])
    return MasterSamples(
        seen=((timing.first_frame, timing.end_frame),),
        black=timing.spans(_is_dark(luma, DARK, DARK_SHARE)),
        frozen=timing.spans(_largest_changes(luma) <= STILL, min_pictures=timing.pictures(STILL_S)),
        cuts=tuple(timing.first_frame + int(index) * timing.step_frames for index in np.flatnonzero(cuts)),
    )


def of_rendition(
    rendition: SmallPictures, master: SmallPictures, timing: Timing, *, toned: bool = False
) -> PictureFaults:
    """Find the frames at which a rendition differs from its master.

    Args:
        rendition: Its small pictures.
        master: The master's, of the same frames.
        timing: The frames that they show.
        toned: Whether both are tone-mapped HDR.
    """
    ours, theirs = _luma(rendition.luma), _luma(master.luma)
    black = _is_dark(ours, DARK, DARK_SHARE) & ~_is_dark(theirs, MASTER_DARK, MASTER_DARK_SHARE)
    our_blocks, their_blocks = _normal(rendition.blocks), _normal(master.blocks)
    # The scored ones of all frames.
    scored = slice(0, None, timing.step_frames // timing.block_frames)
    around = timing.pictures(AROUND_S)
    # Moving objects are larger than a block; noise that is missing at a low rate only changes single pixels.
    moves = _share_around(_largest_changes(their_blocks[scored, 0]) >= MOVING, around) >= MOVING_SHARE
    # A sync frame differs a little from the previous frame, even if both show the same picture: close such gaps.
    frozen = _close_gaps(_largest_changes(ours) <= STILL) & moves
    coarse = _difference(our_blocks[:, 0], their_blocks[:, 0])
    recoloured = _is_recoloured(our_blocks, their_blocks, toned=toned)
    factor = TONED_FACTOR if toned else 1.0
    other = (_difference(ours, theirs) > factor * OTHER) & (coarse[scored] > factor * OTHER_COARSE)
    return PictureFaults(
        black=timing.spans(black),
        frozen=timing.spans(frozen, min_pictures=2),
        other=timing.spans(other),
        recoloured=timing.of_blocks.spans(_mostly(recoloured, timing.of_blocks.pictures(COLOURS_AROUND_S))),
        lined=timing.spans(_has_line(rendition, master, toned=toned)),
        stray=timing.of_blocks.spans(coarse > factor * STRAY),
        shifted=timing.of_blocks.spans(_is_shifted(our_blocks[:, 0], their_blocks[:, 0])),
    )


def _is_recoloured(ours: Numbers, theirs: Numbers, *, toned: bool) -> Flags:
    """Whether the difference between two pictures is a function of the colours in the master, for each picture."""
    count = len(theirs)
    colours = theirs.reshape(count, 3, -1).transpose(0, 2, 1)
    differences = ours.reshape(count, 3, -1).transpose(0, 2, 1) - colours
    luma, chroma = colours[:, :, :1], colours[:, :, 1:]
    one = np.ones_like(luma)
    fitted, _ = _fitted(np.concatenate([one, colours], axis=2), differences)
    explained, size = _explained(differences[:, :, 1:], fitted[:, :, 1:]), _rms(fitted[:, :, 1:])
    if toned:
        return np.asarray((explained > EXPLAINED_TONED) & (size > TONED))
    # What each plane makes of itself alone: a gain, and for luma an offset.
    own_luma, luma_factors = _fitted(np.concatenate([one, luma], axis=2), differences[:, :, :1])
    own = [_fitted(chroma[:, :, plane, None], differences[:, :, 1 + plane, None]) for plane in (0, 1)]
    own_chroma = np.concatenate([plane for plane, _ in own], axis=2)
    gain = np.mean([factors[:, 0, 0] for _, factors in own], axis=0)
    is_mixed = _rms(fitted[:, :, 1:] - own_chroma) > MIXED
    is_pale = (gain < PALE_GAIN) & (size > PALE)
    is_matrix = _rms(fitted[:, :, :1] - own_luma) > MIXED
    is_range = np.any(
        [
            (np.abs(luma_factors[:, 1, 0] - gain) < GAIN_TOLERANCE)
            & (np.abs(luma_factors[:, 0, 0] - offset) < OFFSET_TOLERANCE)
            for gain, offset in RANGES
        ],
        axis=0,
    )
    luma_explained = _explained(differences[:, :, :1], fitted[:, :, :1])
    return np.asarray(
        ((explained > EXPLAINED) & (is_mixed | is_pale)) | ((luma_explained > EXPLAINED) & (is_matrix | is_range))
    )


def _fitted(terms: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """For each picture, the linear function of the terms that is closest to the values, and its factors."""
    transposed, count = terms.transpose(0, 2, 1), terms.shape[1]
    # Without the second summand, a picture of one colour would have no solution.
    squares = transposed @ terms / count + REGULARIZATION * np.eye(terms.shape[2])
    factors = np.linalg.solve(squares, transposed @ values / count)
    return terms @ factors, factors


def _explained(differences: Numbers, rendition: Numbers) -> Numbers:
    """For each picture, the share of the squared differences that a function makes."""
    left, whole = _rms(differences - rendition) ** 2, _rms(differences) ** 2
    return np.asarray(1 - left / np.maximum(whole, 1e-12))


def _rms(values: Numbers) -> Numbers:
    return np.asarray(np.sqrt((values**2).mean(axis=(1, 2))))


def _has_line(ours: SmallPictures, theirs: SmallPictures, *, toned: bool) -> Flags:
    """Whether one of the edges differs from the master's, for each picture.

    A small rendition mixes a line along the master's own edge with the picture inside. So anything between these two is
    correct.
    """
    edge, inside = _normal(theirs.edges), _normal(_inside(theirs))
    low, high = np.minimum(edge, inside), np.maximum(edge, inside)
    rendition_edges = _normal(ours.edges)
    off = np.where(
        rendition_edges > high, rendition_edges - high, np.where(rendition_edges < low, rendition_edges - low, 0.0)
    )
    # Means over five samples keep a line, and lose most of the noise.
    count, planes, edges, samples = off.shape
    differences = np.abs(off.reshape(count, planes, edges, samples // 5, 5).mean(axis=4)).mean(axis=3)
    luma, chroma = differences[:, 0].max(axis=1), differences[:, 1:].mean(axis=1).max(axis=1)
    return np.asarray((luma > EDGE_LUMA) | (chroma > (EDGE_TONED if toned else EDGE)))


def _inside(pictures: SmallPictures) -> Numbers:
    """The outermost pixels of small pictures, laid out like `SmallPictures.edges`."""
    height, width = pictures.chroma.shape[2:]
    luma = pictures.luma.reshape(-1, 1, height, 2, width, 2).mean(axis=(3, 5))
    planes = np.concatenate([luma, pictures.chroma], axis=1)
    down = np.arange(width) * height // width
    return np.stack([planes[:, :, down, 0], planes[:, :, down, -1], planes[:, :, 0], planes[:, :, -1]], axis=2)


def _is_shifted(ours: Numbers, theirs: Numbers) -> Flags:
    """All or none: whether a rendition's frames look like earlier or later ones of the master's."""
    frames = len(ours)
    most = min(MAX_SHIFT_FRAMES, frames // 4)
    now = float(np.abs(ours - theirs).mean()) if frames else 0.0
    others = [
        float(np.abs(one[shift:] - other[:-shift]).mean())
        for shift in range(1, most + 1)
        for one, other in ((ours, theirs), (theirs, ours))
    ]
    return np.full(frames, now > SHIFTED and min(others, default=now) < SHIFTED_SHARE * now)


def _normal(planes: npt.NDArray[np.generic]) -> Numbers:
    """Luma, 0 for black to 1 for white, and chroma, 0 for grey; the second axis has the three planes."""
    zero, size = np.array([_BLACK, _GREY, _GREY]), np.array([_RANGE, _CHROMA_RANGE, _CHROMA_RANGE])
    return np.asarray((planes - zero[:, None, None]) / size[:, None, None])


def _luma(pictures: Samples) -> Numbers:
    """Luma, 0 for black to 1 for white."""
    return (pictures.astype(np.float64) - _BLACK) / _RANGE


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


def _mostly(flags: Flags, around: int) -> Flags:
    """Whether most of the flags around each one are set: closes gaps, and drops short runs."""
    return np.asarray(_share_around(flags, around) >= 0.5)


def _close_gaps(flags: Flags) -> Flags:
    """Set single false flags between two true ones."""
    closed = flags.copy()
    closed[1:-1] |= flags[:-2] & flags[2:]
    return closed


def _runs(flags: Flags) -> Iterator[tuple[int, int]]:
    """Start and end of each run of true flags."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from ((int(first), int(end)) for first, end in edges.reshape(-1, 2))
