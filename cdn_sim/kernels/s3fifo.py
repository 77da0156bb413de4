"""S3-FIFO; see `cdn_sim.policies.s3fifo` for the definition."""

from cdn_sim.compiling import Array, inlined
from cdn_sim.kernels.state import (
    ABSENT,
    EVICTIONS,
    FIRST,
    GHOST,
    GHOST_BYTES,
    HAS_EVICTED,
    MARK,
    NEWER,
    PLACE_MASK,
    RINGS,
    SECOND,
    SECOND_BYTES,
    USED,
    push,
    unlink,
)
from cdn_sim.policies.s3fifo import GHOST_SHARE, MAX_USES, PROMOTED_AFTER, SMALL_SHARE


@inlined
def s3fifo_evict(sizes: Array, room: int, nodes: Array, totals: Array) -> None:
    """Evict from the small queue, or from the main one if it exceeds its share or the small one is empty."""
    small = nodes.shape[0] - RINGS
    main, ghost = small + 1, small + 2
    totals[HAS_EVICTED] = 1
    totals[EVICTIONS] += 1
    done = False
    if totals[SECOND_BYTES] <= room - int(room * SMALL_SHARE):
        while nodes[small, NEWER] != small:
            row = nodes[small, NEWER]
            size = sizes[row]
            unlink(nodes, row)
            if nodes[row, MARK] < FIRST + 4 * PROMOTED_AFTER:
                totals[USED] -= size
                nodes[row, MARK] = ABSENT
                ghost_room = int(room * GHOST_SHARE)
                if size <= ghost_room:
                    while totals[GHOST_BYTES] + size > ghost_room:
                        forgotten = nodes[ghost, NEWER]
                        unlink(nodes, forgotten)
                        nodes[forgotten, MARK] = ABSENT
                        totals[GHOST_BYTES] -= sizes[forgotten]
                    push(nodes, ghost, row)
                    nodes[row, MARK] = GHOST
                    totals[GHOST_BYTES] += size
                done = True
                break
            push(nodes, main, row)
            nodes[row, MARK] = SECOND
            totals[SECOND_BYTES] += size
    while not done:
        row = nodes[main, NEWER]
        unlink(nodes, row)
        uses = nodes[row, MARK] >> 2
        if uses == 0:
            nodes[row, MARK] = ABSENT
            totals[SECOND_BYTES] -= sizes[row]
            totals[USED] -= sizes[row]
            done = True
        else:
            push(nodes, main, row)
            nodes[row, MARK] = SECOND + 4 * (min(uses, MAX_USES) - 1)


@inlined
def s3fifo_step(number: int, admit: bool, sizes: Array, room: int, nodes: Array, totals: Array) -> bool:
    """Process one request; returns whether it is a hit."""
    mark = nodes[number, MARK]
    place = mark & PLACE_MASK
    if place in (FIRST, SECOND):
        if mark < 4 * MAX_USES:  # further uses have no effect
            nodes[number, MARK] = mark + 4
        return True
    returning = place == GHOST
    size = sizes[number]
    if returning:
        unlink(nodes, number)
        nodes[number, MARK] = ABSENT
        totals[GHOST_BYTES] -= size
    small_room = int(room * SMALL_SHARE)
    if admit and size < small_room:
        while totals[USED] + size > room:
            s3fifo_evict(sizes, room, nodes, totals)
        ring = nodes.shape[0] - RINGS
        warming = totals[HAS_EVICTED] == 0 and totals[USED] - totals[SECOND_BYTES] >= small_room
        totals[USED] += size
        if returning or warming:
            totals[SECOND_BYTES] += size
            nodes[number, MARK] = SECOND
            push(nodes, ring + 1, number)
        else:
            nodes[number, MARK] = FIRST
            push(nodes, ring, number)
    return False
