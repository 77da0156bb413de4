"""Fill plans as documents: what one edge is to hold. Without numpy, since live edges read them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FillItem:
    """One track that an edge is to hold.

    Attributes:
        title: The title's slug.
        track: The track's id; all its objects lie below ``titles/{title}/tracks/{track}/``.
        bytes: How large it is.
        worth: Forecast requests per segment tomorrow.
        pulled_by: The edge of the same site that pulls it from above; the others copy it from that one.
    """

    title: str
    track: str
    bytes: int
    worth: float
    pulled_by: str


@dataclass(frozen=True, slots=True)
class FillPlan:
    """What one edge is to hold, the most wanted first.

    Attributes:
        edge: Its name, such as ``north/1``.
        starts: Local time at which the window opens, ``HH:MM``.
        hours: How long it stays open.
        mbps: What the edge may take in.
        budget_bytes: Size of the planned part.
        items: What it is to hold, in the order in which it is pulled.
        late_bytes: What of it can't arrive in one window if nothing is there yet.
    """

    edge: str
    starts: str
    hours: float
    mbps: float
    budget_bytes: int
    items: tuple[FillItem, ...]
    late_bytes: int
