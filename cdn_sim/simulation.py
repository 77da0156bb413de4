"""Simulates one provider with one seed, day by day."""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cdn_sim import arrivals, failures, initial_state, planned_fill, viewing
from cdn_sim.accounting import DAY_HOURS, FillDay, Tally
from cdn_sim.catalogue import StoredTitle
from cdn_sim.compiling import Array
from cdn_sim.engine.loop import advance
from cdn_sim.engine.state import ACTIVE, ARRIVAL, BIN_MS, BUCKET, NEVER, PEAK, TICK_MS, WAITING, Viewers
from cdn_sim.failures import Change, ChangeKind
from cdn_sim.inputs import SharedInputs, most_popular, shared_inputs
from cdn_sim.model import Scenario
from cdn_sim.scenario import clock_ms
from cdn_sim.viewing import DAY_MS

REPUBLISHED_MS = 6 * 3_600_000
"""Time of day at which titles are republished that are not events."""


def run(
    scenario: Scenario,
    isp_number: int,
    seed: int,
    *,
    stored_titles: Sequence[StoredTitle] = (),
    traces: Mapping[str, Sequence[float]] | None = None,
    on_day: Callable[[int], None] = lambda _: None,
    recorded: int = 0,
) -> Tally:
    """Simulate one provider.

    Args:
        scenario: The alternative's scenario.
        isp_number: Number of the provider.
        seed: Seed of the run.
        stored_titles: Titles of the store, if the scenario names one.
        traces: Relative access rates, by file name.
        on_day: Called with the number of each finished day, from 1.
        recorded: Number of requests to record at the first edge, for tests.

    Returns:
        The counts, checked with `Tally.check`.
    """
    started_s = time.process_time()
    site = Site(scenario, isp_number, seed, shared_inputs(scenario, seed, stored_titles), traces, recorded)
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
        objects = inputs.objects
        self.sizes = objects.title_bytes()
        self.bases = objects.bases.copy()
        self._versions = list(objects.extra)
        self._changes = list(failures.changes(scenario, isp_number))
        self._missed = failures.missed_days(scenario, isp_number)
        self.history: list[Array] = []
        self.fills: list[FillDay] = []
        self.titles = initial_state.titles(objects)
        self.disk = initial_state.disks(self.edge, self.isp)
        self.caches = initial_state.empty_caches(self.edge, self.isp, objects)
        self.held = np.zeros(self.caches.planned_ms.shape, dtype=bool)
        self.links = initial_state.idle_links(scenario, self.isp, seed, traces)
        self._transit = float(self.links.capacity[self.isp.edges])
        self.counts = initial_state.zero_counts(scenario, self.isp, objects, recorded)
        self.rules = initial_state.rules(scenario)
        self.cursor = initial_state.cursor()
        self.wheel = initial_state.wheel()
        self.viewers: Viewers | None = None

    def pass_day(self, day: int) -> None:
        """Simulate one day, from 0: arrivals, events and the fill window; keeps the views for the next forecast."""
        sessions = self._sessions(day)
        self._admit(sessions)
        stops: list[tuple[int, Change | None]] = [(DAY_MS * day + clock_ms(self.edge.fill.starts), None)]
        stops += [(change.at_ms, change) for change in self._changes if change.at_ms // DAY_MS == day]
        stops += [
            (DAY_MS * day + REPUBLISHED_MS, Change(0, ChangeKind.REPUBLISH, cache=title))
            for when, title in self.inputs.republished
            if when == day
        ]
        for at_ms, change in sorted(stops, key=lambda stop: stop[0]):
            self._advance(at_ms)
            if change is None:
                self._fill(day, sessions)
            else:
                self._change(change, day)
        self._advance(DAY_MS * (day + 1))
        self.history.append(self.counts.views.copy())
        self.counts.views[:] = 0

    def tally(self, cpu_s: float) -> Tally:
        """The counts so far."""
        return Tally(
            self.isp.name,
            self.seed,
            self.isp.edges,
            self.scenario.days.warm_up * DAY_HOURS,
            self.counts.requests,
            self.counts.sent,
            self.counts.traffic,
            self.links.fill * BIN_MS,
            self.counts.experience,
            tuple(self.fills),
            int(self.cursor[PEAK]),
            int(self.cursor[ACTIVE]),
            self.counts.tail,
            float(self.counts.away[0]),
            self.inputs.objects.library_bytes,
            len(self.inputs.objects.sizes),
            cpu_s,
        )

    def _advance(self, until_ms: float) -> None:
        viewers = self.viewers
        if viewers is None or until_ms <= self.cursor[BUCKET] * TICK_MS:
            return
        with np.errstate(over="ignore"):
            advance(
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
        premieres = tuple(premiere for premiere in self.inputs.premieres if premiere[0] // DAY_MS == day)
        weights = self.inputs.ranking.weights(day, self.isp_number)
        for _, _, title, _ in self.inputs.premieres:
            if self.inputs.ranking.released[title] == day:
                weights[title] = 0.0  # on its release day, only the premiere's own sessions watch it
        return viewing.sessions(
            self.scenario, self.isp_number, day, self.seed, weights, self.inputs.objects.segments, premieres
        )

    def _admit(self, sessions: viewing.Sessions) -> None:
        """Append the day's sessions to those that are still playing."""
        new = arrivals.waiting(sessions, self.bases, self.scenario.viewers.players, self.titles.counts)
        self.viewers, playing = arrivals.append(self.viewers, new)
        arrivals.put_on_wheel(self.wheel, self.viewers, playing, int(self.cursor[BUCKET]))
        self.cursor[ARRIVAL] = playing

    def _change(self, change: Change, day: int) -> None:
        match change.kind:
            case ChangeKind.CACHE_DOWN:
                self.caches.up[change.cache] = 0
            case ChangeKind.CACHE_UP:
                self.caches.up[change.cache] = 1
                if change.value:
                    self._clear(change.cache)
            case ChangeKind.TRANSIT_KEEPS:
                self.links.capacity[self.isp.edges] = self._transit * change.value
            case ChangeKind.ORIGIN:
                self.rules = self.rules._replace(origin_fails=change.value, origin_extra_ms=change.extra_ms)
            case ChangeKind.STORES:
                self.caches.largest[change.cache] = initial_state.largest_admitted(self.edge) if change.value else -1
            case ChangeKind.REPUBLISH if change.cache >= 0:
                self._republish(change.cache)
            case ChangeKind.REPUBLISH:
                for title in most_popular(self.inputs.ranking, day, int(change.value)):
                    self._republish(title)

    def _clear(self, cache: int) -> None:
        """Remove everything from a cache that returns cold."""
        initial_state.clear(self.caches, cache)
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
            later = (self.viewers.title == title) & (self.viewers.state == WAITING)
            self.viewers.base[later] = base

    def _fill(self, day: int, sessions: viewing.Sessions) -> None:
        """Open the fill window: spread hot titles over the edges again, and plan what the edges store."""
        if not self.history:
            return
        edges, segments = self.isp.edges, self.inputs.objects.segments
        views = planned_fill.forecast(self.scenario, self.isp_number, day, self.history, sessions, self.inputs)
        self.caches.replicas[:] = planned_fill.replicas(
            self.scenario, self.isp, views, self.sizes, segments, self.caches.order
        )
        if self.edge.pinned <= 0 or day in self._missed:
            return
        night = planned_fill.plan(self.edge, self.isp, day, views, self.sizes, segments, self.caches, self.held)
        self.caches.planned_ms[:] = night.planned_ms
        self.held = night.held
        planned_fill.reserve(self.links.fill, (edges, edges + 1), night.pulls)
        planned_fill.shrink_reactive(
            self.caches, night.new, self.disk, self.sizes, self.bases, segments, self.titles.sizes
        )
        self.fills.append(night.fill)
