"""Turns a scenario's events into timed changes at one provider."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

from cdn_sim.model import Event, Scenario
from cdn_sim.scenario import time_ms


class ChangeKind(Enum):
    """Kind of a change."""

    CACHE_DOWN = auto()
    CACHE_UP = auto()
    TRANSIT_KEEPS = auto()
    ORIGIN = auto()
    STORES = auto()
    REPUBLISH = auto()


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        at_ms: Time of the change.
        kind: Kind of the change.
        cache: Number of the edge; the number of edges stands for the shield; -1 for none.
        value: Depends on the kind: remaining share of capacity, share of failed answers, number of titles, or 1 if a
            cache returns cold or may store.
        extra_ms: Extra latency of the origin.
    """

    at_ms: int
    kind: ChangeKind
    cache: int = -1
    value: float = 0.0
    extra_ms: float = 0.0


def changes(scenario: Scenario, isp_number: int) -> tuple[Change, ...]:
    """All changes at a provider, in order of time."""
    found = [change for event in scenario.events for change in _changes(event, scenario, isp_number)]
    return tuple(sorted(found, key=lambda change: change.at_ms))


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
