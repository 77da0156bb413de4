"""Map titles to the edges of a site."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdn_sim.streams import draw, stream_of


def order(titles: int, edges: int, site: str) -> NDArray[Any]:
    """Edges of each title, the preferred one first, by rendezvous hashing: losing an edge moves only its own titles.

    Args:
        titles: How many.
        edges: How many.
        site: Name of the site, so that sites spread differently.

    Returns:
        int64, a row for each title.

    Source:
        Thaler, Ravishankar: Using name-based mappings to increase hit rates, IEEE/ACM ToN 6(1), 1998.
    """
    scores = np.array([draw(stream_of(0, f"{site}/{edge}"), np.arange(titles)) for edge in range(edges)])
    return np.argsort(scores, axis=0, kind="stable")[::-1].T.astype(np.int64)


def rendezvous(title: str, edges: Sequence[str]) -> tuple[str, ...]:
    """Edges by name in the order in which they are responsible for a title; what live edges, steering and fill use.

    Args:
        title: Its slug.
        edges: Names of a site's edges, such as ``north/1``.
    """
    return tuple(sorted(edges, key=lambda edge: blake2b(f"{edge}\n{title}".encode(), digest_size=8).digest()))
