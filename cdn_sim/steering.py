"""Steering: which edge a viewer is sent to. Pure; simulation and a live steering server use the same functions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FULL = 0.98
"""Share of an edge's rate from which it takes no new viewers."""
LEAVE = 0.995
"""Share of an edge's rate from which viewers who are there are sent away; above `FULL`, so that nobody swings."""
AWAY = -1
"""No edge is up: the viewer is served from the shield."""


def pick(
    order: NDArray[Any], replicas: int, draw: int, up: NDArray[Any], load: NDArray[Any], current: int
) -> tuple[int, bool]:
    """Choose the edge for a viewer; the simulation compiles it, a steering server calls it as it is.

    Args:
        order: The title's edges, the preferred one first.
        replicas: How many of the first ones hold the title and share its viewers.
        draw: A number of the viewer's own, which spreads viewers over replicas.
        up: Whether each edge works.
        load: Share of each edge's rate that is taken.
        current: The edge that the viewer uses now, or -1.

    Returns:
        The edge, or `AWAY`, and whether it is another one than those that hold the title.
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
            # All are full or away: the preferred one that works, and its link is shared.
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
    """All edges that work, best first, as a steering manifest lists pathways.

    Args:
        order: The title's edges, the preferred one first.
        replicas: How many of the first ones hold the title, at least 1.
        draw: A number of the viewer's own, not negative.
        up: Whether each edge works, by edge.
        load: Share of each edge's rate that is taken, by edge.
        current: The edge that the viewer uses now, if any.
    """
    works = np.array(up, dtype=np.uint8)
    loads = np.array(load, dtype=np.float64)
    edges = np.array(order, dtype=np.int64)
    ranked: list[int] = []
    now = -1 if current is None else current
    while True:
        chosen, _ = pick(edges, replicas, draw, works, loads, now)
        if chosen < 0:
            return tuple(ranked)
        ranked.append(int(chosen))
        works[chosen] = 0
        now = -1
