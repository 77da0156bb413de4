"""The throughput rule: the highest quality that fits into nine tenths of the estimated throughput."""

from cdn_sim.compiling import Array, inlined
from cdn_sim.players.estimates import sustainable_quality
from cdn_sim.players.state import ESTIMATE, INITIAL_SAFETY, LATENCY, MIN_SAFETY, SAFETY, Setup

SHARE = 0.9
"""Usable share of the estimated throughput."""


@inlined
def safe_quality(row: Array, quality: int, buffer_ms: float, setup: Setup) -> int:
    """The insufficient buffer rule: lower a quality so far that its segment arrives before the buffer runs empty."""
    safe_bits = row[SAFETY] * (buffer_ms - row[LATENCY]) * row[ESTIMATE]
    row[SAFETY] = max(row[SAFETY] * INITIAL_SAFETY, MIN_SAFETY)
    lowered = 0
    while lowered < quality and setup.rates[lowered + 1] * setup.segment_ms <= safe_bits:
        lowered += 1
    return lowered


@inlined
def throughput(row: Array, buffer_ms: float, setup: Setup) -> int:
    """Choose the next segment's quality."""
    quality = sustainable_quality(row[ESTIMATE] * SHARE, row[LATENCY], setup)
    return safe_quality(row, quality, buffer_ms, setup)
