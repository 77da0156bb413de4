"""``headend jobs``: list jobs."""

import csv
import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import chain

import click

from headend.app.cli import options
from headend.app.cli.queueing import patient_queue
from headend.app.cli.screen import console, print_json, table
from headend.app.jobs.model import State, label_of
from headend.app.jobs.notifying import dead_letters
from headend.app.jobs.plain import entry_plain, spent
from headend.app.jobs.queue import Entry, Queue
from headend.core.prices import Prices
from headend.core.settings import StoreSettings
from headend.core.storage import Store, open_store

FOLLOW_S = 2.0
"""How often ``--json-lines`` polls for changes."""
BATCH = 500
"""Jobs that ``--accounts`` reads at once."""


def _labels(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(map(label_of, values))


def _month(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", value):
        raise click.BadParameter(f"{value!r} is not a month, such as 2026-11.")
    return value


@click.command(
    "jobs",
    epilog=options.examples(
        "headend jobs",
        "headend jobs --state running --state queued",
        "headend jobs --label season=2 --json",
        "headend jobs --json-lines | jq -c .state",
        "headend jobs --undelivered",
        "headend jobs --accounts 2026-11 --prices mine.toml > november.csv",
    ),
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in State]),
    help="Only jobs in this state; repeatable.",
)
@click.option(
    "--label", "labels", multiple=True, callback=_labels, metavar="NAME=VALUE", help="Only jobs with this label."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=200, show_default=True, metavar="N", help="Only the newest N jobs."
)
@click.option("--json-lines", is_flag=True, help="Print one JSON object per change, until interrupted.")
@click.option("--undelivered", is_flag=True, help="List undelivered notifications instead.")
@click.option(
    "--accounts",
    "month",
    callback=_month,
    metavar="YYYY-MM",
    help="Print the usage and the cost of a month's jobs as CSV instead.",
)
@options.prices
@options.existing_store
@options.common
def command(
    states: tuple[str, ...],
    labels: tuple[tuple[str, str], ...],
    limit: int,
    json_lines: bool,
    undelivered: bool,
    month: str | None,
    prices: Prices,
    store: StoreSettings,
    as_json: bool,
) -> None:
    """List the jobs of a store and their states.

    'headend submit --queue' and 'headend watch' queue jobs, and 'headend dispatch' runs them.
    """
    opened = open_store(store)
    if undelivered:
        _show_undelivered(opened, as_json=as_json)
        return
    queue = Queue(opened)
    if month is not None:
        _print_accounts(queue, month, prices)
        return
    if json_lines:
        _follow(patient_queue(store), states, labels)
    matching = chosen(queue, states, labels)
    entries = matching[-limit:]
    if as_json:
        print_json({"jobs": [entry_plain(entry) for entry in entries], "total": len(matching)})
    elif entries:
        _show(entries)
        if len(matching) > len(entries):
            console().print(f"the newest {len(entries):,} of {len(matching):,}; --limit shows more")
    elif states or labels:
        console().print(f"no such jobs in {store.url}; 'headend jobs' lists all")
    else:
        console().print(f"no jobs in {store.url}; queue one with: headend submit MASTER --title SLUG --queue")


def _show(entries: Sequence[Entry]) -> None:
    columns = ["job", "title", "state", ">priority"]
    rows = [[e.id, e.title, e.state.value, e.priority] for e in entries]
    if any(entry.hold for entry in entries):
        columns.append("release")
        rows = [[*row, "held" if entry.hold else ""] for row, entry in zip(rows, entries, strict=True)]
    console().print(table(columns, rows))


def chosen(
    queue: Queue,
    states: Sequence[str],
    labels: Iterable[tuple[str, str]],
    known: dict[str, frozenset[tuple[str, str]]] | None = None,
) -> list[Entry]:
    """Find jobs by state and labels, in order of submission.

    Args:
        queue: The jobs.
        states: Only jobs in one of these states; empty for any.
        labels: Only jobs with all of these labels; empty for any.
        known: A cache of labels by job, which never change; labels read now are added to it.
    """
    ended = {State(state).ended for state in states} if states else {True, False}
    entries = queue.all_entries() if len(ended) == 2 else queue.entries(ended=ended.pop())
    matching = [entry for entry in entries if not states or entry.state in states]
    if wanted := set(labels):
        known = {} if known is None else known
        new = [entry.id for entry in matching if entry.id not in known]
        known |= {request.id: frozenset(request.labels) for request in queue.requests(new)}
        matching = [entry for entry in matching if wanted <= known[entry.id]]
    return matching


def _print_accounts(queue: Queue, month: str, prices: Prices) -> None:
    """Print a line of CSV for each job that was submitted in a month."""
    ids = [entry.id for entry in queue.all_entries() if entry.id.startswith(month.replace("-", ""))]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(
        ("job", "title", "state", "submitted_by", "submitted_at", "ended_at", "labels", "cpu_s", "failed_cpu_s",
         "predicted_cpu_s", "off_percent", "stored_bytes", "put_requests", "cost", "storage_month", "currency")
    )  # fmt: skip
    # Lines are printed while further jobs are read.
    batches = (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
    for job in chain.from_iterable(map(queue.read_all, batches)):
        used = job.status.account
        # Predictions don't include failed attempts.
        successful_cpu_s = used.total_cpu_s - used.failed_cpu_s
        off = f"{(successful_cpu_s / used.predicted_cpu_s - 1) * 100:.1f}" if used.predicted_cpu_s else ""
        writer.writerow(
            (job.id, job.title, job.state.value, job.request.submitted_by, job.request.submitted_at,
             job.history[-1].at if job.state.ended else "",
             " ".join(f"{name}={value}" for name, value in job.request.labels),
             f"{used.total_cpu_s:.3f}", f"{used.failed_cpu_s:.3f}", f"{used.predicted_cpu_s:.3f}", off,
             used.stored_bytes, used.put_requests, f"{spent(used, prices):.4f}",
             f"{prices.storage(used.stored_bytes):.4f}", prices.currency)
        )  # fmt: skip


def _follow(queue: Queue, states: Sequence[str], labels: Sequence[tuple[str, str]]) -> None:
    known: dict[str, Entry] = {}
    labelled: dict[str, frozenset[tuple[str, str]]] = {}
    while True:
        for entry in chosen(queue, (), labels, labelled):
            before = known.get(entry.id)
            if before is None or (before.state, before.priority) != (entry.state, entry.priority):
                known[entry.id] = entry
                if not states or entry.state in states:
                    click.echo(json.dumps(entry_plain(entry)))
        time.sleep(FOLLOW_S)


def _show_undelivered(store: Store, *, as_json: bool) -> None:
    letters = dead_letters(store)
    if as_json:
        rows = [{"job": x.job, "change": x.number, "to": x.url, "at": x.at, "error": x.error} for x in letters]
        print_json({"undelivered": rows})
    elif letters:
        console().print(
            table(("job", ">change", "to", "at", "error"), [(x.job, x.number, x.url, x.at, x.error) for x in letters])
        )
    else:
        console().print("all notifications were delivered")
