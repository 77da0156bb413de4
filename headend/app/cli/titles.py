"""``headend titles``: list the published titles of a store."""

import click

from headend.app.cli import options
from headend.app.cli.screen import console, print_json, table
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store
from packager import reading
from packager.reading import read_all

PAGE = 100
"""Default number of titles on a page: more than fit on a screen."""


@click.command(
    "titles",
    epilog=options.examples(
        "headend titles",
        "headend titles --long --store s3://films/vod",
        "headend titles --limit 1000 --after big-buck-bunny --json",
        "headend titles --all",
    ),
)
@click.option("--limit", type=click.IntRange(1), default=PAGE, show_default=True, help="Titles per page.")
@click.option("--after", metavar="TITLE", default="", help="Start after this title, the last one of the page before.")
@click.option("--all", "everything", is_flag=True, help="List all titles; takes one request per thousand.")
@click.option(
    "--long", "detailed", is_flag=True, help="Also show the current release of each title; takes one request each."
)
@options.existing_store
@options.common
def command(limit: int, after: str, everything: bool, detailed: bool, store: StoreSettings, as_json: bool) -> None:
    """List the published titles of a store, page by page."""
    opened = open_store(store)
    # One more than the page shows whether there is another page.
    found = reading.published_titles(opened, after=after, limit=None if everything else limit + 1)
    names = found if everything else found[:limit]
    following = names[-1] if len(names) < len(found) else ""
    rows = _rows(opened, names) if detailed else [{"title": name} for name in names]
    screen = console()
    if as_json:
        print_json({"titles": rows, "after": following or None})
        return
    if detailed and rows:
        screen.print(table(tuple(rows[0]), (tuple(row.values()) for row in rows)))
    elif names:
        screen.print("\n".join(names))
    elif not after:
        screen.print(f"no titles are published in {store.url}; make one with: headend submit MASTER --title SLUG")
    if following:
        screen.print(f"more: headend titles --after {following}")


def _rows(store: Store, names: tuple[str, ...]) -> list[dict[str, str]]:
    """Read the current release of each title; skip titles that have just been withdrawn."""
    pointers = read_all(lambda name: reading.read_pointer(store, name), names)
    return [
        {"title": name, "release": pointer.release, "published_at": pointer.published_at}
        for name, pointer in pointers
        if pointer is not None and pointer.release
    ]
