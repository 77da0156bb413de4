"""BOLA: chooses by buffer level, with Lyapunov optimisation; the variants differ in switching to higher qualities.

``vp`` and ``gp`` are the paper's parameters V and gamma, each multiplied by the segment duration p.

Source:
    Spiteri, Urgaonkar, Sitaraman: BOLA: near-optimal bitrate adaptation for online videos, INFOCOM 2016.
"""

from cdn_sim.compiling import Array, inlined
from cdn_sim.players.estimates import sustainable_quality
from cdn_sim.players.state import BOLA_BASIC, BOLA_O, ESTIMATE, LAST, LATENCY, SEEK, Running, Setup

GAMMA_P = 5.0
"""Weight of stalls relative to quality."""


@inlined
def best_at_level(level_ms: float, vp: float, gp: float, setup: Setup) -> int:
    """The quality with the highest score per bit at a buffer level."""
    rates, utilities = setup.rates, setup.utilities
    quality = 0
    score = (vp * (utilities[0] + gp) - level_ms) / rates[0]
    for candidate in range(1, setup.rungs):
        other = (vp * (utilities[candidate] + gp) - level_ms) / rates[candidate]
        if other > score:
            quality, score = candidate, other
    return quality


@inlined
def scale(rule: int, row: Array, segment: int, segments: int, setup: Setup) -> float:
    """BOLA's V p.

    Except in the basic variant, it is smaller near the start, a seek and the end, where the buffer can't be full.
    """
    max_buffer_ms = setup.max_buffer_ms
    if rule != BOLA_BASIC:
        reachable_segments = max(min(segment - row[SEEK], segments - segment) / 2, 3.0)
        max_buffer_ms = min(max_buffer_ms, reachable_segments * setup.segment_ms)
    vp: float = (max_buffer_ms - setup.segment_ms) / (setup.utilities[setup.rungs - 1] + GAMMA_P)
    return vp


@inlined
def bola(rule: int, row: Array, buffer_ms: float, segment: int, segments: int, setup: Setup) -> tuple[int, float]:
    """Choose the next segment's quality, and how long to wait before requesting it; only BOLA-O waits.

    For the arguments, see `cdn_sim.players.choosing.choose`.
    """
    vp = scale(rule, row, segment, segments, setup)
    quality = best_at_level(buffer_ms, vp, GAMMA_P, setup)
    delay_ms = 0.0
    last = int(row[LAST])
    if quality > last:
        sustainable = sustainable_quality(row[ESTIMATE], row[LATENCY], setup)
        if quality > sustainable:
            if last > sustainable:
                quality = last
            elif rule == BOLA_O:
                quality = sustainable
                if quality < setup.rungs - 1:
                    delay_ms = max(0.0, buffer_ms - vp * (GAMMA_P + setup.utilities[quality]))
            else:
                quality = sustainable + 1
    row[LAST] = quality
    return quality, delay_ms


@inlined
def bola_abandons(rule: int, row: Array, download: Running, buffer_ms: float, vp: float, setup: Setup) -> int:
    """The quality to restart with, or -1 to continue."""
    quality, size_bits, done_bits = download.quality, download.size_bits, download.done_bits
    rates, utilities = setup.rates, setup.utilities
    left_bits = size_bits - done_bits
    if rule == BOLA_BASIC or done_bits <= 0 or left_bits <= 0:
        return -1
    chosen = -1
    score = (vp * (GAMMA_P + utilities[quality]) - buffer_ms) / left_bits
    if score < 0:
        return -1
    for candidate in range(quality):
        other_bits = size_bits * rates[candidate] / rates[quality]
        other = (vp * (GAMMA_P + utilities[candidate]) - buffer_ms) / other_bits
        if other_bits < left_bits and other > score:
            chosen, score = candidate, other
    if chosen >= 0:
        row[LAST] = chosen
    return chosen
