"""Records of a scenario: catalogue, viewers, networks, caches, events and alternatives.

Their fields are the keys of a scenario file, which `cdn_sim.scenario` reads and checks.
"""

from typing import Literal

import msgspec

Codec = Literal["avc", "hevc", "av1", "vp9"]
PolicyName = Literal["slru", "lru", "fifo", "sieve", "s3fifo", "gdsf", "lfuda"]
AdmissionName = Literal["all", "size", "planned only"]
ForecastName = Literal["ewma", "ewma and releases", "oracle"]
RuleName = Literal["fixed", "throughput", "bola", "bola-e", "dynamic", "robust-mpc"]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record that refuses unknown keys."""


class Days(Record, frozen=True):
    """Length of a run.

    Attributes:
        counted: Days that the report counts, at least 1.
        warm_up: Days before them that are not counted, so that caches can fill.
    """

    counted: int = 1
    warm_up: int = 0

    @property
    def all(self) -> int:
        """Number of simulated days."""
        return self.counted + self.warm_up


class Catalogue(Record, frozen=True):
    """The catalogue of titles.

    Attributes:
        titles: Number of initial titles.
        minutes: Length of the shortest and longest title; lengths are uniformly distributed. Not used with ``store``.
        segment_s: Length of a segment in seconds. Not used with ``store``.
        ladder: Name of a synthetic ladder. Not used with ``store``.
        sound_kbps: Bitrate of the sound; 0 for no sound.
        store: Store whose releases provide segment sizes; empty for synthetic sizes.
    """

    titles: int = 200
    minutes: tuple[float, float] = (22.0, 110.0)
    segment_s: float = 6.0
    ladder: str = "web"
    sound_kbps: float = 128.0
    store: str = ""


class Popularity(Record, frozen=True):
    """Distribution of views over titles, and its change over time.

    A title's weight is Zipf-Mandelbrot by rank, times a decay with age, times noise.

    Attributes:
        exponent: Exponent of the rank.
        shift: Number added to the rank.
        half_life_days: Half-life of a new title's extra popularity.
        floor: Share of its weight that an old title keeps, 0 to 1.
        noise: Standard deviation of the logarithm of the noise, which is drawn for each title and day.
        regional: Standard deviation of the logarithm of a constant factor, which is drawn for each title and provider.
        releases_per_day: New titles per day.
        republished_per_day: Titles that are re-encoded per day, so that all their objects are new.
    """

    exponent: float = 0.9
    shift: float = 10.0
    half_life_days: float = 6.0
    floor: float = 0.15
    noise: float = 0.15
    regional: float = 0.2
    releases_per_day: float = 0.0
    republished_per_day: float = 0.0


class Length(Record, frozen=True):
    """How much of a title a share of the viewers watches.

    Attributes:
        share: Share of the viewers.
        leaves_after: They leave at a random point in this first part of the title, from 0 to 1.
        leaves: Instead of ``leaves_after``: they leave at a random point, or at the end of the title.
    """

    share: float
    leaves_after: float | None = None
    leaves: Literal["anywhere", "at the end"] | None = None


class Device(Record, frozen=True):
    """A class of devices.

    Attributes:
        share: Share of the viewers.
        codec: The codec that they play.
        most_kbps: Maximum bitrate that they play; None for no limit.
    """

    share: float
    codec: Codec = "avc"
    most_kbps: float | None = None


class Player(Record, frozen=True):
    """A class of players.

    Attributes:
        share: Share of the viewers.
        rule: Their ABR rule.
        buffer_s: Maximum length of their buffer.
        quality: For the rule ``fixed``: the quality, counted from 0 for the lowest.
    """

    share: float
    rule: RuleName = "dynamic"
    buffer_s: float = 30.0
    quality: int = 0


class Access(Record, frozen=True):
    """A class of access links.

    Attributes:
        share: Share of the viewers.
        mbps: Median rate.
        spread: Standard deviation of the logarithm of the viewers' rates.
        rtt_ms: Round trip to an edge of the provider.
        varies: How a viewer's rate varies over time: ``steady``, or ``markov`` for a Markov chain of five rates.
        trace: Instead of ``varies``: CSV file with the relative rate in each two seconds, one number per line.
    """

    share: float
    mbps: float
    spread: float = 0.3
    rtt_ms: float = 15.0
    varies: Literal["steady", "markov"] = "steady"
    trace: str = ""


class Viewers(Record, frozen=True):
    """The viewers.

    Attributes:
        sessions_per_day: Number of sessions on a working day, at all providers together.
        hours: Relative number of sessions that start in each hour of the day, from midnight.
        weekend: Factor for the sessions of days 6 and 7 of each week.
        lengths: How much of a title viewers watch.
        seeks_per_hour: Mean number of seeks in an hour of viewing.
        devices: Classes of devices.
        players: Classes of players.
        access: Classes of access links.
    """

    sessions_per_day: float
    hours: tuple[float, ...] = (3, 2, 1, 1, 1, 1, 2, 3, 4, 4, 5, 5, 6, 6, 6, 6, 7, 8, 10, 13, 15, 14, 10, 6)
    weekend: float = 1.0
    lengths: tuple[Length, ...] = (
        Length(share=0.45, leaves_after=0.05),
        Length(share=0.30, leaves="anywhere"),
        Length(share=0.25, leaves="at the end"),
    )
    seeks_per_hour: float = 0.0
    devices: tuple[Device, ...] = (Device(share=1.0),)
    players: tuple[Player, ...] = (
        Player(share=0.7, rule="dynamic", buffer_s=30.0),
        Player(share=0.3, rule="throughput", buffer_s=20.0),
    )
    access: tuple[Access, ...] = (Access(share=1.0, mbps=25.0),)


class Fill(Record, frozen=True):
    """The nightly fill window.

    Attributes:
        starts: Local start time, ``HH:MM``, the same for all edges of a site.
        hours: Length of the window.
        mbps: Maximum rate of each edge.
        transit_share: Maximum share of the transit link for the fill of all edges.
        forecast: How tomorrow's views are forecast; see `cdn_sim.forecasting`.
        alpha: Weight of the last day in the EWMA.
        stays: A new rendition replaces a stored one only if it is worth more than this many times the stored one.
    """

    starts: str = msgspec.field(default="02:00", name="from")
    hours: float = 12.0
    mbps: float = 1_200.0
    transit_share: float = 0.5
    forecast: ForecastName = "ewma and releases"
    alpha: float = 0.4
    stays: float = 1.1


class Edge(Record, frozen=True):
    """Settings of edges: the defaults, or those of one provider.

    Attributes:
        disk: Size of the disk, such as ``"20T"``.
        gbps: Rate to viewers.
        policy: Eviction policy of the reactive part.
        admission: Admission rule of the reactive part.
        largest: For admission ``size``: maximum size of a stored object, such as ``"8M"``.
        pinned: Share of the disk for the planned part, 0 to 1.
        fill: The fill window.
    """

    disk: str = "1T"
    gbps: float = 40.0
    policy: PolicyName = "slru"
    admission: AdmissionName = "all"
    largest: str = "1T"
    pinned: float = 0.0
    fill: Fill = Fill()


class Shield(Record, frozen=True):
    """A cache between the edges of one provider and the origin."""

    disk: str = "4T"
    policy: PolicyName = "slru"


class Transit(Record, frozen=True):
    """The link between a provider's edges and the shield."""

    gbps: float = 100.0
    rtt_ms: float = 20.0


class Isp(Record, frozen=True):
    """An internet provider with a site of edges.

    Attributes:
        name: Name of the provider.
        share: Share of all viewers.
        edges: Number of edges.
        replicas_of_top: Maximum number of edges that store the same popular title.
        edge: Edge settings instead of the defaults; keys that are left out don't come from the scenario's ``edge``.
        shield: The shield.
        transit: The link to the shield.
    """

    name: str
    share: float = 1.0
    edges: int = 1
    replicas_of_top: int = 1
    edge: Edge | None = None
    shield: Shield = Shield()
    transit: Transit = Transit()


class OriginLink(Record, frozen=True):
    """The link between the shields and the origin, divided between providers by their shares."""

    gbps: float = 200.0
    rtt_ms: float = 80.0


class Prices(Record, frozen=True):
    """Unit prices in one currency; the defaults are examples."""

    transit_per_mbps_month: float = 0.4
    s3_get_per_1000: float = 0.0004
    s3_egress_per_gb: float = 0.05
    edge_month: float = 900.0


class Origin(Record, frozen=True):
    """The origin's link, and prices."""

    link: OriginLink = OriginLink()
    prices: Prices = Prices()


class Lost(Record, frozen=True):
    """An edge or a shield goes down for a while.

    Attributes:
        minutes: How long it is down.
        edge: The edge, ``provider/number``.
        shield: Instead of ``edge``: the provider whose shield goes down.
        returns: Whether it still has its cache afterwards: ``warm`` or ``cold``.
    """

    minutes: float
    edge: str = ""
    shield: str = ""
    returns: Literal["warm", "cold"] = "cold"


class Slow(Record, frozen=True):
    """A provider's transit loses capacity for a while.

    Attributes:
        transit: The provider.
        minutes: How long.
        keeps: Share of the capacity that remains; 0 for none.
    """

    transit: str
    minutes: float
    keeps: float = 0.0


class OriginTrouble(Record, frozen=True):
    """The origin responds late or with errors for a while.

    Attributes:
        minutes: How long.
        extra_ms: Extra latency.
        fails: Share of the requests that fail.
    """

    minutes: float
    extra_ms: float = 0.0
    fails: float = 0.0


class Premiere(Record, frozen=True):
    """A new title is released, with extra sessions.

    Attributes:
        sessions: Number of extra sessions, at all providers.
        within_minutes: They start within this time.
        planned: Whether the title's release is announced, so that fill plans include it.
    """

    sessions: float
    within_minutes: float = 10.0
    planned: bool = True


class Republish(Record, frozen=True):
    """The most popular titles are re-encoded, so that all their objects are new.

    Attributes:
        top: Number of titles.
    """

    top: int


class DiskFull(Record, frozen=True):
    """An edge stores nothing new for a while.

    Attributes:
        edge: The edge, ``provider/number``.
        minutes: How long.
    """

    edge: str
    minutes: float


class WindowMissed(Record, frozen=True):
    """A provider's edges get no fill on this day.

    Attributes:
        isp: The provider.
    """

    isp: str


class Event(Record, frozen=True):
    """An event: a time, and exactly one of the other keys.

    Attributes:
        at: Time, such as ``"day 9 20:30"``; days count from 1, including warm-up days.
    """

    at: str
    lost: Lost | None = None
    slow: Slow | None = None
    origin: OriginTrouble | None = None
    premiere: Premiere | None = None
    republish: Republish | None = None
    disk_full: DiskFull | None = None
    window_missed: WindowMissed | None = None

    @property
    def kind(self) -> str:
        """Name of the key that is set."""
        return next(name for name in EVENT_KINDS if getattr(self, name) is not None)


EVENT_KINDS = ("lost", "slow", "origin", "premiere", "republish", "disk_full", "window_missed")


class Scenario(Record, frozen=True):
    """A scenario: everything that a run depends on.

    Attributes:
        name: Name, of a-z, 0-9 and ``-``.
        summary: One sentence.
        seeds: Seeds; each is a separate run, and confidence intervals are over seeds.
        days: Length of a run.
        catalogue: The titles.
        popularity: Distribution of views over titles.
        viewers: The viewers.
        edge: Defaults of all edges.
        isps: The providers.
        origin: The origin.
        events: Failures, premieres and other events.
        alternatives: Changed values by name of the alternative, as plain data. Each alternative is simulated by itself.
    """

    name: str
    viewers: Viewers
    isps: tuple[Isp, ...]
    summary: str = ""
    seeds: tuple[int, ...] = (1,)
    days: Days = Days()
    catalogue: Catalogue = Catalogue()
    popularity: Popularity = Popularity()
    edge: Edge = Edge()
    origin: Origin = Origin()
    events: tuple[Event, ...] = ()
    alternatives: dict[str, dict[str, object]] = {}

    def edge_of(self, isp: Isp) -> Edge:
        """Settings of a provider's edges."""
        return isp.edge or self.edge
