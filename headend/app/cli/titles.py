"""``headend titles``: list the published titles of a store."""

import click

from headend.app.cli import options
from headend.app.cli.screen import console, print_json, table
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store
from packager import publishing
from packager.stock import read_all

PAGE = 100
"""Titles that are shown unless asked otherwise: more than fit on a screen."""


@click.command(
    "titles",
    epilog=options.examples(
        "headend titles",
        "headend titles --long --store s3://films/vod",
        "headend titles --limit 1000 --after big-buck-bunny --json",
        "headend titles --all",
    ),
)
@click.option("--limit", type=click.IntRange(1), default=PAGE, show_default=True, help="Titles of a page.")
@click.option("--after", metavar="TITLE", default="", help="Start after this title, the last one of the page before.")
@click.option("--all", "everything", is_flag=True, help="All titles, at the cost of a request for each thousand.")
@click.option(
    "--long", "detailed", is_flag=True, help="Read the current release of each, too: a request for each title."
)
@options.existing_store
@options.common
def command(limit: int, after: str, everything: bool, detailed: bool, store: StoreSettings, as_json: bool) -> None:
    """List the published titles of a store, page by page."""
    opened = open_store(store)
    # One more tells whether there is another page.
    found = publishing.titles(opened, after=after, limit=None if everything else limit + 1)
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
        screen.print(f"no title is published in {store.url}; make one with: headend submit MASTER --title SLUG")
    if following:
        screen.print(f"more: headend titles --after {following}")


def _rows(store: Store, names: tuple[str, ...]) -> list[dict[str, str]]:
    """The current release of each title; one that was withdrawn a moment ago is left out."""
    pointers = read_all(lambda name: publishing.read_pointer(store, name), names)
    return [
        {"title": name, "release": pointer.release, "published_at": pointer.published_at}
        for name, pointer in pointers
        if pointer is not None and pointer.release
    ]
