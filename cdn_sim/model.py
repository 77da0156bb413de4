"""The nouns of a scenario: catalogue, viewers, networks, caches, events and what is compared.

They are what a scenario file holds, key by key; `cdn_sim.scenario` reads and checks it.
"""

from typing import Literal

import msgspec

Codec = Literal["avc", "hevc", "av1", "vp9"]
PolicyName = Literal["slru", "lru", "fifo", "sieve", "s3fifo", "gdsf", "lfuda"]
AdmissionName = Literal["all", "size", "planned only"]
ForecastName = Literal["ewma", "ewma and releases", "oracle"]
RuleName = Literal["fixed", "throughput", "bola", "bola-e", "dynamic", "robust-mpc"]


class Noun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A frozen record that refuses keys it does not know."""


class Days(Noun, frozen=True):
    """How long a run is.

    Attributes:
        counted: Days that the report is about, from 1.
        warm_up: Days before them, in which caches fill.
    """

    counted: int = 1
    warm_up: int = 0

    @property
    def all(self) -> int:
        """Days that are simulated."""
        return self.counted + self.warm_up


class Catalogue(Noun, frozen=True):
    """What can be watched.

    Attributes:
        titles: How many titles there are at the beginning.
        minutes: Shortest and longest title; lengths are spread evenly between. Not used with ``store``.
        segment_s: Length of a segment in seconds. Not used with ``store``.
        ladder: Name of a synthetic ladder. Not used with ``store``.
        sound_kbps: Bit rate of the sound; 0 for none.
        store: Where releases are whose segment sizes are dealt out to the titles; empty for synthetic sizes.
    """

    titles: int = 200
    minutes: tuple[float, float] = (22.0, 110.0)
    segment_s: float = 6.0
    ladder: str = "web"
    sound_kbps: float = 128.0
    store: str = ""


class Popularity(Noun, frozen=True):
    """How views spread over titles, and how that moves.

    A title's weight is Zipf-Mandelbrot by rank, times what its age leaves of it, times noise.

    Attributes:
        exponent: Of the rank.
        shift: Added to the rank.
        half_life_days: In which half of a release's extra interest is gone.
        floor: What an old title keeps of its weight, 0 to 1.
        noise: Standard deviation of each day's logarithm of a title's weight.
        regional: Likewise, but by provider and for good.
        releases_per_day: Titles that come out each day, on top of those at the beginning.
        republished_per_day: Titles that are encoded anew each day, so that all their objects are new.
    """

    exponent: float = 0.9
    shift: float = 10.0
    half_life_days: float = 6.0
    floor: float = 0.15
    noise: float = 0.15
    regional: float = 0.2
    releases_per_day: float = 0.0
    republished_per_day: float = 0.0


class Length(Noun, frozen=True):
    """How long a share of the viewers stays: ``leaves_after`` a part of the title, or ``leaves``."""

    share: float
    leaves_after: float | None = None
    leaves: Literal["anywhere", "at the end"] | None = None


class Device(Noun, frozen=True):
    """A share of the viewers whose device plays one codec, up to a bit rate."""

    share: float
    codec: Codec = "avc"
    most_kbps: float | None = None


class Player(Noun, frozen=True):
    """A share of the viewers whose player follows one rule. ``quality`` counts for ``fixed`` only, from 0."""

    share: float
    rule: RuleName = "dynamic"
    buffer_s: float = 30.0
    quality: int = 0


class Access(Noun, frozen=True):
    """A share of the viewers with one kind of access.

    Attributes:
        share: Of the viewers.
        mbps: Median rate.
        spread: Standard deviation of the rates' logarithm over viewers.
        rtt_ms: Round trip to an edge of the provider.
        varies: ``steady``, or ``markov`` for five states of rate that follow each other.
        trace: A CSV file with one relative rate per line and two seconds, instead; read by the command.
    """

    share: float
    mbps: float
    spread: float = 0.3
    rtt_ms: float = 15.0
    varies: Literal["steady", "markov"] = "steady"
    trace: str = ""


class Viewers(Noun, frozen=True):
    """The viewers: how many watch, when, how long, and on what."""

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


class Fill(Noun, frozen=True):
    """The nightly window.

    Attributes:
        starts: Local time at which all edges of a site begin, ``HH:MM``.
        hours: Length of the window.
        mbps: Rate per edge.
        transit_share: Share of the transit link that all fills together may take.
        forecast: How tomorrow's views are guessed.
        alpha: Weight of the last day in the EWMA.
        stays: How many times as much a newcomer must be worth as a title that is there.
    """

    starts: str = msgspec.field(default="02:00", name="from")
    hours: float = 12.0
    mbps: float = 1_200.0
    transit_share: float = 0.5
    forecast: ForecastName = "ewma and releases"
    alpha: float = 0.4
    stays: float = 1.1


class Edge(Noun, frozen=True):
    """What all edges are, unless a provider says otherwise.

    Attributes:
        disk: Size, such as ``"20T"``.
        gbps: Rate to viewers.
        policy: Eviction of the reactive part.
        admission: Which missed objects the reactive part stores.
        largest: For admission ``size``: largest object that is stored, such as ``"8M"``.
        pinned: Share of the disk that is filled by plan, 0 to 1.
        fill: The window.
    """

    disk: str = "1T"
    gbps: float = 40.0
    policy: PolicyName = "slru"
    admission: AdmissionName = "all"
    largest: str = "1T"
    pinned: float = 0.0
    fill: Fill = Fill()


class Shield(Noun, frozen=True):
    """A cache between the edges of one provider and the origin."""

    disk: str = "4T"
    policy: PolicyName = "slru"


class Transit(Noun, frozen=True):
    """The link between a provider's edges and the shield."""

    gbps: float = 100.0
    rtt_ms: float = 20.0


class Isp(Noun, frozen=True):
    """An internet provider with a site of edges.

    Attributes:
        name: What it is called.
        share: Of all viewers.
        edges: How many there are.
        replicas_of_top: Most edges that hold the same hot title.
        edge: Its edges, if they are not as all others; the whole table.
        shield: Its shield.
        transit: Its link to the shield.
    """

    name: str
    share: float = 1.0
    edges: int = 1
    replicas_of_top: int = 1
    edge: Edge | None = None
    shield: Shield = Shield()
    transit: Transit = Transit()


class OriginLink(Noun, frozen=True):
    """The link between the shields and the origin; each provider gets its share of it."""

    gbps: float = 200.0
    rtt_ms: float = 80.0


class Prices(Noun, frozen=True):
    """What things cost, in one currency; the defaults are examples."""

    transit_per_mbps_month: float = 0.4
    s3_get_per_1000: float = 0.0004
    s3_egress_per_gb: float = 0.05
    edge_month: float = 900.0


class Origin(Noun, frozen=True):
    """The origin and what is paid for."""

    link: OriginLink = OriginLink()
    prices: Prices = Prices()


class Lost(Noun, frozen=True):
    """An edge (``provider/number``) or a shield (``provider``) goes away, and returns warm or cold."""

    minutes: float
    edge: str = ""
    shield: str = ""
    returns: Literal["warm", "cold"] = "cold"


class Slow(Noun, frozen=True):
    """A provider's transit keeps a share of its capacity; 0 cuts it."""

    transit: str
    minutes: float
    keeps: float = 0.0


class OriginTrouble(Noun, frozen=True):
    """The origin answers late, or a share of its answers are errors."""

    minutes: float
    extra_ms: float = 0.0
    fails: float = 0.0


class Premiere(Noun, frozen=True):
    """Extra sessions of one title that comes out at this moment."""

    sessions: float
    within_minutes: float = 10.0
    planned: bool = True


class Republish(Noun, frozen=True):
    """The most popular titles are encoded anew, so that all their objects are new."""

    top: int


class DiskFull(Noun, frozen=True):
    """An edge (``provider/number``) stores nothing new for a while."""

    edge: str
    minutes: float


class WindowMissed(Noun, frozen=True):
    """A provider's edges get no fill on this day."""

    isp: str


class Event(Noun, frozen=True):
    """Something happens; exactly one kind.

    Attributes:
        at: When, such as ``"day 9 20:30"``; days count from 1, warm-up included.
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
        """Name of the one key that is given."""
        return next(name for name in EVENT_KINDS if getattr(self, name) is not None)


EVENT_KINDS = ("lost", "slow", "origin", "premiere", "republish", "disk_full", "window_missed")


class Scenario(Noun, frozen=True):
    """Everything that a run depends on.

    Attributes:
        name: What it is called, a-z, 0-9 and ``-``.
        summary: One sentence.
        seeds: Each one is a run of its own; intervals come from their differences.
        days: How long.
        catalogue: What can be watched.
        popularity: How views spread over titles.
        viewers: Who watches.
        edge: What edges are.
        isps: The providers.
        origin: The origin.
        events: What happens.
        alternatives: Other values of keys, by name; each is a run of its own. Kept as plain data.
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
        """What a provider's edges are."""
        return isp.edge or self.edge
