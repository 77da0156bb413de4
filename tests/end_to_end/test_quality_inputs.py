"""Masters that are hard to judge are measured and reported, and none is refused for its content."""

from fractions import Fraction
from pathlib import Path

import pytest

from headend.app.pipeline import submit
from headend.app.request import Request
from headend.core.media import Effort
from headend.core.media.quality import Checking, Viewing
from headend.core.media.quality_reports import Outcome, QualityReport
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from ladders import choosing
from ladders.loading import load
from tests.support.masters import run_ffmpeg

pytestmark = pytest.mark.heavy

SCREEN = Viewing("small", "vmaf_v1.0.16_3d0h", 640, 360)
INPUTS: dict[str, tuple[str, ...]] = {
    "shorter than a GOP": ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-frames:v", "7"),
    "a single frame": ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-frames:v", "1"),
    "all black": ("-f", "lavfi", "-i", "color=black:s=320x180:r=25", "-t", "4"),
    "a slide show": ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=1/2", "-t", "6", "-r", "24"),
    "8 frames/s": ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=8", "-t", "4"),
    "120 frames/s": ("-f", "lavfi", "-i", "testsrc2=s=320x180:r=120", "-t", "2"),
    "4:3 in bars": ("-f", "lavfi", "-i", "testsrc2=s=240x180:r=25", "-t", "4", "-vf", "pad=320:180:40:0"),
    "silence": (
        *("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25", "-f", "lavfi", "-i", "anullsrc=r=48000:cl=stereo"),
        *("-t", "4", "-c:a", "aac"),
    ),
    "anamorphic": ("-f", "lavfi", "-i", "testsrc2=s=360x288:r=25", "-t", "3", "-vf", "setsar=16/15"),
    "upright": ("-f", "lavfi", "-i", "testsrc2=s=180x320:r=25", "-t", "3"),
}


def reported(master: Path, store: Path, scheduler: str) -> QualityReport:
    ladder = choosing.select(load("smoke"), codecs=("avc", "aac"))
    encode = EncodeSettings(segment_s=Fraction(2), chunk_s=Fraction(4), effort=Effort.DRAFT)
    outcome = submit(
        Request(
            str(master), "film", ladder, StoreSettings(str(store)), ClusterSettings(scheduler), encode,
            checking=Checking.FULL,
        )
    )  # fmt: skip
    assert outcome.quality is not None
    assert outcome.is_current
    return outcome.quality


@pytest.mark.parametrize("name", INPUTS)
def test_hard_masters_are_measured_and_not_refused(
    name: str, tmp_path: Path, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoder.measure_tasks.viewing_of", lambda *_: SCREEN)
    master = tmp_path / "film.mov"
    run_ffmpeg(*INPUTS[name], "-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", str(master))

    report = reported(master, tmp_path / "store", scheduler)

    assert report.outcome is not Outcome.FAILED
    assert all(one.segments for one in report.video)
    assert all(0 <= segment.mean <= 100 for one in report.video for segment in one.segments)
    if name == "all black":
        assert report.master.black == ((0, report.grid.frame_count),)
