"""BOLA-E: BOLA with a placeholder buffer, so that it starts fast, recovers after seeks and needs no full buffer.

The placeholder buffer counts as buffer level when BOLA chooses a quality, but holds no media.

In the paper, BOLA-E's utilities start at 1. Here callers pass those of `bola`, which start at 0, and `parameters` adds
the difference.

Source:
    Spiteri, Sitaraman, Sparacio: From theory to practice: improving bitrate adaptation in the DASH reference player,
    MMSys 2018.
"""

from cdn_sim.compiling import Array, inlined
from cdn_sim.players.bola import best_at_level
from cdn_sim.players.estimates import sustainable_quality
from cdn_sim.players.state import ESTIMATE, INITIAL_SAFETY, LAST, LATENCY, MODE, PLACEHOLDER, SAFETY, Running, Setup
from cdn_sim.players.throughput import safe_quality

MIN_BUFFER_MS = 10_000.0
"""Below this buffer level, BOLA-E never waits."""
MIN_BUFFER_PER_RUNG_MS = 2_000.0
"""BOLA-E calculates with a buffer size of at least `MIN_BUFFER_MS` plus this for each rung."""


@inlined
def parameters(setup: Setup) -> tuple[float, float]:
    """BOLA-E's V p and gamma p; gamma p includes the 1 by which the passed utilities are too low."""
    buffer_ms = max(MIN_BUFFER_MS + MIN_BUFFER_PER_RUNG_MS * setup.rungs, setup.max_buffer_ms)
    gp = setup.utilities[setup.rungs - 1] / (buffer_ms / MIN_BUFFER_MS - 1)
    if gp <= 0.0:
        gp = 1e-9  # a ladder of one rung
    return MIN_BUFFER_MS / gp, gp + 1.0


@inlined
def min_level(quality: int, vp: float, gp: float, setup: Setup) -> float:
    """The lowest buffer level at which BOLA prefers a quality to all lower ones."""
    rates, utilities = setup.rates, setup.utilities
    level = 0.0
    rate, utility = rates[quality], utilities[quality]
    for lower in range(quality):
        if utilities[lower] < utility:
            other = vp * (gp + (rate * utilities[lower] - rates[lower] * utility) / (rate - rates[lower]))
            level = max(level, other)
    return level


@inlined
def bola_e(row: Array, buffer_ms: float, setup: Setup) -> tuple[int, float]:
    """Choose the next segment's quality, and how long to wait before requesting it.

    For the arguments, see `cdn_sim.players.choosing.choose`.
    """
    vp, gp = parameters(setup)
    sustainable = sustainable_quality(row[ESTIMATE], row[LATENCY], setup)
    if row[MODE] == 0.0:
        row[MODE] = 1.0
        row[SAFETY] = INITIAL_SAFETY
        row[PLACEHOLDER] = max(0.0, min_level(sustainable, vp, gp, setup) - buffer_ms)
        return sustainable, 0.0
    quality = best_at_level(buffer_ms + row[PLACEHOLDER], vp, gp, setup)
    last = int(row[LAST])
    if quality > last and quality > sustainable:
        quality = min(max(last, sustainable) + 1, setup.rungs - 1)
    delay_ms = max(0.0, buffer_ms + row[PLACEHOLDER] - vp * (setup.utilities[quality] + gp))
    taken = min(delay_ms, row[PLACEHOLDER])
    if delay_ms > 0.0:
        row[PLACEHOLDER] -= taken
        delay_ms -= taken
    if quality == setup.rungs - 1:
        delay_ms = 0.0
    lowered = safe_quality(row, quality, buffer_ms, setup)
    if lowered < quality:
        quality, delay_ms = lowered, 0.0
        room_ms = max(0.0, min_level(quality, vp, gp, setup) - buffer_ms)
        row[PLACEHOLDER] = min(room_ms, row[PLACEHOLDER])
    return quality, delay_ms


@inlined
def bola_e_downloaded(
    row: Array,
    quality: int,
    abandoned_to: int,
    buffer_ms: float,
    took_ms: float,
    setup: Setup,
) -> None:
    """Limit the placeholder buffer after a finished or abandoned download.

    Args:
        row: The player's state.
        quality: Downloaded quality.
        abandoned_to: The quality to restart with, or -1 if the segment is complete.
        buffer_ms: Buffer level, including the new segment.
        took_ms: Time of the download, latency included.
        setup: The ladder and the buffer.
    """
    vp, gp = parameters(setup)
    row[LAST] = quality
    if abandoned_to < 0:
        before_ms = buffer_ms + took_ms
        row[PLACEHOLDER] = min(row[PLACEHOLDER], max(0.0, vp * (setup.utilities[quality] + gp) - before_ms))
        if buffer_ms > 0:
            row[PLACEHOLDER] = max(row[PLACEHOLDER], min_level(quality, vp, gp, setup) - before_ms)
    else:
        level_ms = min_level(abandoned_to, vp, gp, setup) if abandoned_to > 0 else MIN_BUFFER_MS
        row[PLACEHOLDER] = min(row[PLACEHOLDER], max(0.0, level_ms - buffer_ms))


@inlined
def bola_e_abandons(row: Array, download: Running, buffer_ms: float, setup: Setup) -> int:
    """The quality to restart with, or -1 to continue."""
    quality, size_bits, done_bits = download.quality, download.size_bits, download.done_bits
    latency_ms = download.latency_ms
    left_bits = size_bits - done_bits
    if done_bits <= 0 or left_bits <= 0:
        return -1
    vp, gp = parameters(setup)
    level_ms = max(0.0, buffer_ms + row[PLACEHOLDER] - latency_ms)
    left_bits -= latency_ms * done_bits / (download.time_ms - latency_ms)
    if left_bits <= 0:
        return -1
    rates, utilities = setup.rates, setup.utilities
    chosen = -1
    score = (vp * (gp + utilities[quality]) - level_ms) / left_bits
    for candidate in range(quality):
        other_bits = size_bits * rates[candidate] / rates[quality]
        other = (vp * (gp + utilities[candidate]) - level_ms) / other_bits
        if other_bits < left_bits and other > score:
            chosen, score = candidate, other
    return chosen
