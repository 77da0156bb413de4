"""``headend publish``: make an existing release the current one."""

import click

from headend.app.cli import options
from headend.app.cli.confirming import ask, confirmed
from headend.app.cli.parameters import ReleaseId
from headend.app.cli.screen import console, print_json
from headend.app.jobs.queue import whoami
from headend.app.quality import pages
from headend.core import documents, measured
from headend.core.errors import ConfigError
from headend.core.media.quality_reports import Override
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager import lifecycle
from packager.publishing import now
from packager.reading import read_pointer, read_release


@click.command(
    "publish",
    epilog=options.examples(
        "headend publish big-buck-bunny --release 4c1f0d2e9b7a65830c1d",
        "headend publish big-buck-bunny --release 4c1f0d2e9b7a65830c1d --yes --json",
        "headend publish big-buck-bunny 4c1f0d2e9b7a65830c1d --despite-quality",
    ),
)
@options.title_argument
@click.argument("named", type=ReleaseId(), metavar="[RELEASE]", required=False)
@click.option("--release", type=ReleaseId(), metavar="ID", help="The same as RELEASE; 'headend releases' lists them.")
@click.option(
    "--despite-quality",
    is_flag=True,
    help="Publish it although it fails the quality rules. Its report records who did so, and when.",
)
@confirmed
@options.existing_store
@options.common
def command(
    title: str,
    named: str | None,
    release: str | None,
    despite_quality: bool,
    yes: bool,
    dry_run: bool,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Make an existing release of a title the current one.

    Publishes a release made by 'headend submit --hold', rolls back to an earlier one, or forward again. Nothing is
    encoded and no manifest is written. Jobs that were submitted earlier don't replace it when they end.

    A release that fails the quality rules is refused with status 6, unless --despite-quality is given.
    """
    if named and release and named != release:
        raise ConfigError(f"{named!r} and {release!r} are different releases: name one")
    release = named or release
    if release is None:
        raise ConfigError(f"name the release to publish; 'headend releases {title}' lists them")
    opened = open_store(store)
    pointer = read_pointer(opened, title)
    before = pointer.release if pointer else ""
    read_release(opened, title, release)
    if not dry_run:
        ask(f"Publish release {release} of {title!r}{f' instead of {before}' if before else ''}?", yes=yes)
        by = Override(whoami(), now()) if despite_quality else None
        pointer = lifecycle.make_current(opened, title, release, despite_quality=by)
        if by is not None and (report := measured.read_report(opened, title, release)) is not None:
            pages.rewrite(opened, report)
    if as_json:
        moved = documents.as_plain(pointer) if pointer else None
        print_json({"title": title, "release": release, "before": before or None, "dry_run": dry_run, "current": moved})
    else:
        verb = "would be" if dry_run else "is"
        instead = f", instead of {before}" if before not in ("", release) else ""
        console().print(f"{title}: release {release} {verb} current{instead}")
