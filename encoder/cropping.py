"""Crop to the clean aperture, to the area between black bars, or to a requested area.

Black bars are detected in frames from the whole film, and must be the same in all of them: if there is text in a bar,
or a scene fills the frame, there are no bars. If the result is ambiguous, nothing is cropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from encoder import probing
from headend.core.errors import ConfigError
from headend.core.media import Crop, Master, VideoTrack
from headend.core.settings import Cropping, PictureChoice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAX_SAMPLES = 48
"""Number of frames to sample: one every two to three minutes of a film."""
MAX_FORWARD_FRAMES = 48
"""Maximum number of frames to decode after a keyframe to reach a sample; in longer GOPs, an earlier frame is used."""
MAX_MEAN_LUMA, MAX_PEAK_LUMA = 0.02, 0.1
"""Maximum mean and peak luma of a line in a bar, as shares of the range from black to white. Bars have noise from
scanners and encoders. 2 % is about 0.01 cd/m² in SDR and 0.02 cd/m² in PQ and HLG, which is invisible next to a
picture."""
MIN_BRIGHT_LUMA = 0.04
"""Minimum mean luma of a frame in which the edges of the picture are visible."""
TOLERANCE_PX = 2
"""Tolerance for the position of an edge, since encoding blurs it."""
MIN_AGREEING = 0.5
"""Minimum share of the bright samples in which the picture ends at the bars; in a dark film without bars, edges
vary."""
MIN_BRIGHT_SAMPLES = 8
"""Minimum number of bright samples; with fewer, nothing is cropped."""
MIN_BARS = 0.02
"""Minimum size of two opposite bars together, as a share of the frame; anything less is blanking."""
MIN_PICTURE = 0.5
"""Minimum size of the picture, as a share of the frame; a smaller picture is intended, such as a logo or a title
card."""


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
        The part to keep, or None for the whole picture, and a line for each decision. Size and position are even, as
        4:2:0 requires.

    Raises:
        ConfigError: The requested area is not within the picture.
        MasterError: The samples can't be read.
    """
    if isinstance(wanted, Crop):
        _check(track, wanted)
        return wanted, (f"cropped to {_text(wanted)}, as requested",)
    whole = Crop(track.width_px, track.height_px)
    area, decisions = _round_to_chroma(track.clean_aperture or whole, track.pixel_format), []
    if track.clean_aperture is not None:
        decisions.append(f"clean aperture {_text(area)} of {whole.width_px}x{whole.height_px}")
    elif area != whole:
        size = f"{whole.width_px}x{whole.height_px}"
        if whole.width_px % 2 or whole.height_px % 2:
            decisions.append(f"odd size {size}: the last line or column is left out")
        else:
            decisions.append(f"size {size} in {track.pixel_format}: cut to {_text(area)}, which has all its colours")
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
        The area of the picture, or None if there are no bars or the result is ambiguous, and the decision as text. Size
        and position of the area are even, and it contains the picture of every sample.
    """
    horizontal = [(border.left_px, border.right_px, border.bright) for border in borders]
    vertical = [(border.top_px, border.bottom_px, border.bright) for border in borders]
    sides = []
    for detected, length_px in ((horizontal, area.width_px), (vertical, area.height_px)):
        before, after = (min((border[side] for border in detected), default=0) for side in (0, 1))
        if before + after < MIN_BARS * length_px:
            sides.append((0, length_px))
            continue
        bright = [border for border in detected if border[2]]
        agreeing = sum(border[0] - before <= TOLERANCE_PX and border[1] - after <= TOLERANCE_PX for border in bright)
        kept_px = length_px - before - after
        if (
            len(bright) < MIN_BRIGHT_SAMPLES
            or agreeing < MIN_AGREEING * len(bright)
            or kept_px < MIN_PICTURE * length_px
        ):
            return None, (
                f"dark edges, but only {agreeing} of {len(bright)} bright samples end there → not cropped; "
                "to crop nevertheless, use --crop W:H:X:Y"
            )
        start = before - before % 2
        sides.append((start, min(length_px - start, kept_px + before % 2 + (kept_px + before) % 2)))
    (left, width), (top, height) = sides
    if (width, height) == (area.width_px, area.height_px):
        return None, f"no black bars in {len(borders)} samples"
    picture = Crop(width, height, area.left_px + left, area.top_px + top)
    return picture, f"black bars, the same in {len(borders)} samples → cropped to {_text(picture)}"


def choose_samples(master: Master, track: VideoTrack, area: Crop) -> Sampling:
    """Choose sample frames, evenly spaced over a film."""
    count = min(MAX_SAMPLES, track.frame_count)
    pts = track.frames.pts_ticks
    return Sampling(master, track.index, area, tuple(pts[len(pts) * (2 * n + 1) // (2 * count)] for n in range(count)))


def detect_borders(samples: Sampling, input_url: str) -> DetectedBorders:
    """Decode sample frames of a master and measure the dark borders of each.

    Raises:
        MasterError: The master can't be read.
    """
    # By time, so that a frame counts once: if keyframes are far apart, several samples end up at the same frame.
    detected: dict[int | None, Borders | None] = {}
    with probing.opened(samples.master, input_url) as container:
        picture = probing.select(container, samples.master, PictureChoice(video=samples.stream)).picture
        for pts in samples.pts_ticks:
            container.seek(pts, stream=picture)
            frame = None
            for number, frame in enumerate(container.decode(picture), start=1):
                if number > MAX_FORWARD_FRAMES or (frame.pts is not None and frame.pts >= pts):
                    break
            if frame is not None:
                # In this format, black is 0 and white is 65535, independently of the master's bit depth and range.
                luma = frame.to_ndarray(format="gray16le")
                detected[frame.pts] = borders_of(luma.view("uint16"), samples.area)
    return DetectedBorders(tuple(found for found in detected.values() if found is not None))


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
    top, bottom = _dark_edges(detected, axis=1)
    if top == area.height_px:
        return None
    left, right = _dark_edges(detected[top : area.height_px - bottom], axis=0)
    return Borders(left, right, top, bottom, bright=bool(detected.mean() >= MIN_BRIGHT_LUMA * 65535))


def _dark_edges(luma: "npt.NDArray[np.uint16]", axis: int) -> tuple[int, int]:
    dark = (luma.mean(axis=axis) <= MAX_MEAN_LUMA * 65535) & (luma.max(axis=axis) <= MAX_PEAK_LUMA * 65535)
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


def _round_to_chroma(area: Crop, pixel_format: str) -> Crop:
    """Make the size and position even, or multiples of 4 if one sample of colour covers as many pixels (4:1:0)."""
    stored = av.VideoFormat(pixel_format)
    across, down = (4 if length(4) == 1 else 2 for length in (stored.chroma_width, stored.chroma_height))
    return Crop(
        max(across, area.width_px - area.width_px % across),
        max(down, area.height_px - area.height_px % down),
        area.left_px - area.left_px % across,
        area.top_px - area.top_px % down,
    )


def _text(area: Crop) -> str:
    return f"{area.width_px}x{area.height_px} at {area.left_px},{area.top_px}"
