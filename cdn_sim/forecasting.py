"""Forecasts tomorrow's views from past views and announced releases."""

from collections.abc import Sequence

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.streams import normal, stream_of

RELEASE_ERROR = 0.5
"""Error of forecasts of new titles: standard deviation of its logarithm."""


def ewma(history: Sequence[Array], alpha: float) -> Array:
    """Exponentially weighted moving average of daily views.

    Args:
        history: Requests for segments by title and rendition, one matrix per day, oldest first; at least one.
        alpha: Weight of the last day, above 0, up to 1.
    """
    mean = np.asarray(history[0], dtype=np.float64)
    for day in history[1:]:
        mean = (1 - alpha) * mean + alpha * day
    return mean


def mix(views: Array) -> Array:
    """Share of each rendition in all requests for segments; equal shares if there were none."""
    sums = np.asarray(views, dtype=np.float64).sum(axis=0)
    return np.asarray(sums / sums.sum() if sums.sum() else np.full(len(sums), 1 / len(sums)))


def releases(views: Array, segments: Array, past_weights: Array, weights: Array, new: Array, seed: int) -> Array:
    """Forecast views of new titles: their expected popularity times yesterday's views per unit of popularity.

    Args:
        views: Yesterday's requests for segments, by title and rendition.
        segments: Segments of each title.
        past_weights: Expected popularity of each title yesterday.
        weights: Expected popularity of each title tomorrow.
        new: Mask of the new titles.
        seed: Seed of the forecast errors.

    Returns:
        Requests by title and rendition; 0 for titles that aren't new.
    """
    ratio = views.sum() / max(float((past_weights * segments).sum()), 1e-300)
    error = np.exp(RELEASE_ERROR * normal(stream_of(seed, "expectations"), np.arange(len(segments))))
    expected = np.where(new, ratio * weights * segments * error, 0.0)
    return np.asarray(expected[:, None] * mix(views)[None, :])


def oracle(views: Array, title: Array, left: Array) -> Array:
    """A perfect forecast of titles: tomorrow's actual sessions, in yesterday's mix of renditions.

    Args:
        views: Yesterday's requests for segments, by title and rendition.
        title: Title of each of tomorrow's sessions.
        left: Number of segments that each of them plays.
    """
    watched = np.bincount(title, weights=left, minlength=len(views))
    return np.asarray(watched[:, None] * mix(views)[None, :])
