"""GDSF, LFUDA and Belady on an indexed binary heap.

The heap's root is the next victim: the object with the lowest worth. An object's row stores its position in the heap,
so that a hit can move it there. For Belady, the worth is the negated number of the object's next request.
"""

from cdn_sim.compiling import Array, inlined
from cdn_sim.kernels.state import ABSENT, BELADY, CLOCK, COUNT, EVICTIONS, FIRST, GDSF, MARK, OLDER, USED

POSITION = OLDER
"""Column of the heap position; ranked policies have no queues."""


@inlined
def _before(worth_a: float, clock_a: int, worth_b: float, clock_b: int) -> bool:
    return worth_a < worth_b or (worth_a == worth_b and clock_a < clock_b)


@inlined
def sink(position: int, count: int, nodes: Array, heap: Array, worth: Array, clocks: Array) -> None:
    """Move the object at a position away from the root until its children come after it."""
    number = heap[position]
    own, clock = worth[number], clocks[number]
    child = 2 * position + 1
    while child < count:
        chosen = heap[child]
        if child + 1 < count:
            other = heap[child + 1]
            if _before(worth[other], clocks[other], worth[chosen], clocks[chosen]):
                child += 1
                chosen = other
        if not _before(worth[chosen], clocks[chosen], own, clock):
            break
        heap[position] = chosen
        nodes[chosen, POSITION] = position
        position = child
        child = 2 * position + 1
    heap[position] = number
    nodes[number, POSITION] = position


@inlined
def rise(position: int, nodes: Array, heap: Array, worth: Array, clocks: Array) -> None:
    """Move the object at a position towards the root until its parent comes before it."""
    number = heap[position]
    own, clock = worth[number], clocks[number]
    while position > 0:
        parent = (position - 1) >> 1
        other = heap[parent]
        if not _before(own, clock, worth[other], clocks[other]):
            break
        heap[position] = other
        nodes[other, POSITION] = position
        position = parent
    heap[position] = number
    nodes[number, POSITION] = position


@inlined
def ranked_remove(
    number: int, sizes: Array, nodes: Array, totals: Array, heap: Array, worth: Array, clocks: Array
) -> None:
    """Remove a stored object that was not chosen as a victim."""
    totals[COUNT] -= 1
    totals[USED] -= sizes[number]
    nodes[number, MARK] = ABSENT
    position, last = nodes[number, POSITION], heap[totals[COUNT]]
    if last != number:
        heap[position] = last
        nodes[last, POSITION] = position
        sink(position, totals[COUNT], nodes, heap, worth, clocks)
        rise(nodes[last, POSITION], nodes, heap, worth, clocks)


@inlined
def ranked_evict(
    policy: int, sizes: Array, nodes: Array, totals: Array, heap: Array, worth: Array, clocks: Array
) -> None:
    """Evict the root; except for Belady, its worth becomes the inflation."""
    victim = heap[0]
    if policy != BELADY:
        worth[worth.shape[0] - 1] = worth[victim]
    totals[EVICTIONS] += 1
    totals[COUNT] -= 1
    totals[USED] -= sizes[victim]
    nodes[victim, MARK] = ABSENT
    if totals[COUNT] > 0:
        heap[0] = heap[totals[COUNT]]
        sink(0, totals[COUNT], nodes, heap, worth, clocks)


@inlined
def ranked_step(
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
    """Process one request; ``next_use`` is for Belady only. Returns whether it is a hit."""
    size = sizes[number]
    hit: bool = nodes[number, MARK] != ABSENT
    if not hit:
        if not admit or size > room:
            if policy == BELADY:
                totals[CLOCK] += 1
            return False
        while totals[USED] + size > room:
            ranked_evict(policy, sizes, nodes, totals, heap, worth, clocks)
        totals[USED] += size
    totals[CLOCK] += 1
    clocks[number] = totals[CLOCK]
    if policy == BELADY:
        worth[number] = -next_use
    else:
        uses = (nodes[number, MARK] >> 2) + 1 if hit else 1
        nodes[number, MARK] = FIRST + 4 * uses
        inflation = worth[worth.shape[0] - 1]
        worth[number] = inflation + uses * 1e6 / max(size, 1) if policy == GDSF else inflation + uses
    if hit:
        if policy == BELADY:
            rise(nodes[number, POSITION], nodes, heap, worth, clocks)
        else:
            sink(nodes[number, POSITION], totals[COUNT], nodes, heap, worth, clocks)
    else:
        nodes[number, MARK] = FIRST + 4
        heap[totals[COUNT]] = number
        totals[COUNT] += 1
        rise(totals[COUNT] - 1, nodes, heap, worth, clocks)
    return hit
