"""Fill plans of live edges: from the requests of some days to the tracks that each edge holds tomorrow."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim import forecasting, placement, topology
from cdn_sim.compiling import Array
from cdn_sim.filling import window_bytes
from cdn_sim.model import Scenario
from cdn_sim.plans import FillItem, FillPlan
from cdn_sim.request_logs.reading import Requests
from cdn_sim.scenario import size_bytes
from headend.core.errors import ConfigError

DAY_MS = 86_400_000
_SEGMENT = re.compile(
    r"/?(?:titles/)?([a-z0-9-]{1,64})/(?:tracks/)?([A-Za-z0-9][A-Za-z0-9.-]{0,255})/([1-9][0-9]{0,6})\.(?:m4s|vtt)"
)
"""A segment as edges' decision logs, access logs and stores name it."""

Rendition = tuple[str, str]
"""A title and one of its tracks."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What a track takes in a cache.

    Attributes:
        bytes: All its objects.
        segments: How many segments it has.
    """

    bytes: int
    segments: int


def views_by_day(logs: Iterable[Requests]) -> tuple[tuple[Rendition, ...], list[Array], dict[Rendition, Stored]]:
    """Count segments asked for, by track and day.

    Args:
        logs: Decision logs or access logs of a store's objects; times are local to the site.

    Returns:
        The tracks; for each day, the oldest first, how many segments of each were asked for; and what the log knows of
        their sizes: the segments that were seen.

    Raises:
        ConfigError: No request is for a segment of a track.
    """
    tracks: dict[Rendition, int] = {}
    counts: dict[int, dict[int, int]] = {}
    seen: dict[Rendition, dict[int, int]] = {}
    for log in logs:
        owner = np.full(len(log.keys), -1, dtype=np.int64)
        for number, key in enumerate(log.keys):
            if found := _SEGMENT.fullmatch(key):
                rendition = (found[1], found[2])
                owner[number] = tracks.setdefault(rendition, len(tracks))
                seen.setdefault(rendition, {})[int(found[3])] = int(log.sizes[number])
        if not len(owner):
            continue
        asked = owner[log.numbers]
        days = log.times_ms // DAY_MS
        for day in np.unique(days).tolist():
            found_counts = np.bincount(asked[(days == day) & (asked >= 0)], minlength=len(tracks))
            into = counts.setdefault(day, {})
            for place in np.flatnonzero(found_counts).tolist():
                into[place] = into.get(place, 0) + int(found_counts[place])
    if not tracks:
        raise ConfigError("no request of these logs is for a segment, such as film/avc-…/7.m4s")
    history = []
    for day in range(min(counts), max(counts) + 1):
        row = np.zeros(len(tracks))
        for number, views in counts.get(day, {}).items():
            row[number] = views
        history.append(row)
    stored = {rendition: Stored(sum(sizes.values()), max(sizes)) for rendition, sizes in seen.items()}
    return tuple(tracks), history, stored


def plan(
    scenario: Scenario,
    tracks: Sequence[Rendition],
    history: Sequence[Array],
    stored: Mapping[Rendition, Stored],
    expected: Mapping[str, float],
) -> tuple[FillPlan, ...]:
    """Decide what each edge of a scenario's providers holds tomorrow.

    Args:
        scenario: Edges, disks and windows.
        tracks: The tracks that were asked for.
        history: Segments by day and track, the oldest day first.
        stored: Size of each track, those of titles that come out included.
        expected: Whole views that titles which come out are expected to get tomorrow; spread over their tracks in the
            mix of the last day.

    Raises:
        ConfigError: An expected title has no track in the store.
    """
    names = [*tracks, *(rendition for rendition in stored if rendition not in set(tracks))]
    days = [np.pad(day, (0, len(names) - len(tracks))) for day in history]
    views = forecasting.ewma(days, scenario.edge.fill.alpha)
    for title, whole in expected.items():
        own = [number for number, (of, _) in enumerate(names) if of == title]
        if not own:
            raise ConfigError(f"--expect {title}: the title has no track in the store or the logs; publish it first")
        shares = _mix(names, own, days[-1])
        for number, share in zip(own, shares, strict=True):
            views[number] += whole * stored[names[number]].segments * share
    found: list[FillPlan] = []
    for isp in scenario.isps:
        edge = scenario.edge_of(isp)
        edges = [f"{isp.name}/{number}" for number in range(1, isp.edges + 1)]
        order = np.array([[edges.index(each) for each in topology.rendezvous(title, edges)] for title, _ in names])
        sizes = np.array([[float(stored[rendition].bytes)] for rendition in names])
        segments = np.array([stored[rendition].segments for rendition in names])
        hours = np.array(scenario.viewers.hours, dtype=np.float64)
        own_views = views * isp.share
        shared = placement.replicas(
            own_views * sizes[:, 0] / segments,
            order,
            edge.gbps * 1e9 / 8,
            float(hours.max() / hours.sum()),
            isp.replicas_of_top,
        )
        budget = int(size_bytes(edge.disk) * edge.pinned)
        held = np.zeros((isp.edges, len(names), 1), dtype=bool)
        placed = placement.place(own_views[:, None], sizes, segments, order, shared, held, budget)
        for number, name in enumerate(edges):
            wanted = np.flatnonzero(placed.planned[number, :, 0])
            wanted = wanted[np.argsort(-placed.worth[wanted, 0], kind="stable")]
            items = tuple(
                FillItem(
                    *names[each],
                    stored[names[each]].bytes,
                    round(float(placed.worth[each, 0]), 3),
                    edges[next(e for e in order[each] if placed.planned[e, each, 0])],
                )
                for each in wanted
            )
            room = window_bytes(edge.fill.mbps, edge.fill.hours)
            late = max(0, round(sum(item.bytes for item in items) - room))
            found.append(FillPlan(name, edge.fill.starts, edge.fill.hours, edge.fill.mbps, budget, items, late))
    return tuple(found)


def _mix(names: Sequence[Rendition], own: Sequence[int], yesterday: Array) -> list[float]:
    """Shares of a title's tracks: as tracks of the same name, digest left out, were watched yesterday; else evenly."""

    def kind(track: str) -> str:
        return track.rpartition("-")[0] or track

    watched: dict[str, float] = {}
    for (_, track), count in zip(names, yesterday, strict=True):
        watched[kind(track)] = watched.get(kind(track), 0.0) + float(count)
    shares = [watched.get(kind(names[number][1]), 0.0) for number in own]
    total = sum(shares)
    return [share / total for share in shares] if total else [1 / len(own)] * len(own)
