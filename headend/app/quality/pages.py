"""The HTML page of a report. It is made from the report and the pictures in the store, so it can be made again."""

from headend.app.quality.highlights import worst_segments
from headend.app.quality.report import Shown, render
from headend.core import layout
from headend.core.errors import ObjectMissing
from headend.core.media.quality_reports import QualityReport
from headend.core.storage import Store

PICTURES = 8
"""Number of segments that a report shows as pictures."""


def page_of(store: Store, report: QualityReport) -> bytes:
    """Render a report with those of its pictures that the store has."""
    shown = []
    for rendition, segment in worst_segments(report, PICTURES):
        key = layout.report_picture(report.title, report.release, rendition.track, segment.worst_frame)
        try:
            shown.append(Shown(rendition, segment, store.get(key)))
        except ObjectMissing:
            continue
    return render(report, shown).encode()


def rewrite(store: Store, report: QualityReport) -> None:
    """Replace the page in the store, after a change of the report."""
    store.put(layout.report_page(report.title, report.release), page_of(store, report))
