"""Forecast tomorrow's views from past views and from known releases."""

from collections.abc import Sequence

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.streams import normal, stream_of

MISJUDGED = 0.5
"""Standard deviation of the logarithm of how wrong expectations of releases are."""


def ewma(history: Sequence[Array], alpha: float) -> Array:
    """Exponentially weighted mean of each day's views, the last day with weight ``alpha``.

    Args:
        history: Segments sent by title and rendition, a matrix per day, the oldest first; at least one.
        alpha: Above 0, up to 1.
    """
    mean = np.asarray(history[0], dtype=np.float64)
    for day in history[1:]:
        mean = (1 - alpha) * mean + alpha * day
    return mean


def mix(views: Array) -> Array:
    """What share of a title's segments each rendition has, over all titles; evenly if nothing was watched."""
    sums = np.asarray(views, dtype=np.float64).sum(axis=0)
    return np.asarray(sums / sums.sum() if sums.sum() else np.full(len(sums), 1 / len(sums)))


def releases(views: Array, segments: Array, past_weights: Array, weights: Array, new: Array, seed: int) -> Array:
    """Views of titles that come out, which nobody has watched: expected interest times what interest became so far.

    Args:
        views: Yesterday's, by title and rendition.
        segments: Segments of each title.
        past_weights: Interest in each title that was expected for yesterday.
        weights: Interest that is expected for tomorrow.
        new: Which titles come out.
        seed: Decides by how much each expectation is off.

    Returns:
        Views by title and rendition; 0 for titles that are not new.
    """
    ratio = views.sum() / max(float((past_weights * segments).sum()), 1e-300)
    error = np.exp(MISJUDGED * normal(stream_of(seed, "expectations"), np.arange(len(segments))))
    expected = np.where(new, ratio * weights * segments * error, 0.0)
    return np.asarray(expected[:, None] * mix(views)[None, :])


def oracle(views: Array, title: Array, left: Array) -> Array:
    """What will really be watched: tomorrow's sessions, in yesterday's mix of renditions.

    Args:
        views: Yesterday's, by title and rendition.
        title: Title of each session.
        left: Segments that each one watches.
    """
    watched = np.bincount(title, weights=left, minlength=len(views))
    return np.asarray(watched[:, None] * mix(views)[None, :])
