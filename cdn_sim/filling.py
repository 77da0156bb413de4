"""The nightly fill window: when planned renditions arrive at the edges.

All edges of a site start together and pull one rendition at a time, those with the highest worth first. If several
edges of a site need a rendition, one pulls it over transit and the others copy it from that edge. Renditions that have
not arrived when the window closes are late and are planned again the next day.
"""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array


@dataclass(frozen=True, slots=True)
class Filled:
    """Result of a fill window.

    Attributes:
        arrives_ms: Arrival time by edge, title and rendition; infinite if the rendition is late or not new.
        bytes: Bytes that arrive, summed over all edges.
        pulled_bytes: Those of these bytes that cross transit; the rest is copied within the site.
        late_bytes: Planned bytes that don't arrive.
        pulls: Start in ms, end in ms and bytes per ms of the pulls over transit, for each edge that pulls.
    """

    arrives_ms: Array
    bytes: float
    pulled_bytes: float
    late_bytes: float
    pulls: tuple[tuple[float, float, float], ...]


def window_bytes(mbps: float, hours: float) -> float:
    """Bytes that fit into a window: 1,200 Mb/s for 12 hours is 6.48 TB."""
    return mbps * 1e6 / 8 * hours * 3600


def fill(new: Array, worth: Array, sizes: Array, order: Array, *, start_ms: float, hours: float, mbps: float) -> Filled:
    """Simulate a fill window.

    Args:
        new: Mask by edge, title and rendition: planned but not stored.
        worth: Worth by title and rendition; higher ones are pulled first.
        sizes: Bytes by title and rendition.
        order: Ranked edges of each title; the first one that needs a rendition pulls it.
        start_ms: When the window opens.
        hours: Length of the window.
        mbps: Fill rate of each edge.
    """
    edges, titles, renditions = new.shape
    rate = mbps * 1e6 / 8 / 1000  # bytes per ms
    end_ms = start_ms + hours * 3_600_000
    arrives = np.full(new.shape, np.inf)
    flat_sizes, flat_worth = sizes.ravel(), worth.ravel()
    flat_new, flat_arrives = new.reshape(edges, -1), arrives.reshape(edges, -1)
    pullers = np.full(titles * renditions, -1, dtype=np.int64)
    for title, rendition in zip(*np.nonzero(new.any(axis=0)), strict=True):
        number = title * renditions + rendition
        pullers[number] = next(edge for edge in order[title] if flat_new[edge, number])
    total_bytes = pulled_bytes = late_bytes = 0.0
    pulls = []
    for is_copying in (False, True):  # pulls first, because copies wait for them
        for edge in range(edges):
            queue = np.nonzero(flat_new[edge])[0]
            queue = queue[np.argsort(-flat_worth[queue], kind="stable")]
            ends_ms = start_ms + np.cumsum(flat_sizes[queue]) / rate
            is_pulled = pullers[queue] == edge
            chosen = ~is_pulled if is_copying else is_pulled
            if is_copying:
                ends_ms = np.maximum(ends_ms, flat_arrives[pullers[queue], queue])
            on_time = chosen & (ends_ms <= end_ms)
            flat_arrives[edge, queue[on_time]] = ends_ms[on_time]
            arrived_bytes = float(flat_sizes[queue[on_time]].sum())
            total_bytes += arrived_bytes
            late_bytes += float(flat_sizes[queue[chosen & ~on_time]].sum())
            if not is_copying and arrived_bytes:
                pulled_bytes += arrived_bytes
                last_ms = float(ends_ms[on_time].max())
                pulls.append((start_ms, last_ms, arrived_bytes / (last_ms - start_ms)))
    return Filled(arrives, total_bytes, pulled_bytes, late_bytes, tuple(pulls))
