"""Chooses the renditions that each edge of a site should store: the highest forecast bytes per stored byte first.

It places whole renditions: counts by segment are too sparse, and placing by segment lost 20 points of hit ratio.
"""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array

BUSY = 0.8
"""Maximum planned load of an edge, as a share of its rate."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A plan for a site.

    Attributes:
        planned: Mask by edge, title and rendition.
        worth: Forecast requests per stored segment by title and rendition, before they are split between replicas.
        replicas: Number of edges that share each title's viewers.
    """

    planned: Array
    worth: Array
    replicas: Array


def replicas(bytes_per_day: Array, order: Array, rate_bytes_s: float, peak_share: float, most: int) -> Array:
    """Replicate the hottest titles until the busiest edge's peak load fits its rate.

    Args:
        bytes_per_day: Forecast bytes of each title.
        order: Ranked edges of each title.
        rate_bytes_s: Rate of an edge.
        peak_share: Share of a day's bytes in its busiest hour.
        most: Maximum replicas of a title.

    Returns:
        Replicas of each title, from 1 to ``most``.
    """
    titles, edges = order.shape
    shared = np.ones(titles, dtype=np.int64)
    if most < 2 or edges < 2:
        return shared
    peak = bytes_per_day * peak_share / 3600
    load = np.bincount(order[:, 0], weights=peak, minlength=edges)
    ranked = np.argsort(-peak, kind="stable")
    for title in ranked:
        hottest = int(load.argmax())
        if load[hottest] <= BUSY * rate_bytes_s or peak[title] <= 0:
            break
        if hottest not in order[title, : shared[title]]:
            continue
        load[order[title, 0]] -= peak[title]
        shared[title] = most
        for edge in order[title, :most]:
            load[edge] += peak[title] / most
    return shared


def place(
    views: Array,
    sizes: Array,
    segments: Array,
    order: Array,
    shared: Array,
    held: Array,
    budget_bytes: float,
    *,
    stays: float = 1.1,
) -> Placement:
    """Choose the renditions that each edge stores.

    Args:
        views: Forecast segments by title and rendition.
        sizes: Bytes by title and rendition.
        segments: Segments of each title.
        order: Ranked edges of each title.
        shared: Replicas of each title.
        held: Mask by edge, title and rendition: the current planned part.
        budget_bytes: Size of the planned part of each edge.
        stays: Factor by which a new rendition must be worth more than a stored one to replace it.
    """
    edges = order.shape[1]
    worth = views / np.maximum(segments, 1)[:, None]
    planned = np.zeros_like(held)
    for edge in range(edges):
        place_of = np.argmax(order == edge, axis=1)
        here = place_of < shared
        value = np.where(here[:, None], worth / shared[:, None], 0.0) * np.where(held[edge], stays, 1.0)
        ranked = np.argsort(-value, axis=None, kind="stable")
        ranked = ranked[value.ravel()[ranked] > 0]
        left = float(budget_bytes)
        flat_sizes = sizes.ravel()
        chosen = planned[edge].reshape(-1)
        # Take the prefix that fits at once, then try the others one by one.
        fitting = int(np.searchsorted(np.cumsum(flat_sizes[ranked]), left, side="right"))
        chosen[ranked[:fitting]] = True
        left -= float(flat_sizes[ranked[:fitting]].sum())
        smallest = float(flat_sizes[ranked[fitting:]].min()) if fitting < len(ranked) else left + 1
        for candidate in ranked[fitting:]:
            if smallest > left:
                break
            if flat_sizes[candidate] <= left:
                chosen[candidate] = True
                left -= float(flat_sizes[candidate])
    return Placement(planned, worth, shared)
