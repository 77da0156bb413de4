"""Fill plans: the tracks that an edge should store.

This module doesn't import numpy, because live edges read plans and should start fast.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FillItem:
    """One track that an edge should store.

    Attributes:
        title: The title's slug.
        track: The track's id; its objects are below ``titles/{title}/tracks/{track}/``.
        bytes: Size of the track.
        worth: Forecast for tomorrow: mean number of requests for each of its segments.
        pulled_by: Edge of the site that pulls the track from the origin; the site's other edges copy it from this one.
    """

    title: str
    track: str
    bytes: int
    worth: float
    pulled_by: str


@dataclass(frozen=True, slots=True)
class FillPlan:
    """The tracks that one edge should store.

    Attributes:
        edge: Name of the edge, such as ``north/1``.
        starts: Local time at which the fill window opens, ``HH:MM``.
        hours: Length of the window.
        mbps: Maximum rate of the edge's fill.
        budget_bytes: Size of the planned part of the disk.
        items: Tracks in the order of the fill, the most requested first.
        late_bytes: Bytes that don't arrive within one window if the disk is empty.
    """

    edge: str
    starts: str
    hours: float
    mbps: float
    budget_bytes: int
    items: tuple[FillItem, ...]
    late_bytes: int
