"""Abandons slow downloads in favour of a lower quality."""

from cdn_sim.compiling import Array, inlined
from cdn_sim.players.bola import bola_abandons
from cdn_sim.players.bola_e import bola_e_abandons
from cdn_sim.players.estimates import sustainable_quality
from cdn_sim.players.state import BOLA_E, DYNAMIC, FIXED, LATENCY, ROBUST_MPC, THROUGHPUT, Running, Setup
from cdn_sim.players.throughput import SHARE

GRACE_MS = 500.0
"""The throughput rule never abandons a download that has run for less than this."""
MAX_SEGMENTS = 1.8
"""The throughput rule abandons a download that would take longer than this many segment lengths."""


@inlined
def throughput_abandons(row: Array, download: Running, setup: Setup) -> int:
    """The quality to restart with, or -1 to continue."""
    quality, size_bits, done_bits = download.quality, download.size_bits, download.done_bits
    time_ms, latency_ms = download.time_ms, download.latency_ms
    transfer_ms = time_ms - latency_ms
    if time_ms < GRACE_MS or transfer_ms <= 0 or done_bits <= 0:
        return -1
    kbps = done_bits / transfer_ms
    left_bits = size_bits - done_bits
    if time_ms + left_bits / kbps <= MAX_SEGMENTS * setup.segment_ms:
        return -1
    lower = sustainable_quality(kbps * SHARE, row[LATENCY], setup)
    if lower >= quality or size_bits * setup.rates[lower] / setup.rates[quality] >= left_bits:
        return -1
    return lower


@inlined
def abandons(rule: int, row: Array, download: Running, buffer_ms: float, vp: float, setup: Setup) -> int:
    """Check a running download: the quality to restart with, or -1 to continue.

    Args:
        rule: Number of the rule in `cdn_sim.players.state`.
        row: The player's state.
        download: The download.
        buffer_ms: Buffer level.
        vp: BOLA's V p (see `cdn_sim.players.bola.scale`) when the quality was chosen.
        setup: The ladder and the buffer.
    """
    chosen = -1
    if rule in (THROUGHPUT, DYNAMIC):
        chosen = throughput_abandons(row, download, setup)
    elif rule == BOLA_E:
        chosen = bola_e_abandons(row, download, buffer_ms, setup)
    elif rule not in (FIXED, ROBUST_MPC):
        chosen = bola_abandons(rule, row, download, buffer_ms, vp, setup)
    return chosen
