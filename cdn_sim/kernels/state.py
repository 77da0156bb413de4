"""The arrays of a cache, and operations on its queues.

A queue is a ring of objects through a sentinel row; sentinels follow the rows of all objects. The sentinel's newer
neighbour is the tail (oldest), and its older neighbour is the head (newest).
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
"""Columns of a row. The mark is the place plus four times the uses. Ranked policies store the heap position in the
first column. The spare column is for the caller."""
ABSENT, FIRST, SECOND, GHOST = range(4)
"""Places: not stored; the only queue, probation or the small queue; the protected or main queue; the ghost queue."""
RINGS = 3
"""Number of sentinel rows, after the objects."""

USED, SECOND_BYTES, GHOST_BYTES, HAND, HAS_EVICTED, CLOCK, COUNT, EVICTIONS = range(8)
"""Totals: stored bytes, bytes of the second queue, bytes of the ghost queue, SIEVE's hand, whether S3-FIFO has evicted,
requests so far and objects in the heap (ranked policies), evictions since the state was created."""


@dataclass(frozen=True, slots=True)
class State:
    """One cache's arrays, changed in place by kernels.

    Attributes:
        nodes: int32, one row per object and then the sentinels; see `OLDER` for the columns.
        totals: int64; see `USED`.
        heap: Object numbers as a binary heap, for ranked policies; empty otherwise.
        worth: Worth (or next use) by object, for ranked policies; the last entry is the inflation.
        clocks: Number of the last request by object, for ranked policies.
    """

    nodes: Array
    totals: Array
    heap: Array
    worth: Array
    clocks: Array


def empty(policy: str, objects: int) -> State:
    """An empty cache.

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
