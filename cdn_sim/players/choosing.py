"""Calls a player's ABR rule by its number, so that one compiled loop can run players with different rules."""

from cdn_sim.compiling import Array, called, inlined
from cdn_sim.players.bola import bola
from cdn_sim.players.bola_e import bola_e, bola_e_downloaded
from cdn_sim.players.dynamic import dynamic
from cdn_sim.players.estimates import observe
from cdn_sim.players.robust_mpc import mpc_observe, robust_mpc
from cdn_sim.players.state import BOLA_E, DYNAMIC, ESTIMATE, FIXED, LAST, PLACEHOLDER, ROBUST_MPC, THROUGHPUT, Setup
from cdn_sim.players.throughput import throughput


@called
def choose(rule: int, row: Array, buffer_ms: float, segment: int, segments: int, setup: Setup) -> tuple[int, float]:
    """Choose the next segment's quality.

    Args:
        rule: Number of the rule in `cdn_sim.players.state`.
        row: The player's state.
        buffer_ms: Buffer level.
        segment: Number of the segment, from 0.
        segments: Number of segments of the title.
        setup: The ladder and the buffer.

    Returns:
        The quality, from 0, and how long to wait before requesting it, in ms.
    """
    quality, delay_ms = 0, 0.0
    if row[ESTIMATE] == 0.0:
        quality = int(row[LAST])
    elif rule == DYNAMIC:
        quality = dynamic(row, buffer_ms, segment, segments, setup)
    elif rule == THROUGHPUT:
        quality = throughput(row, buffer_ms, setup)
    elif rule == BOLA_E:
        quality, delay_ms = bola_e(row, buffer_ms, setup)
    elif rule == FIXED:
        quality = int(row[LAST])
    elif rule == ROBUST_MPC:
        quality = robust_mpc(row, buffer_ms, setup, segments - segment)
    else:
        quality, delay_ms = bola(rule, row, buffer_ms, segment, segments, setup)
    return quality, delay_ms


@called
def downloaded(
    rule: int,
    row: Array,
    quality: int,
    buffer_ms: float,
    size_bits: float,
    latency_ms: float,
    transfer_ms: float,
    setup: Setup,
) -> None:
    """Update the state after a download.

    Args:
        rule: Number of the rule in `cdn_sim.players.state`.
        row: The player's state.
        quality: Quality of the downloaded segment.
        buffer_ms: Buffer level, including the new segment.
        size_bits: Size of the segment.
        latency_ms: Time to the first byte.
        transfer_ms: Time from the first byte to the last; above 0.
        setup: The ladder and the buffer.
    """
    if rule == BOLA_E and row[ESTIMATE] > 0.0:
        bola_e_downloaded(row, quality, -1, buffer_ms, latency_ms + transfer_ms, setup)
    kbps = size_bits / transfer_ms
    observe(row, transfer_ms, kbps, latency_ms, setup.segment_ms)
    if rule == ROBUST_MPC:
        mpc_observe(row, kbps)


@inlined
def waited(rule: int, row: Array, wait_ms: float) -> None:
    """Update the state after the player waited because the buffer was full."""
    if rule == BOLA_E:
        row[PLACEHOLDER] += wait_ms
