"""State of ABR rules between two segments: one row of float64 per session."""

from typing import NamedTuple

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
"""Numbers of the rules in compiled code, by name in scenarios.

`BOLA_BASIC` and `BOLA_O` are variants for comparison with other simulators.
"""


class Setup(NamedTuple):
    """What stays the same while a player plays a title.

    Attributes:
        rates: Bitrates of the ladder in kbit/s, ascending.
        utilities: Logarithms of the bitrates relative to the lowest.
        rungs: Number of rungs; the arrays may be longer.
        segment_ms: Length of a segment.
        max_buffer_ms: Size of the buffer.
    """

    rates: Array
    utilities: Array
    rungs: int
    segment_ms: float
    max_buffer_ms: float


class Running(NamedTuple):
    """A download that is under way.

    Attributes:
        quality: Its quality.
        size_bits: Size of the segment.
        done_bits: Bits received so far.
        time_ms: Time since the request, latency included.
        latency_ms: Time to the first byte.
    """

    quality: int
    size_bits: float
    done_bits: float
    time_ms: float
    latency_ms: float


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
"""Columns of a row.

- ``FAST``, ``SLOW``: averages of the throughput with a short and a long half-life, in kbit/s.
- ``LATENCY_FAST``, ``LATENCY_SLOW``: the same of the latency, in ms.
- ``WEIGHT_MS``, ``WEIGHT_COUNT``: total download time in ms, and number of downloads, which weigh these averages.
- ``ESTIMATE``, ``LATENCY``: the estimates of throughput in kbit/s and latency in ms; 0 before the first download.
- ``LAST``: quality of the last segment.
- ``PLACEHOLDER``: BOLA-E's placeholder buffer, in ms.
- ``SAFETY``: safety factor of the insufficient buffer rule.
- ``MODE``: 1 if BOLA-E has started, or if dynamic uses BOLA; otherwise 0.
- ``SEEK``: segment of the last seek.
"""
RECENT = 13
"""First column of robust MPC: the last throughputs, the last forecast errors, and the last forecast."""
RECENT_COUNT = 5
"""Number of throughputs and of forecast errors that robust MPC remembers."""
COLUMNS = RECENT
COLUMNS_WITH_MPC = RECENT + 2 * RECENT_COUNT + 1
INITIAL_SAFETY = 0.9
"""Safety factor at the start; each use multiplies the factor by this."""
MIN_SAFETY = 0.5
"""Minimum of the safety factor."""


def fresh(sessions: int, *, with_mpc: bool = False) -> Array:
    """Make the rows of players that have not requested a segment yet."""
    rows = np.zeros((sessions, COLUMNS_WITH_MPC if with_mpc else COLUMNS))
    rows[:, SAFETY] = INITIAL_SAFETY
    return rows


@inlined
def reset(row: Array, seek_segment: int) -> None:
    """Reset the state that a seek to a segment invalidates."""
    row[SEEK] = seek_segment
    row[MODE] = 0.0
