"""State of ABR rules between segments: one row of float64 per session."""

import numpy as np

from cdn_sim.compiling import Array, inlined

FIXED, THROUGHPUT, BOLA, BOLA_E, DYNAMIC, ROBUST_MPC, BOLA_BASIC, BOLA_O = range(8)
RULES = {
    "fixed": FIXED,
    "throughput": THROUGHPUT,
    "bola": BOLA,
    "bola-e": BOLA_E,
    "dynamic": DYNAMIC,
    "robust-mpc": ROBUST_MPC,
}
"""Rules in scenarios. `BOLA_BASIC` and `BOLA_O` are variants for comparison with other simulators."""

(
    FAST,
    SLOW,
    LATENCY_FAST,
    LATENCY_SLOW,
    WEIGHT_MS,
    WEIGHT_COUNT,
    ESTIMATE,
    LATENCY,
    LAST,
    PLACEHOLDER,
    SAFETY,
    MODE,
    SEEK,
) = range(13)
"""Columns: two averages each of throughput and latency, with their weights; the resulting estimates of throughput in
kbit/s and latency in ms; last quality; BOLA-E's placeholder buffer in ms; safety factor of the insufficient buffer
rule; whether BOLA-E has started, or dynamic uses BOLA; segment of the last seek."""
RECENT = 13
"""First column of robust MPC: five throughputs, five errors, and the last forecast."""
RECENT_COUNT = 5
COLUMNS = RECENT
COLUMNS_WITH_MPC = RECENT + 2 * RECENT_COUNT + 1
SAFETY_AT_START = 0.9
SAFETY_AT_LEAST = 0.5


def fresh(sessions: int, *, with_mpc: bool = False) -> Array:
    """Rows of players before their first segment."""
    rows = np.zeros((sessions, COLUMNS_WITH_MPC if with_mpc else COLUMNS))
    rows[:, SAFETY] = SAFETY_AT_START
    return rows


@inlined
def reset(row: Array, seek_segment: int) -> None:
    """Reset the state after a seek to a segment."""
    row[SEEK] = seek_segment
    row[MODE] = 0.0
