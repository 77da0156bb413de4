"""``headend serve``: the titles of a store, over HTTP."""

import click
from rich.table import Table

from headend.cli import options
from headend.cli.screen import console, print_json, table
from headend.errors import ConfigError
from headend.settings import StoreSettings
from headend.storage import open_store
from origin import serving
from packager import publishing


@click.command(
    "serve",
    epilog=options.examples(
        "headend serve",
        "headend serve --host 0.0.0.0 --port 80 --access-log",
        "headend serve --store s3://films/vod --s3-endpoint http://127.0.0.1:9000",
    ),
)
@options.store
@click.option("--host", default=serving.DEFAULT_HOST, show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=serving.DEFAULT_PORT,
    show_default=True,
    help="Port to listen on; 0 for a free one.",
)
@click.option("--access-log", is_flag=True, help="Write each request to stdout, as a line of JSON.")
@options.common
def command(store: StoreSettings, host: str, port: int, access_log: bool, as_json: bool) -> None:
    """Serve the titles of a store to players and caches.

    /TITLE/multivariant.m3u8 (HLS) and /TITLE/manifest.mpd (DASH) lead to the current release. /healthz and /readyz tell
    whether the origin lives and takes requests, /metrics what it does. Ends on Ctrl-C or SIGTERM, when the requests
    under way are done.
    """
    if as_json and access_log:
        raise ConfigError("--json and --access-log both want standard output: give one of them")
    titles = tuple(publishing.titles(open_store(store)))

    def ready(url: str) -> None:
        if as_json:
            print_json({"url": url, "store": store.url, "titles": list(titles)})
            return
        screen = console(stderr=True)
        screen.print(f"serving {store.url} at {url}, until Ctrl-C")
        if titles:
            screen.print(addresses(url, titles))
        else:
            screen.print("no title is published there yet: make one with 'headend submit'")

    serving.serve(store, host=host, port=port, on_ready=ready, serving=serving.Serving(access_log=access_log))


def addresses(url: str, titles: tuple[str, ...]) -> Table:
    """Lay out where players find titles."""
    return table(
        ("title", "HLS", "DASH"),
        ((title, f"{url}/{title}/multivariant.m3u8", f"{url}/{title}/manifest.mpd") for title in titles),
    )
