"""Colours of scores: red for bad, blue for good, so that colour-blind readers can tell them apart."""

from itertools import pairwise

STOPS = (
    (0.0, (103, 0, 31)),
    (40.0, (178, 24, 43)),
    (55.0, (214, 96, 77)),
    (70.0, (253, 174, 97)),
    (80.0, (254, 224, 144)),
    (88.0, (171, 217, 233)),
    (94.0, (116, 173, 209)),
    (100.0, (49, 54, 149)),
)
"""Scores with their colours in RGB; values between them are interpolated."""


def colour(score: float) -> str:
    """Return the colour of a score, 0 to 100, rounded to whole numbers."""
    value = float(max(0, min(100, round(score))))
    for (low, start), (high, end) in pairwise(STOPS):
        if value <= high:
            share = (value - low) / (high - low)
            return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(start, end, strict=True))
    raise AssertionError(score)


def scale() -> str:
    """Return the colours from 0 to 100 as the stops of a CSS gradient."""
    return ", ".join(f"rgb{rgb} {at:g}%" for at, rgb in STOPS)
