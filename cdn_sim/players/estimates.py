"""Estimates of throughput and latency: the more pessimistic of two exponentially weighted averages."""

import math

from cdn_sim.compiling import Array, inlined
from cdn_sim.players.state import (
    ESTIMATE,
    FAST,
    LATENCY,
    LATENCY_FAST,
    LATENCY_SLOW,
    SLOW,
    WEIGHT_COUNT,
    WEIGHT_MS,
    Setup,
)

FAST_MS = 3000.0
"""Half-life of the fast averages, as in dash.js."""
SLOW_MS = 8000.0
"""Half-life of the slow averages, as in dash.js."""


@inlined
def observe(row: Array, download_ms: float, kbps: float, latency_ms: float, segment_ms: float) -> None:
    """Update the averages with a download.

    Args:
        row: The player's state.
        download_ms: Transfer time without latency; above 0.
        kbps: Rate of the transfer.
        latency_ms: Time to the first byte.
        segment_ms: Length of a segment; the latency counts as if it had lasted this long.
    """
    fast, slow = math.pow(0.5, download_ms / FAST_MS), math.pow(0.5, download_ms / SLOW_MS)
    row[FAST] = fast * row[FAST] + (1 - fast) * kbps
    row[SLOW] = slow * row[SLOW] + (1 - slow) * kbps
    row[WEIGHT_MS] += download_ms
    fast = row[FAST] / (1 - math.pow(0.5, row[WEIGHT_MS] / FAST_MS))
    slow = row[SLOW] / (1 - math.pow(0.5, row[WEIGHT_MS] / SLOW_MS))
    row[ESTIMATE] = min(fast, slow)

    fast, slow = math.pow(0.5, segment_ms / FAST_MS), math.pow(0.5, segment_ms / SLOW_MS)
    row[LATENCY_FAST] = fast * row[LATENCY_FAST] + (1 - fast) * latency_ms
    row[LATENCY_SLOW] = slow * row[LATENCY_SLOW] + (1 - slow) * latency_ms
    row[WEIGHT_COUNT] += 1
    fast = row[LATENCY_FAST] / (1 - math.pow(0.5, row[WEIGHT_COUNT] * segment_ms / FAST_MS))
    slow = row[LATENCY_SLOW] / (1 - math.pow(0.5, row[WEIGHT_COUNT] * segment_ms / SLOW_MS))
    row[LATENCY] = max(fast, slow)


@inlined
def sustainable_quality(kbps: float, latency_ms: float, setup: Setup) -> int:
    """The highest quality whose average segment downloads within its duration."""
    segment_ms = setup.segment_ms
    quality = 0
    while quality + 1 < setup.rungs and latency_ms + segment_ms * setup.rates[quality + 1] / kbps <= segment_ms:
        quality += 1
    return quality
