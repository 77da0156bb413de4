"""``headend show``: show a title's renditions with their measured rates."""

import click

from headend.app.cli import options
from headend.app.cli.describing import (
    concealed_facts,
    loudness_table,
    measured_table,
    protection_facts,
    release_plain,
    thumbnails_text,
)
from headend.app.cli.reporting import overrides, quality_plain
from headend.app.cli.screen import console, facts, print_json
from headend.app.cli.wording import clock_text, count_text, printable, rate_text
from headend.app.quality.report import lifts_text
from headend.core import layout, measured
from headend.core.media import Presentation
from headend.core.media.quality_reports import QualityReport
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from packager import reading


@click.command(
    "show",
    epilog=options.examples(
        "headend show big-buck-bunny", "headend show big-buck-bunny --json | jq '.renditions | length'"
    ),
)
@options.title_argument
@options.existing_store
@options.common
def command(title: str, store: StoreSettings, as_json: bool) -> None:
    """Show a title's renditions with their measured rates.

    Rates are measured on the finished segments. Paths are relative to the store's root.
    """
    opened = open_store(store)
    presentation = reading.current_presentation(opened, title)
    report = measured.read_report(opened, title, presentation.release)
    plain = {**release_plain(presentation, store), "quality": quality_plain(report) if report else None}
    if as_json:
        print_json(plain)
        return
    screen, grid = console(), presentation.grid
    frames = f"{count_text(grid.frame_count, 'frame')} at {rate_text(grid.frame_rate)} frames/s"
    length = f"{clock_text(float(grid.duration_s))}, {frames}"
    screen.print(
        facts(
            [
                ("title", f"{title}, release {presentation.release}"),
                ("length", length),
                ("made", _counts_text(presentation)),
                ("HLS", f"{plain['hls']} in the store, /{title}/multivariant.m3u8 by headend serve"),
                ("DASH", f"{plain['dash']} in the store, /{title}/manifest.mpd by headend serve"),
                ("thumbnails", thumbnails_text(presentation)),
                ("quality", _quality_text(report, title)),
                *protection_facts(presentation),
                *concealed_facts(presentation),
            ]
        )
    )
    screen.print(measured_table(presentation))
    if any(track.loudness for track in presentation.audio):
        screen.print()
        screen.print(loudness_table(presentation))


def _counts_text(presentation: Presentation) -> str:
    """Count the renditions, in the same way as ``headend submit``."""
    counted = count_text(len(presentation.video) + len(presentation.audio), "rendition")
    text = f", {count_text(len(presentation.text), 'track')} of text" if presentation.text else ""
    trick = f", {len(presentation.trick):,} more for trick play" if presentation.trick else ""
    return f"{counted}{text}{trick}"


def _quality_text(report: QualityReport | None, title: str) -> str:
    if report is None:
        return f"not measured; 'headend quality {title}' measures it"
    page = layout.report_page(title, report.release)
    lifts = f"; {text}" if (text := lifts_text(report)) else ""
    despite = "".join(f"; {printable(line)}" for line in overrides(report))
    return f"{report.outcome}{despite}, {page} in the store, 'headend quality {title}' shows it{lifts}"
