"""The planned part of a provider's edges, night by night: forecast, placement, and arrival in the fill window."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim import filling, forecasting, placement
from cdn_sim.accounting import FillDay
from cdn_sim.compiling import Array
from cdn_sim.engine.caches import drop_renditions
from cdn_sim.engine.state import BIN_MS, NEVER, Caches
from cdn_sim.inputs import SharedInputs
from cdn_sim.kernels.step import make_room
from cdn_sim.model import Edge, Isp, Scenario
from cdn_sim.scenario import clock_ms, size_bytes
from cdn_sim.viewing import DAY_MS, Sessions

LATE = NEVER - 1
"""Arrival time of renditions that are planned but late."""
HISTORY_DAYS = 14
"""Days of views that a forecast uses."""
TOMORROW = 0.4
"""Weight of the next day's releases in a forecast."""


@dataclass(frozen=True, slots=True)
class Night:
    """The planned part of a provider's edges after a fill window.

    Attributes:
        planned_ms: Arrival time by edge, title and rendition; `NEVER` if not planned, `LATE` if late.
        held: Mask of the renditions that are planned and arrive in time.
        new: Mask of the planned renditions that the edges did not hold before.
        pulls: Start in ms, end in ms and bytes per ms of each edge's pulls over transit.
        fill: Bytes of this night.
    """

    planned_ms: Array
    held: Array
    new: Array
    pulls: tuple[tuple[float, float, float], ...]
    fill: FillDay


def forecast(
    scenario: Scenario, isp_number: int, day: int, history: Sequence[Array], arrivals: Sessions, inputs: SharedInputs
) -> Array:
    """Forecast a day's views by the scenario's method.

    Args:
        scenario: The scenario.
        isp_number: Number of the provider.
        day: The day, from 0.
        history: Segments sent by title and rendition, one matrix per day, oldest first; at least one.
        arrivals: The day's actual sessions, for a perfect forecast.
        inputs: The titles.

    Returns:
        Segments by title and rendition.
    """
    isp = scenario.isps[isp_number]
    fill = scenario.edge_of(isp).fill
    ranking, segments, yesterday = inputs.ranking, inputs.objects.segments, history[-1]
    if fill.forecast == "ewma":
        return forecasting.ewma(history[-HISTORY_DAYS:], fill.alpha)
    knows_today = fill.forecast == "oracle"
    if knows_today:
        views = forecasting.oracle(yesterday, arrivals.title, arrivals.left)
    else:
        views = forecasting.ewma(history[-HISTORY_DAYS:], fill.alpha)
    # Releases of today and tomorrow have been announced.
    past = ranking.weights(day - 1, isp_number, noisy=False)
    for ahead, share in ((1, TOMORROW),) if knows_today else ((0, 1.0), (1, TOMORROW)):
        new = ranking.released == day + ahead
        weights = ranking.weights(day + ahead, isp_number, noisy=False)
        views = views + share * forecasting.releases(yesterday, segments, past, weights, new, ranking.seed)
    is_announced = any(event.premiere is not None and event.premiere.planned for event in scenario.events)
    if is_announced and not knows_today:
        for _, _, title, sessions in inputs.premieres:
            if ranking.released[title] == day:
                crowd = sessions * isp.share * segments[title]
                views[title] = views[title] + crowd * forecasting.mix(yesterday)
    return np.asarray(views)


def replicas(scenario: Scenario, isp: Isp, views: Array, sizes: Array, segments: Array, order: Array) -> Array:
    """Number of edges that share each title's viewers, so that no edge is overloaded at the peak.

    Args:
        scenario: The scenario.
        isp: The provider.
        views: Forecast segments by title and rendition.
        sizes: Bytes by title and rendition.
        segments: Segments of each title.
        order: Ranked edges of each title.
    """
    per_segment = sizes / np.maximum(segments, 1)[:, None]
    hours = np.array(scenario.viewers.hours, dtype=np.float64)
    return placement.replicas(
        (views * per_segment).sum(axis=1),
        order,
        scenario.edge_of(isp).gbps * 1e9 / 8,
        float(hours.max() / hours.sum()),
        isp.replicas_of_top,
    )


def plan(
    edge: Edge, isp: Isp, day: int, views: Array, sizes: Array, segments: Array, caches: Caches, held: Array
) -> Night:
    """Choose the renditions that the edges store from a day's fill window on, and compute when each one arrives.

    Args:
        edge: The provider's edges.
        isp: The provider.
        day: The day, from 0.
        views: Forecast segments by title and rendition.
        sizes: Bytes by title and rendition.
        segments: Segments of each title.
        caches: The caches; not changed.
        held: Mask by edge, title and rendition: the planned part so far.
    """
    fill, edges = edge.fill, isp.edges
    budget = float(size_bytes(edge.disk)) * edge.pinned
    placed = placement.place(views, sizes, segments, caches.order, caches.replicas, held, budget, stays=fill.stays)
    new = placed.planned & ~held
    share_mbps = isp.transit.gbps * 1000 * fill.transit_share / edges
    filled = filling.fill(
        new,
        placed.worth,
        sizes,
        caches.order,
        start_ms=float(DAY_MS * day + clock_ms(fill.starts)),
        hours=fill.hours,
        mbps=min(fill.mbps, share_mbps),
    )
    kept_ms = np.where(placed.planned & held, caches.planned_ms, NEVER)
    arrives_ms = np.where(np.isfinite(filled.arrives_ms), filled.arrives_ms, LATE)
    planned_ms = np.where(new, np.minimum(arrives_ms, LATE), kept_ms).astype(np.int32)
    return Night(
        planned_ms,
        placed.planned & (planned_ms < LATE),
        new,
        filled.pulls,
        FillDay(
            day,
            planned=filled.bytes + filled.late_bytes,
            arrived=filled.bytes,
            pulled=filled.pulled_bytes,
            late=filled.late_bytes,
            replaced=_bytes(held & ~placed.planned, sizes),
            held=_bytes(placed.planned, sizes),
        ),
    )


def _bytes(mask: Array, sizes: Array) -> float:
    return float(mask.reshape(len(mask), -1).sum(axis=0) @ sizes.ravel())


def reserve(fill: Array, links: Sequence[int], pulls: Sequence[tuple[float, float, float]]) -> None:
    """Add pulls to the fill of links, proportionally in the first and the last bin.

    Args:
        fill: Bytes per ms by link and bin.
        links: The links that the pulls cross.
        pulls: Start in ms, end in ms and bytes per ms of each pull.
    """
    for start_ms, end_ms, rate in pulls:
        for link in links:
            for place in range(int(start_ms // BIN_MS), min(fill.shape[1], int(end_ms // BIN_MS) + 1)):
                inside = min(end_ms, (place + 1) * BIN_MS) - max(start_ms, place * BIN_MS)
                fill[link, place] += rate * inside / BIN_MS


def shrink_reactive(
    caches: Caches, new: Array, disk: Array, title_sizes: Array, bases: Array, segments: Array, sizes: Array
) -> None:
    """Remove newly planned objects from the edges' reactive parts, and shrink these to the remaining bytes.

    Args:
        caches: The caches; the edges' reactive parts change.
        new: Mask by edge, title and rendition: newly planned.
        disk: Bytes of each cache's disk.
        title_sizes: Bytes by title and rendition.
        bases: First object of each title's current version.
        segments: Segments of each title.
        sizes: Bytes of each object.
    """
    for edge in range(len(new)):
        planned = caches.planned_ms[edge] != NEVER
        caches.room[edge] = max(0, int(disk[edge] - (planned * title_sizes).sum()))
        state = (caches.nodes[edge], caches.totals[edge], caches.heap[edge], caches.worth[edge], caches.clocks[edge])
        policy = int(caches.policy[edge])
        drop_renditions(policy, np.ascontiguousarray(np.argwhere(new[edge]), np.int64), bases, segments, sizes, *state)
        make_room(policy, sizes, int(caches.room[edge]), *state)
