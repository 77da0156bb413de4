"""``headend doctor``: check an installation."""

from pathlib import Path

import click

from headend.app.cli import options
from headend.app.cli.exits import Status
from headend.app.cli.screen import console, print_json, table
from headend.app.doctor import Check, Health, checks
from headend.core.settings import ClusterSettings, StoreSettings


@click.command(
    "doctor",
    epilog=options.examples(
        "headend doctor",
        "headend doctor --store s3://films/vod --scheduler tcp://10.0.0.5:8786",
        "headend doctor --json",
    ),
)
@click.option(
    "--scratch",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder that encoders write to. [default: the folder for temporary files]",
)
@options.cluster
@options.store
@options.common
def command(scratch: Path | None, cluster: ClusterSettings, store: StoreSettings, as_json: bool) -> int:
    """Check FFmpeg, the store, scratch space and the cluster.

    Each line says what to do if something is wrong. The exit status is 1 if a check fails; warnings leave it at 0.
    """
    found = list(checks(store, cluster, scratch))
    if as_json:
        rows = [{"check": c.name, "health": c.health.value, "detail": c.detail, "mend": c.remedy} for c in found]
        print_json({"healthy": not _bad(found), "checks": rows})
    else:
        console().print(
            table(("check", "", "details", "what to do"), ((c.name, c.health.value, c.detail, c.remedy) for c in found))
        )
    return Status.FAULTY if _bad(found) else Status.DONE


def _bad(found: list[Check]) -> bool:
    return any(check.health is Health.BAD for check in found)
