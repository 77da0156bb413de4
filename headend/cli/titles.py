"""``headend titles``: list the published titles of a store."""

import click

from headend import documents
from headend.cli import options
from headend.cli.screen import console, print_json, table
from headend.settings import StoreSettings
from headend.storage import open_store
from packager import publishing


@click.command("titles", epilog=options.examples("headend titles", "headend titles --store s3://films/vod --json"))
@options.store
@options.common
def command(store: StoreSettings, as_json: bool) -> None:
    """List the published titles of a store."""
    found = publishing.titles(open_store(store))
    if as_json:
        print_json({"titles": [{"title": title, **documents.as_plain(current)} for title, current in found.items()]})
    elif found:
        rows = ((title, current.release, current.published_at) for title, current in found.items())
        console().print(table(("title", "release", "published"), rows))
    else:
        console().print(f"no title is published in {store.url}; make one with: headend submit MASTER --title SLUG")
