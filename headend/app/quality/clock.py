"""Formats positions in a title."""

from headend.core.media.quality_reports import QualityReport


def clock(frame: int, report: QualityReport) -> str:
    """Format the time of a frame, such as ``1:02:03.4``."""
    tenths = int(10 * frame / report.grid.frame_rate)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    place = f"{minutes:02}:{tenths / 10:04.1f}"
    return f"{hours}:{place}" if hours else place
