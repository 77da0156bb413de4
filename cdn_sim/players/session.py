"""Simulates one viewer on one link, whose capacity and latency are a list of periods.

Other ABR simulators do the same, so the rules can be verified against them. The engine runs the same rules with the
throughput of its own links and caches.
"""

import math
from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array, compiled, inlined
from cdn_sim.players.abandoning import abandons
from cdn_sim.players.bola import scale
from cdn_sim.players.bola_e import bola_e_downloaded
from cdn_sim.players.choosing import choose, downloaded, waited
from cdn_sim.players.state import BOLA_E, ESTIMATE, Running, Setup, fresh

PROGRESS_BITS = 12_000.0
"""Minimum bits between two checks whether to abandon a download."""
PROGRESS_MS = 50.0
"""Minimum time between these checks."""


@dataclass(frozen=True, slots=True)
class Network:
    """A link as a repeating list of periods.

    Attributes:
        periods: Rows of length in ms, capacity in kbit/s and latency in ms.
    """

    periods: Array


@dataclass(frozen=True, slots=True)
class Playback:
    """Statistics of a viewer's session.

    Attributes:
        utility: Mean of log(bitrate / lowest bitrate) over the play time; stalls count as zero.
        kbps: Mean bitrate over the play time; stalls count as zero.
        play_ms: Time from the start to the end of the last segment, including startup and stalls.
        stall_ms: Time stalled after startup.
        stalls: Number of stalls.
        change_kbps: Sum of all bitrate changes.
        qualities: Quality of each segment.
    """

    utility: float
    kbps: float
    play_ms: float
    stall_ms: float
    stalls: int
    change_kbps: float
    qualities: Array


def utilities_of(rates: Array) -> Array:
    """Logarithms of bitrates relative to the lowest."""
    return np.array([math.log(rate) - math.log(rates[0]) for rate in rates])


def watch(
    rule: int,
    network: Network,
    sizes_bits: Array,
    rates_kbps: Array,
    segment_ms: float,
    buffer_ms: float,
    *,
    may_abandon: bool,
) -> Playback:
    """Play a title to its end.

    Args:
        rule: Number of the rule in `cdn_sim.players.state`.
        network: The link.
        sizes_bits: Size of each segment (rows) at each quality (columns).
        rates_kbps: Bitrates of the ladder, ascending.
        segment_ms: Length of a segment.
        buffer_ms: Size of the player's buffer.
        may_abandon: Whether the player may abandon downloads.
    """
    rates = np.asarray(rates_kbps, dtype=np.float64)
    utilities = utilities_of(rates)
    qualities = np.zeros(len(sizes_bits), dtype=np.int64)
    row = fresh(1, with_mpc=True)[0]
    play_ms, stall_ms, stalls = _play(
        rule,
        np.ascontiguousarray(network.periods, dtype=np.float64),
        np.ascontiguousarray(sizes_bits, dtype=np.float64),
        Setup(rates, utilities, sizes_bits.shape[1], float(segment_ms), float(buffer_ms)),
        may_abandon,
        row,
        np.zeros(2),
        qualities,
    )
    bitrates = rates[qualities]
    share = segment_ms / play_ms
    return Playback(
        utility=float(utilities[qualities].sum() * share),
        kbps=float(bitrates.sum() * share),
        play_ms=play_ms,
        stall_ms=stall_ms,
        stalls=stalls,
        change_kbps=float(np.abs(np.diff(bitrates)).sum()),
        qualities=qualities,
    )


@inlined
def _advance(link: Array, periods: Array, time_ms: float) -> None:
    """Advance a link by some time; ``link`` is the number of the current period, and the remaining ms of that."""
    while time_ms > link[1]:
        time_ms -= link[1]
        _next_period(link, periods)
    link[1] -= time_ms


@inlined
def _next_period(link: Array, periods: Array) -> None:
    link[0] = (link[0] + 1) % len(periods)
    link[1] = periods[int(link[0]), 0]


@inlined
def _round_trip(link: Array, periods: Array) -> float:
    """Advance a link by one round trip; returns its ms.

    If periods end during the trip, each contributes a part of its latency.
    """
    total_ms, left = 0.0, 1.0
    while left > 0:
        latency_ms = periods[int(link[0]), 2]
        time_ms = left * latency_ms
        if time_ms <= link[1]:
            total_ms += time_ms
            link[1] -= time_ms
            left = 0.0
        else:
            total_ms += link[1]
            left -= link[1] / latency_ms
            _next_period(link, periods)
    return total_ms


@inlined
def _transfer(link: Array, periods: Array, bits: float, min_bits: float, min_ms: float) -> tuple[float, float]:
    """Receive at least ``min_bits`` and for at least ``min_ms``, but at most ``bits``; returns bits and ms."""
    done_bits, done_ms = 0.0, 0.0
    while bits > 0 and (min_bits > 0 or min_ms > 0):
        kbps = periods[int(link[0]), 1]
        period_bits = link[1] * kbps
        required_bits = max(min_bits, min_ms * kbps)
        if kbps > 0 and min(bits, required_bits) <= period_bits:
            got_bits = min(bits, required_bits)
            got_ms = got_bits / kbps
            link[1] -= got_ms
            if required_bits < bits:
                min_bits, min_ms = 0.0, 0.0
        else:
            got_bits, got_ms = period_bits, link[1]
            _next_period(link, periods)
        done_bits += got_bits
        done_ms += got_ms
        bits -= got_bits
        min_bits -= got_bits
        min_ms -= got_ms
    return done_bits, done_ms


@inlined
def _download_or_abandon(
    rule: int,
    row: Array,
    quality: int,
    size_bits: float,
    latency_ms: float,
    buffer_ms: float,
    vp: float,
    link: Array,
    periods: Array,
    setup: Setup,
) -> tuple[float, int]:
    """Receive a segment, unless the player abandons it.

    Returns:
        The ms after the first byte, and the quality to restart with, or -1 if the segment is complete.
    """
    done_bits, done_ms, abandoned_to = 0.0, 0.0, -1
    min_ms = PROGRESS_MS - latency_ms
    while done_bits < size_bits and abandoned_to < 0:
        got_bits, got_ms = _transfer(link, periods, size_bits - done_bits, PROGRESS_BITS, min_ms)
        done_bits += got_bits
        done_ms += got_ms
        if done_bits < size_bits:
            abandoned_to = abandons(
                rule,
                row,
                Running(quality, size_bits, done_bits, latency_ms + done_ms, latency_ms),
                max(0.0, buffer_ms - latency_ms - done_ms),
                vp,
                setup,
            )
        min_ms = PROGRESS_MS
    return done_ms, abandoned_to


@compiled
def _play(
    rule: int,
    periods: Array,
    sizes: Array,
    setup: Setup,
    may_abandon: bool,
    row: Array,
    link: Array,
    qualities: Array,
) -> tuple[float, float, int]:
    segments = len(sizes)
    segment_ms, max_buffer_ms = setup.segment_ms, setup.max_buffer_ms
    link[1] = periods[0, 0]
    buffer_ms, play_ms, stall_ms, stalls = 0.0, 0.0, 0.0, 0
    segment = 0
    while segment < segments:
        quality, delay_ms = 0, 0.0
        if segment > 0:
            excess_ms = buffer_ms + segment_ms - max_buffer_ms
            if excess_ms > 0:
                buffer_ms -= excess_ms
                play_ms += excess_ms
                _advance(link, periods, excess_ms)
                waited(rule, row, excess_ms)
            quality, delay_ms = choose(rule, row, buffer_ms, segment, segments, setup)
            if delay_ms > 0:
                _advance(link, periods, delay_ms)
                play_ms += delay_ms
                if delay_ms > buffer_ms:
                    stalls += buffer_ms > 0
                    stall_ms += delay_ms - buffer_ms
                buffer_ms = max(0.0, buffer_ms - delay_ms)
        size_bits = sizes[segment, quality]
        vp = scale(rule, row, segment, segments, setup)
        latency_ms = _round_trip(link, periods)
        if may_abandon and segment > 0:
            transfer_ms, abandoned_to = _download_or_abandon(
                rule,
                row,
                quality,
                size_bits,
                latency_ms,
                buffer_ms,
                vp,
                link,
                periods,
                setup,
            )
        else:
            _, transfer_ms = _transfer(link, periods, size_bits, size_bits, 0.0)
            abandoned_to = -1
        took_ms = latency_ms + transfer_ms
        play_ms += took_ms
        if segment > 0:
            if took_ms > buffer_ms:
                stalls += buffer_ms > 0
                stall_ms += took_ms - buffer_ms
            buffer_ms = max(0.0, buffer_ms - took_ms)
        if abandoned_to < 0:
            buffer_ms += segment_ms
            qualities[segment] = quality
            segment += 1
            downloaded(
                rule,
                row,
                quality,
                buffer_ms,
                size_bits,
                latency_ms,
                transfer_ms,
                setup,
            )
        elif rule == BOLA_E and row[ESTIMATE] > 0.0:
            bola_e_downloaded(row, quality, abandoned_to, buffer_ms, took_ms, setup)
    return play_ms + buffer_ms, stall_ms, stalls
