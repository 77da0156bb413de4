"""Colour and dynamic range: what the master means is what every rendition says and shows."""

from fractions import Fraction
from pathlib import Path

import pytest

from encoder import probing
from headend.media import ContentLight, VideoRange, VideoTrack
from headend.settings import StoreSettings
from ladders import loading
from packager import dash, hls
from packager.conformance import verify
from tests.support.jobs import Published, submit_small
from tests.support.masters import make_film, master_of
from tests.support.playback import frame_numbers, track_bytes

PQ_PARAMETERS = (
    "hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=error:"
    "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
)


@pytest.fixture(scope="module")
def hdr(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Published:
    folder = tmp_path_factory.mktemp("hdr")
    master = make_film(
        folder / "master.mov",
        frame_rate=Fraction(24),
        frame_count=40,
        size=(1280, 720),
        codec="libx265",
        codec_args=("-preset", "ultrafast", "-crf", "16", "-x265-params", PQ_PARAMETERS, "-tag:v", "hvc1"),
        pixel_format="yuv420p10le",
    )
    return submit_small(master, StoreSettings(str(folder / "store")), scheduler, ladder=str(small_ladder(folder)))


def small_ladder(folder: Path) -> Path:
    """The smoke ladder with a rung of HDR in each codec that can carry it."""
    text = (Path(loading.__file__).parent / "presets" / "smoke.toml").read_text()
    rungs = "".join(
        f'    {{ codec = "{codec}", width_px = {width}, height_px = {height}, average_kbps = {kbps}, '
        f'cap_kbps = {kbps * 3 // 2}, buffer_kb = {2 * kbps}, crf = {crf}, range = "hdr" }},\n'
        for codec, crf in (("hevc", "28.0"), ("av1", "42.0"))
        for width, height, kbps in ((160, 90, 60), (320, 180, 200))
    )
    path = folder / "ladder.toml"
    path.write_text(text.replace("\n]\naudio", f"\n{rungs}]\naudio"))
    return path


def probed(published: Published, rendition: str, folder: Path) -> VideoTrack:
    track = next(t for t in published.outcome.presentation.video if t.rendition.id == rendition)
    path = folder / f"{rendition}.mp4"
    path.write_bytes(track_bytes(published.store, published.outcome.presentation, track))
    found = probing.probe(master_of(path), str(path)).video
    assert found is not None
    return found


def test_hdr10_keeps_its_metadata_in_every_codec_that_carries_it(hdr: Published, tmp_path: Path) -> None:
    ranged = [r for r in hdr.outcome.plan.video if r.video_range is VideoRange.PQ]
    assert {r.codec.value for r in ranged} == {"hevc", "av1"}
    for rendition in ranged:
        track = probed(hdr, rendition.id, tmp_path)
        assert (track.colour.primaries, track.colour.transfer, track.colour.matrix) == (
            "bt2020",
            "smpte2084",
            "bt2020nc",
        )
        assert track.content_light == ContentLight(1000, 400), rendition.id
        assert track.mastering_display is not None, rendition.id
        assert round(track.mastering_display.max_nits) == 1000
        assert track.mastering_display.red_xy == pytest.approx((0.68, 0.32), abs=0.001)


def test_sdr_renditions_of_an_hdr_master_are_tone_mapped_and_say_bt709(hdr: Published, tmp_path: Path) -> None:
    for rendition in hdr.outcome.plan.video:
        if rendition.video_range is VideoRange.SDR:
            track = probed(hdr, rendition.id, tmp_path)
            assert (track.colour.primaries, track.colour.transfer) == ("bt709", "bt709"), rendition.id
            assert track.content_light is None


def test_both_manifests_tell_the_range(hdr: Published) -> None:
    text = hls.multivariant(hdr.outcome.presentation)
    assert "VIDEO-RANGE=PQ" in text
    assert "VIDEO-RANGE=SDR" in text
    mpd = dash.mpd(hdr.outcome.presentation).decode()
    assert 'schemeIdUri="urn:mpeg:mpegB:cicp:TransferCharacteristics" value="16"' in mpd
    assert verify(hdr.store, "film").findings == ()


def test_frames_of_an_hdr_master_are_all_there(hdr: Published) -> None:
    for track in hdr.outcome.presentation.video:
        assert frame_numbers(track_bytes(hdr.store, hdr.outcome.presentation, track)) == list(range(40))
