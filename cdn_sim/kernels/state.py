"""The arrays of a cache, and operations on its queues.

Each object has a row of `State.nodes`. A queue is a doubly linked ring of rows: from the tail (the oldest object) to
the head (the newest), and back to the tail through a sentinel row. So the sentinel's `NEWER` is the tail, and its
`OLDER` is the head. The sentinels follow the rows of all objects.

A cache has a planned part, whose objects a fill plan pins, and a reactive part, which stores missed objects and evicts
others for them. Policies manage only the reactive part.
"""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array, inlined

LRU, FIFO, SLRU, SIEVE, S3FIFO, GDSF, LFUDA, BELADY = range(8)
NUMBERS = {
    "lru": LRU,
    "fifo": FIFO,
    "slru": SLRU,
    "sieve": SIEVE,
    "s3fifo": S3FIFO,
    "gdsf": GDSF,
    "lfuda": LFUDA,
    "belady": BELADY,
}
"""Numbers of the policies in compiled code."""

OLDER, NEWER, MARK, SPARE = range(4)
"""Columns of an object's row.

- ``OLDER`` and ``NEWER``: rows of its neighbours in the queue. Ranked policies store its heap position in ``OLDER``.
- ``MARK``: ``place + 4 * uses``; see `ABSENT` for the places. SIEVE's visited bit counts as a use.
- ``SPARE``: for the caller.
"""
ABSENT, FIRST, SECOND, GHOST = range(4)
"""Places of an object.

- ``ABSENT``: not stored.
- ``FIRST``: in the only queue, in SLRU's probation, or in S3-FIFO's small queue.
- ``SECOND``: in SLRU's protected queue, or in S3-FIFO's main queue.
- ``GHOST``: evicted, but still in S3-FIFO's ghost queue.
"""
PLACE_MASK = 3
"""``mark & PLACE_MASK`` is the place."""
RINGS = 3
"""Number of sentinel rows, after the objects."""

USED, SECOND_BYTES, GHOST_BYTES, HAND, HAS_EVICTED, CLOCK, COUNT, EVICTIONS = range(8)
"""Entries of `State.totals`.

- ``USED``: bytes in the reactive part.
- ``SECOND_BYTES``, ``GHOST_BYTES``: bytes in the second queue and in the ghost queue.
- ``HAND``: row of SIEVE's hand.
- ``HAS_EVICTED``: for S3-FIFO: whether an object was evicted.
- ``CLOCK``, ``COUNT``: for ranked policies: number of requests so far, and of objects in the heap.
- ``EVICTIONS``: evictions since the state was created.
"""


@dataclass(frozen=True, slots=True)
class State:
    """One cache's arrays, changed in place by kernels.

    Attributes:
        nodes: int32, one row per object and then the sentinels; see `OLDER` for the columns.
        totals: int64; see `USED`.
        heap: For ranked policies: int32, object numbers as a binary heap. Empty for others, like the next two.
        worth: For ranked policies: float64, the worth of each object; see `cdn_sim.policies.gdsf` for GDSF and LFUDA,
            and `cdn_sim.kernels.ranked` for Belady. The last entry is the inflation.
        clocks: For ranked policies: int64, `CLOCK` at the last request of each object, which breaks ties.
    """

    nodes: Array
    totals: Array
    heap: Array
    worth: Array
    clocks: Array


def empty(policy: str, objects: int) -> State:
    """Make an empty cache.

    Args:
        policy: A name in `NUMBERS`.
        objects: Number of different objects that may be requested.
    """
    nodes = np.zeros((objects + RINGS, 4), dtype=np.int32)
    for ring in range(RINGS):
        nodes[objects + ring, :2] = objects + ring
    totals = np.zeros(8, dtype=np.int64)
    totals[HAND] = objects
    ranked = objects if NUMBERS[policy] >= GDSF else 0
    return State(
        nodes,
        totals,
        np.zeros(ranked, dtype=np.int32),
        np.zeros(ranked + 1, dtype=np.float64),
        np.zeros(ranked, dtype=np.int64),
    )


@inlined
def unlink(nodes: Array, row: int) -> None:
    """Remove a row from its queue."""
    older, newer = nodes[row, OLDER], nodes[row, NEWER]
    nodes[older, NEWER] = newer
    nodes[newer, OLDER] = older


@inlined
def push(nodes: Array, ring: int, row: int) -> None:
    """Put a row at the head of a queue."""
    head = nodes[ring, OLDER]
    nodes[row, OLDER] = head
    nodes[row, NEWER] = ring
    nodes[head, NEWER] = row
    nodes[ring, OLDER] = row
