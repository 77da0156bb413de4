"""``headend steer``: tell players which edges to use."""

import ipaddress
import re

import click

from cdn_sim.live import steering_server
from cdn_sim.live.steering_server import SteeringSettings
from cdn_sim.pathways import Network, SteeredEdge, SteeringMap, check, parse_edge
from headend.app.cli import options
from headend.app.cli.parameters import FiniteRange
from headend.app.cli.screen import console, print_json
from headend.core.errors import ConfigError


def _edges(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[SteeredEdge, ...]:
    try:
        found = tuple(map(parse_edge, values))
        check(found)
    except ConfigError as error:
        raise click.BadParameter(f"{error}.") from error
    return found


def _networks(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, Network], ...]:
    return tuple((value.partition("=")[0], _network(value.partition("=")[2])) for value in values)


def _proxies(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(_network, values))


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a network, such as 10.1.0.0/16.") from None


@click.command(
    "steer",
    epilog=options.examples(
        "headend steer --edge north/1=http://edge-1:8081 --edge north/2=http://edge-2:8081",
        "headend steer --edge north/1=https://e1.example --edge south/1=https://e2.example --network north=10.1.0.0/16",
        "headend serve --steering http://steer.example:8083",
    ),
)
@click.option(
    "--edge",
    "edges",
    multiple=True,
    required=True,
    callback=_edges,
    metavar="PROVIDER/NAME=URL",
    help="An edge, with its provider and its name; repeatable.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    callback=_networks,
    metavar="PROVIDER=CIDR",
    help="IP network of a provider's viewers; repeatable. A provider without networks gets all other viewers.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Number of a provider's edges that share the viewers of a title.",
)
@click.option(
    "--ttl",
    "ttl_s",
    type=click.IntRange(1, 3600),
    default=10,
    show_default=True,
    help="Seconds after which players ask again.",
)
@click.option(
    "--check",
    "check_s",
    type=FiniteRange(0.1, 60),
    default=steering_server.CHECK_S,
    show_default=True,
    help="Seconds between health checks of each edge.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    callback=_proxies,
    metavar="CIDR",
    help="Network of proxies in front of this server, whose X-Forwarded-For is trusted; repeatable.",
)
@options.address(steering_server.DEFAULT_HOST, steering_server.DEFAULT_PORT)
@options.common
def command(
    edges: tuple[SteeredEdge, ...],
    networks: tuple[tuple[str, Network], ...],
    replicas: int,
    ttl_s: int,
    check_s: float,
    proxies: tuple[Network, ...],
    host: str,
    port: int,
    as_json: bool,
) -> None:
    """Tell players which edges to use, by content steering.

    Players find this server in the manifests of an origin that runs with --steering, and poll it every few
    seconds. It sends each viewer to an edge of the viewer's own provider that holds the title, is healthy and
    is not overloaded; edges that don't respond, or that are about to stop, are left out. Stop it with Ctrl-C or
    SIGTERM.
    """
    known = sorted({edge.isp for edge in edges})
    for isp, _ in networks:
        if not re.fullmatch(r"[a-z0-9-]+", isp) or isp not in known:
            raise ConfigError(f"--network {isp}: no --edge belongs to this provider; there are {', '.join(known)}")
    settings = SteeringSettings(SteeringMap(edges, networks, replicas, ttl_s), proxies, check_s)

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "edges": [edge.name for edge in edges]})
        else:
            console(stderr=True).print(f"steering at {url}, until Ctrl-C; start origins with --steering {url}")

    steering_server.serve(settings, host=host, port=port, on_ready=ready)
