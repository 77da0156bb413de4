"""``headend gc``: remove releases and tracks that are no longer needed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

import click

from headend.app.cli import options
from headend.app.cli.confirming import ask, confirmed
from headend.app.cli.many_titles import FailureCollector
from headend.app.cli.parameters import Duration
from headend.app.cli.progress_lines import repeated
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.wording import count_text, printable
from headend.core.errors import ConfigError
from headend.core.layout import check_title
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager import garbage

REMOVERS = 8
"""Titles whose garbage is removed at once."""
HELD_SHOWN = 10
"""Commands whose needs are listed; a program gets all."""


@click.command(
    "gc",
    epilog=options.examples(
        "headend gc --dry-run", "headend gc --keep 2 --grace 30d --yes", "headend gc big-buck-bunny --yes --json"
    ),
)
@click.argument("titles", nargs=-1, metavar="[TITLE]...")
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=garbage.KEEP,
    show_default=True,
    help="Number of former releases to keep of each title.",
)
@click.option(
    "--grace",
    "grace_s",
    type=Duration(needs_unit=True),
    default=f"{garbage.GRACE.days}d",
    show_default=True,
    help="How long to keep unused objects for viewers who are still watching.",
)
@confirmed
@options.existing_store
@options.common
def command(
    titles: tuple[str, ...],
    keep: int,
    grace_s: float,
    yes: bool,
    dry_run: bool,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Remove releases and tracks that are no longer needed.

    Checks all titles, or only those named. Of each title it keeps the current release, the latest former ones,
    and everything that was current, written or used by running work within the grace period. Shows what it will
    remove, and asks first. Without titles it also removes the analyses of masters that have no release. It is safe
    to run beside jobs, origins and another gc.
    """
    opened, grace = open_store(store), timedelta(seconds=grace_s)
    wanted = tuple(dict.fromkeys(map(check_title, titles)))
    for title in wanted:
        if not garbage.title_exists(opened, title):
            raise ConfigError(f"there is no title {title!r} in {store.url}; 'headend titles' lists published titles")
    wanted = wanted or garbage.titles_with_objects(opened)
    collector = FailureCollector(len(wanted))
    rows, held = [], []
    for found in collector.with_progress(garbage.all_garbage(opened, wanted, keep=keep, grace=grace), "checked"):
        if found.error is not None:
            collector.fail(found.title, found.error)
            continue
        held += [{"title": found.title, "reason": hold.reason, "since": hold.since} for hold in found.held]
        if found.objects:
            rows.append(_row(found))
    # Analyses are kept if some titles were not checked: they may be of the same masters.
    unused = garbage.UnusedAnalyses()
    if not titles and not collector.errors:
        with repeated(lambda: "checking the analyses of masters"):
            unused = garbage.find_unused_analyses(opened, grace=grace)
    total_bytes = sum(row.bytes for row in rows) + unused.size_bytes
    if not as_json:
        _show(rows)
        _show_held(held)
        if unused.masters:
            masters = count_text(len(unused.masters), "master")
            console().print(f"{unused.size_bytes / 1e6:,.1f} MB of analyses of {masters} without a release")
    if (rows or unused.objects) and not dry_run:
        of = count_text(len(rows), "title") if rows else "analyses"
        ask(f"Remove {total_bytes / 1_000_000:,.1f} MB of {of}?", yes=yes)

        def remove(title: str, is_stopped: Callable[[], bool]) -> garbage.Garbage:
            return garbage.remove(opened, title, keep=keep, grace=grace, is_stopped=is_stopped)

        removed = collector.in_parallel([row.title for row in rows], remove, threads=REMOVERS, what="removed from")
        rows = [_row(found) for _, found in removed]
        garbage.remove_analyses(opened, unused)
        total_bytes = sum(row.bytes for row in rows) + unused.size_bytes
    if as_json:
        analyses = {
            "masters": unused.masters,
            "objects": len(unused.objects),
            "bytes": unused.size_bytes,
        }
        collecting = [asdict(row) for row in rows]
        print_json({"dry_run": dry_run, "bytes": total_bytes, "titles": collecting, "analyses": analyses, "held": held})
    elif not rows and not unused.objects:
        console().print("nothing to remove")
    elif not dry_run:
        console().print(f"removed {total_bytes / 1_000_000:,.1f} MB")
    collector.end()


@dataclass(frozen=True, slots=True)
class _Row:
    """A title's garbage as it is shown; object names are dropped, since there may be millions."""

    title: str
    releases: tuple[str, ...]
    tracks: tuple[str, ...]
    objects: int
    bytes: int


def _row(found: garbage.Garbage) -> _Row:
    return _Row(found.title, found.releases, found.tracks, len(found.objects), found.size_bytes)


def _show(rows: Sequence[_Row]) -> None:
    if rows:
        cells = (
            (row.title, len(row.releases), len(row.tracks), row.objects, f"{row.bytes / 1_000_000:,.1f}")
            for row in rows
        )
        console().print(table(("title", ">releases", ">tracks", ">objects", ">MB"), cells))


def _show_held(held: Sequence[Mapping[str, str]]) -> None:
    """Say what is kept because a command needs it: that of a killed process can't be told from one that runs."""
    for hold in held[:HELD_SHOWN]:
        console().print(
            printable(
                f"{hold['title']}: kept what '{hold['reason']}' needs, which began at {hold['since']}; "
                f"if it was killed, gc removes this after {garbage.DEAD_HOLD_AGE.days} days"
            )
        )
    if len(held) > HELD_SHOWN:
        console().print(f"and {len(held) - HELD_SHOWN:,} more")
