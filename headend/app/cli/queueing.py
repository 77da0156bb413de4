"""What ``submit`` needs to queue a request, a list of them, or what a watched folder brings."""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from headend.app.cli.configuring import settable
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.wording import printable
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
"""Options of ``submit`` that are not about one title."""
FOLLOW_PATIENCE_S = 900.0
"""How long a command that follows jobs waits for a store that has gone away."""
MANY = 50
"""Above so many jobs at once, the dispatcher is told to list them, instead of being told of each."""


@dataclass(frozen=True, slots=True)
class Queueing:
    """How a request is queued.

    Attributes:
        wanted: Whether it is queued at all, instead of being carried out here.
        priority: 0 to 100.
        labels: Names with values.
        notify: URLs that are told of the job's events.
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
    """Add the options of queueing; the command gets them by their names."""
    for option in (
        click.option(
            "--notify",
            multiple=True,
            callback=lambda _ctx, _param, values: tuple(map(check_url, values)),
            metavar="URL",
            help="With --queue: post every change of the job to this URL, as a signed CloudEvent.",
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
            help="With --queue: 0 to 100; tasks of a higher priority go first.",
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
            help="Queue all titles of a list: CSV, JSON or TOML whose columns are 'master' and these options.",
        ),
    ):
        command = option(command)
    return command


def enqueue(submissions: Sequence[Submission], store: StoreSettings) -> tuple[JobRequest, ...]:
    """Queue requests in their order."""
    opened = open_store(store)
    check_writable(opened)
    queue, many = Queue(opened), len(submissions) > MANY

    def add(each: Submission, job: str) -> JobRequest:
        asked = each.queueing
        return queue.add(
            each.request, priority=asked.priority, labels=asked.labels, notify=asked.notify, job=job, news=not many
        )

    with ThreadPoolExecutor(READERS) as pool:
        queued = tuple(pool.map(add, submissions, [new_id() for _ in submissions]))
    if many:
        queue.notify_of_many()
    return queued


def parse(
    rows: Iterable[lists.Row], base: Sequence[str] = (), defaults: Mapping[str, Any] | None = None
) -> list[Submission]:
    """Read command lines of ``submit`` without carrying them out.

    Args:
        rows: Words behind ``submit``, and what messages call their place.
        base: Words that go before each of them, so that a row has the last word.
        defaults: Values from configuration files by parameter name.

    Raises:
        ConfigError: Something in a row is wrong; the message says in which.
    """
    from headend.app.cli import Invocation, cli
    from headend.app.cli.submit import command

    parent = click.Context(cli, **cli.context_settings)  # as on a command line: Click remembers what help is called
    found = []
    for row in rows:
        invocation = Invocation(collected=[])
        try:
            words = [*base, *row.arguments]
            with command.make_context("submit", words, parent, obj=invocation, default_map=defaults) as context:
                command.invoke(context)
        except click.ClickException as error:
            raise ConfigError(f"{row.place}: {error.format_message()}") from error
        except ConfigError as error:
            raise ConfigError(f"{row.place}: {error.message}") from error
        found += invocation.collected or []
    return found


def columns(command: click.Command) -> frozenset[str]:
    """What a row of a list, or a sidecar, may set: every option that says something of one title."""
    return frozenset(option for option, _ in settable(command)) - OF_ALL


def show(queued: Sequence[JobRequest], store: StoreSettings, *, as_json: bool) -> None:
    """Tell what was queued: the ids alone if a program reads them."""
    if as_json:
        print_json({"jobs": [{"job": job.id, "title": job.request.title} for job in queued], "store": store.url})
    elif not sys.stdout.isatty():
        for job in queued:
            click.echo(job.id)
    else:
        console().print(table(("job", "title"), ((job.id, job.request.title) for job in queued)))
        console().print("'headend dispatch' runs what is queued; 'headend jobs' shows it")


def _queue_list(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is None or ctx.resilient_parsing:
        return
    base = _without_list(ctx.obj.args)
    if any(not word.startswith("-") for word in base[:1]):
        raise click.UsageError("give --from or a master, not both.", ctx)
    submissions = parse(lists.read(path, columns(ctx.command)), base, ctx.default_map)
    titles = Counter(submission.request.title for submission in submissions)
    if twice := [title for title, count in titles.items() if count > 1]:
        raise ConfigError(f"{path} has {twice[0]!r} twice: a title stands in a list once")
    store = submissions[0].request.store
    show(enqueue([replace(each, queueing=replace(each.queueing, wanted=True)) for each in submissions], store), store,
         as_json="--json" in base)  # fmt: skip
    ctx.exit()


def _without_list(args: Sequence[str]) -> list[str]:
    """The words behind ``submit`` without ``--from FILE``."""
    words = list(args)[list(args).index("submit") + 1 :]
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "--from":
            skip = True
        elif not word.startswith("--from="):
            kept.append(word)
    return kept


def patient_queue(store: StoreSettings) -> Queue:
    """Open a queue for a command that looks at it again and again.

    A store that goes away later is waited for; one that can't be read now is an error at once.
    """
    first = open_store(store)
    first.page(layout.job_markers(ended=False), limit=1)

    def on_wait(line: str) -> None:
        console(stderr=True).print(f"headend: {printable(redact(line))}")

    return Queue(open_store(replace(store, patience_s=FOLLOW_PATIENCE_S), on_wait=on_wait))
