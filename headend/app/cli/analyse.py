"""``headend analyse``: show the ladder that fits a master."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from headend.app import deciding, hull_page
from headend.app.analysis import Analysed, Analysis, CodecAnalysis
from headend.app.cli import encode_options, options, pages, per_title_options
from headend.app.cli.progress import following
from headend.app.cli.screen import console, print_json, table
from headend.app.cli.wording import count_text
from headend.app.request import Request
from headend.core import documents
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings, Targets
from headend.core.storage import check_writable, open_store
from ladders import loading
from ladders.per_title import check_renditions
from ladders.rules import check

TITLE = "analysis"
"""Stands in for a title in messages: an analysis belongs to a master, not to a title."""


@click.command(
    "analyse",
    epilog=options.examples(
        "headend analyse film.mov",
        "headend analyse film.mov --html film.html",
        "headend analyse s3://masters/film.mov --ladder web --store s3://films/vod --json",
        "headend analyse film.mov --effort high --top-vmaf 93 --rungs",
    ),
)
@options.master
@options.ladder
@per_title_options.per_title
@options.store
@options.cluster
@options.running
@encode_options.encode
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an HTML page with the hull and the rungs of each codec.",
)
@click.option("--rungs", is_flag=True, help="Also list the rungs of each codec.")
@options.common
def command(
    master: str,
    ladder: str,
    targets: Targets,
    store: StoreSettings,
    cluster: ClusterSettings,
    encode: EncodeSettings,
    html: Path | None,
    rungs: bool,
    as_json: bool,
) -> None:
    """Show the ladder that fits a master, by trial encodes.

    'headend submit --fit per-title' uses the same ladder. A quick encode surveys the whole master. Excerpts are
    then encoded in several sizes, with the effort and options of the title, and compared with the master. The
    results determine the rungs and show what they save. They are kept in the store, where 'headend submit' with
    the same options reuses them.
    """
    chosen = loading.load(ladder)
    check_renditions(chosen, targets)
    if html is not None:
        pages.check_writable(html)
    request = Request(master, TITLE, chosen, store, cluster, encode, targets=targets)
    opened = open_store(store)
    check_writable(opened)
    with following(console(stderr=True)) as note:
        probe = deciding.inspect(master, store, note, encode.picture)
        _, analysed = deciding.fitted_draft(request, probe, opened, on_event=note)
    assert analysed is not None
    if html is not None:
        pages.write(html, hull_page.page(analysed.analysis, master=master, cost=cost(analysed)).encode())
    if as_json:
        print_json(plain(analysed))
    else:
        _show(analysed, rungs=rungs)
        if html is not None:
            console().print(f"wrote {html}")


def cost(analysed: Analysed) -> str:
    """Return the cost of an analysis in one sentence."""
    analysis = analysed.analysis
    took_s = analysis.survey_cpu_s + analysis.trials_cpu_s
    share = f"{took_s / analysis.encode_cpu_s:.0%} of the {_seconds(analysis.encode_cpu_s)} predicted for the encode"
    now = (
        "all results were in the store"
        if not analysed.cpu_s
        else f"{_seconds(analysed.cpu_s)} of them now; "
        f"{analysed.reused:,} of {count_text(analysed.results, 'result')} reused"
    )
    return f"Analysis: {_seconds(took_s)} CPU seconds ({_seconds(analysis.survey_cpu_s)} of survey), {share}; {now}."


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}"


def plain(analysed: Analysed) -> dict[str, object]:
    """Return the document for ``--json``."""
    analysis = analysed.analysis
    return {
        **documents.as_plain(analysis),
        "ladder": documents.as_plain(analysis.ladder),
        "findings": [str(finding) for finding in check(analysis.ladder)],
        "results": analysed.results,
        "reused_results": analysed.reused,
        "cpu_s": round(analysed.cpu_s, 3),
    }


def _show(analysed: Analysed, *, rungs: bool) -> None:
    analysis, screen = analysed.analysis, console()
    screen.print(hull_page.sentence(analysis))
    screen.print(table(_COLUMNS, _rows(analysis)))
    if rungs:
        screen.print(
            table(
                ("codec", "rung", ">CRF", ">kb/s", ">cap", ">VMAF"),
                [row for codec in analysis.codecs for row in _rung_rows(codec, analysis)],
            )
        )
    for line in analysis.decisions:
        screen.print(f"  {line}")
    screen.print(cost(analysed))


def _rung_rows(codec: CodecAnalysis, analysis: Analysis) -> Iterator[tuple[str, ...]]:
    """Yield a row for each rung of a codec, the highest first: its own ones, or those of the pattern."""
    placed = {(rung.codec, rung.height_px, rung.crf): rung for rung in analysis.ladder.video}
    for point in reversed(codec.rungs or codec.pattern):
        rung = placed.get((codec.codec, point.lines, point.crf)) if codec.rungs else None
        yield (
            codec.codec,
            rung.id if rung else f"{point.lines}p of {analysis.pattern}",
            f"{point.crf:g}",
            f"{point.kbps:,.0f}",
            f"{rung.cap_kbps:,}" if rung else "",
            f"{point.vmaf:.1f}",
        )


_COLUMNS = (
    "codec",
    ">rungs",
    ">lowest",
    ">highest",
    ">VMAF",
    ">highest of the ladder",
    ">its VMAF",
    ">bits at equal VMAF",
)


def _rows(analysis: Analysis) -> Sequence[Sequence[str | int]]:
    rows = []
    for codec in analysis.codecs:
        points = codec.rungs or codec.pattern
        was = codec.pattern[-1]
        rows.append(
            (
                codec.codec,
                len(points),
                f"{points[0].lines}p {points[0].kbps:,.0f} kb/s",
                f"{points[-1].lines}p {points[-1].kbps:,.0f} kb/s",
                f"{points[-1].vmaf:.1f}",
                f"{was.lines}p {was.kbps:,.0f} kb/s",
                f"{was.vmaf:.1f}",
                f"{100 * codec.saving:+.1f} %" if codec.rungs else "kept",
            )
        )
    return rows
