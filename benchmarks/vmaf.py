"""How good a picture is, by VMAF: what benchmarks ask of `encoder.measuring`."""

import os
from collections.abc import Sequence
from pathlib import Path

from encoder import measuring
from encoder.measuring import Picture, Shown
from headend.core.media.quality import HD

MODEL = HD.model
"""For a television of 1080 lines, seen from three times its height."""
GOP_FRAMES = 48
"""Of every master: two seconds."""
EVERY = measuring.spacing(GOP_FRAMES)
"""One frame in so many is scored: VMAF costs more than encoding."""


def raw_input(path: Path, size_px: tuple[int, int], pixel_format: str) -> list[str]:
    """Input options of raw frames."""
    return list(measuring.raw_picture(path, size_px, pixel_format).parts[0])


def file_input(path: Path) -> list[str]:
    """Input options of a file with a header."""
    return ["-i", str(path)]


def scores(
    shown: Sequence[Sequence[str]],
    reference: Sequence[str],
    size_px: tuple[int, int],
    frames: int,
    *,
    every: int = 1,
) -> list[float]:
    """Score frames on a screen of 1080 lines.

    Args:
        shown: Input options of what is judged; several inputs follow each other in time.
        reference: Input options of what it was made from.
        size_px: Of what is judged, as it was encoded.
        frames: How many there are.
        every: Score every n-th frame only, from the first on.

    Returns:
        One score for each frame that is scored.

    Raises:
        ToolFailed: FFmpeg failed, or what is judged is shorter.
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
