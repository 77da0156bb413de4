"""The predicted cost of measuring."""

from fractions import Fraction

import pytest

from encoder.conforming import conform
from encoder.planning import Draft, Renditions
from headend.app.quality.checking import expected_cpu_s
from headend.core.media.quality import Checking
from headend.core.settings import EncodeSettings
from tests.support.makers import make_probe, make_video_rendition


def expected(frame_count: int, level: Checking) -> float:
    probe = make_probe(frame_count=frame_count)
    assert probe.video is not None
    draft = Draft(
        "film", probe, conform(probe.video), Renditions("web", (make_video_rendition(),)),
        settings=EncodeSettings(segment_s=Fraction(6)), tool="ffmpeg", tool_digest="00" * 32,
    )  # fmt: skip
    return expected_cpu_s(draft.measuring(), draft.with_tasks(workers=1), level)


def test_a_sample_of_a_film_costs_a_tenth_of_all_segments() -> None:
    frames = 2 * 3600 * 24

    full = expected(frames, Checking.FULL)

    assert expected(frames, Checking.SAMPLED) == pytest.approx(full / 10, rel=0.1)
    assert expected(frames, Checking.OFF) == 0


def test_a_sample_of_a_short_clip_costs_less_than_a_third_of_all_segments() -> None:
    assert expected(4 * 24, Checking.SAMPLED) < expected(4 * 24, Checking.FULL) / 3
