"""LRU, FIFO, SLRU and SIEVE.

Each ``*_step`` processes one request and returns whether it is a hit. Each ``*_evict`` chooses one victim and removes
it. ``room`` is the budget of the reactive part, in bytes.
"""

from cdn_sim.compiling import Array, inlined
from cdn_sim.kernels.state import (
    ABSENT,
    EVICTIONS,
    FIRST,
    HAND,
    MARK,
    NEWER,
    OLDER,
    RINGS,
    SECOND,
    SECOND_BYTES,
    USED,
    push,
    unlink,
)
from cdn_sim.policies.slru import PROTECTED_SHARE


@inlined
def tail_evict(sizes: Array, nodes: Array, totals: Array) -> None:
    """LRU and FIFO: evict the tail of the only queue."""
    victim = nodes[nodes.shape[0] - RINGS, NEWER]
    unlink(nodes, victim)
    nodes[victim, MARK] = ABSENT
    totals[USED] -= sizes[victim]
    totals[EVICTIONS] += 1


@inlined
def lru_step(number: int, admit: bool, sizes: Array, room: int, nodes: Array, totals: Array) -> bool:
    """LRU: a hit moves the object to the head."""
    ring = nodes.shape[0] - RINGS
    if nodes[number, MARK] != ABSENT:
        if nodes[ring, OLDER] != number:
            unlink(nodes, number)
            push(nodes, ring, number)
        return True
    size = sizes[number]
    if admit and size <= room:
        while totals[USED] + size > room:
            tail_evict(sizes, nodes, totals)
        totals[USED] += size
        nodes[number, MARK] = FIRST
        push(nodes, ring, number)
    return False


@inlined
def fifo_step(number: int, admit: bool, sizes: Array, room: int, nodes: Array, totals: Array) -> bool:
    """FIFO: a hit changes nothing."""
    if nodes[number, MARK] != ABSENT:
        return True
    size = sizes[number]
    if admit and size <= room:
        while totals[USED] + size > room:
            tail_evict(sizes, nodes, totals)
        totals[USED] += size
        nodes[number, MARK] = FIRST
        push(nodes, nodes.shape[0] - RINGS, number)
    return False


@inlined
def slru_evict(sizes: Array, nodes: Array, totals: Array) -> None:
    """SLRU: evict the tail of probation, or of the protected queue when probation is empty."""
    probation = nodes.shape[0] - RINGS
    victim = nodes[probation, NEWER]
    if victim == probation:
        victim = nodes[probation + 1, NEWER]
        totals[SECOND_BYTES] -= sizes[victim]
    unlink(nodes, victim)
    nodes[victim, MARK] = ABSENT
    totals[USED] -= sizes[victim]
    totals[EVICTIONS] += 1


@inlined
def slru_step(number: int, admit: bool, sizes: Array, room: int, nodes: Array, totals: Array) -> bool:
    """SLRU: a hit moves the object to the head of the protected queue, whose overflow returns to probation."""
    probation = nodes.shape[0] - RINGS
    protected = probation + 1
    place = nodes[number, MARK]
    if place == SECOND:
        unlink(nodes, number)
        push(nodes, protected, number)
        return True
    if place == FIRST:
        unlink(nodes, number)
        push(nodes, protected, number)
        nodes[number, MARK] = SECOND
        totals[SECOND_BYTES] += sizes[number]
        while totals[SECOND_BYTES] > PROTECTED_SHARE * room:
            demoted = nodes[protected, NEWER]
            totals[SECOND_BYTES] -= sizes[demoted]
            unlink(nodes, demoted)
            push(nodes, probation, demoted)
            nodes[demoted, MARK] = FIRST
        return True
    size = sizes[number]
    if admit and size <= room:
        while totals[USED] + size > room:
            slru_evict(sizes, nodes, totals)
        totals[USED] += size
        nodes[number, MARK] = FIRST
        push(nodes, probation, number)
    return False


@inlined
def sieve_evict(sizes: Array, nodes: Array, totals: Array) -> None:
    """SIEVE: move the hand to the first unvisited object and evict it."""
    ring = nodes.shape[0] - RINGS
    row = totals[HAND]
    if row == ring:
        row = nodes[ring, NEWER]
    while nodes[row, MARK] != FIRST:
        nodes[row, MARK] = FIRST
        row = nodes[row, NEWER]
        if row == ring:
            row = nodes[ring, NEWER]
    totals[HAND] = nodes[row, NEWER]
    unlink(nodes, row)
    nodes[row, MARK] = ABSENT
    totals[USED] -= sizes[row]
    totals[EVICTIONS] += 1


@inlined
def sieve_step(number: int, admit: bool, sizes: Array, room: int, nodes: Array, totals: Array) -> bool:
    """SIEVE: a hit sets the visited bit."""
    if nodes[number, MARK] != ABSENT:
        nodes[number, MARK] = FIRST + 4
        return True
    size = sizes[number]
    if admit and size <= room:
        while totals[USED] + size > room:
            sieve_evict(sizes, nodes, totals)
        totals[USED] += size
        nodes[number, MARK] = FIRST
        push(nodes, nodes.shape[0] - RINGS, number)
    return False
