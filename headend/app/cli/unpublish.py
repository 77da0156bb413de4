"""``headend unpublish``: withdraw a title."""

import click

from headend.app.cli import options
from headend.app.cli.confirming import ask, confirmed
from headend.app.cli.screen import console, print_json
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager import lifecycle
from packager.reading import current_release


@click.command("unpublish", epilog=options.examples("headend unpublish big-buck-bunny --yes"))
@options.title_argument
@confirmed
@options.existing_store
@options.common
def command(title: str, yes: bool, dry_run: bool, store: StoreSettings, as_json: bool) -> None:
    """Withdraw a title from players.

    Players that open it get an error. Its releases and tracks stay in the store, and 'headend publish' restores
    any release. Caches may serve the title until their copies expire.
    """
    opened = open_store(store)
    before = current_release(opened, title)
    if not dry_run:
        ask(f"Withdraw {title!r}? Players that open it will get an error.", yes=yes)
        lifecycle.withdraw(opened, title)
    if as_json:
        print_json({"title": title, "before": before, "dry_run": dry_run})
    else:
        verb = "would be" if dry_run else "is"
        console().print(f"{title} {verb} withdrawn; to restore it: headend publish {title} --release {before}")
