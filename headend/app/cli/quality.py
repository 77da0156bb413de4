"""``headend quality``: show the quality report of a release."""

import click

from headend.app.cli import options, pages, quality_options
from headend.app.cli.encryption_options import key_settings_options
from headend.app.cli.exits import Status
from headend.app.cli.progress import following
from headend.app.cli.reporting import findings, overrides, quality_plain, renditions
from headend.app.cli.screen import console, print_json
from headend.app.cli.wording import printable
from headend.app.quality import assessing
from headend.app.quality import pages as quality_pages
from headend.app.quality.report import lifts_text, sentence
from headend.core import layout, measured
from headend.core.media.quality import Checking
from headend.core.media.quality_reports import Outcome, Thresholds
from headend.core.paths import expanded
from headend.core.settings import ClusterSettings, KeySettings, StoreSettings
from headend.core.storage import open_store


@click.command(
    "quality",
    epilog=options.examples(
        "headend quality big-buck-bunny",
        "headend quality big-buck-bunny --html report.html",
        "headend quality big-buck-bunny 4c1f0d2e9b7a65830c1d --full",
        "headend quality big-buck-bunny --json | jq .outcome",
        "headend quality film --keys film.keys",
    ),
)
@options.title_argument
@click.argument("release", required=False)
@click.option("--full", is_flag=True, help="Measure all segments instead of a tenth.")
@click.option("--html", "page", metavar="FILE", help="Also write the report to this file as an HTML page.")
@quality_options.thresholds
@key_settings_options(required=False)
@options.existing_store
@options.cluster
@options.common
def command(
    title: str,
    release: str | None,
    full: bool,
    page: str | None,
    thresholds: Thresholds | None,
    keys: KeySettings | None,
    store: StoreSettings,
    cluster: ClusterSettings,
    as_json: bool,
) -> int:
    """Show the quality report of a release.

    Measures what has not been measured yet, which requires the master at its original location. RELEASE defaults
    to the current one. The exit status is 6 if the release fails a rule; nothing is published or withdrawn.
    """
    target = expanded(page) if page else None
    if target is not None:
        pages.check_writable(target)
    level = Checking.FULL if full else Checking.SAMPLED
    with following(console(stderr=True)) as note:
        report = assessing.assess(
            store, title, release, level, thresholds=thresholds, cluster_settings=cluster, on_event=note, keys=keys
        )
    if target is not None:
        pages.write(target, quality_pages.page_of(open_store(store), report))
    if as_json:
        print_json({"title": title, "release": report.release, **quality_plain(report), **measured.plain(report)})
    else:
        screen = console()
        screen.print(printable(sentence(report)))
        for override in overrides(report):
            screen.print(printable(override))
        for line in findings(report):
            screen.print(line)
        screen.print(renditions(report))
        if lifts := lifts_text(report):
            screen.print(printable(lifts))
        for missing in report.not_measured:
            screen.print(printable(f"not measured: {missing}"))
        screen.print(f"report: {target or layout.report_page(title, report.release)}")
    return Status.QUALITY if report.outcome is Outcome.FAILED else Status.DONE
