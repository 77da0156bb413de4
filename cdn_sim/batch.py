"""Replays requests through one cache, or through a cascade of caches, with compiled kernels."""

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
    """Counts of requests that were replayed through one cache.

    Attributes:
        requests: Number of requests.
        misses: Number of misses.
        bytes: Requested bytes.
        missed_bytes: Bytes of the misses.
    """

    requests: int
    misses: int
    bytes: int
    missed_bytes: int

    @property
    def object_hit_ratio(self) -> float:
        """Share of the requests that were hits, 0 to 1."""
        return 1 - self.misses / self.requests if self.requests else 0.0

    @property
    def byte_hit_ratio(self) -> float:
        """Share of the requested bytes that were hits, 0 to 1."""
        return 1 - self.missed_bytes / self.bytes if self.bytes else 0.0


def play(policy: str, numbers: Array, sizes: Array, budget_bytes: int, state: State | None = None) -> Array:
    """Replay requests through a cache.

    Args:
        policy: A name in `cdn_sim.kernels.state.NUMBERS`; ``"belady"`` is allowed.
        numbers: Object of each request, numbered from 0 without gaps.
        sizes: Bytes of each object.
        budget_bytes: Size of the cache.
        state: Cache to continue with, changed in place; None for an empty one.

    Returns:
        One byte per request; 1 is a hit.

    Raises:
        ConfigError: There is no such policy.
    """
    if policy not in NUMBERS:
        raise ConfigError(f"there is no cache policy {policy!r}: use one of {', '.join(NUMBERS)}")
    state = state or empty(policy, len(sizes))
    hits = np.zeros(len(numbers), dtype=np.uint8)
    policy_number = NUMBERS[policy]
    numbers = np.ascontiguousarray(numbers, dtype=np.int32)
    sizes = np.ascontiguousarray(sizes, dtype=np.int64)
    if policy_number in _LOOPS:
        _LOOPS[policy_number](numbers, sizes, int(budget_bytes), state.nodes, state.totals, hits)
    else:
        uses = next_uses(numbers, len(sizes)) if policy_number == BELADY else np.zeros(1, dtype=np.int32)
        _ranked(
            policy_number,
            numbers,
            sizes,
            int(budget_bytes),
            uses,
            state.nodes,
            state.totals,
            state.heap,
            state.worth,
            state.clocks,
            hits,
        )
    return hits


def outcome(numbers: Array, sizes: Array, hits: Array) -> Outcome:
    """Count the hits and misses that `play` returned."""
    requested_bytes = np.asarray(sizes)[numbers]
    return Outcome(
        requests=len(numbers),
        misses=len(numbers) - int(np.count_nonzero(hits)),
        bytes=int(requested_bytes.sum()),
        missed_bytes=int(requested_bytes[np.asarray(hits) == 0].sum()),
    )


def cascade(tiers: tuple[tuple[str, int], ...], numbers: Array, sizes: Array) -> tuple[Outcome, ...]:
    """Replay requests through a cascade of caches: each one gets the misses of the previous one.

    Args:
        tiers: Policy and budget in bytes of each cache, the one nearest to viewers first.
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
    """For each request, the number of the next request for the same object; the number of requests if there is none."""
    found = np.empty(len(numbers), dtype=np.int32)
    _next_uses(numbers, np.full(objects, len(numbers), dtype=np.int32), found)
    return found


@compiled
def _next_uses(numbers: Array, next_requests: Array, found: Array) -> None:
    for request in range(len(numbers) - 1, -1, -1):
        found[request] = next_requests[numbers[request]]
        next_requests[numbers[request]] = request


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


# One loop per policy, so that the policy is not chosen again for each request.
_LOOPS = {LRU: _lru, FIFO: _fifo, SLRU: _slru, SIEVE: _sieve, S3FIFO: _s3fifo}
