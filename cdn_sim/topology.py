"""Maps titles to the edges of a site, by rendezvous hashing."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdn_sim.streams import draw, stream_of


def order(titles: int, edges: int, site: str) -> NDArray[Any]:
    """Rank the edges for each title in a simulation; if an edge is lost, only its own titles move.

    Args:
        titles: Number of titles.
        edges: Number of edges.
        site: Name of the site; edges of different sites are ranked independently.

    Returns:
        int64, one row of edge numbers per title, the preferred edge first; contiguous, since numba
        compiles kernels again for each memory layout.

    Source:
        Thaler, Ravishankar: Using name-based mappings to increase hit rates, IEEE/ACM ToN 6(1), 1998.
    """
    scores = np.array([draw(stream_of(0, f"{site}/{edge}"), np.arange(titles)) for edge in range(edges)])
    return np.ascontiguousarray(np.argsort(scores, axis=0, kind="stable")[::-1].T, dtype=np.int64)


def rendezvous(title: str, edges: Sequence[str]) -> tuple[str, ...]:
    """Rank a site's edges for a title: for live edges, the steering server and fill plans.

    Args:
        title: The title's slug.
        edges: Names of a site's edges, such as ``north/1``.

    Returns:
        The names, the preferred edge first.
    """
    return tuple(sorted(edges, key=lambda edge: blake2b(f"{edge}\n{title}".encode(), digest_size=8).digest()))
