"""``headend replay``: replay the requests of a log, with the same policy or with others."""

from pathlib import Path
from typing import Any

import click

from cdn_sim import replaying
from cdn_sim.compiling import COMPILES
from cdn_sim.kernels.state import NUMBERS
from cdn_sim.policies import DEFAULT_POLICY
from cdn_sim.replaying import WhatIf
from cdn_sim.request_logs import decisions, reading
from headend.app.cli import options
from headend.app.cli.exits import Status
from headend.app.cli.parameters import ByteCount, FiniteRange
from headend.app.cli.progress_lines import reading_progress
from headend.app.cli.screen import console, facts, print_json, table
from headend.app.cli.wording import bytes_text, count_text
from headend.core import documents
from headend.core.errors import ConfigError


def _sizes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[int, ...]:
    parts = [part for value in values for part in value.split(",")]
    return tuple(ByteCount().convert(part, param, ctx) for part in parts)


@click.command(
    "replay",
    epilog=options.examples(
        "headend replay edge.decisions",
        "headend replay edge.decisions --policy lru --policy s3fifo --disk-bytes 500G,1T,2T",
        "headend replay access.log --policy slru --policy belady --disk-bytes 1T --warm-up 20 --json",
    ),
)
@click.argument("log", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--policy",
    "policies",
    type=click.Choice(list(NUMBERS)),
    multiple=True,
    help="A cache policy; repeatable. belady knows all future requests and is close to the best possible.  "
    f"[default: {DEFAULT_POLICY}]",
)
@click.option(
    "--disk-bytes",
    "budgets",
    multiple=True,
    callback=_sizes,
    metavar="BYTES[,BYTES]…",
    help="Cache sizes, such as 500G,1T,2T.",
)
@click.option(
    "--warm-up",
    "warm_up_percent",
    type=FiniteRange(0, 100, max_open=True),
    default=0.0,
    show_default=True,
    metavar="PERCENT",
    help="Share of the requests, from the start of the log, that fill the cache but are not counted.",
)
@options.common
def command(
    log: Path, policies: tuple[str, ...], budgets: tuple[int, ...], warm_up_percent: float, as_json: bool
) -> int:
    """Replay the requests in a log with any cache policy.

    LOG is the decision log of an edge, an access log of the origin or an edge, a CSV file with columns time,
    key and size, or an oracleGeneral trace; it may be gzipped. Without --disk-bytes, a decision log is checked:
    the replay must make the same hits, misses and evictions as the edge did; if it doesn't, the exit status is 1.
    With --disk-bytes, the log is replayed with each policy at each size.
    """
    if not budgets:
        if policies or not reading.is_decision_log(log):
            raise ConfigError("the cache size is missing: give --disk-bytes, such as --disk-bytes 500G,1T,2T")
        return _check(log, as_json)
    requests = reading.read(log, reading_progress(log))
    if requests.note:
        click.echo(f"headend: {log.name}: {requests.note}", err=True)
    if not COMPILES and len(requests.numbers) > 1_000_000:
        click.echo("headend: replays are about 30 times faster with numba: pip install 'headend[sim]'", err=True)
    results = replaying.compare(
        requests,
        policies or (DEFAULT_POLICY,),
        budgets,
        warm_up=warm_up_percent / 100,
        on_done=lambda result: None if as_json else _progress(result),
    )
    if as_json:
        print_json(
            {
                "log": {
                    "format": requests.format,
                    "requests": len(requests.numbers),
                    "objects": len(requests.sizes),
                    "bytes": requests.bytes,
                    "footprint_bytes": requests.footprint_bytes,
                    "note": requests.note,
                },
                "results": [replaying.as_plain(result) for result in results],
            }
        )
    else:
        _show(requests, results)
    return Status.DONE


def _check(log: Path, as_json: bool) -> int:
    with reading.decision_records(log, reading_progress(log)) as records:
        found = decisions.verify(records, log.name)
    if as_json:
        print_json(documents.as_plain(found))
    else:
        screen = console()
        fetches = "1 failed fetch" if found.failed == 1 else f"{found.failed:,} failed fetches"
        delayed = f", {count_text(found.delayed, 'delayed hit')}" if found.delayed else ""
        screen.print(
            f"{count_text(found.requests, 'request')}, {count_text(found.hits, 'hit')}{delayed}, "
            f"{count_text(found.starts, 'process start')}, {fetches}: "
            f"{count_text(found.different, 'different decision')}"
        )
        for difference in found.first:
            screen.print(
                f"  request {difference.number:,}, {difference.key}: {difference.live} in the log, "
                f"{difference.offline} in the replay"
            )
    return Status.FAULTY if found.different else Status.DONE


def _progress(result: WhatIf) -> None:
    click.echo(f"  {result.policy} at {bytes_text(result.budget_bytes)}: done", err=True)


def _show(requests: reading.Requests, results: tuple[WhatIf, ...]) -> None:
    screen = console()
    screen.print(
        facts(
            [
                ("log", f"{requests.format}, {count_text(len(requests.numbers), 'request')}"),
                ("requested", bytes_text(requests.bytes)),
                (
                    "objects",
                    f"{len(requests.sizes):,}, {bytes_text(requests.footprint_bytes)} in all: a cache of this size "
                    "would store them all",
                ),
            ]
        )
    )
    screen.print()
    screen.print(
        table(("policy", ">disk", ">byte hit ratio", ">hit ratio", ">misses", ">missed bytes"), map(_row, results))
    )


def _row(result: WhatIf) -> tuple[Any, ...]:
    outcome = result.outcome
    return (
        result.policy,
        bytes_text(result.budget_bytes),
        f"{outcome.byte_hit_ratio:.2%}",
        f"{outcome.object_hit_ratio:.2%}",
        f"{outcome.misses:,}",
        bytes_text(outcome.missed_bytes),
    )
