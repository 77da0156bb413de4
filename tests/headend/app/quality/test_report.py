"""The page of a report, for short and long titles, good and bad ones: no scripts, no network, bounded work."""

import re
from dataclasses import replace
from fractions import Fraction

import pytest

from headend.app.quality import judging
from headend.app.quality.highlights import worst_segments
from headend.app.quality.report import render, sentence
from headend.core.media import Codec
from headend.core.media.quality import SegmentQuality
from headend.core.media.quality_reports import Outcome, QualityReport, RenditionQuality, Severity
from headend.core.timing import Grid
from tests.headend.app.quality.test_judging import rendition, report, segment

FPS, SEGMENT_FRAMES = 25, 150
HOURS_2 = 2 * 3600 * FPS


def long_rendition(kbps: int, codec: Codec, segments: int) -> RenditionQuality:
    shown = tuple(
        SegmentQuality(number, 80.0 + number % 15, 70.0, SEGMENT_FRAMES * (number - 1), (80.0,) * 6, 50)
        for number in range(1, segments + 1)
    )
    return rendition(kbps, 87, *shown, codec=codec)


def a_title(frames: int) -> QualityReport:
    """Every segment of sixteen renditions was measured."""
    grid = Grid(Fraction(FPS), frames, 50, SEGMENT_FRAMES, 5 * SEGMENT_FRAMES)
    numbers = tuple(range(1, grid.segment_count + 1))
    codecs = (Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9)
    video = [long_rendition(500 * step, codec, len(numbers)) for codec in codecs for step in (1, 2, 4, 8)]
    return report(*video, grid=grid, evenly=numbers)


def judged(quality_report: QualityReport) -> QualityReport:
    return replace(quality_report, shortfalls=judging.judge(quality_report))


def test_the_page_of_two_hours_takes_as_few_passes_over_the_grid_as_that_of_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walks = 0
    bounds_of = Grid.segment_bounds

    def counted(grid: Grid) -> tuple[int, ...]:
        nonlocal walks
        walks += 1
        return bounds_of(grid)

    monkeypatch.setattr(Grid, "segment_bounds", counted)

    def walks_for(frames: int) -> int:
        nonlocal walks
        walks = 0
        quality_report = judged(a_title(frames))
        worst_segments(quality_report, 8)
        page = render(quality_report, ())
        assert len(page) < 400_000
        return walks

    assert walks_for(HOURS_2) <= walks_for(60 * FPS) <= 3


def test_the_cells_of_a_short_title_show_time_and_score() -> None:
    page = render(report(rendition(500, 80), rendition(3000, 95)), ())

    assert "segment 6 at 00:10.0: 95.0, worst frame 95.0" in page


def test_a_title_that_is_too_short_for_the_limits_passes_with_a_remark() -> None:
    def sentence_for(vmaf: float) -> str:
        shown = SegmentQuality(1, vmaf, vmaf, 0, (vmaf,) * 6, 50)
        return sentence(judged(report(rendition(3000, vmaf, shown), evenly=(1,))))

    assert sentence_for(92).startswith("The release passes: the best rendition")
    assert sentence_for(40).startswith(
        "The release passes, but is too short or too small for the limits on VMAF, with "
    )


def test_every_failure_has_a_remedy_and_remarks_have_none() -> None:
    bad = judged(report(rendition(500, 92), rendition(3000, 60, segment(1, 60), segment(6, 60))))
    failures = [one for one in bad.shortfalls if one.severity is Severity.FAILURE]
    assert bad.outcome is Outcome.FAILED

    page = render(bad, ())

    assert page.count("To fix it:") == len(failures)
    assert 'class="bad"' in page


def test_a_page_fits_dark_screens_and_has_neither_script_nor_address() -> None:
    page = render(judged(a_title(60 * FPS)), ())

    assert "prefers-color-scheme:dark" in page
    # Colours of charts adapt to light and dark screens, except those that represent a score.
    drawn = re.sub(r'fill="#[0-9a-f]{6}"><title>segment', "", page[page.index("</style>") :])
    assert not re.findall(r'(?:fill|stroke)="#', re.sub(r'stroke="#[0-9a-f]{6}" stroke-width="11"', "", drawn))
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
