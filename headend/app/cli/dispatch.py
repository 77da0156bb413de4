"""``headend dispatch``: run the jobs of the queue."""

import gc as garbage_collector  # `headend gc` is a module of this package
import json
import os
import shlex
import signal
from datetime import UTC, datetime
from pathlib import Path

import click

from headend.app.cli import options
from headend.app.cli.screen import console
from headend.app.cli.wording import printable
from headend.app.jobs.console import rights
from headend.app.jobs.dispatcher import MAX_JOBS, Dispatcher, LogLine
from headend.app.jobs.notifying import Notifier
from headend.app.jobs.queue import Queue
from headend.core.errors import ConfigError
from headend.core.prices import Prices
from headend.core.settings import ClusterSettings, StoreSettings
from headend.core.storage import check_writable, open_store
from headend.core.storage.masters import redact


@click.command(
    "dispatch",
    epilog=options.examples(
        "headend dispatch",
        "headend dispatch --scheduler tcp://10.0.0.5:8786 --store s3://films/vod --max-jobs 20",
        "headend dispatch --http :8090",
        "headend dispatch --until-idle",
        "headend dispatch --hook '/usr/local/bin/on-job'",
    ),
)
@click.option(
    "--max-jobs",
    type=click.IntRange(1, 1000),
    default=MAX_JOBS,
    show_default=True,
    metavar="N",
    help="Jobs that run at once; more may start if their priority is higher.",
)
@click.option("--until-idle", is_flag=True, help="Exit when no job is waiting or running.")
@click.option(
    "--hook",
    default="",
    metavar="COMMAND",
    help="Run this command at every change of a job, with the event as JSON on its standard input.",
)
@click.option(
    "--http",
    "listen",
    metavar="[HOST]:PORT",
    help="Serve a console, a JSON API and metrics on this address; one other than loopback requires --http-tokens.",
)
@click.option(
    "--http-tokens",
    "tokens_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with lines of 'read TOKEN' or 'operate TOKEN'; only its owner may be able to read it.",
)
@options.prices
@options.cluster
@options.scratch
@options.store
@options.common
def command(
    max_jobs: int,
    until_idle: bool,
    hook: str,
    listen: str | None,
    tokens_file: Path | None,
    prices: Prices,
    cluster: ClusterSettings,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """Run the jobs of a store's queue on one cluster.

    Jobs of higher priority go first; jobs of equal priority share the cluster. A second dispatcher on the same store
    stands by, and takes over within 30 seconds if the first one dies. SIGTERM and Ctrl-C put running jobs back into
    the queue; encoded parts are kept.

    HEADEND_WEBHOOK_SECRET is the secret that notifications are signed with. HEADEND_CONSOLE_TOKENS may hold the
    lines of --http-tokens. The command of --hook gets HEADEND_JOB_ID, HEADEND_JOB_TITLE, HEADEND_JOB_STATE and
    HEADEND_STORE.
    """
    opened = open_store(store)
    check_writable(opened)
    screen = console(stderr=True)

    def log(line: LogLine) -> None:
        text = printable(redact(line.text))
        if as_json:
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            click.echo(json.dumps({"at": at, "job": line.job or None, "text": text}))
        else:
            screen.print(f"headend: {text}")

    try:
        hook_argv = shlex.split(hook)
    except ValueError as error:
        raise ConfigError(f"--hook {hook!r} is not a command: {error}") from error
    dispatcher = Dispatcher(
        store,
        cluster,
        max_jobs=max_jobs,
        log=log,
        notifier=Notifier(opened, hook_argv, _store_variables(store)),
        until_idle=until_idle,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: dispatcher.stop())
    garbage_collector.freeze()  # modules never become garbage, and each scan of them takes a twentieth of a second
    if listen is None:
        dispatcher.run()
        return
    from headend.app.jobs.console.app import Console, Server, address_of

    tokens = _tokens(tokens_file)
    host, port = address_of(listen, tokens)

    def make() -> Console:
        return Console(Queue(opened), dispatcher, prices, tokens, opened.url, dispatcher.metrics.registry)

    with Server(make, host, port) as server:
        log(LogLine(f"console at {server.url}"))
        dispatcher.run()


def _store_variables(store: StoreSettings) -> dict[str, str]:
    """Return the variables by which a headend run by the hook command finds the same store."""
    endpoint = {} if store.endpoint_url is None else {"AWS_ENDPOINT_URL_S3": store.endpoint_url}
    return {"HEADEND_STORE": store.url, **endpoint}


def _tokens(file: Path | None) -> rights.Tokens:
    if file is not None:
        return rights.load(file)
    if text := os.environ.get(rights.VARIABLE):
        return rights.parse(text.replace(";", "\n"), rights.VARIABLE)
    return rights.Tokens()
