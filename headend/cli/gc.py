"""``headend gc``: remove releases and tracks that nobody needs."""

import re
from datetime import timedelta

import click

from headend.cli import options
from headend.cli.confirming import ask, confirmed
from headend.cli.screen import console, print_json, table
from headend.cli.wording import count_text
from headend.layout import check_title
from headend.settings import StoreSettings
from headend.storage import open_store
from packager import garbage

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def _period(_ctx: click.Context, _param: click.Parameter, value: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhd])", value)
    if found is None:
        raise click.BadParameter(f"{value!r} is no period, such as 7d, 36h or 90m.")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


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
    help="Former releases to keep of a title.",
)
@click.option(
    "--grace",
    callback=_period,
    default=f"{garbage.GRACE.days}d",
    show_default=True,
    metavar="PERIOD",
    help="How long what nobody names any more is kept for those who are in the middle of it.",
)
@confirmed
@options.existing_store
@options.common
def command(
    titles: tuple[str, ...],
    keep: int,
    grace: timedelta,
    yes: bool,
    dry_run: bool,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Remove releases and tracks that nobody needs.

    Looks through all titles, or through those that are named. Of each title it keeps the current release, the latest
    former ones, and whatever was current, written or named by running work within the grace period. Tells what goes
    and asks before anything does. Without titles it also removes what was learned, for per-title ladders, of masters
    that no release is made of. Safe beside running jobs, origins and another gc.
    """
    opened = open_store(store)
    wanted = tuple(check_title(title) for title in titles) or garbage.titles(opened)
    found = [one for one in garbage.all_garbage(opened, keep=keep, grace=grace, only=wanted) if one.objects]
    forgotten = garbage.Forgotten() if titles else garbage.find_forgotten(opened, grace=grace)
    total = sum(one.size_bytes for one in found) + forgotten.size_bytes
    if not as_json:
        _show(found)
        if forgotten.masters:
            masters = count_text(len(forgotten.masters), "master")
            console().print(f"{forgotten.size_bytes / 1e6:,.1f} MB of analyses of {masters} that no release is made of")
    if (found or forgotten.objects) and not dry_run:
        of = count_text(len(found), "title") if found else "analyses"
        ask(f"Remove {total / 1_000_000:,.1f} MB of {of}?", yes=yes)
        found = [garbage.remove(opened, one.title, keep=keep, grace=grace) for one in found]
        garbage.forget(opened, forgotten)
    if as_json:
        rows = [
            {
                "title": one.title,
                "releases": one.releases,
                "tracks": one.tracks,
                "objects": len(one.objects),
                "bytes": one.size_bytes,
            }
            for one in found
        ]
        removed_bytes = sum(one.size_bytes for one in found) + forgotten.size_bytes
        analyses = {
            "masters": forgotten.masters,
            "objects": len(forgotten.objects),
            "bytes": forgotten.size_bytes,
        }
        print_json({"dry_run": dry_run, "bytes": removed_bytes, "titles": rows, "analyses": analyses})
    elif not found and not forgotten.objects:
        console().print("nothing to remove")
    elif not dry_run:
        removed_bytes = sum(one.size_bytes for one in found) + forgotten.size_bytes
        console().print(f"removed {removed_bytes / 1_000_000:,.1f} MB")


def _show(found: list[garbage.Garbage]) -> None:
    if not found:
        return
    rows = (
        (one.title, len(one.releases), len(one.tracks), len(one.objects), f"{one.size_bytes / 1_000_000:,.1f}")
        for one in found
    )
    console().print(table(("title", ">releases", ">tracks", ">objects", ">MB"), rows))
