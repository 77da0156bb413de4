"""The arrays that the engine advances, and the lengths of its rings."""

from typing import NamedTuple

import numpy as np

from cdn_sim.compiling import Array

TICK_MS = 100
TICKS_PER_SECOND = 1000 // TICK_MS
WHEEL = 1 << 14
"""Ticks on the timer wheel: 27 minutes. Later events are put on it again."""
RATE_STEP_MS = 2_000.0
"""How long one factor of an access link's rate applies; see `cdn_sim.networks.factors`."""
SLOTS = 256
"""Seconds ahead for which link capacity can be reserved."""
FLOW_TICKS = 1 << 10
"""Maximum length of a flow in ticks; longer flows are cut to it when fair shares are computed."""
CLASSES = 16
"""Rate classes of flows, one per power of two, for computing fair shares."""
BIN_MS = 300_000
"""Length of a traffic bin: five minutes, as in transit billing."""
NEVER = np.iinfo(np.int32).max
"""Arrival time of objects that are not planned."""

BUCKET, ARRIVAL, ACTIVE, PEAK, RECORDED, RETRIES = range(6)
"""Cursor: next tick, next session to arrive, active sessions, their peak, recorded requests, draws for failures."""
WAITING, STARTING, PLAYING, OVER = range(4)
"""States of a session."""


class Now(NamedTuple):
    """The current time.

    Attributes:
        ms: Time.
        tick: Tick of that time.
        hour: Hour that outcomes are counted in.
    """

    ms: float
    tick: int
    hour: int


class ObjectRequest(NamedTuple):
    """A viewer's request for an object.

    Attributes:
        edge: The edge; -1 if the shield serves the viewer because no edge is up.
        diverted: Whether the edge is none of those that hold the title.
        title: The object's title.
        rendition: Its rendition.
        number: The object.
        draw: The session's random number.
        rtt_ms: Round trip between viewer and edge.
    """

    edge: int
    diverted: bool
    title: int
    rendition: int
    number: int
    draw: int
    rtt_ms: float


class Download(NamedTuple):
    """A segment's picture and sound, as the player received them.

    Attributes:
        quality: Quality of the picture.
        size: Bytes of the picture.
        latency_ms: Time to the first byte of the picture.
        transfer_ms: Time from the first to the last byte of the picture.
        finish_ms: When all of the segment had arrived.
    """

    quality: int
    size: float
    latency_ms: float
    transfer_ms: float
    finish_ms: float


class Titles(NamedTuple):
    """Titles and their objects.

    Attributes:
        sizes: Bytes of each object.
        segments: Segments of each title.
        rates: Bitrates in kbit/s by device and quality.
        utilities: Utilities of these bitrates.
        counts: Number of rungs by device.
        firsts: Rendition number of the first rung, by device.
        segment_ms: Length of a segment.
        sound: Rendition number of sound, or -1 if there is none.
    """

    sizes: Array
    segments: Array
    rates: Array
    utilities: Array
    counts: Array
    firsts: Array
    segment_ms: float
    sound: int


class Viewers(NamedTuple):
    """Sessions and their state, as columns ordered by start.

    Attributes:
        start_ms: Start of the session.
        title: Title.
        base: First object of the title's version that the session plays.
        segment: Next segment.
        left: Segments left to play.
        device: Device, which determines the switching set.
        rule: ABR rule of the player.
        most_ms: Maximum buffer of the player.
        kbps: Access rate before variation.
        rtt_ms: Round trip to the edge.
        access: Access class, which is the row of `Links.factors`.
        offset: Start position in that row.
        draw: The session's random number, the source of all its randomness.
        state: One of `WAITING`, `STARTING`, `PLAYING` and `OVER`.
        player: State of the ABR rule.
        buffer_ms: Buffer level.
        due_ms: Time of the next event.
        link: Next session in the same slot of the wheel.
        pending: Quality chosen but not yet requested, or -1.
        edge: Current edge, or -1.
        steer_ms: When the player steers again.
        retries: Consecutive failed requests.
        last: Quality of the last segment, or -1.
    """

    start_ms: Array
    title: Array
    base: Array
    segment: Array
    left: Array
    device: Array
    rule: Array
    most_ms: Array
    kbps: Array
    rtt_ms: Array
    access: Array
    offset: Array
    draw: Array
    state: Array
    player: Array
    buffer_ms: Array
    due_ms: Array
    link: Array
    pending: Array
    edge: Array
    steer_ms: Array
    retries: Array
    last: Array


class Caches(NamedTuple):
    """State of the caches: the edges, then the shield.

    Attributes:
        policy: Policy number of each cache.
        room: Bytes of each cache's reactive part.
        largest: Maximum object size that each cache stores.
        up: Whether each cache is up.
        nodes: Rows of each cache's objects; the spare column is the object's arrival time in ms.
        totals: Totals of each cache.
        heap: As in `cdn_sim.kernels.state.State`.
        worth: As in `cdn_sim.kernels.state.State`.
        clocks: As in `cdn_sim.kernels.state.State`.
        planned_ms: Arrival time of planned renditions, by edge, title and rendition; `NEVER` if not planned.
        order: Ranked edges of each title.
        replicas: Number of first edges that share each title's viewers.
    """

    policy: Array
    room: Array
    largest: Array
    up: Array
    nodes: Array
    totals: Array
    heap: Array
    worth: Array
    clocks: Array
    planned_ms: Array
    order: Array
    replicas: Array


class Links(NamedTuple):
    """State of the links: edges to viewers, then transit (shield to edges), then origin to shield.

    Attributes:
        capacity: Bytes per ms.
        free: Capacity without fill in the current tick.
        load: Reserved share of each edge's link in the current second.
        rtt_ms: Round trip of each link.
        fill: Bytes per ms of proactive fill, by link and bin.
        carried: Reserved bytes by link and second, as a ring.
        active: Number of flows by link and class.
        wanted: Sum of these flows' maximum rates, by link and class.
        ending: Number of flows that end, by link, tick (a ring) and class.
        ending_wanted: Sum of their maximum rates.
        share: Fair share by link, in bytes per ms.
        factors: Factors of access rates, by class and step of `RATE_STEP_MS`.
    """

    capacity: Array
    free: Array
    load: Array
    rtt_ms: Array
    fill: Array
    carried: Array
    active: Array
    wanted: Array
    ending: Array
    ending_wanted: Array
    share: Array
    factors: Array


class Counts(NamedTuple):
    """Counters.

    Attributes:
        requests: Requests by cache, decision and hour.
        sent: Bytes sent by cache, decision and hour.
        traffic: Bytes by link and bin of five minutes, without fill.
        experience: Viewers' experience by hour; see `cdn_sim.outcomes.EXPERIENCE`.
        views: Segments sent by title and rendition since the last reset.
        tail: Bytes by link that did not fit within `SLOTS` seconds.
        away: Bytes sent from the shield directly to viewers because no edge was up.
        recorded: Object and hit of the first requests at edge 0, as far as there are rows.
    """

    requests: Array
    sent: Array
    traffic: Array
    experience: Array
    views: Array
    tail: Array
    away: Array
    recorded: Array


class Rules(NamedTuple):
    """Parameters, which events may change between calls of `cdn_sim.engine.loop.advance`.

    Attributes:
        seeks_per_ms: Rate of seeks of a viewer.
        fetch_rate: Maximum rate of one fetch by an edge, in bytes per ms.
        origin_extra_ms: Extra latency of the origin.
        origin_fails: Share of the origin's responses that are errors.
        steer_every_ms: Time between steering decisions of a viewer.
    """

    seeks_per_ms: float
    fetch_rate: float
    origin_extra_ms: float
    origin_fails: float
    steer_every_ms: float
