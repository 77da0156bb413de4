"""``headend repackage``: write new manifests for the same tracks."""

from collections.abc import Callable

import click

from headend.app.cli import options
from headend.app.cli.confirming import ask, confirmed
from headend.app.cli.many_titles import FailureCollector
from headend.app.cli.screen import console, print_json
from headend.app.cli.wording import count_text
from headend.core.errors import ConfigError
from headend.core.layout import check_title
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager import lifecycle, publishing, reading

THREADS = 16
"""Titles that are repackaged at once."""


@click.command(
    "repackage",
    epilog=options.examples("headend repackage big-buck-bunny --yes", "headend repackage --all --dry-run"),
)
@click.argument("titles", nargs=-1, metavar="[TITLE]...")
@click.option("--all", "everything", is_flag=True, help="Repackage all published titles.")
@confirmed
@options.existing_store
@options.common
def command(
    titles: tuple[str, ...], everything: bool, yes: bool, dry_run: bool, store: StoreSettings, as_json: bool
) -> None:
    """Write new manifests for published titles.

    Use it after an upgrade of headend that changed playlists or MPDs. Nothing is encoded, and no segment
    changes its URL, so caches stay valid.
    """
    opened = open_store(store)
    if bool(titles) == everything:
        raise ConfigError("name the titles to repackage, or give --all for all of them")
    wanted = reading.published_titles(opened) if everything else tuple(dict.fromkeys(map(check_title, titles)))
    if not dry_run:
        ask(f"Write new manifests for {count_text(len(wanted), 'title')}?", yes=yes)

    def repackage(title: str, _is_stopped: Callable[[], bool]) -> tuple[str, str]:
        before = reading.current_release(opened, title)
        if dry_run:
            return before, publishing.planned_id(opened, reading.load_presentation(opened, title, before))
        return before, lifecycle.repackage(opened, title).presentation.release

    rows = []
    collector = FailureCollector(len(wanted))
    progress = ("checked" if dry_run else "repackaged") if as_json else ""  # otherwise, each title has a line
    for title, (before, after) in collector.in_parallel(wanted, repackage, threads=THREADS, what=progress):
        rows.append({"title": title, "before": before, "release": after, "changed": after != before})
        if not as_json:
            verb = "would become" if dry_run else "is now"
            console().print(f"{title}: {before} {f'{verb} {after}' if after != before else 'is unchanged'}")
    if as_json:
        print_json({"dry_run": dry_run, "titles": rows})
    collector.end()
