"""Makes fill plans for live edges: which tracks each edge should store tomorrow, from logs of past requests."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cdn_sim import forecasting, placement, topology
from cdn_sim.compiling import Array
from cdn_sim.filling import window_bytes
from cdn_sim.model import Isp, Scenario
from cdn_sim.plans import FillItem, FillPlan
from cdn_sim.request_logs.reading import Requests
from cdn_sim.scenario import size_bytes
from headend.core.errors import ConfigError

DAY_MS = 86_400_000
MAX_DAYS = 400
"""Requests that are further from the others are left out: their times are wrong, or they no longer matter."""
_SEGMENT = re.compile(
    r"/?(?:titles/)?([a-z0-9-]{1,64})/(?:tracks/)?([A-Za-z0-9][A-Za-z0-9.-]{0,255})/([1-9][0-9]{0,6})\.(?:m4s|vtt)"
)
"""Path of a segment in decision logs, access logs and stores."""

TrackKey = tuple[str, str]
"""A title's slug, and the id of one of its tracks."""


@dataclass(frozen=True, slots=True)
class TrackSize:
    """Size of a track.

    Attributes:
        bytes: Bytes of all its objects.
        segments: Number of segments.
    """

    bytes: int
    segments: int


def views_by_day(logs: Iterable[Requests]) -> tuple[tuple[TrackKey, ...], list[Array], dict[TrackKey, TrackSize]]:
    """Count requested segments by track and day.

    Args:
        logs: Decision logs or access logs; times are local to the site.

    Returns:
        The tracks; for each day, the oldest first, the number of requests for segments of each track; and the size of
        each track, of which only the segments in the logs are known.

    Raises:
        ConfigError: No request is for a segment of a track.
    """
    tracks: dict[TrackKey, int] = {}
    counts: dict[int, dict[int, int]] = {}
    segment_sizes: dict[TrackKey, dict[int, int]] = {}
    for log in logs:
        track_of = np.full(len(log.keys), -1, dtype=np.int64)
        for number, key in enumerate(log.keys):
            if found := _SEGMENT.fullmatch(key):
                track_key = (found[1], found[2])
                track_of[number] = tracks.setdefault(track_key, len(tracks))
                segment_sizes.setdefault(track_key, {})[int(found[3])] = int(log.sizes[number])
        if not len(track_of):
            continue
        requested = track_of[log.numbers]
        of_segments = requested >= 0
        if not of_segments.any():
            continue
        requested, days = requested[of_segments], log.times_ms[of_segments] // DAY_MS
        # A clock that was not set yet must not lead to a history of decades.
        middle = len(days) // 2
        near = np.abs(days - np.partition(days, middle)[middle]) <= MAX_DAYS
        pairs, views = np.unique(days[near] * len(tracks) + requested[near], return_counts=True)
        for pair, count in zip(pairs.tolist(), views.tolist(), strict=True):
            day, track = divmod(pair, len(tracks))
            day_counts = counts.setdefault(day, {})
            day_counts[track] = day_counts.get(track, 0) + count
    if not tracks:
        raise ConfigError("these logs have no request for a segment, such as film/avc-…/7.m4s")
    history = []
    last = max(counts)
    for day in range(max(min(counts), last - MAX_DAYS), last + 1):
        row = np.zeros(len(tracks))
        for number, count in counts.get(day, {}).items():
            row[number] = count
        history.append(row)
    track_sizes = {key: TrackSize(sum(sizes.values()), max(sizes)) for key, sizes in segment_sizes.items()}
    return tuple(tracks), history, track_sizes


def plan(
    scenario: Scenario,
    tracks: Sequence[TrackKey],
    history: Sequence[Array],
    track_sizes: Mapping[TrackKey, TrackSize],
    expected: Mapping[str, float],
) -> tuple[FillPlan, ...]:
    """Make the fill plan of each edge of a scenario's providers.

    Args:
        scenario: Edges, disks and fill windows.
        tracks: The requested tracks.
        history: Number of requests for segments by day and track, oldest day first.
        track_sizes: Size of each track, including tracks of new titles.
        expected: For new titles: expected number of full views tomorrow, split over their tracks in the last day's mix.

    Raises:
        ConfigError: An expected title has no track in the store.
    """
    keys = list(dict.fromkeys((*tracks, *track_sizes)))
    days = [np.pad(day, (0, len(keys) - len(tracks))) for day in history]
    views = forecasting.ewma(days, scenario.edge.fill.alpha)
    for title, full_views in expected.items():
        numbers = [number for number, (track_title, _) in enumerate(keys) if track_title == title]
        if not numbers:
            raise ConfigError(f"--expect {title}: the title has no track in the store or the logs; publish it first")
        for number, share in zip(numbers, _mix(keys, numbers, days[-1]), strict=True):
            views[number] += full_views * track_sizes[keys[number]].segments * share
    sizes = [track_sizes[key] for key in keys]
    return tuple(
        fill_plan
        for isp in scenario.isps
        for fill_plan in _plans_of_site(scenario, isp, keys, sizes, views * isp.share)
    )


def _plans_of_site(
    scenario: Scenario, isp: Isp, keys: Sequence[TrackKey], track_sizes: Sequence[TrackSize], views: Array
) -> Iterator[FillPlan]:
    """Make the fill plan of each edge of a provider.

    Args:
        scenario: Edges, disks and fill windows.
        isp: The provider.
        keys: All tracks.
        track_sizes: Size of each track.
        views: Forecast requests for segments of each track at the provider.
    """
    edge = scenario.edge_of(isp)
    edges = [f"{isp.name}/{number}" for number in range(1, isp.edges + 1)]
    order = np.array([[edges.index(name) for name in topology.rendezvous(title, edges)] for title, _ in keys])
    sizes = np.array([[float(size.bytes)] for size in track_sizes])
    segments = np.array([size.segments for size in track_sizes])
    hours = np.array(scenario.viewers.hours, dtype=np.float64)
    replicas = placement.replicas(
        views * sizes[:, 0] / segments,
        order,
        edge.gbps * 1e9 / 8,
        float(hours.max() / hours.sum()),
        isp.replicas_of_top,
    )
    budget_bytes = int(size_bytes(edge.disk) * edge.pinned)
    held = np.zeros((isp.edges, len(keys), 1), dtype=bool)
    placed = placement.place(views[:, None], sizes, segments, order, replicas, held, budget_bytes)
    for edge_number, name in enumerate(edges):
        chosen = np.flatnonzero(placed.planned[edge_number, :, 0])
        chosen = chosen[np.argsort(-placed.worth[chosen, 0], kind="stable")]
        items = tuple(
            FillItem(
                *keys[number],
                track_sizes[number].bytes,
                round(float(placed.worth[number, 0]), 3),
                edges[next(puller for puller in order[number] if placed.planned[puller, number, 0])],
            )
            for number in chosen.tolist()
        )
        late_bytes = max(0, round(sum(item.bytes for item in items) - window_bytes(edge.fill.mbps, edge.fill.hours)))
        yield FillPlan(name, edge.fill.starts, edge.fill.hours, edge.fill.mbps, budget_bytes, items, late_bytes)


def _mix(keys: Sequence[TrackKey], numbers: Sequence[int], yesterday: Array) -> list[float]:
    """Shares of a title's tracks in its views.

    They are yesterday's shares, over all titles, of the tracks with the same id except for the digest at its end. If
    there were none, the shares are equal.

    Args:
        keys: All tracks.
        numbers: The title's tracks, as positions in ``keys``.
        yesterday: Requests for each track.
    """

    def without_digest(track: str) -> str:
        return track.rpartition("-")[0] or track

    views: dict[str, float] = {}
    for (_, track), count in zip(keys, yesterday, strict=True):
        views[without_digest(track)] = views.get(without_digest(track), 0.0) + float(count)
    shares = [views.get(without_digest(keys[number][1]), 0.0) for number in numbers]
    total = sum(shares)
    return [share / total for share in shares] if total else [1 / len(numbers)] * len(numbers)
