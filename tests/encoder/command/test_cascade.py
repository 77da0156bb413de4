"""Scaling and tone mapping for each rendition: graphs as data, and short films."""

from collections import Counter
from pathlib import Path

import pytest

from headend.core.media import (
    Codec,
    VideoRange,
)
from tests.support.commands import (
    GRID,
    LADDER,
    RATE,
    command,
    filters_before,
    filters_named,
    hdr_track,
    mean_luma,
    options_of,
    sizes,
)
from tests.support.encodes import encode_chunk, probe_film
from tests.support.makers import (
    HDR10,
    HLG,
    make_video_rendition,
)
from tests.support.masters import make_film
from tests.support.playback import frames

AS_PQ = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
SMALL = make_video_rendition(id="avc-180p", width_px=320, height_px=180, average_bps=400_000, level="3.0")


def test_each_size_is_scaled_once_from_the_smallest_half_that_is_not_smaller() -> None:
    argv = command(LADDER[::-1])

    assert Counter(sizes(filters_named(argv, "zscale"))) == Counter(["1920:1080", "1280:720", "960:540", "640:360"])
    assert sizes(filters_before(argv, "avc-360p")) == ["960:540", "640:360"]
    assert sizes(filters_before(argv, "avc-720p")) == ["1280:720"]


def test_an_encoders_input_does_not_depend_on_its_group() -> None:
    together = command()
    for rendition in LADDER:
        alone = filters_before(command([rendition]), rendition.id)
        beside = filters_before(together, rendition.id)
        copies = ("split",)
        assert [(s.name, s.args) for s in alone if s.name not in copies] == [
            (s.name, s.args) for s in beside if s.name not in copies
        ]


def test_each_pixel_format_is_made_once_for_each_size() -> None:
    argv = command()
    ends = {
        rendition.id: [step for step in filters_before(argv, rendition.id) if step.name == "format"]
        for rendition in LADDER
    }

    assert ends["hevc-1080p-6000k"][-1] is not ends["avc-1080p-6000k"][-1]
    assert ends["hevc-1080p-6000k"][-1] == ends["av1-1080p-6000k"][-1]
    assert ends["avc-720p"][-1] == ends["avc-720p-low"][-1]
    for rendition in LADDER:
        assert ends[rendition.id][-1].args == rendition.pixel_format
    # working formats of four sizes, then two, one, one and one formats for encoders
    assert len(filters_named(argv, "format")) == 4 + 5


def test_halved_renditions_take_every_second_frame_and_half_the_gop() -> None:
    half = make_video_rendition(id="half", frame_rate=RATE / 2, rate_divisor=2)
    argv = command((LADDER[0], half))

    way = [(step.name, step.args) for step in filters_before(argv, "half")]
    assert way[way.index(("framestep", "2")) + 1] == ("fps", "12/1:eof_action=pass")
    assert not [step for step in filters_before(argv, LADDER[0].id) if step.name == "framestep"]
    assert options_of(argv, "half")["-g"] == str(GRID.gop_frames // 2)
    assert options_of(argv, LADDER[0].id)["-g"] == str(GRID.gop_frames)
    assert options_of(argv, "half")["-video_track_timescale"] == "24000"


@pytest.mark.parametrize("colour", [HDR10, HLG], ids=["PQ", "HLG"])
def test_sdr_of_an_hdr_master_is_tone_mapped_once_for_each_half_and_hdr_is_not(colour: object) -> None:
    track = hdr_track(colour)
    small = make_video_rendition(id="small", width_px=640, height_px=360)
    hdr = make_video_rendition(codec=Codec.HEVC, video_range=track.video_range)
    smaller = make_video_rendition(id="smaller", width_px=512, height_px=288)
    argv = command((LADDER[0], small, smaller, hdr), track=track)

    assert len(filters_named(argv, "tonemap")) == 2
    for rendition in (LADDER[0], small):
        assert [step.name for step in filters_before(argv, rendition.id)].count("tonemap") == 1
    assert "tonemap" not in [step.name for step in filters_before(argv, hdr.id)]
    assert not [step for step in filters_before(argv, hdr.id) if "transfer" in step.args]


def test_an_sdr_master_is_not_tone_mapped() -> None:
    assert not filters_named(command(), "tonemap")


def test_mid_grey_of_a_pq_master_stays_mid_grey_in_sdr(tmp_path: Path) -> None:
    # PQ code 0.58 is 203 cd/m², diffuse white (ITU-R BT.2408, table 1); 10 bits, limited range: 64 + 0.58 × 876.
    grey = "format=yuv420p10le,geq=lum=572:cb=512:cr=512"
    film = probe_film(
        make_film(
            tmp_path / "pq.mkv", frame_count=3, filters=f"{grey},{AS_PQ}", codec="ffv1", pixel_format="yuv420p10le"
        )
    )
    assert film.probe.video is not None
    assert film.probe.video.video_range is VideoRange.PQ

    outputs = encode_chunk(film, film.chunks[0], (SMALL,), tmp_path / "out")["avc-180p"]

    shown = list(frames(outputs))
    assert {(int(frame.color_trc), int(frame.color_primaries), int(frame.colorspace)) for frame in shown} == {(1, 1, 1)}
    assert 180 < mean_luma(outputs) <= 236
