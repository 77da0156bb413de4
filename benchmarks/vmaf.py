"""VMAF scores for benchmarks, computed with `encoder.measuring`."""

import os
from collections.abc import Sequence
from pathlib import Path

from encoder import measuring
from encoder.measuring import Picture, Shown
from headend.core.media.quality import HD

MODEL = HD.model
"""VMAF model for a 1080p television at a distance of three times its height."""
GOP_FRAMES = 48
"""GOP length of all masters: two seconds."""
SCORE_EVERY = measuring.spacing(GOP_FRAMES)
"""Score one frame in this many, because VMAF costs more than encoding."""


def raw_input(path: Path, size_px: tuple[int, int], pixel_format: str) -> list[str]:
    """Return the input options of raw frames."""
    return list(measuring.raw_picture(path, size_px, pixel_format).parts[0])


def file_input(path: Path) -> list[str]:
    """Return the input options of a file with a header."""
    return ["-i", str(path)]


def scores(
    shown: Sequence[Sequence[str]],
    reference: Sequence[str],
    size_px: tuple[int, int],
    frames: int,
    *,
    every: int = 1,
) -> list[float]:
    """Score frames on a 1080p screen.

    Args:
        shown: Input options of the encoded picture; several inputs are concatenated.
        reference: Input options of the reference.
        size_px: Encoded size of the picture.
        frames: Number of frames.
        every: Score only every n-th frame, starting with the first.

    Returns:
        One score per scored frame.

    Raises:
        ToolFailed: FFmpeg failed, or the encoded picture is shorter than ``frames``.
    """
    picture = Picture(tuple(tuple(part) for part in shown))
    measured = measuring.measure(
        Picture((tuple(reference),)),
        [Shown(picture, *size_px)],
        HD,
        frames,
        every=every,
        threads=len(os.sched_getaffinity(0)),
    )
    return list(measured.scores[0])
