"""Calls a policy's kernels by its number, so that one compiled loop can run caches with different policies."""

from cdn_sim.compiling import Array, called, compiled
from cdn_sim.kernels.queues import (
    fifo_step,
    lru_step,
    sieve_evict,
    sieve_step,
    slru_evict,
    slru_step,
    tail_evict,
)
from cdn_sim.kernels.ranked import ranked_evict, ranked_remove, ranked_step
from cdn_sim.kernels.s3fifo import s3fifo_evict, s3fifo_step
from cdn_sim.kernels.state import (
    ABSENT,
    FIFO,
    GDSF,
    GHOST,
    HAND,
    LRU,
    MARK,
    NEWER,
    PLACE_MASK,
    S3FIFO,
    SECOND,
    SECOND_BYTES,
    SIEVE,
    SLRU,
    USED,
    unlink,
)


@called
def step(
    policy: int,
    number: int,
    admit: bool,
    next_use: float,
    sizes: Array,
    room: int,
    nodes: Array,
    totals: Array,
    heap: Array,
    worth: Array,
    clocks: Array,
) -> bool:
    """Process one request: record it, and store the object if it is a miss and may be stored.

    Args:
        policy: A number in `cdn_sim.kernels.state.NUMBERS`.
        number: Number of the object.
        admit: Whether the object may be stored if it is a miss.
        next_use: For Belady: number of the object's next request.
        sizes: Bytes by object.
        room: Budget of the reactive part, in bytes.
        nodes: As in `cdn_sim.kernels.state.State`.
        totals: As in `cdn_sim.kernels.state.State`.
        heap: As in `cdn_sim.kernels.state.State`.
        worth: As in `cdn_sim.kernels.state.State`.
        clocks: As in `cdn_sim.kernels.state.State`.

    Returns:
        Whether it is a hit.
    """
    if policy == SLRU:
        hit = slru_step(number, admit, sizes, room, nodes, totals)
    elif policy == LRU:
        hit = lru_step(number, admit, sizes, room, nodes, totals)
    elif policy == S3FIFO:
        hit = s3fifo_step(number, admit, sizes, room, nodes, totals)
    elif policy == SIEVE:
        hit = sieve_step(number, admit, sizes, room, nodes, totals)
    elif policy == FIFO:
        hit = fifo_step(number, admit, sizes, room, nodes, totals)
    else:
        hit = ranked_step(policy, number, admit, next_use, sizes, room, nodes, totals, heap, worth, clocks)
    return hit


@compiled
def make_room(
    policy: int, sizes: Array, room: int, nodes: Array, totals: Array, heap: Array, worth: Array, clocks: Array
) -> None:
    """Evict until the reactive part fits into ``room``, because the planned part has grown."""
    while totals[USED] > room:
        if policy == SLRU:
            slru_evict(sizes, nodes, totals)
        elif policy == S3FIFO:
            s3fifo_evict(sizes, room, nodes, totals)
        elif policy == SIEVE:
            sieve_evict(sizes, nodes, totals)
        elif policy >= GDSF:
            ranked_evict(policy, sizes, nodes, totals, heap, worth, clocks)
        else:
            tail_evict(sizes, nodes, totals)


@compiled
def remove(
    policy: int,
    number: int,
    sizes: Array,
    nodes: Array,
    totals: Array,
    heap: Array,
    worth: Array,
    clocks: Array,
) -> None:
    """Remove an object from the reactive part, if it is there, because its fetch failed or it was purged or pinned."""
    place = nodes[number, MARK] & PLACE_MASK
    if place in (ABSENT, GHOST):
        return
    if policy >= GDSF:
        ranked_remove(number, sizes, nodes, totals, heap, worth, clocks)
        return
    if policy == SIEVE and totals[HAND] == number:
        totals[HAND] = nodes[number, NEWER]
    unlink(nodes, number)
    nodes[number, MARK] = ABSENT
    totals[USED] -= sizes[number]
    if place == SECOND:
        totals[SECOND_BYTES] -= sizes[number]
