"""Which renditions of which titles each edge of a site is to hold: the most forecast bytes per stored byte first.

Whole renditions, never single segments: counts by segment are too sparse, and cost 20 points of hit ratio.
"""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array

BUSY = 0.8
"""Share of an edge's rate up to which it is planned."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A plan for a site.

    Attributes:
        planned: By edge, title and rendition: whether it is to be there.
        worth: Forecast requests per stored segment by title and rendition, before replicas share them.
        replicas: How many edges share each title's viewers.
    """

    planned: Array
    worth: Array
    replicas: Array


def replicas(bytes_per_day: Array, order: Array, rate_bytes_s: float, peak_share: float, most: int) -> Array:
    """Spread the hottest titles over more edges until the hottest edge is below its rate.

    Args:
        bytes_per_day: Forecast bytes of each title.
        order: Edges of each title, the preferred one first.
        rate_bytes_s: Rate of an edge.
        peak_share: Share of a day's bytes in its busiest hour.
        most: Most edges for one title.

    Returns:
        How many edges share each title, from 1 to ``most``.
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
    """Choose what each edge holds.

    Args:
        views: Forecast segments by title and rendition.
        sizes: Bytes by title and rendition.
        segments: Segments of each title.
        order: Edges of each title, the preferred one first.
        shared: How many edges share each title.
        held: By edge, title and rendition: what is there by plan now.
        budget_bytes: Of the planned part of each edge.
        stays: How many times as much a newcomer must be worth as what is there.
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
        # The ones that fit in a row are taken at once, then those that still fit one by one.
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
