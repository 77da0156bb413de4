"""Crop to the clean aperture, to the area between black bars, or to a requested area.

Black bars are detected in frames from all over the film, and must be the same in all of them. Text in a bar, or a scene
that fills the frame, means that there are none. If it is ambiguous, nothing is cropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder import probing
from headend.core.errors import ConfigError
from headend.core.media import Crop, Master, VideoTrack
from headend.core.settings import Cropping, PictureChoice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SAMPLES = 48
"""Number of frames to sample: one in two to three minutes of a film."""
FORWARD_FRAMES = 48
"""Maximum distance of a sample from the keyframe before it; in longer GOPs, an earlier frame is sampled."""
DARK, SPECK = 0.02, 0.1
"""Maximum mean and peak luma of a line in a bar, as shares of the range from black to white: coding and scanner noise.

2 % is about 0.01 cd/m² in SDR and 0.02 in PQ and HLG, which is invisible beside a picture."""
BRIGHT = 0.04
"""Minimum mean luma of a frame in which the edges of the picture are visible."""
SLACK_PX = 2
"""Tolerance for an edge, since coding blurs it."""
AGREEING = 0.5
"""Share of the bright samples whose picture must end at the bars; in a dark film without bars, edges move."""
ENOUGH = 8
"""Minimum number of bright samples; with fewer, nothing is cropped."""
LEAST_BARS = 0.02
"""Minimum size of two opposite bars, as a share of the picture; less is blanking, not bars."""
LEAST_KEPT = 0.5
"""Minimum share of the frame that is picture; less is intended, such as a logo or a title card."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The frames in which to look for bars.

    Attributes:
        master: The film.
        stream: Number of the video stream.
        area: The part of the picture to sample.
        pts_ticks: Presentation times of the frames, in the stream's time base.
    """

    master: Master
    stream: int
    area: Crop
    pts_ticks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Borders:
    """Widths of the dark borders of one frame.

    Attributes:
        left_px: At the left.
        right_px: At the right.
        top_px: At the top.
        bottom_px: At the bottom.
        bright: Whether the frame is bright enough to see where its picture ends.
    """

    left_px: int
    right_px: int
    top_px: int
    bottom_px: int
    bright: bool


@dataclass(frozen=True, slots=True)
class DetectedBorders:
    """The borders of all sampled frames that are not entirely dark."""

    borders: tuple[Borders, ...]


def crop(
    track: VideoTrack, wanted: Crop | Cropping, detect: Callable[[Crop], DetectedBorders]
) -> tuple[Crop | None, tuple[str, ...]]:
    """Decide which part of a master's picture to keep.

    Args:
        track: The picture.
        wanted: The request; a `Crop` is relative to the top left corner of the stored picture.
        detect: Detects the borders in samples of an area; called only for `Cropping.AUTO`.

    Returns:
        The part to keep, with even size and position as 4:2:0 requires, or None for the whole picture; and a line for
        each decision.

    Raises:
        ConfigError: The requested area is not within the picture.
        MasterError: The samples can't be read.
    """
    if isinstance(wanted, Crop):
        _check(track, wanted)
        return wanted, (f"cropped to {_text(wanted)}, as requested",)
    whole = Crop(track.width_px, track.height_px)
    area, decisions = _even(track.clean_aperture or whole), []
    if track.clean_aperture is not None:
        decisions.append(f"clean aperture {_text(area)} of {whole.width_px}x{whole.height_px}")
    elif area != whole:
        decisions.append(f"odd size {whole.width_px}x{whole.height_px}: the last line or column is left out")
    if wanted is Cropping.AUTO:
        between, decision = between_bars(detect(area).borders, area)
        area = between or area
        decisions.append(decision)
    return area if area != whole else None, tuple(decisions)


def between_bars(borders: Sequence[Borders], area: Crop) -> tuple[Crop | None, str]:
    """Find the picture between black bars that are the same in all samples.

    Args:
        borders: Borders of the samples.
        area: The sampled area.

    Returns:
        The area of the picture, with even size and position, and never smaller than the picture in any sample; None if
        there are no bars or it is ambiguous. And the decision as text.
    """
    across = [(one.left_px, one.right_px, one.bright) for one in borders]
    down = [(one.top_px, one.bottom_px, one.bright) for one in borders]
    sides = []
    for detected, length_px in ((across, area.width_px), (down, area.height_px)):
        before, after = (min((one[side] for one in detected), default=0) for side in (0, 1))
        if before + after < LEAST_BARS * length_px:
            sides.append((0, length_px))
            continue
        bright = [one for one in detected if one[2]]
        agreeing = sum(one[0] - before <= SLACK_PX and one[1] - after <= SLACK_PX for one in bright)
        kept_px = length_px - before - after
        if len(bright) < ENOUGH or agreeing < AGREEING * len(bright) or kept_px < LEAST_KEPT * length_px:
            return None, (
                f"dark edges, but only {agreeing} of {len(bright)} bright samples end there → not cropped; "
                "--crop W:H:X:Y crops all the same"
            )
        start = before - before % 2
        sides.append((start, min(length_px - start, kept_px + before % 2 + (kept_px + before) % 2)))
    (left, width), (top, height) = sides
    if (width, height) == (area.width_px, area.height_px):
        return None, f"no black bars in {len(borders)} samples"
    picture = Crop(width, height, area.left_px + left, area.top_px + top)
    return picture, f"black bars, the same in {len(borders)} samples → cropped to {_text(picture)}"


def sampling(master: Master, track: VideoTrack, area: Crop) -> Sampling:
    """Choose sample frames from all over a film."""
    count = min(SAMPLES, track.frame_count)
    pts = track.frames.pts_ticks
    return Sampling(master, track.index, area, tuple(pts[len(pts) * (2 * n + 1) // (2 * count)] for n in range(count)))


def detect_borders(samples: Sampling, input_url: str) -> DetectedBorders:
    """Decode sample frames of a master and measure the dark borders of each.

    Raises:
        MasterError: The master can't be read.
    """
    # By time: if keyframes are far apart, several samples end up at the same frame, which must count once.
    detected: dict[int | None, Borders | None] = {}
    with probing.opened(samples.master, input_url) as container:
        picture = probing.select(container, samples.master, PictureChoice(video=samples.stream)).picture
        for pts in samples.pts_ticks:
            container.seek(pts, stream=picture)
            frame = None
            for number, frame in enumerate(container.decode(picture), start=1):
                if number > FORWARD_FRAMES or (frame.pts is not None and frame.pts >= pts):
                    break
            if frame is not None:
                # This format has black at 0 and white at 65535, whatever the master's bit depth and range are.
                luma = frame.to_ndarray(format="gray16le")
                detected[frame.pts] = borders_of(luma.view("uint16"), samples.area)
    return DetectedBorders(tuple(one for one in detected.values() if one is not None))


def borders_of(luma: "npt.NDArray[np.uint16]", area: Crop) -> Borders | None:
    """Measure the dark borders of a frame.

    Args:
        luma: The whole frame, from 0 for black to 65535 for white.
        area: The sampled area.

    Returns:
        The borders; None if the whole area is dark.
    """
    rows = slice(area.top_px, area.top_px + area.height_px)
    detected = luma[rows, area.left_px : area.left_px + area.width_px]
    top, bottom = _dark_ends(detected, axis=1)
    if top == area.height_px:
        return None
    left, right = _dark_ends(detected[top : area.height_px - bottom], axis=0)
    return Borders(left, right, top, bottom, bright=bool(detected.mean() >= BRIGHT * 65535))


def _dark_ends(luma: "npt.NDArray[np.uint16]", axis: int) -> tuple[int, int]:
    dark = (luma.mean(axis=axis) <= DARK * 65535) & (luma.max(axis=axis) <= SPECK * 65535)
    if dark.all():
        return len(dark), 0
    return int(dark.argmin()), int(dark[::-1].argmin())


def _check(track: VideoTrack, wanted: Crop) -> None:
    right, bottom = wanted.left_px + wanted.width_px, wanted.top_px + wanted.height_px
    if right > track.width_px or bottom > track.height_px:
        raise ConfigError(
            f"--crop {_text(wanted)} is not within the master's {track.width_px}x{track.height_px}; "
            "give width, height, and the pixels to remove at the left and at the top"
        )


def _even(area: Crop) -> Crop:
    return Crop(
        max(2, area.width_px - area.width_px % 2),
        max(2, area.height_px - area.height_px % 2),
        area.left_px - area.left_px % 2,
        area.top_px - area.top_px % 2,
    )


def _text(area: Crop) -> str:
    return f"{area.width_px}x{area.height_px} at {area.left_px},{area.top_px}"
