"""Content steering manifests: the edges that a viewer's player may use, in order of preference.

Pure functions from the viewer and the state of the edges to the manifest that HLS and DASH players read. The order
comes from `cdn_sim.steering.rank`, as in a simulation.

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
"""Id of the pathway in a title's manifests. It stands for the server that sent the manifest."""
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}/[a-z0-9][a-z0-9-]{0,39}")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class SteeredEdge:
    """An edge that players can be sent to.

    Attributes:
        name: Provider and number, such as ``north/1``.
        url: Base URL, without a path.
    """

    name: str
    url: str

    @property
    def isp(self) -> str:
        """Name of the edge's provider."""
        return self.name.partition("/")[0]

    @property
    def pathway(self) -> str:
        """Pathway id of the edge."""
        return self.name.replace("/", ".")

    @property
    def scheme_and_port(self) -> tuple[str, int]:
        """Scheme and port. Players keep those of the manifest's address, so they must be the same for all edges."""
        parts = urlsplit(self.url)
        return parts.scheme, parts.port or _PORTS[parts.scheme]


@dataclass(frozen=True, slots=True)
class Health:
    """State of an edge.

    Attributes:
        is_up: Whether it takes requests.
        load: Its load, as a share of its rate; from 0.
    """

    is_up: bool = True
    load: float = 0.0


@dataclass(frozen=True, slots=True)
class SteeringMap:
    """The edges that steering chooses from, and the networks of their providers.

    Attributes:
        edges: All edges.
        networks: Pairs of a provider and a network of its viewers. Providers without networks serve all other viewers.
        replicas: Number of edges of a provider that store a title and share its viewers.
        ttl_s: How long a player uses a steering manifest before it requests the next one.
    """

    edges: tuple[SteeredEdge, ...]
    networks: tuple[tuple[str, Network], ...] = ()
    replicas: int = 1
    ttl_s: int = 10

    def isp_of(self, address: Address | None) -> str | None:
        """The provider of an address, by the longest matching prefix; None if no network matches."""
        matches = [
            (network.prefixlen, isp)
            for isp, network in self.networks
            if address is not None and address.version == network.version and address in network
        ]
        return max(matches)[1] if matches else None

    def near(self, address: Address | None) -> tuple[SteeredEdge, ...]:
        """The edges of a viewer's provider; if no network matches, the edges of providers without networks."""
        isp = self.isp_of(address)
        if isp is not None:
            return tuple(edge for edge in self.edges if edge.isp == isp)
        with_networks = {name for name, _ in self.networks}
        return tuple(edge for edge in self.edges if edge.isp not in with_networks)


def parse_edge(text: str) -> SteeredEdge:
    """Parse ``PROVIDER/NAME=URL``.

    Raises:
        ConfigError: The text is malformed, or the URL has a path, which players could not use: they replace only the
            host.
    """
    name, _, url = text.partition("=")
    parts = urlsplit(url)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{text!r} does not begin with PROVIDER/NAME=, such as north/1=; use a-z, 0-9 and '-'")
    try:
        is_address = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 0) >= 0
    except ValueError:
        is_address = False
    if not is_address or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ConfigError(f"{name}: {url!r} is not the address of an edge, such as http://edge-1.example:8081")
    return SteeredEdge(name, f"{parts.scheme}://{parts.netloc.lower()}")


def check(edges: Sequence[SteeredEdge]) -> None:
    """Check that steering can use these edges together.

    Raises:
        ConfigError: Two have the same name or address, or they differ in scheme or port.
    """
    for attribute in ("name", "url"):
        values = [getattr(edge, attribute) for edge in edges]
        if duplicate := next((value for value in values if values.count(value) > 1), None):
            raise ConfigError(f"{duplicate} is given twice; give each edge its own name and address")
    if len({edge.scheme_and_port for edge in edges}) > 1:
        raise ConfigError(
            "the edges differ in scheme or port; players replace only the host, so give all edges and the origin "
            "the same scheme and port"
        )


def order(
    steering_map: SteeringMap,
    health: Mapping[str, Health],
    *,
    address: Address | None,
    title: str,
    draw: int,
    current: str | None = None,
) -> tuple[SteeredEdge, ...]:
    """Rank the edges that are up: first those of the viewer's provider, then all others.

    Args:
        steering_map: The edges.
        health: State of the edges by name; an edge without a state counts as up and idle.
        address: The viewer's address, if known.
        title: The title's slug.
        draw: The viewer's random number, not negative.
        current: Pathway id of the viewer's current edge; None if unknown.
    """
    near = steering_map.near(address)
    far = tuple(edge for edge in steering_map.edges if edge not in near)
    return (
        *_ranked(steering_map, near, health, title, draw, current),
        *_ranked(steering_map, far, health, title, draw, None),
    )


def _ranked(
    steering_map: SteeringMap,
    edges: Sequence[SteeredEdge],
    health: Mapping[str, Health],
    title: str,
    draw: int,
    current: str | None,
) -> tuple[SteeredEdge, ...]:
    if not edges:
        return ()
    names = [edge.name for edge in edges]
    states = [health.get(name, Health()) for name in names]
    pathways = [edge.pathway for edge in edges]
    ranked = rank(
        [names.index(name) for name in rendezvous(title, names)],
        replicas=min(steering_map.replicas, len(edges)),
        draw=draw,
        up=[state.is_up for state in states],
        load=[state.load for state in states],
        current=pathways.index(current) if current in pathways else None,
    )
    return tuple(edges[number] for number in ranked)


def manifest(
    steering_map: SteeringMap, ordered: Sequence[SteeredEdge], reload_uri: str, *, keeps_port: bool
) -> dict[str, object]:
    """The steering manifest.

    The title's manifests have one pathway, `HERE`. The steering manifest declares each edge as a clone of it with
    another host, so that the title's manifests need not list the edges. `HERE` comes last: if all edges fail, a player
    returns to the server that sent its manifest.

    Args:
        steering_map: The edges.
        ordered: Edges that the player may use, best first.
        reload_uri: Address of the next steering manifest.
        keeps_port: Whether the player keeps the port of the manifest's address, as the HLS draft requires. dash.js
            drops it, so its hosts include the port.
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
        "TTL": steering_map.ttl_s,
        "RELOAD-URI": reload_uri,
        "PATHWAY-PRIORITY": [*(edge.pathway for edge in ordered), HERE],
        **({"PATHWAY-CLONES": clones} if clones else {}),
    }
