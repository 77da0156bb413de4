"""``headend watch``: queue masters that are delivered into a folder."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import click

from headend.app.cli import options, queueing
from headend.app.cli.configuring import configure, profile_of
from headend.app.cli.parameters import FiniteRange
from headend.app.cli.screen import console
from headend.app.cli.wording import printable
from headend.app.jobs.ingest import SETTLE_S, Watcher
from headend.app.jobs.lists import Row
from headend.app.jobs.queue import Queue
from headend.core.errors import ConfigError, StorageError
from headend.core.settings import StoreSettings
from headend.core.storage import check_writable, open_store

SCAN_S = 5.0
"""How often the folder is scanned."""


@click.command(
    "watch",
    epilog=options.examples(
        "headend watch /srv/ingest",
        "headend --profile feature watch s3://ingest/films --store s3://films/vod",
        "headend watch /srv/ingest --once --settle 0",
    ),
)
@click.argument("folder", callback=lambda _ctx, _param, value: options.absolute(value))
@click.option(
    "--settle",
    "settle_s",
    type=FiniteRange(min=0),
    default=SETTLE_S,
    show_default=True,
    metavar="S",
    help="Queue a file without a .done file when it has not changed for S seconds.",
)
@click.option("--once", is_flag=True, help="Scan the folder once, and exit.")
@options.store
@options.common
@click.pass_context
def command(ctx: click.Context, folder: str, settle_s: float, once: bool, store: StoreSettings, as_json: bool) -> None:
    """Queue every master that is delivered into a folder.

    FOLDER is a path or s3://bucket/prefix. Each file is queued once, even after a restart.

    A master is complete when NAME.EXT.done exists beside it, or when it has not changed for a while. A sidecar
    NAME.toml may set the options of 'headend submit', such as title, audio = ["1:en"] or subtitles =
    ["NAME.de.srt:de"]; without a title, one is derived from the file name. A file that can't be queued is
    reported, and skipped until it or its sidecar changes.
    """
    from headend.app.cli.submit import command as submit

    if "://" not in folder and not Path(folder).is_dir():
        raise ConfigError(f"there is no folder {folder}; create it, or correct the path")
    opened = open_store(store)
    check_writable(opened)
    queue = Queue(opened)
    defaults = dict(configure(submit, profile_of(ctx), lambda: frozenset()))
    base = [f"--store={store.url}", *([f"--s3-endpoint={store.endpoint_url}"] if store.endpoint_url else [])]

    def enqueue(arguments: Sequence[str], job: str) -> None:
        [submission] = queueing.parse([Row(arguments[-1], tuple(arguments))], base, defaults)
        queueing_options = submission.queueing
        queue.add(
            submission.request,
            priority=queueing_options.priority,
            labels=queueing_options.labels,
            notify=queueing_options.notify,
            job=job,
        )

    ingest = open_store(StoreSettings(folder, store.endpoint_url))
    watcher = Watcher(
        ingest, opened, lambda key: f"{folder.rstrip('/')}/{key}", enqueue, queueing.columns(submit), settle_s=settle_s
    )
    screen = console(stderr=True)
    if not as_json:
        screen.print(f"headend: watching {folder}, until Ctrl-C")
    while True:
        try:
            ingested = watcher.scan()
        except StorageError as error:
            if once or not error.retryable:
                raise
            screen.print(f"headend: trying again: {printable(error.message)}")
            ingested = ()
        for delivery in ingested:
            if as_json:
                click.echo(
                    json.dumps({"master": delivery.url, "job": delivery.job or None, "refused": delivery.why or None})
                )
            else:
                outcome = f"is job {delivery.job}" if delivery.job else f"was refused: {delivery.why}"
                screen.print(f"headend: {printable(delivery.url)} {printable(outcome)}")
        if once:
            return
        time.sleep(SCAN_S)
