"""Every frame of the master once and in order, in every rendition, whatever the master's rate and GOPs are."""

from fractions import Fraction
from pathlib import Path

import pytest

from headend.settings import StoreSettings
from packager.conformance import verify
from tests.support.jobs import submit_small
from tests.support.masters import make_film
from tests.support.playback import frame_numbers, track_bytes

VERYFAST = ("-preset", "veryfast")
OPEN_AVC = ("-g", "16", "-bf", "3", "-flags", "-cgop", "-x264-params", "open-gop=1")
OPEN_HEVC = ("-preset", "ultrafast", "-x265-params", "keyint=20:open-gop=1:log-level=error")
PYRAMID = ("-g", "24", "-bf", "5", "-b_strategy", "2", "-x264-params", "b-pyramid=normal")

# name: suffix, rate, frames, encoder, its arguments
CASES = {
    "film rate": ("mov", Fraction(24000, 1001), 60, "prores_ks", ()),
    "25, one keyframe": ("mp4", Fraction(25), 61, "libx264", ("-g", "999", *VERYFAST)),
    "29.97, B-pyramid": ("mkv", Fraction(30000, 1001), 75, "libx264", PYRAMID),
    "59.94, halved low rungs": ("mp4", Fraction(60000, 1001), 131, "libx264", ("-g", "48", *VERYFAST)),
    "open GOP, container index": ("mp4", Fraction(25), 75, "libx264", OPEN_AVC),
    "open GOP, transport stream": ("ts", Fraction(25), 75, "mpeg2video", ("-g", "12", "-bf", "2", "-q:v", "3")),
    "HEVC, open GOP": ("mkv", Fraction(24), 60, "libx265", OPEN_HEVC),
}


@pytest.mark.parametrize("name", CASES)
def test_every_frame_once_and_in_order(name: str, tmp_path: Path, scheduler: str) -> None:
    suffix, rate, count, codec, args = CASES[name]
    pixel_format = "yuv422p10le" if codec == "prores_ks" else "yuv420p"
    master = make_film(
        tmp_path / f"master.{suffix}",
        frame_rate=rate,
        frame_count=count,
        codec=codec,
        codec_args=args,
        pixel_format=pixel_format,
    )
    published = submit_small(master, StoreSettings(str(tmp_path / "store")), scheduler)
    outcome, store = published.outcome, published.store

    assert outcome.plan.grid.frame_rate == rate
    assert len(outcome.plan.grid.chunks()) >= 2
    for track in outcome.presentation.video:
        numbers = frame_numbers(track_bytes(store, outcome.presentation, track))
        assert numbers == list(range(0, count, track.rendition.rate_divisor)), track.rendition.id
    assert verify(store, "film").findings == ()
