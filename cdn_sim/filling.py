"""The nightly window: in which order, from where and until when the planned renditions arrive.

All edges of a site begin together. Each pulls one rendition after the other, the most wanted first, at its rate. Of a
rendition that several edges of a site want, one pulls it from above and the others copy it from that one. What has not
arrived when the window closes is late: it is planned again the next day.
"""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array


@dataclass(frozen=True, slots=True)
class Filled:
    """What a window brings.

    Attributes:
        arrives_ms: By edge, title and rendition: when it is complete; infinite if it is late or not new.
        bytes: What arrives at all edges.
        pulled_bytes: What of it crosses transit; the rest is copied within the site.
        late_bytes: What of the plan does not arrive.
        pulls: Start and end in ms and bytes per ms of what each edge pulls over transit.
    """

    arrives_ms: Array
    bytes: float
    pulled_bytes: float
    late_bytes: float
    pulls: tuple[tuple[float, float, float], ...]


def window_bytes(mbps: float, hours: float) -> float:
    """Bytes that a rate brings in a window: 1,200 Mb/s bring 6.48 TB in 12 hours."""
    return mbps * 1e6 / 8 * hours * 3600


def fill(new: Array, worth: Array, sizes: Array, order: Array, *, start_ms: float, hours: float, mbps: float) -> Filled:
    """Run a window.

    Args:
        new: By edge, title and rendition: what is planned and not there.
        worth: By title and rendition; the most wanted first.
        sizes: Bytes by title and rendition.
        order: Edges of each title; of those that want a rendition, the first one pulls it.
        start_ms: When the window opens.
        hours: How long it stays open.
        mbps: What each edge may take in.
    """
    edges, titles, renditions = new.shape
    rate = mbps * 1e6 / 8 / 1000
    end_ms = start_ms + hours * 3_600_000
    arrives = np.full(new.shape, np.inf)
    flat_sizes, flat_worth = sizes.ravel(), worth.ravel()
    pullers = np.full(titles * renditions, -1, dtype=np.int64)
    wanted = new.reshape(edges, -1)
    for title, rendition in zip(*np.nonzero(new.any(axis=0)), strict=True):
        number = title * renditions + rendition
        pullers[number] = next(edge for edge in order[title] if wanted[edge, number])
    total = pulled = late = 0.0
    pulls = []
    for copies in (False, True):  # pullers first, so that copies know when their source is complete
        for edge in range(edges):
            queue = np.nonzero(wanted[edge])[0]
            queue = queue[np.argsort(-flat_worth[queue], kind="stable")]
            ends = start_ms + np.cumsum(flat_sizes[queue]) / rate
            own = pullers[queue] == edge
            chosen = ~own if copies else own
            flat_arrives = arrives[edge].reshape(-1)
            if copies:
                source = arrives.reshape(edges, -1)[pullers[queue], queue]
                ends = np.maximum(ends, source)
            on_time = chosen & (ends <= end_ms)
            flat_arrives[queue[on_time]] = ends[on_time]
            arrived = float(flat_sizes[queue[on_time]].sum())
            total += arrived
            late += float(flat_sizes[queue[chosen & ~on_time]].sum())
            if not copies and arrived:
                pulled += arrived
                last_ms = float(ends[on_time].max())
                pulls.append((start_ms, last_ms, arrived / (last_ms - start_ms)))
    return Filled(arrives, total, pulled, late, tuple(pulls))
