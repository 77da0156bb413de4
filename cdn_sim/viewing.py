"""Generates the sessions of one day at one provider: start, title, length, device, player and access."""

from dataclasses import dataclass

import numpy as np

from cdn_sim.compiling import Array
from cdn_sim.model import Isp, Scenario
from cdn_sim.networks import STEPS
from cdn_sim.players.state import RULES
from cdn_sim.streams import draw, normal, stream_of, uniform

DAY_MS = 86_400_000
SESSION_BYTES = 400
"""Minimum memory per session of a day while the sessions are sorted."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of a day: arrays with one entry per session, ordered by start.

    Attributes:
        start_ms: Start, from the start of the run.
        title: Number of the title.
        left: Number of segments to play.
        device: Number of the device in the scenario.
        rule: Number of the ABR rule in `cdn_sim.players.state`.
        quality: Quality for the rule ``fixed``.
        most_ms: Size of the player's buffer.
        kbps: Rate of the access link, before its variation over time.
        rtt_ms: Round trip of the access link.
        access: Number of the access class in the scenario.
        offset: Position in the access class's factors (`cdn_sim.networks`) at the start.
        draw: The viewer's random number, which spreads viewers over replicas.
    """

    start_ms: Array
    title: Array
    left: Array
    device: Array
    rule: Array
    quality: Array
    most_ms: Array
    kbps: Array
    rtt_ms: Array
    access: Array
    offset: Array
    draw: Array


def sessions(
    scenario: Scenario,
    isp_number: int,
    day: int,
    seed: int,
    weights: Array,
    segments: Array,
    premieres: tuple[tuple[float, float, int, float], ...] = (),
) -> Sessions:
    """Draw all sessions that start on a day at a provider.

    Args:
        scenario: The scenario.
        isp_number: Number of the provider.
        day: Day, from 0.
        seed: Seed of the run.
        weights: Weight of each title on this day.
        segments: Segments of each title.
        premieres: Start in ms from the start of the run, length in ms, title and sessions of each premiere of the day.
    """
    viewers, isp = scenario.viewers, scenario.isps[isp_number]
    name = f"day {day} at provider {isp_number}"
    start_ms, title = _arrivals(scenario, isp, day, seed, name, weights, premieres)
    numbers = np.arange(len(start_ms))

    def choose(purpose: str, shares: list[float]) -> Array:
        bounds = np.cumsum(shares) / sum(shares)
        return np.searchsorted(bounds, uniform(stream_of(seed, f"{purpose}, {name}"), numbers), side="right")

    length = choose("lengths", [kind.share for kind in viewers.lengths])
    part = uniform(stream_of(seed, f"stays, {name}"), numbers)
    max_part = np.array([1.0 if kind.leaves_after is None else kind.leaves_after for kind in viewers.lengths])[length]
    to_end = np.array([kind.leaves == "at the end" for kind in viewers.lengths])[length]
    whole = segments[title]
    left = np.where(to_end, whole, np.ceil(part * max_part * whole)).clip(1, whole).astype(np.int32)

    player = choose("players", [player_class.share for player_class in viewers.players])
    access = choose("access", [access_class.share for access_class in viewers.access])
    spread = np.array([access_class.spread for access_class in viewers.access])[access]
    kbps = np.array([access_class.mbps * 1000 for access_class in viewers.access])[access]
    kbps = kbps * np.exp(spread * normal(stream_of(seed, f"rates, {name}"), numbers))
    drawn = draw(stream_of(seed, f"viewers, {name}"), numbers)
    return Sessions(
        start_ms,
        title,
        left,
        device=choose("devices", [device_class.share for device_class in viewers.devices]).astype(np.int64),
        rule=np.array([RULES[player_class.rule] for player_class in viewers.players], dtype=np.int64)[player],
        quality=np.array([player_class.quality for player_class in viewers.players], dtype=np.int64)[player],
        most_ms=np.array([player_class.buffer_s * 1000 for player_class in viewers.players])[player],
        kbps=kbps,
        rtt_ms=np.array([access_class.rtt_ms for access_class in viewers.access])[access],
        access=access.astype(np.int64),
        offset=(drawn >> np.uint64(40)).astype(np.int64) % STEPS,
        draw=(drawn & np.uint64(0x7FFFFFFF)).astype(np.int64),
    )


def _arrivals(
    scenario: Scenario,
    isp: Isp,
    day: int,
    seed: int,
    name: str,
    weights: Array,
    premieres: tuple[tuple[float, float, int, float], ...],
) -> tuple[Array, Array]:
    """Start in ms and title of each session, ordered by start; ``name`` is the day and provider, for random streams."""
    count = _count(scenario, isp, day)
    numbers = np.arange(count)
    hours = np.array(scenario.viewers.hours, dtype=np.float64)
    shares_until = np.concatenate([[0.0], np.cumsum(hours) / hours.sum()])
    shares = (numbers + uniform(stream_of(seed, f"arrivals, {name}"), numbers)) / max(count, 1)
    start_ms = day * DAY_MS + np.interp(shares, shares_until, range(25)) * 3_600_000
    sums = np.cumsum(weights)
    title = np.searchsorted(sums, uniform(stream_of(seed, f"titles, {name}"), numbers) * sums[-1], side="right")
    title = np.minimum(title, len(weights) - 1)
    for number, (begins_ms, lasts_ms, premiered, extra) in enumerate(premieres):
        more = round(extra * isp.share)
        when = uniform(stream_of(seed, f"premiere {number}, {name}"), np.arange(more))
        start_ms = np.concatenate([start_ms, begins_ms + when * lasts_ms])
        title = np.concatenate([title, np.full(more, premiered)])
    order = np.argsort(start_ms, kind="stable")
    return start_ms[order], title[order].astype(np.int64)


def most_sessions(scenario: Scenario, isp: Isp) -> int:
    """Upper bound of the sessions that start on any one day at a provider."""
    premieres = sum(event.premiere.sessions for event in scenario.events if event.premiere is not None)
    counts = [_count(scenario, isp, day) for day in range(scenario.days.all)]
    return max(counts) + round(premieres * isp.share)


def least_bytes(scenario: Scenario) -> int:
    """Minimum memory for the viewers of a scenario's largest provider."""
    return SESSION_BYTES * max(most_sessions(scenario, isp) for isp in scenario.isps)


def _count(scenario: Scenario, isp: Isp, day: int) -> int:
    """Number of sessions; days 6 and 7 of each week are the weekend."""
    weekend = scenario.viewers.weekend if day % 7 >= 5 else 1.0
    return round(scenario.viewers.sessions_per_day * isp.share * weekend)
