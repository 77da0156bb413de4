"""``headend publish``: make an existing release the current one."""

import click

from headend import documents
from headend.cli import options
from headend.cli.confirming import ask, confirmed
from headend.cli.screen import console, print_json
from headend.settings import StoreSettings
from headend.storage import open_store
from packager import lifecycle
from packager.publishing import read_pointer, read_release


@click.command(
    "publish",
    epilog=options.examples(
        "headend publish big-buck-bunny --release 4c1f0d2e9b7a65830c1d",
        "headend publish big-buck-bunny --release 4c1f0d2e9b7a65830c1d --yes --json",
    ),
)
@options.title_argument
@click.option("--release", metavar="ID", required=True, help="Which one; headend releases lists them.")
@confirmed
@options.existing_store
@options.common
def command(title: str, release: str, yes: bool, dry_run: bool, store: StoreSettings, as_json: bool) -> None:
    """Make an existing release of a title the current one.

    Publishes a release that 'headend submit --hold' has made, rolls back to a former one, or forward again. Nothing is
    encoded and no manifest is written. Jobs that were submitted before don't take its place when they end.
    """
    opened = open_store(store)
    pointer = read_pointer(opened, title)
    before = pointer.release if pointer else ""
    read_release(opened, title, release)
    if not dry_run:
        ask(f"Publish release {release} of {title!r}{f' instead of {before}' if before else ''}?", yes=yes)
        pointer = lifecycle.roll(opened, title, release)
    if as_json:
        moved = documents.as_plain(pointer) if pointer else None
        print_json({"title": title, "release": release, "before": before or None, "dry_run": dry_run, "current": moved})
    else:
        verb = "would be" if dry_run else "is"
        console().print(f"{title}: release {release} {verb} current{f', after {before}' if before else ''}")
