"""``headend edge``: a caching edge in front of an origin."""

import math
import re
from pathlib import Path

import click

from cdn_sim import policies
from cdn_sim.admission import RULES
from cdn_sim.live import serving
from headend.app.cli import options
from headend.app.cli.parameters import ByteCount, FiniteRange
from headend.app.cli.screen import console, print_json
from headend.app.cli.token_keys import find_keys, token_keys
from headend.core.errors import ConfigError


def _territory(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if value and not re.fullmatch("[A-Za-z]{2}", value):
        raise click.BadParameter(f"{value!r} is not a country code, such as DE.")
    return value.upper()


@click.command(
    "edge",
    epilog=options.examples(
        "headend edge --origin http://127.0.0.1:8080 --disk /var/cache/edge",
        "headend edge --origin http://origin:8080 --shield http://shield:8082 --disk /cache --disk-bytes 200G",
        "headend edge --tier shield --origin http://origin:8080 --disk /cache --disk-bytes 2T --port 8082",
        "headend edge --origin http://origin:8080 --disk /cache --disk-bytes 2T --fill plans/north-1.json",
        "headend edge --origin http://origin:8080 --disk /cache --decisions /var/log/edge.log --policy s3fifo",
    ),
)
@click.option("--origin", required=True, metavar="URL", help="The origin.")
@click.option(
    "--disk",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of cached objects.",
)
@click.option("--disk-bytes", type=ByteCount(), default="20G", show_default=True, help="Size of the cache.")
@click.option("--shield", metavar="URL", help="Shield to fetch from instead of the origin.")
@click.option("--peer", "peers", multiple=True, metavar="URL", help="Another edge of the cluster; repeatable.")
@click.option("--self", "itself", default="", metavar="URL", help="This edge's own address among its peers.")
@click.option(
    "--policy",
    type=click.Choice(list(policies.POLICIES)),
    default="slru",
    show_default=True,
    help="Eviction policy.",
)
@click.option(
    "--admission",
    type=click.Choice(list(RULES)),
    default="all",
    show_default=True,
    help="Admission policy.",
)
@click.option(
    "--memory", "memory_bytes", type=ByteCount(), default="32M", show_default=True, help="Memory for manifests."
)
@click.option(
    "--decisions",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Log every decision to this file; 'headend replay' reads it.",
)
@click.option(
    "--fill",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PLAN",
    help="Fetch the objects of this plan in its window and at its rate, and pin them; see 'headend fill plan'.",
)
@click.option("--name", default="", metavar="NAME", help="Name, unique among all edges. [default: host and port]")
@click.option(
    "--tier", type=click.Choice(["edge", "shield"]), default="edge", show_default=True, help="Tier in metrics."
)
@token_keys
@click.option(
    "--state-dir",
    metavar="DIR",
    help="Folder shared by edges of this machine to count screens. [default: DISK.state, beside the --disk folder]",
)
@click.option("--territory", default="", callback=_territory, metavar="CC", help="Country of this edge's viewers.")
@click.option(
    "--mbps",
    type=FiniteRange(min=0, min_open=True),
    metavar="RATE",
    help="Capacity of this edge in Mb/s: 'headend steer' sends no more viewers to a full edge.  [default: no limit]",
)
@options.address(serving.DEFAULT_HOST, serving.DEFAULT_PORT)
@options.linger
@click.option("--access-log", is_flag=True, help="Write each request to stdout as a line of JSON.")
@options.common
def command(
    origin: str,
    disk: Path,
    disk_bytes: int,
    shield: str | None,
    peers: tuple[str, ...],
    itself: str,
    policy: str,
    admission: str,
    memory_bytes: int,
    decisions: Path | None,
    fill: Path | None,
    name: str,
    tier: str,
    keys_file: str | None,
    state_dir: str | None,
    territory: str,
    mbps: float | None,
    host: str,
    port: int,
    linger_s: float,
    access_log: bool,
    as_json: bool,
) -> None:
    """Cache an origin's titles near the players that ask for them.

    The policy decides which segments stay on disk; manifests are cached in memory, by their Cache-Control. Every
    segment is checked against the digest in its track's index before its last byte is sent. With token keys,
    tokens are checked by the same rules as at the origin. The cache survives restarts. On Ctrl-C and SIGTERM,
    the edge finishes open requests and exits.
    """
    if as_json and access_log:
        raise ConfigError("--json and --access-log both write to standard output: give one of them")
    keys = find_keys(keys_file)
    state = Path(state_dir) if state_dir else disk.with_name(f"{disk.name}.state")
    if keys is not None:
        state.mkdir(parents=True, exist_ok=True)
    settings = serving.EdgeSettings(
        origin=origin,
        disk=disk,
        disk_bytes=disk_bytes,
        name=name,
        tier=tier,
        shield=shield,
        peers=peers,
        itself=itself,
        policy=policy,
        admission=admission,
        memory_bytes=memory_bytes,
        decisions=decisions,
        fill=fill,
        keys=keys,
        state_dir=state if keys is not None else None,
        territory=territory,
        access_log=access_log,
        rate_bps=math.inf if mbps is None else mbps * 1e6,
        linger_s=linger_s,
    )

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "origin": origin, "tier": tier})
        else:
            console(stderr=True).print(f"headend: {tier} at {url}, in front of {shield or origin}")

    serving.serve(settings, host=host, port=port, on_ready=ready)
