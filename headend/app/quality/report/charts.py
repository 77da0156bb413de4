"""The charts of a report, as SVG: scores of segments, quality by rate, and the timeline."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import ceil, floor, log2

from headend.app.quality.clock import clock
from headend.app.quality.report.colours import colour
from headend.core.codecs import label_of
from headend.core.media.quality import SegmentQuality, Span
from headend.core.media.quality_reports import PredictedQuality, QualityReport, RenditionQuality

ROW_PX, NAME_PX, WIDTH_PX = 13, 168, 1120
MAX_COLUMNS = 240
"""With more segments, each column of the heat map shows the worst of several segments."""
MAX_TOOLTIPS = 2500
"""With more cells, the heat map has no tooltips, to keep the page small."""
CHART_PX = (548, 300)
CHART_LEFT_PX, CHART_RIGHT_PX, CHART_TOP_PX, CHART_BOTTOM_PX = 40, CHART_PX[0] - 24, 12, CHART_PX[1] - 34
LABEL_PX = 34
"""Minimum distance between the labels of rungs."""
HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" class="hatch"/><rect width="1.5" height="6" class="stripe"/></pattern>'
)


def heat_map(report: QualityReport) -> str:
    """Draw renditions × segments in the colours of their scores; cells without a score are hatched."""
    count = report.grid.segment_count
    per_column = ceil(count / MAX_COLUMNS)
    columns = ceil(count / per_column)
    bounds = report.grid.segment_bounds()
    width = (WIDTH_PX - NAME_PX - 60) / columns
    rows: list[str] = []
    y = 0
    has_tooltips = columns * len(report.video) <= MAX_TOOLTIPS
    for _, members in groupby(report.video, key=lambda rendition: rendition.codec):
        for rendition in members:
            cells = _worst_per_column(rendition, per_column)
            rows.append(f'<text x="{NAME_PX - 8}" y="{y + 10}" text-anchor="end">{escape(rendition.rendition)}</text>')
            mean = "–" if rendition.mean is None else f"{rendition.mean:.1f}"
            rows.append(f'<text x="{WIDTH_PX - 52}" y="{y + 10}">{mean}{" *" if rendition.tone_mapped else ""}</text>')
            drawn = (
                _cells_with_tooltips(cells, width, y, report, bounds)
                if has_tooltips
                else _cells_as_paths(cells, width, y)
            )
            rows.append(
                f'<rect x="{NAME_PX}" y="{y}" width="{columns * width:.1f}" height="{ROW_PX - 2}" fill="url(#hatch)"/>'
                + "".join(drawn)
            )
            y += ROW_PX
        y += 6
    axis = "".join(
        f'<text x="{NAME_PX + index * width:.1f}" y="{y + 8}" text-anchor="middle" class="axis">'
        f"{escape(clock(bounds[index * per_column], report))}</text>"
        for index in range(0, columns, max(1, columns // 8))
    )
    return (
        f'<svg viewBox="0 0 {WIDTH_PX} {y + 16}" role="img" aria-label="Scores of all segments of all renditions">'
        f"<defs>{HATCH}</defs>{''.join(rows)}{axis}</svg>"
    )


def rate_charts(report: QualityReport) -> Iterator[tuple[str, str]]:
    """Yield each codec's name, and a chart of its renditions by rate and score."""
    measured = [rendition for rendition in report.video if rendition.mean is not None]
    if not measured:
        return
    low = floor(log2(min(rendition.average_bps for rendition in measured) / 1000) * 2) / 2
    high = ceil(log2(max(rendition.average_bps for rendition in measured) / 1000) * 2) / 2
    bottom = min(90.0, 10.0 * floor(min(rendition.mean or 0.0 for rendition in measured) / 10))
    scale = _Scale(low, max(high, low + 1), bottom)
    for codec in dict.fromkeys(rendition.codec for rendition in measured):
        members = [rendition for rendition in measured if rendition.codec is codec]
        yield label_of(codec), _rate_chart(members, report.hulls.get(str(codec), ()), scale)


def timeline(report: QualityReport) -> str:
    """Draw a timeline of black, frozen and different pictures, cuts and loudness."""
    frames = report.grid.frame_count

    def x(frame: float) -> float:
        return NAME_PX + (WIDTH_PX - NAME_PX - 20) * frame / frames

    def bars(spans: Sequence[Span], kind: str) -> str:
        return "".join(
            f'<rect x="{x(first):.1f}" width="{max(1.5, x(end) - x(first)):.1f}" height="12" '
            f'class="{kind}"><title>{escape(clock(first, report))} to {escape(clock(end, report))}</title></rect>'
            for first, end in spans
        )

    faults = [
        ("only rendition black", [span for rendition in report.video for span in rendition.black]),
        ("only rendition frozen", [span for rendition in report.video for span in rendition.frozen]),
        ("different picture", [span for rendition in report.video for span in (*rendition.other, *rendition.stray)]),
        ("other colours", [span for rendition in report.video for span in (*rendition.recoloured, *rendition.lined)]),
        ("early or late", [span for rendition in report.video for span in rendition.shifted]),
    ]
    lines = [
        ("measured", bars(report.master.seen, "seen")),
        ("master black", bars(report.master.black, "black")),
        ("master frozen", bars(report.master.frozen, "still")),
        ("cuts", bars([(frame, frame) for frame in report.master.cuts], "cut")),
        *((name, bars(spans, "fault")) for name, spans in faults if spans),
    ]
    drawn, y = [], 0
    for name, content in lines:
        drawn.append(
            f'<text x="{NAME_PX - 8}" y="{y + 10}" text-anchor="end">{name}</text>'
            f'<line x1="{NAME_PX}" x2="{WIDTH_PX - 20}" y1="{y + 6}" y2="{y + 6}" class="faint"/>'
            f'<g transform="translate(0 {y})">{content}</g>'
        )
        y += 20
    if report.loudness_lufs:
        y += 6  # its uppermost label is centred on a line
        drawn.append(_loudness(report.loudness_lufs, y))
        y += 76
    # Nine marks, or fewer in a title of less than a second: no two show the same time.
    marks = {clock(int(share * frames / 8), report): share for share in reversed(range(9))}
    drawn += [
        f'<text x="{x(share * frames / 8):.1f}" y="{y + 10}" text-anchor="middle" class="axis">{escape(time)}</text>'
        for time, share in marks.items()
    ]
    return f'<svg viewBox="0 0 {WIDTH_PX} {y + 16}" role="img" aria-label="Timeline">{"".join(drawn)}</svg>'


def _worst_per_column(rendition: RenditionQuality, per_column: int) -> dict[int, SegmentQuality]:
    """Return the worst measured segment of each column that has one."""
    found: dict[int, SegmentQuality] = {}
    for segment in rendition.segments:
        column = (segment.number - 1) // per_column
        if column not in found or segment.mean < found[column].mean:
            found[column] = segment
    return found


def _cells_with_tooltips(
    cells: dict[int, SegmentQuality], width: float, y: int, report: QualityReport, bounds: Sequence[int]
) -> Iterator[str]:
    gap = 0.6 if width > 3 else 0
    for column, segment in cells.items():
        caption = (
            f"segment {segment.number} at {clock(bounds[segment.number - 1], report)}: "
            f"{segment.mean:.1f}, worst frame {segment.worst:.1f}"
        )
        yield (
            f'<rect x="{NAME_PX + column * width:.1f}" y="{y}" width="{width - gap:.1f}" height="{ROW_PX - 2}" '
            f'fill="{colour(segment.mean)}"><title>{escape(caption)}</title></rect>'
        )


def _cells_as_paths(cells: dict[int, SegmentQuality], width: float, y: int) -> Iterator[str]:
    """Draw a path for each colour, with a stroke for each run of columns."""
    by_colour: dict[str, list[int]] = {}
    for column, segment in cells.items():
        by_colour.setdefault(colour(5 * round(segment.mean / 5)), []).append(column)
    for fill, columns in by_colour.items():
        moves = []
        for _, run in groupby(enumerate(sorted(columns)), key=lambda each: each[1] - each[0]):
            places = [column for _, column in run]
            moves.append(f"M{NAME_PX + places[0] * width:.1f},{y + ROW_PX / 2 - 1}h{len(places) * width:.1f}")
        yield f'<path d="{"".join(moves)}" stroke="{fill}" stroke-width="{ROW_PX - 2}"/>'


@dataclass(frozen=True, slots=True)
class _Scale:
    """Positions in a chart of rate and quality.

    Attributes:
        low: Rate at the left edge, as the binary logarithm of kb/s.
        high: Rate at the right edge.
        bottom: VMAF at the lower edge; the upper edge is 100.
    """

    low: float
    high: float
    bottom: float

    def x(self, bps: float) -> float:
        return CHART_LEFT_PX + (CHART_RIGHT_PX - CHART_LEFT_PX) * (log2(bps / 1000) - self.low) / (self.high - self.low)

    def y(self, vmaf: float) -> float:
        return CHART_TOP_PX + (CHART_BOTTOM_PX - CHART_TOP_PX) * (100 - vmaf) / (100 - self.bottom)

    def contains(self, point: PredictedQuality) -> bool:
        return self.low <= log2(point.bps / 1000) <= self.high and point.vmaf >= self.bottom


def _rate_chart(members: Sequence[RenditionQuality], hull: Sequence[PredictedQuality], scale: _Scale) -> str:
    width, height = CHART_PX
    drawn = [*_grid_lines(scale), *_hull_and_predictions(members, hull, scale)]
    for tone_mapped in (False, True):
        rungs = [rendition for rendition in members if rendition.tone_mapped is tone_mapped]
        if rungs:
            by_rate = sorted(rungs, key=lambda rendition: rendition.average_bps)
            drawn += _path(by_rate, "hdr" if tone_mapped else "sdr", scale)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Rate and quality">{"".join(drawn)}</svg>'


def _grid_lines(scale: _Scale) -> Iterator[str]:
    for mark in range(int(scale.bottom), 101, 10):
        y = scale.y(mark)
        yield (
            f'<line x1="{CHART_LEFT_PX}" x2="{CHART_RIGHT_PX}" y1="{y:.1f}" y2="{y:.1f}" class="line"/>'
            f'<text x="{CHART_LEFT_PX - 6}" y="{y + 3:.1f}" text-anchor="end" class="axis">{mark}</text>'
        )
    for step in range(ceil(scale.low), floor(scale.high) + 1):
        x = scale.x(1000 * 2**step)
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{CHART_TOP_PX}" y2="{CHART_BOTTOM_PX}" class="faint"/>'
            f'<text x="{x:.1f}" y="{CHART_BOTTOM_PX + 14}" text-anchor="middle" class="axis">{2**step:,}</text>'
        )
    width, height = CHART_PX
    yield f'<text x="{width / 2}" y="{height - 4}" text-anchor="middle" class="axis">kb/s</text>'


def _hull_and_predictions(
    members: Sequence[RenditionQuality], hull: Sequence[PredictedQuality], scale: _Scale
) -> Iterator[str]:
    if inside := [point for point in hull if scale.contains(point)]:
        points = " ".join(f"{scale.x(point.bps):.1f},{scale.y(point.vmaf):.1f}" for point in inside)
        yield f'<polyline points="{points}" fill="none" class="hull" stroke-width="5"/>'
    for predicted in (rendition.predicted for rendition in members if rendition.predicted):
        if scale.contains(predicted):
            x, y = scale.x(predicted.bps), scale.y(predicted.vmaf)
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" fill="none" class="ring"/>'


def _path(rungs: Sequence[RenditionQuality], dynamic_range: str, scale: _Scale) -> Iterator[str]:
    """The line through the rungs of SDR or of HDR, and each rung with its worst segment and its height."""
    is_hdr = dynamic_range == "hdr"
    points = " ".join(f"{scale.x(rung.average_bps):.1f},{scale.y(rung.mean or 0):.1f}" for rung in rungs)
    dash = ' stroke-dasharray="5 4"' if is_hdr else ""
    yield f'<polyline points="{points}" fill="none" class="path {dynamic_range}" stroke-width="1.5"{dash}/>'
    last_label_x = -100.0
    for rung in rungs:
        x, score = scale.x(rung.average_bps), rung.mean or 0.0
        y = scale.y(score)
        worst = rung.worst.mean if rung.worst else score
        yield (
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{scale.y(max(scale.bottom, worst)):.1f}" '
            f'class="path {dynamic_range}" stroke-opacity=".35" stroke-width="3"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="spot {dynamic_range}"><title>'
            f"{escape(rung.rendition)}: {rung.average_bps / 1000:,.0f} kb/s, mean {score:.1f}, worst "
            f"segment {worst:.1f}</title></circle>"
        )
        if x - last_label_x > LABEL_PX:
            label_y = y + (17 if is_hdr else -9)  # apart from those of SDR
            yield f'<text x="{x:.1f}" y="{label_y:.1f}" text-anchor="middle" class="axis">{rung.height_px}</text>'
            last_label_x = x


def _loudness(values: Sequence[float | None], top: int) -> str:
    high, low, height = 0.0, -60.0, 64
    step = (WIDTH_PX - NAME_PX - 20) / len(values)

    def y(value: float) -> float:
        return top + height * (high - max(low, min(high, value))) / (high - low)

    lines = "".join(
        f'<line x1="{NAME_PX}" x2="{WIDTH_PX - 20}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" class="faint"/>'
        f'<text x="{NAME_PX - 8}" y="{y(mark) + 4:.1f}" text-anchor="end" class="axis">{mark:g}</text>'
        for mark in (0.0, -24.0, -60.0)
    )
    points = " ".join(
        f"{NAME_PX + index * step:.1f},{y(low if value is None else value):.1f}" for index, value in enumerate(values)
    )
    return (
        f'{lines}<polyline points="{points}" fill="none" class="path sdr" stroke-width="1.2"/>'
        f'<text x="{NAME_PX - 38}" y="{top + 20}" text-anchor="end">loudness,</text>'
        f'<text x="{NAME_PX - 38}" y="{top + 34}" text-anchor="end">LUFS</text>'
    )
