"""What ``headend analyse`` shows: small costs, and the rungs of each codec, its own or the ladder's."""

from headend.app import hull_page
from headend.app.analysis import Analysed, Analysis, CodecAnalysis
from headend.app.cli import analyse
from headend.core.media import Codec
from ladders.hull import CurvePoint
from ladders.loading import load

SPOTS = tuple(CurvePoint(lines, 30.0, kbps, vmaf) for lines, kbps, vmaf in ((90, 60, 40), (180, 240, 80)))


def make_analysis(rungs: tuple[CurvePoint, ...]) -> Analysis:
    codec = CodecAnalysis(Codec.AVC, (), SPOTS, rungs, SPOTS, -0.1 if rungs else 0.0)
    return Analysis(
        ladder=load("smoke"), pattern="smoke", codecs=(codec,), decisions=(), gops=1, excerpts=1, trials=2,
        screen="1920x1080", model="vmaf", survey_cpu_s=0.04, trials_cpu_s=2.1, encode_cpu_s=0.2,
    )  # fmt: skip


def test_rungs_of_the_ladder_are_listed_where_they_are_kept() -> None:
    rows = list(analyse._rung_rows(make_analysis(()).codecs[0], make_analysis(())))

    assert rows == [
        ("avc", "180p of smoke", "30", "240", "", "80.0"),
        ("avc", "90p of smoke", "30", "60", "", "40.0"),
    ]


def test_the_cost_for_a_tiny_title_is_a_percentage_of_its_small_encode() -> None:
    text = analyse.cost(Analysed(make_analysis(SPOTS), 3, 1, 1.4))

    assert text == (
        "Analysis: 2.1 CPU seconds (0.0 of survey), 1070% of the 0.2 predicted for the encode; "
        "1.4 of them now; 1 of 3 results reused."
    )


def test_a_codec_that_keeps_its_rungs_refers_to_the_reason() -> None:
    page = hull_page.page(make_analysis(()), master="film.mov", cost="")

    assert "are kept, see the decisions below" in page
    assert "next to nothing" not in page


def test_the_chart_of_a_film_with_perfect_scores_is_drawn() -> None:
    perfect = tuple(CurvePoint(lines, 30.0, 1.0, 100.0) for lines in (90, 180))
    black = CodecAnalysis(Codec.AVC, (), perfect, (), perfect, 0.0)

    assert hull_page.chart(black).count('class="old"') == 2
