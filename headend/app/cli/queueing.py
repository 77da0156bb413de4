"""Queueing requests: one from ``submit``, those of a list, or those of a watched folder."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from headend.app.cli.configuring import settable
from headend.app.cli.progress_lines import ProgressLines
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.wording import count_text, printable
from headend.app.jobs import lists
from headend.app.jobs.model import DEFAULT_PRIORITY, JobRequest, label_of, new_id
from headend.app.jobs.queue import READERS, Queue
from headend.app.jobs.webhooks import check_url
from headend.app.request import Request
from headend.core import layout
from headend.core.errors import ConfigError
from headend.core.settings import StoreSettings
from headend.core.storage import check_writable, open_store
from headend.core.storage.masters import redact

OF_ALL = frozenset({"queue", "json-lines", "store", "s3-endpoint"})
"""Options of ``submit`` that don't belong to one title."""
FOLLOW_PATIENCE_S = 900.0
"""How long a command that follows jobs waits for a store that can't be reached."""
MANY = 50
"""Above this number of jobs, the dispatcher is notified once instead of for each job."""


@dataclass(frozen=True, slots=True)
class Queueing:
    """How a request is queued.

    Attributes:
        wanted: Whether it is queued, instead of being run here.
        priority: 0 to 100.
        labels: Pairs of name and value.
        notify: Webhooks that get the job's events.
    """

    wanted: bool = False
    priority: int = DEFAULT_PRIORITY
    labels: tuple[tuple[str, str], ...] = ()
    notify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """A request, and how it is queued."""

    request: Request
    queueing: Queueing


def options(command: click.decorators.FC) -> click.decorators.FC:
    """Add the options of queueing."""
    for option in (
        click.option(
            "--notify",
            multiple=True,
            callback=lambda _ctx, _param, values: tuple(map(check_url, values)),
            metavar="URL",
            help="With --queue: post every change of the job to this URL as a signed CloudEvent.",
        ),
        click.option(
            "--label",
            "labels",
            multiple=True,
            callback=lambda _ctx, _param, values: tuple(map(label_of, values)),
            metavar="NAME=VALUE",
            help="With --queue: a label to find the job by.",
        ),
        click.option(
            "--priority",
            type=click.IntRange(0, 100),
            default=DEFAULT_PRIORITY,
            show_default=True,
            metavar="N",
            help="With --queue: 0 to 100; higher priorities go first.",
        ),
        click.option("--queue", is_flag=True, help="Only queue the job, and print its id; 'headend dispatch' runs it."),
        click.option(
            "--from",
            "listed",
            type=click.Path(path_type=Path),
            is_eager=True,
            expose_value=False,
            callback=_queue_list,
            metavar="FILE",
            help="Queue all titles of a CSV, JSON or TOML list, whose columns are 'master' and these options.",
        ),
    ):
        command = option(command)
    return command


def enqueue(submissions: Sequence[Submission], store: StoreSettings) -> tuple[JobRequest, ...]:
    """Queue requests in the given order."""
    opened = open_store(store)
    check_writable(opened)
    queue, many = Queue(opened), len(submissions) > MANY

    def add(submission: Submission, job: str) -> JobRequest:
        queueing_options = submission.queueing
        return queue.add(
            submission.request,
            priority=queueing_options.priority,
            labels=queueing_options.labels,
            notify=queueing_options.notify,
            job=job,
            news=not many,
        )

    queued, lines = [], ProgressLines()
    with ThreadPoolExecutor(READERS) as pool:
        for job in pool.map(add, submissions, [new_id() for _ in submissions]):
            queued.append(job)
            lines.write(f"queued {len(queued):,} of {count_text(len(submissions), 'title')}")
    if many:
        queue.notify_of_many()
    return tuple(queued)


def parse(
    rows: Iterable[lists.Row], base: Sequence[str] = (), defaults: Mapping[str, Any] | None = None
) -> list[Submission]:
    """Parse command lines of ``submit`` without running them.

    Args:
        rows: Arguments of ``submit``, with a place for messages.
        base: Arguments before those of each row, which overrides them.
        defaults: Values from configuration files, by parameter name.

    Raises:
        ConfigError: A row is wrong; the message names its place.
    """
    from headend.app.cli import Invocation, cli
    from headend.app.cli.submit import command

    parent = click.Context(cli, **cli.context_settings)  # as on a real command line
    submissions = []
    lines = ProgressLines()
    for number, row in enumerate(rows):
        lines.write(f"read {count_text(number, 'title')} of the list")
        invocation = Invocation(collected=[])
        try:
            args = [*base, *row.arguments]
            with command.make_context("submit", args, parent, obj=invocation, default_map=defaults) as context:
                command.invoke(context)
        except click.ClickException as error:
            raise ConfigError(f"{row.place}: {error.format_message()}") from error
        except ConfigError as error:
            raise ConfigError(f"{row.place}: {error.message}") from error
        submissions += invocation.collected or []
    return submissions


def columns(command: click.Command) -> frozenset[str]:
    """Return the options that a row of a list, or a sidecar of a master, may set: those of one title."""
    return frozenset(option for option, _ in settable(command)) - OF_ALL


def show(queued: Sequence[JobRequest], store: StoreSettings, *, as_json: bool) -> None:
    """Print the queued jobs; only their ids if standard output is not a terminal."""
    if as_json:
        print_json({"jobs": [{"job": job.id, "title": job.request.title} for job in queued], "store": store.url})
    elif not sys.stdout.isatty():
        for job in queued:
            click.echo(job.id)
    else:
        console().print(table(("job", "title"), ((job.id, job.request.title) for job in queued)))
        console().print("'headend dispatch' runs queued jobs; 'headend jobs' lists them")


def _queue_list(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is None or ctx.resilient_parsing:
        return
    base = _without_list(ctx.obj.args)
    if any(not word.startswith("-") for word in base[:1]):
        raise click.UsageError("give either --from or a master.", ctx)
    submissions = parse(lists.read(path, columns(ctx.command)), base, ctx.default_map)
    titles = Counter(submission.request.title for submission in submissions)
    if repeated := [title for title, count in titles.items() if count > 1]:
        raise ConfigError(f"{path} has the title {repeated[0]!r} twice: list each title once")
    store = submissions[0].request.store
    queued = [replace(listed, queueing=replace(listed.queueing, wanted=True)) for listed in submissions]
    show(enqueue(queued, store), store, as_json="--json" in base)
    ctx.exit()


def _without_list(args: Sequence[str]) -> list[str]:
    """Return the arguments of ``submit`` without ``--from FILE``."""
    kept: list[str] = []
    skip = False
    for word in list(args)[list(args).index("submit") + 1 :]:
        if skip:
            skip = False
        elif word == "--from":
            skip = True
        elif not word.startswith("--from="):
            kept.append(word)
    return kept


def patient_queue(store: StoreSettings) -> Queue:
    """Open a queue for a command that polls it.

    It waits if the store can't be reached later; if the store can't be read now, that is an error.
    """
    first = open_store(store)
    first.page(layout.job_markers(ended=False), limit=1)

    def on_wait(line: str) -> None:
        console(stderr=True).print(f"headend: {printable(redact(line))}")

    return Queue(open_store(replace(store, patience_s=FOLLOW_PATIENCE_S), on_wait=on_wait))
