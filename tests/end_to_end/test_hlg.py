"""Hybrid Log-Gamma is signalled in the bitstream, in the init segment and in both manifests."""

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest

from headend.app.verifying import verify
from headend.core import boxes, layout
from headend.core.media import Codec, VideoRange
from headend.core.settings import StoreSettings
from ladders.ladder import Ladder, RungRange
from ladders.loading import load
from tests.support.jobs import Published, submit_small
from tests.support.masters import make_film, run_ffmpeg
from tests.support.playback import frame_numbers, track_bytes

FRAMES = 60
DISPLAY = "G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,10)"
PARAMETERS = (
    "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc:log-level=error:"
    f"master-display={DISPLAY}:max-cll=900,300"
)


def hlg_ladder() -> Ladder:
    """Return one size of each: HLG in HEVC and AV1, SDR in H.264."""
    smoke = load("smoke")
    return replace(
        smoke,
        video=(
            *(rung for rung in smoke.video if rung.codec is Codec.AVC),
            *(
                replace(rung, range=RungRange.HDR)
                for rung in smoke.video
                if rung.codec in (Codec.HEVC, Codec.AV1) and rung.height_px == 90
            ),
        ),
    )


@pytest.fixture(scope="module")
def hlg(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Published:
    folder = tmp_path_factory.mktemp("hlg")
    master = make_film(
        folder / "master.mov",
        frame_rate=Fraction(25),
        frame_count=FRAMES,
        size=(320, 180),
        codec="libx265",
        codec_args=("-preset", "ultrafast", "-crf", "14", "-x265-params", PARAMETERS, "-tag:v", "hvc1"),
        pixel_format="yuv420p10le",
    )
    return submit_small(master, StoreSettings(str(folder / "store")), scheduler, ladder=hlg_ladder())


def test_every_rendition_has_the_planned_dynamic_range(hlg: Published) -> None:
    light = hlg.outcome.plan.light
    assert light is not None and light.mastering_display is not None and light.content_light is not None
    assert (light.colour.transfer, light.content_light.max_cll_nits) == ("arib-std-b67", 900)
    verdict = verify(hlg.store, "film", deep=True)
    assert verdict.findings == ()


@pytest.mark.parametrize("codec", [Codec.HEVC, Codec.AV1])
def test_bitstream_and_box_state_hlg_in_every_chunk(codec: Codec, hlg: Published, tmp_path: Path) -> None:
    presentation = hlg.outcome.presentation
    (track,) = (track for track in presentation.video if track.rendition.codec is codec)
    assert track.rendition.video_range is VideoRange.HLG
    assert track.rendition.pixel_format == "yuv420p10le"
    init = hlg.store.get(layout.track_init(presentation.title, track.id))
    colr = boxes.entry_box(init, "colr")
    assert colr is not None
    assert struct.unpack_from(">4sHHHB", init, colr.body) == (b"nclx", 9, 18, 9, 0)
    assert len(hlg.outcome.plan.grid.chunks()) == 3
    for segment in track.segments:
        film, bare = tmp_path / f"{segment.number}.mp4", tmp_path / f"{segment.number}.obu"
        key = layout.track_segment(presentation.title, track.id, segment.number)
        film.write_bytes(init + hlg.store.get(key))
        # Without the container, only the bitstream can signal it.
        form = "hevc" if codec is Codec.HEVC else "obu"
        run_ffmpeg("-i", str(film), "-c", "copy", "-f", form, str(bare))
        with av.open(str(bare), format=form) as container:
            frame = next(container.decode(video=0))
            assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, 18, 9)
            assert "MASTERING_DISPLAY_METADATA" in frame.side_data and "CONTENT_LIGHT_LEVEL" in frame.side_data


def test_both_manifests_state_hlg(hlg: Published) -> None:
    presentation = hlg.outcome.presentation
    text = hlg.store.get(layout.multivariant(presentation.title, presentation.release)).decode()
    for line in text.splitlines():
        if line.startswith(("#EXT-X-STREAM-INF", "#EXT-X-I-FRAME-STREAM-INF")):
            assert f"VIDEO-RANGE={'SDR' if 'avc1' in line else 'HLG'}" in line
    mpd = hlg.store.get(layout.mpd(presentation.title, presentation.release)).decode()
    for name, value in (("ColourPrimaries", 9), ("TransferCharacteristics", 18), ("MatrixCoefficients", 9)):
        assert f'schemeIdUri="urn:mpeg:mpegB:cicp:{name}" value="{value}"' in mpd


def test_no_frame_of_the_master_is_lost(hlg: Published) -> None:
    for track in hlg.outcome.presentation.video:
        numbers = frame_numbers(track_bytes(hlg.store, hlg.outcome.presentation, track))
        assert numbers == list(range(0, FRAMES, track.rendition.rate_divisor)), track.rendition.id
