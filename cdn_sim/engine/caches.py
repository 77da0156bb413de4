"""Requests to one of the caches, by its number."""

from cdn_sim.compiling import Array, compiled, inlined
from cdn_sim.engine.state import Caches
from cdn_sim.kernels.state import SPARE
from cdn_sim.kernels.step import remove, step


@inlined
def look_up(cache: int, number: int, now_ms: float, sizes: Array, caches: Caches) -> tuple[bool, float]:
    """Request an object from a cache, whose policy may store it.

    Returns:
        Whether it is a hit, and when the object arrives if it is still being fetched (a delayed hit); 0 otherwise.
    """
    hit = step(
        caches.policy[cache],
        number,
        sizes[number] <= caches.largest[cache],
        0.0,
        sizes,
        caches.room[cache],
        caches.nodes[cache],
        caches.totals[cache],
        caches.heap[cache],
        caches.worth[cache],
        caches.clocks[cache],
    )
    arrives_ms = 0.0
    if hit and caches.nodes[cache, number, SPARE] > now_ms:
        arrives_ms = float(caches.nodes[cache, number, SPARE])
    return hit, arrives_ms


@inlined
def drop(cache: int, number: int, sizes: Array, caches: Caches) -> None:
    """Remove an object whose fetch failed from a cache."""
    remove(
        caches.policy[cache],
        number,
        sizes,
        caches.nodes[cache],
        caches.totals[cache],
        caches.heap[cache],
        caches.worth[cache],
        caches.clocks[cache],
    )


@compiled
def drop_renditions(
    policy: int,
    pairs: Array,
    bases: Array,
    segments: Array,
    sizes: Array,
    nodes: Array,
    totals: Array,
    heap: Array,
    worth: Array,
    clocks: Array,
) -> None:
    """Remove all objects of some renditions from a cache's reactive part.

    Args:
        policy: Policy of the cache, by number.
        pairs: Title and rendition of each rendition.
        bases: First object of each title.
        segments: Segments of each title.
        sizes: Bytes of each object.
        nodes: As in `cdn_sim.kernels.state.State`.
        totals: As in `cdn_sim.kernels.state.State`.
        heap: As in `cdn_sim.kernels.state.State`.
        worth: As in `cdn_sim.kernels.state.State`.
        clocks: As in `cdn_sim.kernels.state.State`.
    """
    for row in range(len(pairs)):
        title, rendition = pairs[row, 0], pairs[row, 1]
        first = bases[title] + rendition * segments[title]
        for number in range(first, first + segments[title]):
            remove(policy, number, sizes, nodes, totals, heap, worth, clocks)
