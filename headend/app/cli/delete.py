"""``headend delete``: mark a release, or a whole title, for deletion."""

import click

from headend.app.cli import options
from headend.app.cli.confirming import ask, confirmed
from headend.app.cli.parameters import ReleaseId
from headend.app.cli.screen import console, print_json
from headend.app.cli.wording import count_text
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager import lifecycle


@click.command(
    "delete",
    epilog=options.examples(
        "headend delete big-buck-bunny --release 4c1f0d2e9b7a65830c1d", "headend delete big-buck-bunny --yes"
    ),
)
@options.title_argument
@click.option(
    "--release", type=ReleaseId(), metavar="ID", help="Delete only this release; it can't be the current one."
)
@confirmed
@options.existing_store
@options.common
def command(title: str, release: str | None, yes: bool, dry_run: bool, store: StoreSettings, as_json: bool) -> None:
    """Mark a release, or a whole title, for deletion.

    A title is withdrawn first. Until 'headend gc' removes it after the grace period, viewers can finish watching,
    and 'headend publish' can restore it.
    """
    opened = open_store(store)
    what = f"release {release} of {title!r}" if release else f"the whole title {title!r}"
    releases = [row.release for row in lifecycle.releases(opened, title) if release in (None, row.release)]
    if not dry_run:
        ask(f"Delete {what}?", yes=yes)
        releases = list(lifecycle.delete(opened, title, release))
    if as_json:
        print_json({"title": title, "releases": releases, "dry_run": dry_run})
    else:
        verb = "would be" if dry_run else "is" if len(releases) == 1 else "are"
        console().print(
            f"{title}: {count_text(len(releases), 'release')} {verb} marked as deleted; headend gc removes marked "
            "releases after the grace period"
        )
