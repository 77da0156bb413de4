"""Steering: chooses a viewer's edge. The simulation and the live steering server use the same pure functions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FULL = 0.98
"""Load at which an edge gets no new viewers, as a share of its rate."""
LEAVE = 0.995
"""Load at which an edge's viewers are moved to others; above `FULL`, so that they don't oscillate between edges."""
AWAY = -1
"""Stands for an edge if none is up, so that the shield serves the viewer."""


def pick(
    order: NDArray[Any], replicas: int, draw: int, up: NDArray[Any], load: NDArray[Any], current: int
) -> tuple[int, bool]:
    """Choose the edge for a viewer; the simulation compiles this function.

    Args:
        order: The title's edges, the preferred one first.
        replicas: The first this many edges in ``order`` store the title and share its viewers.
        draw: The viewer's random number, which spreads viewers over these edges.
        up: Whether each edge is up.
        load: Load of each edge, as a share of its rate.
        current: The viewer's current edge, or -1.

    Returns:
        The edge, or `AWAY`, and whether the viewer is diverted to an edge that is not one of the ``replicas``.
    """
    edges = order.shape[0]
    home = draw % replicas
    chosen = AWAY
    diverted = False
    if current >= 0 and up[current] and load[current] < LEAVE:
        chosen = current
        diverted = True
        for place in range(replicas):
            if order[place] == current:
                diverted = False
    else:
        for place in range(edges):
            turn = (home + place) % replicas if place < replicas else place
            edge = order[turn]
            if up[edge] and load[edge] < FULL:
                chosen = edge
                diverted = place >= replicas
                break
        if chosen < 0:
            # All edges are full or down: overload the first one that is up.
            for place in range(edges):
                turn = (home + place) % replicas if place < replicas else place
                if up[order[turn]]:
                    chosen = order[turn]
                    diverted = place >= replicas
                    break
            if chosen < 0:
                diverted = True
    return chosen, diverted


def rank(
    order: Sequence[int],
    *,
    replicas: int,
    draw: int,
    up: Sequence[bool],
    load: Sequence[float],
    current: int | None = None,
) -> tuple[int, ...]:
    """All edges that are up, best first, in the order of a steering manifest's pathways.

    Args:
        order: The title's edges, the preferred one first.
        replicas: The first this many edges in ``order`` store the title; at least 1.
        draw: The viewer's random number, not negative.
        up: Whether each edge is up.
        load: Load of each edge, as a share of its rate.
        current: The viewer's current edge, if any.
    """
    available = np.array(up, dtype=np.uint8)
    loads = np.array(load, dtype=np.float64)
    edges = np.array(order, dtype=np.int64)
    ranked: list[int] = []
    preferred = -1 if current is None else current
    while True:
        chosen, _ = pick(edges, replicas, draw, available, loads, preferred)
        if chosen < 0:
            return tuple(ranked)
        ranked.append(int(chosen))
        available[chosen] = 0
        preferred = -1
