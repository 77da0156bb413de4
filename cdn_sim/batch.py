"""A list of requests through one cache, or through a cascade of caches."""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array, compiled
from cdn_sim.kernels.queues import fifo_step, lru_step, sieve_step, slru_step
from cdn_sim.kernels.ranked import ranked_step
from cdn_sim.kernels.s3fifo import s3fifo_step
from cdn_sim.kernels.state import BELADY, FIFO, LRU, NUMBERS, S3FIFO, SIEVE, SLRU, State, empty
from headend.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a list of requests met in one cache.

    Attributes:
        requests: How many there were.
        misses: How many were not in the cache.
        bytes: Bytes asked for.
        missed_bytes: Bytes of the misses.
    """

    requests: int
    misses: int
    bytes: int
    missed_bytes: int

    @property
    def object_hit_ratio(self) -> float:
        """Share of requests that were hits, 0 to 1."""
        return 1 - self.misses / self.requests if self.requests else 0.0

    @property
    def byte_hit_ratio(self) -> float:
        """Share of bytes that came out of the cache, 0 to 1."""
        return 1 - self.missed_bytes / self.bytes if self.bytes else 0.0


def play(policy: str, numbers: Array, sizes: Array, budget_bytes: int, state: State | None = None) -> Array:
    """Put requests through a cache.

    Args:
        policy: A name of `cdn_sim.kernels.state.NUMBERS`, ``"belady"`` included.
        numbers: Object of each request, dense from 0.
        sizes: Bytes of each object.
        budget_bytes: Size of the cache.
        state: A cache to go on with, changed in place; an empty one unless given.

    Returns:
        One byte per request: 1 is a hit.

    Raises:
        ConfigError: There is no such policy.
    """
    if policy not in NUMBERS:
        raise ConfigError(f"there is no cache policy {policy!r}: use one of {', '.join(NUMBERS)}")
    state = state or empty(policy, len(sizes))
    hits = np.zeros(len(numbers), dtype=np.uint8)
    number = NUMBERS[policy]
    asked = np.ascontiguousarray(numbers, dtype=np.int32)
    weights = np.ascontiguousarray(sizes, dtype=np.int64)
    if number in _LOOPS:
        _LOOPS[number](asked, weights, int(budget_bytes), state.nodes, state.totals, hits)
    else:
        coming = next_uses(asked, len(sizes)) if number == BELADY else np.zeros(1, dtype=np.int32)
        _ranked(
            number,
            asked,
            weights,
            int(budget_bytes),
            coming,
            state.nodes,
            state.totals,
            state.heap,
            state.worth,
            state.clocks,
            hits,
        )
    return hits


def outcome(numbers: Array, sizes: Array, hits: Array) -> Outcome:
    """Count what `play` has said."""
    asked = np.asarray(sizes)[numbers]
    return Outcome(
        requests=len(numbers),
        misses=len(numbers) - int(np.count_nonzero(hits)),
        bytes=int(asked.sum()),
        missed_bytes=int(asked[np.asarray(hits) == 0].sum()),
    )


def cascade(tiers: tuple[tuple[str, int], ...], numbers: Array, sizes: Array) -> tuple[Outcome, ...]:
    """Put requests through caches in a row: each one sees what the one before has missed.

    Args:
        tiers: Policy and budget in bytes of each, the one nearest to viewers first.
        numbers: Object of each request.
        sizes: Bytes of each object.
    """
    outcomes = []
    for policy, budget_bytes in tiers:
        hits = play(policy, numbers, sizes, budget_bytes)
        outcomes.append(outcome(numbers, sizes, hits))
        numbers = numbers[hits == 0]
    return tuple(outcomes)


def next_uses(numbers: Array, objects: int) -> Array:
    """For each request the number of the next one for the same object, or the number of requests if there is none."""
    found = np.empty(len(numbers), dtype=np.int32)
    _next_uses(numbers, np.full(objects, len(numbers), dtype=np.int32), found)
    return found


@compiled
def _next_uses(numbers: Array, coming: Array, found: Array) -> None:
    for request in range(len(numbers) - 1, -1, -1):
        found[request] = coming[numbers[request]]
        coming[numbers[request]] = request


@compiled
def _lru(numbers: Array, sizes: Array, room: int, nodes: Array, totals: Array, hits: Array) -> None:
    for request in range(len(numbers)):
        hits[request] = lru_step(numbers[request], True, sizes, room, nodes, totals)


@compiled
def _fifo(numbers: Array, sizes: Array, room: int, nodes: Array, totals: Array, hits: Array) -> None:
    for request in range(len(numbers)):
        hits[request] = fifo_step(numbers[request], True, sizes, room, nodes, totals)


@compiled
def _slru(numbers: Array, sizes: Array, room: int, nodes: Array, totals: Array, hits: Array) -> None:
    for request in range(len(numbers)):
        hits[request] = slru_step(numbers[request], True, sizes, room, nodes, totals)


@compiled
def _sieve(numbers: Array, sizes: Array, room: int, nodes: Array, totals: Array, hits: Array) -> None:
    for request in range(len(numbers)):
        hits[request] = sieve_step(numbers[request], True, sizes, room, nodes, totals)


@compiled
def _s3fifo(numbers: Array, sizes: Array, room: int, nodes: Array, totals: Array, hits: Array) -> None:
    for request in range(len(numbers)):
        hits[request] = s3fifo_step(numbers[request], True, sizes, room, nodes, totals)


@compiled
def _ranked(
    policy: int,
    numbers: Array,
    sizes: Array,
    room: int,
    next_uses: Array,
    nodes: Array,
    totals: Array,
    heap: Array,
    worth: Array,
    clocks: Array,
    hits: Array,
) -> None:
    for request in range(len(numbers)):
        next_use = next_uses[request] if policy == BELADY else 0
        hits[request] = ranked_step(
            policy, numbers[request], True, next_use, sizes, room, nodes, totals, heap, worth, clocks
        )


_LOOPS = {LRU: _lru, FIFO: _fifo, SLRU: _slru, SIEVE: _sieve, S3FIFO: _s3fifo}
