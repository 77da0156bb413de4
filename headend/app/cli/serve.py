"""``headend serve``: serve the titles of a store over HTTP."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from headend.app.cli import options
from headend.app.cli.parameters import ByteCount, FiniteRange, WebAddress
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.token_keys import VARIABLE, find_keys, read_again, token_keys
from headend.app.cli.wording import program
from headend.core.errors import ConfigError
from headend.core.hosts import is_loopback
from headend.core.settings import StoreSettings
from origin import serving

if TYPE_CHECKING:
    from rich.table import Table


@click.command(
    "serve",
    epilog=options.examples(
        "headend serve",
        "headend serve --host 0.0.0.0 --port 80 --token-keys keys --access-log",
        "headend serve --store s3://films/vod --workers 4 --memory 2G --disk-cache /var/cache/headend",
    ),
)
@options.store
@options.address(serving.DEFAULT_HOST, serving.DEFAULT_PORT)
@token_keys
@click.option(
    "--open",
    "is_open",
    is_flag=True,
    help="Serve all titles without tokens. [default: on loopback, if there are no keys]",
)
@click.option(
    "--state-dir",
    metavar="DIR",
    help="Folder shared by origins of this machine to count screens. [default: not shared]",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Also serve /metrics on this port, to any client; on the main port it is served to this machine only.",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Server processes; use one per core."
)
@click.option(
    "--memory",
    "cache_bytes",
    type=ByteCount(),
    default="256M",
    show_default=True,
    help="Memory for cached files, shared by all workers.",
)
@click.option("--disk-cache", metavar="DIR", help="Folder for caching the media of a store in S3.")
@click.option(
    "--disk-cache-bytes",
    type=ByteCount(),
    default="10G",
    show_default=True,
    help="Size of the disk cache, shared by all workers.",
)
@click.option(
    "--licence-url",
    type=WebAddress(),
    metavar="URL",
    help="URL of 'headend keys serve', as players reach it.",
)
@click.option(
    "--steering",
    type=WebAddress(),
    metavar="URL",
    help="Name this steering server ('headend steer') in manifests, so that it sends players to edges.",
)
@options.linger
@click.option(
    "--keepalive",
    "keepalive_s",
    type=FiniteRange(min=1),
    metavar="SECONDS",
    default=75.0,
    show_default=True,
    help="How long idle connections stay open; must be longer than that of a load balancer in front.",
)
@click.option("--access-log", is_flag=True, help="Write each request to stdout as a line of JSON.")
@options.common
def command(
    store: StoreSettings,
    host: str,
    port: int,
    keys_file: str | None,
    is_open: bool,
    state_dir: str | None,
    metrics_port: int | None,
    workers: int,
    cache_bytes: int,
    disk_cache: str | None,
    disk_cache_bytes: int,
    licence_url: str | None,
    steering: str | None,
    linger_s: float,
    keepalive_s: float,
    access_log: bool,
    as_json: bool,
) -> None:
    """Serve the titles of a store to players and caches.

    / lists the titles, and /watch/TITLE plays one in a browser. /TITLE/multivariant.m3u8 (HLS) and
    /TITLE/manifest.mpd (DASH) redirect to the current release. /healthz and /readyz are health checks, and
    /metrics is for Prometheus. With token keys, players need a token from 'headend token'; SIGHUP reloads the
    keys. On Ctrl-C and SIGTERM, the origin finishes open requests and exits.
    """
    if as_json and access_log:
        raise ConfigError("--json and --access-log both write to standard output: give one of them")
    if is_open and keys_file is not None:
        raise ConfigError("--open serves without tokens, so --token-keys has no effect: give one of them")
    keys = None if is_open else find_keys(keys_file)
    if keys is None and not is_open and not is_loopback(host):
        raise ConfigError(
            f"on {host} any client could play any title: give --token-keys FILE, set {VARIABLE}, or choose --open"
        )

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "store": store.url, "open": keys is None})
            return
        screen = console(stderr=True)
        screen.print(f"serving {store.url} at {url}, until Ctrl-C")
        if keys is not None:
            screen.print(f"players need tokens: {program()} token TITLE --account ID --url {url}")
        else:
            screen.print(f"titles are listed at {url}/ and play at {url}/watch/TITLE")

    settings = serving.OriginSettings(
        workers=workers,
        cache_bytes=cache_bytes,
        disk_cache=None if disk_cache is None else Path(disk_cache),
        disk_cache_bytes=disk_cache_bytes,
        licence_url=licence_url,
        steering=steering or "",
        limits=replace(serving.LIMITS, keepalive_s=keepalive_s),
        linger_s=linger_s,
        access_log=access_log,
        metrics_port=metrics_port,
        keys=keys,
        reload_keys=None if keys is None else partial(read_again, keys_file),
        state_dir=None if state_dir is None else Path(state_dir),
    )
    serving.serve(store, host=host, port=port, on_ready=ready, settings=settings)


def addresses(url: str, titles: tuple[str, ...]) -> Table:
    """Lay out the URLs of titles as a table."""
    return table(
        ("title", "HLS", "DASH"),
        ((title, f"{url}/{title}/multivariant.m3u8", f"{url}/{title}/manifest.mpd") for title in titles),
    )
