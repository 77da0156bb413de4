"""Simulates one provider with one seed, day by day."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim import catalogue, engine, failures, filling, forecasting, placement, popularity, topology, viewing
from cdn_sim.accounting import BINS_PER_DAY, DAY_HOURS, FillDay, Tally
from cdn_sim.catalogue import Objects, Release
from cdn_sim.compiling import Array, compiled
from cdn_sim.engine import (
    ACTIVE,
    ARRIVAL,
    BIN_MS,
    CLASSES,
    DECISIONS,
    FLOW_TICKS,
    NEVER,
    PEAK,
    SEEN,
    SLOTS,
    TICK_MS,
    WHEEL,
    Caches,
    Counts,
    Links,
    Rules,
    Titles,
    Viewers,
)
from cdn_sim.failures import Change, ChangeKind
from cdn_sim.kernels.state import GDSF, NUMBERS, RINGS
from cdn_sim.kernels.step import make_room, remove
from cdn_sim.model import Scenario
from cdn_sim.networks import factors
from cdn_sim.players.session import utilities_of
from cdn_sim.players.state import LAST, fresh
from cdn_sim.popularity import Ranking
from cdn_sim.scenario import clock_ms, size_bytes, time_ms
from cdn_sim.viewing import DAY_MS

FETCH_MBPS = 1_000.0
"""Maximum rate of one fetch by an edge or shield."""
STEER_EVERY_MS = 300_000.0
"""TTL of a steering manifest."""
SESSION_BYTES = 400
"""Minimum memory per session of a day while the sessions are sorted."""
LATE = NEVER - 1
"""Arrival time of renditions that are planned but late."""


@dataclass(frozen=True, slots=True)
class SharedInputs:
    """Inputs that all alternatives with the same seed share.

    Attributes:
        ranking: Popularity of all titles.
        objects: All objects.
        republished: Day and title of each republication that is not an event.
        premieres: Start in ms, length in ms, title and sessions of each premiere.
    """

    ranking: Ranking
    objects: Objects
    republished: tuple[tuple[int, int], ...]
    premieres: tuple[tuple[float, float, int, float], ...]


def least_bytes(scenario: Scenario) -> int:
    """Minimum memory for the viewers of a scenario's largest provider."""
    return SESSION_BYTES * max(viewing.most_sessions(scenario, isp) for isp in scenario.isps)


def shared_inputs(scenario: Scenario, seed: int, releases: Sequence[Release] = ()) -> SharedInputs:
    """Generate the titles, their popularity and their objects.

    Args:
        scenario: The scenario.
        seed: Seed of the run.
        releases: Releases of the store, if the scenario names one.

    Raises:
        ConfigError: There are too many objects, or no release has a device's codec.
    """
    days = scenario.days.all
    events = [event for event in scenario.events if event.premiere is not None]
    days_of = tuple(time_ms(event.at) // DAY_MS for event in events)
    ranking = popularity.rank_titles(scenario.popularity, scenario.catalogue.titles, days, seed, days_of)
    titles = len(ranking.base)
    first = titles - len(events)
    premieres = tuple(
        (float(time_ms(event.at)), event.premiere.within_minutes * 60_000, first + number, event.premiere.sessions)
        for number, event in enumerate(events)
        if event.premiere is not None
    )
    republished = popularity.republications(scenario.popularity, ranking, days)
    forced = [
        (time_ms(event.at) // DAY_MS, int(title))
        for event in scenario.events
        if event.republish is not None
        for title in np.argsort(-ranking.weights(time_ms(event.at) // DAY_MS, 0, noisy=False), kind="stable")[
            : event.republish.top
        ]
    ]
    objects = catalogue.build(
        scenario.catalogue,
        scenario.viewers.devices,
        titles,
        seed,
        republished=[title for _, title in (*republished, *forced)],
        releases=releases,
    )
    return SharedInputs(ranking, objects, republished, premieres)


def run(
    scenario: Scenario,
    isp_number: int,
    seed: int,
    *,
    releases: Sequence[Release] = (),
    traces: Mapping[str, Sequence[float]] | None = None,
    on_day: Callable[[int], None] = lambda _: None,
    recorded: int = 0,
) -> Tally:
    """Simulate one provider.

    Args:
        scenario: The alternative's scenario.
        isp_number: Number of the provider.
        seed: Seed of the run.
        releases: Releases of the store, if the scenario names one.
        traces: Relative access rates, by file name.
        on_day: Called with the number of each finished day, from 1.
        recorded: Number of requests to record at the first edge, for tests.

    Returns:
        The counts, checked with `Tally.check`.
    """
    started_s = time.process_time()
    site = Site(scenario, isp_number, seed, shared_inputs(scenario, seed, releases), traces, recorded)
    for day in range(scenario.days.all):
        site.pass_day(day)
        on_day(day + 1)
    tally = site.tally(time.process_time() - started_s)
    tally.check()
    return tally


class Site:
    """State of a provider's edges, shield, links and viewers during a run."""

    def __init__(
        self,
        scenario: Scenario,
        isp_number: int,
        seed: int,
        inputs: SharedInputs,
        traces: Mapping[str, Sequence[float]] | None = None,
        recorded: int = 0,
    ) -> None:
        self.scenario, self.isp_number, self.seed, self.inputs = scenario, isp_number, seed, inputs
        self.isp = scenario.isps[isp_number]
        self.edge = scenario.edge_of(self.isp)
        objects, edges, days = inputs.objects, self.isp.edges, scenario.days.all
        titles = len(objects.bases)
        self.sizes = objects.title_bytes()
        self.bases = objects.bases.copy()
        self._versions = list(objects.extra)
        self._changes = list(failures.changes(scenario, isp_number))
        self._missed = failures.missed_days(scenario, isp_number)
        self.history: list[Array] = []
        self.fills: list[FillDay] = []
        self.held = np.zeros((edges, titles, objects.renditions), dtype=bool)
        self.disk = np.array([size_bytes(self.edge.disk)] * edges + [size_bytes(self.isp.shield.disk)], dtype=np.int64)

        count = len(objects.rates)
        self.titles = Titles(
            objects.sizes,
            objects.segments,
            objects.rates,
            np.array(
                [
                    np.pad(utilities_of(row[:rungs]), (0, objects.rates.shape[1] - rungs))
                    for row, rungs in zip(objects.rates, objects.counts, strict=True)
                ]
            ).reshape(count, -1),
            objects.counts,
            objects.firsts,
            objects.segment_ms,
            objects.sound,
        )
        self.caches = self._empty_caches()
        links = edges + 2
        capacity = np.array([self.edge.gbps] * edges + [self.isp.transit.gbps, self._origin_gbps]) * 1e9 / 8 / 1000
        self._transit = float(capacity[edges])
        self.links = Links(
            capacity,
            np.zeros(links),
            np.zeros(edges),
            np.array([0.0] * edges + [self.isp.transit.rtt_ms, scenario.origin.link.rtt_ms]),
            np.zeros((links, days * BINS_PER_DAY)),
            np.zeros((links, SLOTS)),
            np.zeros((links, CLASSES)),
            np.zeros((links, CLASSES)),
            np.zeros((links, FLOW_TICKS, CLASSES)),
            np.zeros((links, FLOW_TICKS, CLASSES)),
            capacity.copy(),
            factors(scenario.viewers.access, seed, traces),
        )
        hours = days * DAY_HOURS
        self.counts = Counts(
            np.zeros((edges + 1, len(DECISIONS), hours), dtype=np.int64),
            np.zeros((edges + 1, len(DECISIONS), hours)),
            np.zeros((links, days * BINS_PER_DAY)),
            np.zeros((hours, len(SEEN))),
            np.zeros((titles, objects.renditions), dtype=np.int32),
            np.zeros(links),
            np.zeros(1),
            np.zeros((recorded, 2), dtype=np.int64),
        )
        self.rules = Rules(
            scenario.viewers.seeks_per_hour / 3_600_000, FETCH_MBPS * 1e6 / 8 / 1000, 0.0, 0.0, STEER_EVERY_MS
        )
        self.cursor = np.zeros(6, dtype=np.int64)
        self.wheel = np.full(WHEEL, -1, dtype=np.int64)
        self.viewers: Viewers | None = None

    @property
    def _origin_gbps(self) -> float:
        return max(self.scenario.origin.link.gbps * self.isp.share, 1e-9)

    def _empty_caches(self) -> Caches:
        objects, edges = self.inputs.objects, self.isp.edges
        caches, titles, count = edges + 1, len(objects.bases), len(objects.sizes)
        policies = [self.edge.policy] * edges + [self.isp.shield.policy]
        nodes = np.zeros((caches, count + RINGS, 4), dtype=np.int32)
        for ring in range(RINGS):
            nodes[:, count + ring, :2] = count + ring
        totals = np.zeros((caches, 8), dtype=np.int64)
        totals[:, 3] = count
        ranked = count if any(NUMBERS[policy] >= GDSF for policy in policies) else 0
        largest = {"all": NEVER, "size": size_bytes(self.edge.largest), "planned only": -1}[self.edge.admission]
        return Caches(
            np.array([NUMBERS[policy] for policy in policies], dtype=np.int64),
            self.disk.copy(),
            np.array([largest] * edges + [NEVER], dtype=np.int64),
            np.ones(caches, dtype=np.uint8),
            nodes,
            totals,
            np.zeros((caches, ranked), dtype=np.int32),
            np.zeros((caches, ranked + 1)),
            np.zeros((caches, ranked), dtype=np.int64),
            np.full((edges, titles, objects.renditions), NEVER, dtype=np.int32),
            topology.order(titles, edges, self.isp.name),
            np.ones(titles, dtype=np.int64),
        )

    def pass_day(self, day: int) -> None:
        """Simulate one day, from 0: arrivals, events and the fill window; keeps the views for the next forecast."""
        arrivals = self._sessions(day)
        self._admit(arrivals)
        stops: list[tuple[int, Change | None]] = [(DAY_MS * day + clock_ms(self.edge.fill.starts), None)]
        stops += [(change.at_ms, change) for change in self._changes if change.at_ms // DAY_MS == day]
        stops += [
            (DAY_MS * day + 6 * 3_600_000, Change(0, ChangeKind.REPUBLISH, cache=title))
            for when, title in self.inputs.republished
            if when == day
        ]
        for at_ms, change in sorted(stops, key=lambda stop: stop[0]):
            self._advance(at_ms)
            if change is None:
                self._plan(day, arrivals)
            else:
                self._change(change, day)
        self._advance(DAY_MS * (day + 1))
        self.history.append(self.counts.views.copy())
        self.counts.views[:] = 0

    def _advance(self, until_ms: float) -> None:
        viewers = self.viewers
        if viewers is None or until_ms <= self.cursor[0] * TICK_MS:
            return
        with np.errstate(over="ignore"):
            engine.advance(
                float(until_ms),
                self.cursor,
                self.wheel,
                self.titles,
                viewers,
                self.caches,
                self.links,
                self.counts,
                self.rules,
            )

    def _sessions(self, day: int) -> viewing.Sessions:
        premieres = tuple(each for each in self.inputs.premieres if each[0] // DAY_MS == day)
        weights = self.inputs.ranking.weights(day, self.isp_number)
        for _, _, title, _ in self.inputs.premieres:
            if self.inputs.ranking.released[title] == day:
                weights[title] = 0.0  # on its release day, only the premiere's own sessions watch it
        return viewing.sessions(
            self.scenario, self.isp_number, day, self.seed, weights, self.inputs.objects.segments, premieres
        )

    def _admit(self, arrivals: viewing.Sessions) -> None:
        """Append the day's sessions to those that are still playing."""
        count = len(arrivals.start_ms)
        with_mpc = any(player.rule == "robust-mpc" for player in self.scenario.viewers.players)
        player = fresh(count, with_mpc=with_mpc)
        fixed = np.array([each.rule == "fixed" for each in self.scenario.viewers.players])
        if fixed.any():
            chosen = np.minimum(arrivals.quality, self.titles.counts[arrivals.device] - 1)
            player[:, LAST] = np.where(arrivals.rule == 0, chosen, 0)
        new = Viewers(
            arrivals.start_ms,
            arrivals.title,
            self.bases[arrivals.title],
            np.zeros(count, dtype=np.int64),
            arrivals.left.astype(np.int64),
            arrivals.device,
            arrivals.rule,
            arrivals.most_ms,
            arrivals.kbps,
            arrivals.rtt_ms,
            arrivals.access,
            arrivals.offset,
            arrivals.draw,
            np.zeros(count, dtype=np.int8),
            player,
            np.zeros(count),
            arrivals.start_ms.copy(),
            np.full(count, -1, dtype=np.int64),
            np.full(count, -1, dtype=np.int8),
            np.full(count, -1, dtype=np.int64),
            np.zeros(count),
            np.zeros(count, dtype=np.int64),
            np.full(count, -1, dtype=np.int64),
        )
        carried = 0
        if self.viewers is not None:
            playing = np.nonzero((self.viewers.state == 1) | (self.viewers.state == 2))[0]
            carried = len(playing)
            new = Viewers(*(np.concatenate([old[playing], now]) for old, now in zip(self.viewers, new, strict=True)))
        self.wheel[:] = -1
        first = int(self.cursor[0])
        for number in range(carried - 1, -1, -1):
            tick = min(max(int(new.due_ms[number] // TICK_MS), first), first + WHEEL - 1)
            new.link[number] = self.wheel[tick % WHEEL]
            self.wheel[tick % WHEEL] = number
        self.cursor[ARRIVAL] = carried
        self.viewers = new

    def _change(self, change: Change, day: int) -> None:
        edges = self.isp.edges
        if change.kind is ChangeKind.CACHE_DOWN:
            self.caches.up[change.cache] = 0
        elif change.kind is ChangeKind.CACHE_UP:
            self.caches.up[change.cache] = 1
            if change.value:
                self._clear(change.cache)
        elif change.kind is ChangeKind.TRANSIT_KEEPS:
            self.links.capacity[edges] = self._transit * change.value
        elif change.kind is ChangeKind.ORIGIN:
            self.rules = self.rules._replace(origin_fails=change.value, origin_extra_ms=change.extra_ms)
        elif change.kind is ChangeKind.STORES:
            largest = {"all": NEVER, "size": size_bytes(self.edge.largest), "planned only": -1}[self.edge.admission]
            self.caches.largest[change.cache] = largest if change.value else -1
        elif change.cache >= 0:
            self._republish(change.cache)
        else:
            weights = self.inputs.ranking.weights(day, 0, noisy=False)
            for title in np.argsort(-weights, kind="stable")[: int(change.value)]:
                self._republish(int(title))

    def _clear(self, cache: int) -> None:
        count = len(self.inputs.objects.sizes)
        nodes = self.caches.nodes[cache]
        nodes[:] = 0
        for ring in range(RINGS):
            nodes[count + ring, :2] = count + ring
        self.caches.totals[cache] = 0
        self.caches.totals[cache, 3] = count
        self.caches.worth[cache] = 0
        if cache < self.isp.edges:
            self.caches.planned_ms[cache] = NEVER
            self.held[cache] = False
            self.caches.room[cache] = self.disk[cache]

    def _republish(self, title: int) -> None:
        """Give a title new objects; sessions that are playing continue with the old ones."""
        place = next(number for number, (found, _) in enumerate(self._versions) if found == title)
        _, base = self._versions.pop(place)
        self.bases[title] = base
        self.caches.planned_ms[:, title] = NEVER
        self.held[:, title] = False
        if self.viewers is not None:
            later = (self.viewers.title == title) & (self.viewers.state == 0)
            self.viewers.base[later] = base

    def _plan(self, day: int, arrivals: viewing.Sessions) -> None:
        """Open the fill window: forecast, choose renditions, and compute when each one arrives."""
        if not self.history:
            return
        views = self._forecast(day, arrivals)
        objects, fill, edges = self.inputs.objects, self.edge.fill, self.isp.edges
        per_segment = self.sizes / np.maximum(objects.segments, 1)[:, None]
        hours = np.array(self.scenario.viewers.hours, dtype=np.float64)
        shared = placement.replicas(
            (views * per_segment).sum(axis=1),
            self.caches.order,
            self.edge.gbps * 1e9 / 8,
            float(hours.max() / hours.sum()),
            self.isp.replicas_of_top,
        )
        self.caches.replicas[:] = shared
        if self.edge.pinned <= 0 or day in self._missed:
            return
        budget = float(self.disk[0]) * self.edge.pinned
        plan = placement.place(
            views, self.sizes, objects.segments, self.caches.order, shared, self.held, budget, stays=fill.stays
        )
        start_ms = float(DAY_MS * day + clock_ms(fill.starts))
        new = plan.planned & ~self.held
        share_mbps = self.isp.transit.gbps * 1000 * fill.transit_share / edges
        filled = filling.fill(
            new,
            plan.worth,
            self.sizes,
            self.caches.order,
            start_ms=start_ms,
            hours=fill.hours,
            mbps=min(fill.mbps, share_mbps),
        )
        replaced = float((self.held & ~plan.planned).reshape(edges, -1).sum(axis=0) @ self.sizes.ravel())
        planned_ms = np.where(plan.planned & self.held, self.caches.planned_ms, NEVER)
        arrives = np.where(np.isfinite(filled.arrives_ms), filled.arrives_ms, LATE)
        self.caches.planned_ms[:] = np.where(new, np.minimum(arrives, LATE), planned_ms).astype(np.int32)
        self.held = plan.planned & (self.caches.planned_ms < LATE)
        for start, end, rate in filled.pulls:
            for link in (edges, edges + 1):
                _spread(self.links.fill[link], start, end, rate)
        self._make_room(new)
        held_bytes = float(plan.planned.reshape(edges, -1).sum(axis=0) @ self.sizes.ravel())
        planned_bytes = filled.bytes + filled.late_bytes
        self.fills.append(
            FillDay(day, planned_bytes, filled.bytes, filled.pulled_bytes, filled.late_bytes, replaced, held_bytes)
        )

    def _forecast(self, day: int, arrivals: viewing.Sessions) -> Array:
        kind, ranking, objects = self.edge.fill.forecast, self.inputs.ranking, self.inputs.objects
        yesterday = self.history[-1]
        if kind == "oracle":
            views = forecasting.oracle(yesterday, arrivals.title, arrivals.left)
        else:
            views = forecasting.ewma(self.history[-14:], self.edge.fill.alpha)
        if kind == "ewma":
            return views
        # Releases of today and tomorrow are known to every forecast.
        past = ranking.weights(day - 1, self.isp_number, noisy=False)
        for ahead, share in ((0, 1.0), (1, 0.4)):
            if kind == "oracle" and ahead == 0:
                continue
            new = ranking.released == day + ahead
            weights = ranking.weights(day + ahead, self.isp_number, noisy=False)
            expected = forecasting.releases(yesterday, objects.segments, past, weights, new, self.seed)
            views = views + share * expected
        for _, _, title, extra in self.inputs.premieres:
            planned = any(
                event.premiere is not None and event.premiere.planned
                for event in self.scenario.events
                if event.premiere is not None
            )
            if planned and ranking.released[title] == day and kind != "oracle":
                crowd = extra * self.isp.share * objects.segments[title]
                views[title] = views[title] + crowd * forecasting.mix(yesterday)
        return np.asarray(views)

    def _make_room(self, new: Array) -> None:
        """Remove newly planned objects from the reactive part, and shrink it to the remaining bytes."""
        caches, sizes = self.caches, self.titles.sizes
        for edge in range(self.isp.edges):
            planned = caches.planned_ms[edge] != NEVER
            caches.room[edge] = max(0, int(self.disk[edge] - (planned * self.sizes).sum()))
            state = (
                caches.nodes[edge],
                caches.totals[edge],
                caches.heap[edge],
                caches.worth[edge],
                caches.clocks[edge],
            )
            policy = int(caches.policy[edge])
            pairs = np.argwhere(new[edge]).astype(np.int64)
            _drop(policy, pairs, self.bases, self.inputs.objects.segments, sizes, *state)
            make_room(policy, sizes, int(caches.room[edge]), *state)

    def tally(self, cpu_s: float) -> Tally:
        """The counts so far."""
        fill_bytes = self.links.fill * BIN_MS
        return Tally(
            self.isp.name,
            self.seed,
            self.isp.edges,
            self.scenario.days.warm_up * DAY_HOURS,
            self.counts.requests,
            self.counts.sent,
            self.counts.traffic,
            fill_bytes,
            self.counts.seen,
            tuple(self.fills),
            int(self.cursor[PEAK]),
            int(self.cursor[ACTIVE]),
            self.counts.tail,
            float(self.counts.away[0]),
            self.inputs.objects.library_bytes,
            len(self.inputs.objects.sizes),
            cpu_s,
        )


def _spread(row: Array, start_ms: float, end_ms: float, rate: float) -> None:
    """Add a rate to the bins from start to end, proportionally in the first and the last."""
    for place in range(int(start_ms // BIN_MS), min(len(row), int(end_ms // BIN_MS) + 1)):
        inside = min(end_ms, (place + 1) * BIN_MS) - max(start_ms, place * BIN_MS)
        row[place] += rate * inside / BIN_MS


@compiled
def _drop(
    policy: int,
    pairs: Array,
    bases: Array,
    segments: Array,
    sizes: Array,
    nodes: Array,
    totals: Array,
    heap: Array,
    worth: Array,
    clocks: Array,
) -> None:
    """Remove all objects of some titles' renditions from a cache's reactive part."""
    for row in range(len(pairs)):
        title, rendition = pairs[row, 0], pairs[row, 1]
        first = bases[title] + rendition * segments[title]
        for number in range(first, first + segments[title]):
            remove(policy, number, sizes, nodes, totals, heap, worth, clocks)
