"""Content steering: which edges a viewer's player may use, in which order, as one small document.

Pure: from who asks and what is known of the edges to the document that HLS and DASH players read. The order comes from
`cdn_sim.steering.rank`, as in a simulation.

Sources: draft-pantos-hls-rfc8216bis, section 7 (steering manifest); ETSI TS 103 998 (the same document for DASH).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

from cdn_sim.steering import rank
from cdn_sim.topology import rendezvous
from headend.core.errors import ConfigError

HERE = "."
"""The pathway that manifests name: the server that the manifest came from."""
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}/[a-z0-9][a-z0-9-]{0,39}")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class SteeredEdge:
    """An edge that players can be sent to.

    Attributes:
        name: Provider and number, such as ``north/1``.
        url: Its base URL, without a path.
    """

    name: str
    url: str

    @property
    def isp(self) -> str:
        """The provider that it belongs to."""
        return self.name.partition("/")[0]

    @property
    def pathway(self) -> str:
        """Its name as players know it."""
        return self.name.replace("/", ".")

    @property
    def server(self) -> tuple[str, int]:
        """Scheme and port, which players take over from the manifest's address."""
        found = urlsplit(self.url)
        return found.scheme, found.port or _PORTS[found.scheme]


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of an edge.

    Attributes:
        is_up: Whether it takes requests.
        load: Share of its rate that is taken, from 0.
    """

    is_up: bool = True
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Where edges are, and who belongs to them.

    Attributes:
        edges: All of them.
        networks: Addresses of each provider's viewers; providers that are not named take everyone.
        replicas: How many edges of a provider share the viewers of one title.
        ttl_s: How long a player goes by one answer.
    """

    edges: tuple[SteeredEdge, ...]
    networks: tuple[tuple[str, Network], ...] = ()
    replicas: int = 1
    ttl_s: int = 10

    def isp_of(self, address: Address | None) -> str | None:
        """The provider that an address belongs to, by its longest prefix; None if none claims it."""
        claims = [
            (network.prefixlen, isp)
            for isp, network in self.networks
            if address is not None and address.version == network.version and address in network
        ]
        return max(claims)[1] if claims else None

    def near(self, address: Address | None) -> tuple[SteeredEdge, ...]:
        """The edges of a viewer's provider; those of providers without networks if none claims the address."""
        isp = self.isp_of(address)
        claimed = {name for name, _ in self.networks}
        if isp is not None:
            return tuple(edge for edge in self.edges if edge.isp == isp)
        return tuple(edge for edge in self.edges if edge.isp not in claimed)


def steered_edge(text: str) -> SteeredEdge:
    """Read ``PROVIDER/NAME=URL``.

    Raises:
        ConfigError: It is something else. An address with a path is refused, since players replace only the host.
    """
    name, _, url = text.partition("=")
    found = urlsplit(url)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{text!r} does not begin with PROVIDER/NAME=, such as north/1=; use a-z, 0-9 and '-'")
    try:
        is_address = found.scheme in ("http", "https") and found.hostname and (found.port or 0) >= 0
    except ValueError:
        is_address = False
    if not is_address or found.path.strip("/") or found.query or found.fragment or "@" in found.netloc:
        raise ConfigError(f"{name}: {url!r} is not the address of an edge, such as http://edge-1.example:8081")
    return SteeredEdge(name, f"{found.scheme}://{found.netloc.lower()}")


def check(edges: Sequence[SteeredEdge]) -> None:
    """Refuse edges that players can't be sent to.

    Raises:
        ConfigError: Two have the same name or address, or they differ in scheme or port.
    """
    for what in ("name", "url"):
        named = [getattr(edge, what) for edge in edges]
        if twice := next((each for each in named if named.count(each) > 1), None):
            raise ConfigError(f"{twice} is there twice")
    if len({edge.server for edge in edges}) > 1:
        raise ConfigError(
            "the edges differ in scheme or port; players replace only the host, so give all of them, and the origin, "
            "the same ones"
        )


def order(
    plan: Plan,
    health: Mapping[str, Health],
    *,
    address: Address | None,
    title: str,
    draw: int,
    current: str | None = None,
) -> tuple[SteeredEdge, ...]:
    """Edges that work, the best one first: those of the viewer's provider, then all others.

    Args:
        plan: The edges.
        health: By name; an edge that is not there is up and idle.
        address: The viewer's, if it is known.
        title: What is watched.
        draw: A number of the viewer's own, not negative.
        current: Pathway of the edge that is used now; None if that is not known.
    """
    near = plan.near(address)
    far = tuple(edge for edge in plan.edges if edge not in near)
    return (
        *_ranked(plan, near, health, title, draw, current),
        *_ranked(plan, far, health, title, draw, None),
    )


def _ranked(
    plan: Plan,
    edges: Sequence[SteeredEdge],
    health: Mapping[str, Health],
    title: str,
    draw: int,
    current: str | None,
) -> tuple[SteeredEdge, ...]:
    if not edges:
        return ()
    names = [edge.name for edge in edges]
    found = [health.get(name, Health()) for name in names]
    pathways = [edge.pathway for edge in edges]
    ranked = rank(
        [names.index(name) for name in rendezvous(title, names)],
        replicas=min(plan.replicas, len(edges)),
        draw=draw,
        up=[each.is_up for each in found],
        load=[each.load for each in found],
        current=pathways.index(current) if current in pathways else None,
    )
    return tuple(edges[number] for number in ranked)


def manifest(plan: Plan, ordered: Sequence[SteeredEdge], reload_uri: str, *, keeps_port: bool) -> dict[str, object]:
    """The document that players read.

    Every edge is a clone of the pathway that manifests name, under another host, so no manifest has to list hosts. That
    pathway itself comes last: a player whose edges have all failed goes back to the server that its manifest came from.

    Args:
        plan: The edges.
        ordered: Those that the player may use, the best one first.
        reload_uri: Where it asks next time.
        keeps_port: Whether the player keeps the port of the manifest's address, as the draft of HLS says. dash.js drops
            it, so it gets the port with the host.
    """
    hosts = [urlsplit(edge.url).netloc for edge in ordered]
    if keeps_port:
        hosts = [re.sub(r":[0-9]+$", "", host) for host in hosts]
    clones = [
        {"BASE-ID": HERE, "ID": edge.pathway, "URI-REPLACEMENT": {"HOST": host}}
        for edge, host in zip(ordered, hosts, strict=True)
    ]
    return {
        "VERSION": 1,
        "TTL": plan.ttl_s,
        "RELOAD-URI": reload_uri,
        "PATHWAY-PRIORITY": [*(edge.pathway for edge in ordered), HERE],
        **({"PATHWAY-CLONES": clones} if clones else {}),
    }
