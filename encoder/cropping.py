"""Cropping: the clean aperture, the area between black bars, or an area that was asked for.

Bars are judged by frames from all over the film, and only those that stay the same throughout are bars: text in one, or
a scene that fills the frame, speaks against them. If it is ambiguous, nothing is cropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from encoder import probing
from headend.core.errors import ConfigError
from headend.core.media import Crop, Master, VideoTrack
from headend.core.settings import Cropping, PictureChoice

SAMPLES = 48
"""Frames that are sampled: one in two to three minutes of a film."""
FORWARD_FRAMES = 48
"""How far a sample may lie behind a keyframe; of longer GOPs, an earlier frame is taken."""
DARK, SPECK = 0.02, 0.1
"""Mean and peak of a bar's line at most, as shares of the range from black to white: noise of coding and of scanners.

2 % is about 0.01 cd/m² in SDR and 0.02 in PQ and HLG: nothing that a display shows beside a picture."""
BRIGHT = 0.04
"""Mean of a frame that is not too dark to tell where its picture ends."""
SLACK_PX = 2
"""Coding blurs an edge by so much."""
AGREEING = 0.5
"""Share of the bright samples that must end where the bars do: edges of the light in a dark film never lie still."""
ENOUGH = 8
"""Bright samples without which nothing is cropped."""
LEAST_BARS = 0.02
"""Bars of a side and the one opposite, as a share of the picture; less than this is blanking, not bars."""
LEAST_KEPT = 0.5
"""A picture that leaves more of a frame black than this is meant to: a logo, a title card."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The samples in which bars are searched.

    Attributes:
        master: The film.
        stream: Stream number of its picture.
        area: The part of its picture that is sampled.
        pts_ticks: When the frames are shown, in the stream's time base.
    """

    master: Master
    stream: int
    area: Crop
    pts_ticks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Borders:
    """Dark lines around the picture of one frame, in pixels of each side.

    Attributes:
        left_px: From the left, and so on.
        right_px: From the right.
        top_px: From above.
        bottom_px: From below.
        bright: Whether the frame shows enough to tell where its picture ends.
    """

    left_px: int
    right_px: int
    top_px: int
    bottom_px: int
    bright: bool


@dataclass(frozen=True, slots=True)
class DetectedBorders:
    """The borders of every sampled frame that was not all dark."""

    borders: tuple[Borders, ...]


def crop(
    track: VideoTrack, wanted: Crop | Cropping, detect: Callable[[Crop], DetectedBorders]
) -> tuple[Crop | None, tuple[str, ...]]:
    """Decide which part of a master's picture is kept.

    Args:
        track: The picture.
        wanted: What was asked for; a `Crop` counts from the corner of the picture as stored.
        detect: Detects borders in samples of an area; called only if bars are to be found.

    Returns:
        The part, of even size and place, as 4:2:0 needs them; None for the whole. And a line for each decision.

    Raises:
        ConfigError: What was asked for is not a part of the picture.
        MasterError: The samples can't be read.
    """
    if isinstance(wanted, Crop):
        _check(track, wanted)
        return wanted, (f"cropped to {_told(wanted)}, as asked",)
    whole = Crop(track.width_px, track.height_px)
    area, decisions = _even(track.clean_aperture or whole), []
    if track.clean_aperture is not None:
        decisions.append(f"clean aperture {_told(area)} of {whole.width_px}x{whole.height_px}")
    elif area != whole:
        decisions.append(f"odd size {whole.width_px}x{whole.height_px}: the last line or column is left out")
    if wanted is Cropping.AUTO:
        between, decision = between_bars(detect(area).borders, area)
        area = between or area
        decisions.append(decision)
    return area if area != whole else None, tuple(decisions)


def between_bars(borders: Sequence[Borders], area: Crop) -> tuple[Crop | None, str]:
    """Find the picture between bars that are the same in all samples.

    Args:
        borders: Of the samples.
        area: What they were seen in.

    Returns:
        The picture, of even size and place, never less than what was seen; None where there are no bars or where it is
        not sure. And why.
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
    found = Crop(width, height, area.left_px + left, area.top_px + top)
    return found, f"black bars, the same in {len(borders)} samples → cropped to {_told(found)}"


def sampling(master: Master, track: VideoTrack, area: Crop) -> Sampling:
    """Choose frames from all over a film."""
    count = min(SAMPLES, track.frame_count)
    pts = track.frames.pts_ticks
    return Sampling(master, track.index, area, tuple(pts[len(pts) * (2 * n + 1) // (2 * count)] for n in range(count)))


def detect_borders(samples: Sampling, input_url: str) -> DetectedBorders:
    """Decode frames of a master and measure what is dark around their pictures.

    Raises:
        MasterError: The master can't be read.
    """
    # By their times: where keyframes are far apart, several samples come to be one frame, which speaks once.
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
                # Black is 0 and white is 65535, whatever the samples' depth and range.
                luma = frame.to_ndarray(format="gray16le")
                detected[frame.pts] = borders_of(np.asarray(luma, np.uint16), samples.area)
    return DetectedBorders(tuple(one for one in detected.values() if one is not None))


def borders_of(luma: npt.NDArray[np.uint16], area: Crop) -> Borders | None:
    """Measure what is dark around a frame's picture.

    Args:
        luma: The whole frame, black as 0, white as 65535.
        area: The part that is sampled.

    Returns:
        The borders; None where all is dark.
    """
    rows = slice(area.top_px, area.top_px + area.height_px)
    detected = luma[rows, area.left_px : area.left_px + area.width_px]
    top, bottom = _dark_ends(detected, axis=1)
    if top == area.height_px:
        return None
    left, right = _dark_ends(detected[top : area.height_px - bottom], axis=0)
    return Borders(left, right, top, bottom, bright=bool(detected.mean() >= BRIGHT * 65535))


def _dark_ends(luma: npt.NDArray[np.uint16], axis: int) -> tuple[int, int]:
    dark = (luma.mean(axis=axis) <= DARK * 65535) & (luma.max(axis=axis) <= SPECK * 65535)
    if dark.all():
        return len(dark), 0
    return int(dark.argmin()), int(dark[::-1].argmin())


def _check(track: VideoTrack, wanted: Crop) -> None:
    right, bottom = wanted.left_px + wanted.width_px, wanted.top_px + wanted.height_px
    if right > track.width_px or bottom > track.height_px:
        raise ConfigError(
            f"--crop {_told(wanted)} is not within the master's {track.width_px}x{track.height_px}; "
            "give width, height, and what is left out on the left and above"
        )


def _even(area: Crop) -> Crop:
    return Crop(
        max(2, area.width_px - area.width_px % 2),
        max(2, area.height_px - area.height_px % 2),
        area.left_px - area.left_px % 2,
        area.top_px - area.top_px % 2,
    )


def _told(area: Crop) -> str:
    return f"{area.width_px}x{area.height_px} at {area.left_px},{area.top_px}"
