"""Turns a scenario's events into timed changes at one provider."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from cdn_sim.model import Event, Scenario
from cdn_sim.scenario import time_ms


class ChangeKind(Enum):
    """Kind of a change."""

    CACHE_DOWN = auto()
    """An edge or the shield goes down."""
    CACHE_UP = auto()
    """It comes up again."""
    TRANSIT_KEEPS = auto()
    """Transit keeps a share of its capacity."""
    ORIGIN = auto()
    """The origin gets other latency and another share of failed responses."""
    STORES = auto()
    """An edge stops or starts storing new objects."""
    REPUBLISH = auto()
    """The most popular titles are published again."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        at_ms: Time of the change, from the start of the run.
        kind: Kind of the change.
        cache: Number of the edge, from 0, or the number of edges for the shield; -1 if the change is not to a cache.
        value: For `TRANSIT_KEEPS`, the remaining share of the capacity; for `ORIGIN`, the share of failed responses;
            for `REPUBLISH`, the number of titles; for `CACHE_UP`, 1 if the cache is empty; for `STORES`, 1 if the edge
            may store. Otherwise 0.
        extra_ms: For `ORIGIN`: extra latency.
    """

    at_ms: int
    kind: ChangeKind
    cache: int = -1
    value: float = 0.0
    extra_ms: float = 0.0


def changes(scenario: Scenario, isp_number: int) -> tuple[Change, ...]:
    """All changes at a provider, in order of time."""
    all_changes = [change for event in scenario.events for change in _changes(event, scenario, isp_number)]
    return tuple(sorted(all_changes, key=lambda change: change.at_ms))


def missed_days(scenario: Scenario, isp_number: int) -> frozenset[int]:
    """Days, from 0, on which a provider's fill window is missed."""
    name = scenario.isps[isp_number].name
    return frozenset(
        time_ms(event.at) // 86_400_000
        for event in scenario.events
        if event.window_missed is not None and event.window_missed.isp == name
    )


def _changes(event: Event, scenario: Scenario, isp_number: int) -> Iterator[Change]:
    isp = scenario.isps[isp_number]
    at_ms = time_ms(event.at)

    def after(minutes: float) -> int:
        return at_ms + round(minutes * 60_000)

    if event.lost is not None:
        provider, _, number = event.lost.edge.partition("/")
        if (event.lost.shield or provider) == isp.name:
            cache = int(number) - 1 if number else isp.edges
            yield Change(at_ms, ChangeKind.CACHE_DOWN, cache)
            cold = float(event.lost.returns == "cold")
            yield Change(after(event.lost.minutes), ChangeKind.CACHE_UP, cache, cold)
    elif event.slow is not None and event.slow.transit == isp.name:
        yield Change(at_ms, ChangeKind.TRANSIT_KEEPS, value=event.slow.keeps)
        yield Change(after(event.slow.minutes), ChangeKind.TRANSIT_KEEPS, value=1.0)
    elif event.origin is not None:
        yield Change(at_ms, ChangeKind.ORIGIN, value=event.origin.fails, extra_ms=event.origin.extra_ms)
        yield Change(after(event.origin.minutes), ChangeKind.ORIGIN)
    elif event.disk_full is not None:
        provider, _, number = event.disk_full.edge.partition("/")
        if provider == isp.name:
            yield Change(at_ms, ChangeKind.STORES, int(number) - 1, 0.0)
            yield Change(after(event.disk_full.minutes), ChangeKind.STORES, int(number) - 1, 1.0)
    elif event.republish is not None:
        yield Change(at_ms, ChangeKind.REPUBLISH, value=event.republish.top)
