"""Robust MPC: scores all sequences of qualities for the next segments, with a conservative throughput forecast.

About a hundred times slower than the other rules, so it is never a default.

Source:
    Yin, Jindal, Sekar, Sinopoli: A control-theoretic approach for dynamic adaptive video streaming over HTTP,
    SIGCOMM 2015.
"""

from cdn_sim.compiling import Array, inlined
from cdn_sim.players.state import LAST, RECENT, RECENT_COUNT, Setup

HORIZON = 5
"""Number of segments in a sequence."""
STALL_WEIGHT = 4.3
"""Penalty of one second of stalling, in Mb/s of quality."""


@inlined
def forecast(row: Array) -> float:
    """Harmonic mean of the last throughputs, divided by one plus the largest recent error; in kbit/s."""
    inverse, count, error = 0.0, 0, 0.0
    for column in range(RECENT, RECENT + RECENT_COUNT):
        if row[column] > 0.0:
            inverse += 1.0 / row[column]
            count += 1
        error = max(error, row[column + RECENT_COUNT])
    if count == 0:
        return 0.0
    return count / inverse / (1.0 + error)


@inlined
def mpc_observe(row: Array, kbps: float) -> None:
    """Record the throughput of a download."""
    last = RECENT + 2 * RECENT_COUNT
    for column in range(RECENT, RECENT + RECENT_COUNT - 1):
        row[column] = row[column + 1]
        row[column + RECENT_COUNT] = row[column + RECENT_COUNT + 1]
    row[RECENT + RECENT_COUNT - 1] = kbps
    row[last - 1] = abs(row[last] - kbps) / kbps if row[last] > 0.0 else 0.0
    row[last] = forecast(row)


@inlined
def robust_mpc(row: Array, buffer_ms: float, setup: Setup, left: int) -> int:
    """Choose the next segment's quality; ``left`` is the number of segments until the end of the title."""
    rates, count, segment_ms = setup.rates, setup.rungs, setup.segment_ms
    kbps = forecast(row)
    last = int(row[LAST])
    horizon = min(HORIZON, left)
    best, best_score = 0, -1e300
    if kbps > 0.0:
        for plan in range(count**horizon):
            rest, before = plan, last
            level_ms, score = buffer_ms, 0.0
            first = plan % count
            for _ in range(horizon):
                quality = rest % count
                rest //= count
                took_ms = rates[quality] * segment_ms / kbps
                if took_ms > level_ms:
                    score -= STALL_WEIGHT * (took_ms - level_ms) / 1e3
                    level_ms = took_ms
                level_ms += segment_ms - took_ms
                score += (rates[quality] - abs(rates[quality] - rates[before])) / 1e3
                before = quality
            if score > best_score:
                best, best_score = first, score
    row[LAST] = best
    return best
