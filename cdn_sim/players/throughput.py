"""The throughput rule: the highest quality that fits into nine tenths of the estimated throughput."""

from cdn_sim.compiling import Array, inlined
from cdn_sim.players.estimates import sustainable_quality
from cdn_sim.players.state import ESTIMATE, INITIAL_SAFETY, LATENCY, MIN_SAFETY, SAFETY

SHARE = 0.9
"""Usable share of the estimated throughput."""


@inlined
def safe_quality(row: Array, quality: int, buffer_ms: float, rates: Array, segment_ms: float) -> int:
    """The insufficient buffer rule: lower a quality so far that its segment arrives before the buffer runs empty."""
    safe_bits = row[SAFETY] * (buffer_ms - row[LATENCY]) * row[ESTIMATE]
    row[SAFETY] = max(row[SAFETY] * INITIAL_SAFETY, MIN_SAFETY)
    lowered = 0
    while lowered < quality and rates[lowered + 1] * segment_ms <= safe_bits:
        lowered += 1
    return lowered


@inlined
def throughput(row: Array, buffer_ms: float, rates: Array, count: int, segment_ms: float) -> int:
    """Choose the next segment's quality; ``count`` is the number of rungs."""
    quality = sustainable_quality(row[ESTIMATE] * SHARE, row[LATENCY], rates, count, segment_ms)
    return safe_quality(row, quality, buffer_ms, rates, segment_ms)
