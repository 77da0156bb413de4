"""The engine's arrays at the start of a run: titles, empty caches, idle links and counters at zero."""

from collections.abc import Mapping, Sequence

import numpy as np

from cdn_sim import topology
from cdn_sim.accounting import BINS_PER_DAY, DAY_HOURS
from cdn_sim.catalogue import Objects
from cdn_sim.compiling import Array
from cdn_sim.engine.state import (
    CLASSES,
    FLOW_TICKS,
    NEVER,
    SLOTS,
    WHEEL,
    Caches,
    Counts,
    Links,
    Rules,
    Titles,
)
from cdn_sim.kernels.state import GDSF, HAND, NUMBERS, RINGS
from cdn_sim.model import Edge, Isp, Scenario
from cdn_sim.networks import factors
from cdn_sim.outcomes import DECISIONS, EXPERIENCE
from cdn_sim.players.session import utilities_of
from cdn_sim.scenario import size_bytes

FETCH_MBPS = 1_000.0
"""Maximum rate of one fetch by an edge or shield."""
STEER_EVERY_MS = 300_000.0
"""TTL of a steering manifest."""


def titles(objects: Objects) -> Titles:
    """The titles, with the utilities that players assign to their bitrates."""
    count, width = len(objects.rates), objects.rates.shape[1]
    utilities = np.array(
        [
            np.pad(utilities_of(row[:rungs]), (0, width - rungs))
            for row, rungs in zip(objects.rates, objects.counts, strict=True)
        ]
    ).reshape(count, -1)
    return Titles(
        objects.sizes,
        objects.segments,
        objects.rates,
        utilities,
        objects.counts,
        objects.firsts,
        objects.segment_ms,
        objects.sound,
    )


def disks(edge: Edge, isp: Isp) -> Array:
    """Bytes of each cache's disk: the edges, then the shield."""
    return np.array([size_bytes(edge.disk)] * isp.edges + [size_bytes(isp.shield.disk)], dtype=np.int64)


def largest_admitted(edge: Edge) -> int:
    """Maximum size of an object that an edge stores by its admission rule; -1 if it stores none."""
    return {"all": NEVER, "size": size_bytes(edge.largest), "planned only": -1}[edge.admission]


def empty_caches(edge: Edge, isp: Isp, objects: Objects) -> Caches:
    """A provider's caches, with nothing in them and nothing planned for them."""
    edges, count = isp.edges, len(objects.sizes)
    caches, titles = edges + 1, len(objects.bases)
    policies = [edge.policy] * edges + [isp.shield.policy]
    ranked = count if any(NUMBERS[policy] >= GDSF for policy in policies) else 0
    empty = Caches(
        np.array([NUMBERS[policy] for policy in policies], dtype=np.int64),
        disks(edge, isp),
        np.array([largest_admitted(edge)] * edges + [NEVER], dtype=np.int64),
        np.ones(caches, dtype=np.uint8),
        np.zeros((caches, count + RINGS, 4), dtype=np.int32),
        np.zeros((caches, 8), dtype=np.int64),
        np.zeros((caches, ranked), dtype=np.int32),
        np.zeros((caches, ranked + 1)),
        np.zeros((caches, ranked), dtype=np.int64),
        np.full((edges, titles, objects.renditions), NEVER, dtype=np.int32),
        topology.order(titles, edges, isp.name),
        np.ones(titles, dtype=np.int64),
    )
    for cache in range(caches):
        clear(empty, cache)
    return empty


def clear(caches: Caches, cache: int) -> None:
    """Remove all objects from a cache's reactive part."""
    nodes = caches.nodes[cache]
    count = len(nodes) - RINGS
    nodes[:] = 0
    for ring in range(RINGS):
        nodes[count + ring, :2] = count + ring
    caches.totals[cache] = 0
    caches.totals[cache, HAND] = count
    caches.worth[cache] = 0


def idle_links(scenario: Scenario, isp: Isp, seed: int, traces: Mapping[str, Sequence[float]] | None = None) -> Links:
    """A provider's links without flows, and the variation of its viewers' access rates."""
    edge, edges, bins = scenario.edge_of(isp), isp.edges, scenario.days.all * BINS_PER_DAY
    links = edges + 2
    origin_gbps = max(scenario.origin.link.gbps * isp.share, 1e-9)
    capacity = np.array([edge.gbps] * edges + [isp.transit.gbps, origin_gbps]) * 1e9 / 8 / 1000
    return Links(
        capacity,
        np.zeros(links),
        np.zeros(edges),
        np.array([0.0] * edges + [isp.transit.rtt_ms, scenario.origin.link.rtt_ms]),
        np.zeros((links, bins)),
        np.zeros((links, SLOTS)),
        np.zeros((links, CLASSES)),
        np.zeros((links, CLASSES)),
        np.zeros((links, FLOW_TICKS, CLASSES)),
        np.zeros((links, FLOW_TICKS, CLASSES)),
        capacity.copy(),
        factors(scenario.viewers.access, seed, traces),
    )


def zero_counts(scenario: Scenario, isp: Isp, objects: Objects, recorded: int) -> Counts:
    """Counters at zero, with room to record some requests at the first edge."""
    days, edges, links = scenario.days.all, isp.edges, isp.edges + 2
    hours = days * DAY_HOURS
    return Counts(
        np.zeros((edges + 1, len(DECISIONS), hours), dtype=np.int64),
        np.zeros((edges + 1, len(DECISIONS), hours)),
        np.zeros((links, days * BINS_PER_DAY)),
        np.zeros((hours, len(EXPERIENCE))),
        np.zeros((len(objects.bases), objects.renditions), dtype=np.int32),
        np.zeros(links),
        np.zeros(1),
        np.zeros((recorded, 2), dtype=np.int64),
    )


def rules(scenario: Scenario) -> Rules:
    """The parameters while the origin is healthy."""
    return Rules(scenario.viewers.seeks_per_hour / 3_600_000, FETCH_MBPS * 1e6 / 8 / 1000, 0.0, 0.0, STEER_EVERY_MS)


def cursor() -> Array:
    """The cursor at the beginning; see `cdn_sim.engine.state.BUCKET`."""
    return np.zeros(6, dtype=np.int64)


def wheel() -> Array:
    """An empty timer wheel."""
    return np.full(WHEEL, -1, dtype=np.int64)
