"""``headend releases``: list the releases of a title."""

import click

from headend.app.cli import options
from headend.app.cli.screen import console, print_json, table
from headend.core import documents
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager import lifecycle


@click.command(
    "releases", epilog=options.examples("headend releases big-buck-bunny", "headend releases big-buck-bunny --json")
)
@options.title_argument
@options.existing_store
@options.common
def command(title: str, store: StoreSettings, as_json: bool) -> None:
    """List the releases of a title.

    The newest comes first. A release's size is that of all its tracks; releases share tracks. A held release
    was made by 'headend submit --hold' and waits for 'headend publish'.
    """
    found = lifecycle.releases(open_store(store), title)
    if as_json:
        print_json({"title": title, "releases": [documents.as_plain(row) for row in found]})
        return
    rows = (
        (row.release, _state(row), row.created_at[:19], row.tracks, f"{row.size_bytes / 1_000_000:,.0f}", row.reason)
        for row in found
    )
    console().print(table(("release", "state", "made", ">tracks", ">MB", "why"), rows))


def _state(row: lifecycle.ListedRelease) -> str:
    if row.is_current:
        return "current"
    if row.deleted_at:
        return f"deleted {row.deleted_at[:10]}"
    if row.held_since:
        return f"held since {row.held_since[:10]}"
    return f"until {row.until[:10]}" if row.until else "kept"
