"""Makes fill plans for live edges: from logs of past requests to the tracks that each edge should store tomorrow."""

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
"""Path of a segment in decision logs, access logs and stores."""

Rendition = tuple[str, str]
"""A title and one of its tracks."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Size of a track in a cache.

    Attributes:
        bytes: Bytes of all its objects.
        segments: Number of segments.
    """

    bytes: int
    segments: int


def views_by_day(logs: Iterable[Requests]) -> tuple[tuple[Rendition, ...], list[Array], dict[Rendition, Stored]]:
    """Count requested segments by track and day.

    Args:
        logs: Decision logs or access logs; times are local to the site.

    Returns:
        The tracks; requested segments per track for each day, oldest first; and sizes of the tracks, counting only
        segments that appear in the logs.

    Raises:
        ConfigError: No request is for a segment of a track.
    """
    tracks: dict[Rendition, int] = {}
    counts: dict[int, dict[int, int]] = {}
    segment_sizes: dict[Rendition, dict[int, int]] = {}
    for log in logs:
        owner = np.full(len(log.keys), -1, dtype=np.int64)
        for number, key in enumerate(log.keys):
            if found := _SEGMENT.fullmatch(key):
                rendition = (found[1], found[2])
                owner[number] = tracks.setdefault(rendition, len(tracks))
                segment_sizes.setdefault(rendition, {})[int(found[3])] = int(log.sizes[number])
        if not len(owner):
            continue
        requested = owner[log.numbers]
        days = log.times_ms // DAY_MS
        for day in np.unique(days).tolist():
            log_counts = np.bincount(requested[(days == day) & (requested >= 0)], minlength=len(tracks))
            day_counts = counts.setdefault(day, {})
            for track in np.flatnonzero(log_counts).tolist():
                day_counts[track] = day_counts.get(track, 0) + int(log_counts[track])
    if not tracks:
        raise ConfigError("these logs have no request for a segment, such as film/avc-…/7.m4s")
    history = []
    for day in range(min(counts), max(counts) + 1):
        row = np.zeros(len(tracks))
        for number, views in counts.get(day, {}).items():
            row[number] = views
        history.append(row)
    stored = {rendition: Stored(sum(sizes.values()), max(sizes)) for rendition, sizes in segment_sizes.items()}
    return tuple(tracks), history, stored


def plan(
    scenario: Scenario,
    tracks: Sequence[Rendition],
    history: Sequence[Array],
    stored: Mapping[Rendition, Stored],
    expected: Mapping[str, float],
) -> tuple[FillPlan, ...]:
    """Make the fill plan of each edge of a scenario's providers.

    Args:
        scenario: Edges, disks and fill windows.
        tracks: The requested tracks.
        history: Requested segments by day and track, oldest day first.
        stored: Size of each track, including tracks of new titles.
        expected: Expected full views of new titles tomorrow, split over their tracks in the last day's mix.

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
    """Shares of a title's tracks: yesterday's shares of tracks with the same name except the digest; else equal."""

    def kind(track: str) -> str:
        return track.rpartition("-")[0] or track

    watched: dict[str, float] = {}
    for (_, track), count in zip(names, yesterday, strict=True):
        watched[kind(track)] = watched.get(kind(track), 0.0) + float(count)
    shares = [watched.get(kind(names[number][1]), 0.0) for number in own]
    total = sum(shares)
    return [share / total for share in shares] if total else [1 / len(own)] * len(own)
