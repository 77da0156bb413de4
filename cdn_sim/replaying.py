"""Replays a log's requests with different cache policies and sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim import batch, policies
from cdn_sim.batch import Outcome
from cdn_sim.compiling import COMPILES, Array
from cdn_sim.kernels.state import NUMBERS
from cdn_sim.policies import Belady
from cdn_sim.request_logs.reading import Requests
from headend.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a cache with one policy and one size would have done with a log's requests.

    Attributes:
        policy: Name of the policy.
        budget_bytes: Size of the cache.
        outcome: Hits and misses after the warm-up.
    """

    policy: str
    budget_bytes: int
    outcome: Outcome


def compare(
    requests: Requests,
    names: Sequence[str],
    budgets: Sequence[int],
    *,
    warm_up: float = 0.0,
    on_done: Callable[[WhatIf], None] = lambda _: None,
) -> tuple[WhatIf, ...]:
    """Replay a log with every policy at every size.

    Uses compiled kernels if numba is installed, otherwise the classes of `cdn_sim.policies`; results are the same.

    Args:
        requests: The log.
        names: Names of policies; ``"belady"`` is allowed.
        budgets: Cache sizes in bytes.
        warm_up: Share of the requests, at the start, that aren't counted; from 0 to below 1.
        on_done: Called with each result.

    Raises:
        ConfigError: There is no such policy.
    """
    for name in names:
        if name not in NUMBERS:
            raise ConfigError(f"there is no cache policy {name!r}: use one of {', '.join(NUMBERS)}")
    first = int(len(requests.numbers) * warm_up)
    found = []
    for budget_bytes in budgets:
        for name in names:
            hits = _hits(requests, name, budget_bytes)
            result = WhatIf(name, budget_bytes, batch.outcome(requests.numbers[first:], requests.sizes, hits[first:]))
            found.append(result)
            on_done(result)
    return tuple(found)


def _hits(requests: Requests, name: str, budget_bytes: int) -> Array:
    if COMPILES:
        return batch.play(name, requests.numbers, requests.sizes, budget_bytes)
    numbers, sizes = requests.numbers.tolist(), requests.sizes.tolist()
    policy = Belady(budget_bytes, future=numbers) if name == "belady" else policies.make(name, budget_bytes)
    hits = bytearray(policy.request(number, sizes[number]).hit for number in numbers)
    return np.frombuffer(hits, dtype=np.uint8)


def as_plain(result: WhatIf) -> dict[str, object]:
    """A result as plain data, ratios included."""
    outcome = result.outcome
    return {
        "policy": result.policy,
        "disk_bytes": result.budget_bytes,
        "requests": outcome.requests,
        "misses": outcome.misses,
        "bytes": outcome.bytes,
        "missed_bytes": outcome.missed_bytes,
        "object_hit_ratio": outcome.object_hit_ratio,
        "byte_hit_ratio": outcome.byte_hit_ratio,
    }
