"""Each codec at each effort: sync frames exactly on the grid, and one init segment for all chunks."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from encoder.families import AUDIO, VIDEO
from headend.core import boxes
from headend.core.codecs.base import Style
from headend.core.media import Codec, ContentLight, Effort, MasteringDisplay, VideoRange, VideoRendition
from packager.fragments import read_fragments
from packager.segmenting.cut import Cut
from packager.segmenting.video import cut_video
from tests.support.encodes import Film, encode_chunk, probe_film
from tests.support.makers import BT709, HDR10, TEXT_CODECS, make_audio_rendition, make_video_rendition
from tests.support.masters import run_ffmpeg

SIZE = (160, 90)
COUNT = 48
CODECS = (Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9)
LEVELS = {Codec.AVC: "1.2", Codec.HEVC: "2.0", Codec.AV1: "2.0", Codec.VP9: "1.0"}
STYLE = Style(Effort.DRAFT, gop_frames=48, colour=BT709)


def rendition_of(codec: Codec) -> VideoRendition:
    return make_video_rendition(
        id=codec.value, codec=codec, width_px=SIZE[0], height_px=SIZE[1], average_bps=200_000, crf=35.0,
        level=LEVELS[codec],
    )  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Make a chunk of plain grey and a chunk of hard noise with a cut in the middle of every GOP."""
    path = tmp_path_factory.mktemp("families") / "film.mkv"
    flat = f"color=gray:size={SIZE[0]}x{SIZE[1]}:rate=24:duration=2"
    noise = f"nullsrc=size={SIZE[0]}x{SIZE[1]}:rate=24:duration=2"
    cuts = "geq=lum='if(lt(mod(N,24),9),random(1)*255,255-40*mod(N,3))':cb=128+60*sin(N):cr=128"
    run_ffmpeg(
        "-f", "lavfi", "-i", flat, "-f", "lavfi", "-i", noise,
        "-filter_complex", f"[0:v]format=yuv420p[flat];[1:v]format=yuv420p,{cuts}[noise];[flat][noise]concat",
        "-c:v", "ffv1", str(path),
    )  # fmt: skip
    return probe_film(path, segment_s=Fraction(1), chunk_s=Fraction(2))


def cuts_of(film: Film, renditions: Sequence[VideoRendition], effort: Effort, scratch: Path) -> dict[str, list[Cut]]:
    cuts: dict[str, list[Cut]] = {rendition.id: [] for rendition in renditions}
    for chunk in film.chunks:
        files = encode_chunk(film, chunk, renditions, scratch / str(chunk.number), effort=effort)
        for rendition, data in files.items():
            assert_gops(data, film)
            cuts[rendition].append(
                cut_video(memoryview(bytearray(data)), rendition=rendition, grid=film.grid, chunk=chunk, rate_divisor=1)
            )
    return cuts


def assert_gops(data: bytes, film: Film) -> None:
    gops = list(read_fragments(data))
    assert [len(gop.samples) for gop in gops] == [film.grid.gop_frames] * 2
    for gop in gops:
        assert [number for number, sample in enumerate(gop.samples) if sample.sync] == [0]
    assert len(list(boxes.find_all(data, "moov/trak"))) == 1


@pytest.mark.parametrize("effort", Effort)
def test_chunks_of_very_different_content_share_their_init_segment_and_the_grid(
    effort: Effort, film: Film, tmp_path: Path
) -> None:
    assert [chunk.frame_count for chunk in film.chunks] == [COUNT, COUNT]

    cuts = cuts_of(film, [rendition_of(codec) for codec in CODECS], effort, tmp_path)

    for codec, (flat, noisy) in cuts.items():
        assert flat.init == noisy.init, codec
        assert noisy.track.average_bps > 2 * flat.track.average_bps, codec
        ends = [cut.track.segments[-1].start_ticks + cut.track.segments[-1].duration_ticks for cut in (flat, noisy)]
        assert ends[0] == noisy.track.segments[0].start_ticks, codec
        assert ends[1] == film.grid.frame_count * 1000, codec


@pytest.mark.parametrize(
    ("codec", "entry"), [(Codec.AVC, "avc1"), (Codec.HEVC, "hvc1"), (Codec.AV1, "av01"), (Codec.VP9, "vp09")]
)
def test_sample_entries_are_those_that_players_take(codec: Codec, entry: str, film: Film, tmp_path: Path) -> None:
    data = encode_chunk(film, film.chunks[0], [rendition_of(codec)], tmp_path / "out")[codec.value]

    assert boxes.sample_entry(data).kind == entry


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("effort", Effort)
def test_the_peak_is_bounded_and_one_core_is_used(codec: Codec, effort: Effort) -> None:
    rendition = rendition_of(codec)
    options = VIDEO[codec](rendition, replace(STYLE, effort=effort))

    assert options["maxrate"] == rendition.cap_bps
    assert options["bufsize"] == rendition.buffer_bits
    assert options["crf"] == rendition.crf
    assert options.get("threads") == 1 or "lp=1" in str(options["svtav1-params"])


def test_each_effort_has_its_own_preset() -> None:
    for codec in CODECS:
        chosen = [VIDEO[codec](rendition_of(codec), replace(STYLE, effort=effort)) for effort in Effort]
        assert len({str(options) for options in chosen}) == len(Effort), codec


def test_hdr10_metadata_goes_with_pq_only() -> None:
    point = (Fraction(1, 3), Fraction(1, 3))
    style = replace(
        STYLE,
        colour=HDR10,
        mastering_display=MasteringDisplay(point, point, point, point, Fraction(1, 10_000), Fraction(1000)),
        content_light=ContentLight(1000, 400),
    )
    pq = VIDEO[Codec.HEVC](replace(rendition_of(Codec.HEVC), video_range=VideoRange.PQ), style)
    hlg = VIDEO[Codec.HEVC](replace(rendition_of(Codec.HEVC), video_range=VideoRange.HLG), style)

    assert "hdr10=1" in str(pq["x265-params"])
    assert "max-cll=1000,400" in str(pq["x265-params"])
    assert "hdr10" not in str(hlg["x265-params"])


@pytest.mark.parametrize(("width_px", "columns"), [(160, 0), (640, 0), (1024, 1), (1920, 1), (3840, 2), (7680, 3)])
def test_vp9_tiles_are_never_narrower_than_256_pixels(width_px: int, columns: int) -> None:
    options = VIDEO[Codec.VP9](make_video_rendition(codec=Codec.VP9, width_px=width_px), STYLE)

    assert options["tile-columns"] == columns
    assert width_px >> columns >= 256 or columns == 0


def test_surround_opus_names_its_channels() -> None:
    assert AUDIO[Codec.OPUS](make_audio_rendition(codec=Codec.OPUS, layout="5.1"))["mapping_family"] == 1
    assert "mapping_family" not in AUDIO[Codec.OPUS](make_audio_rendition(codec=Codec.OPUS))


def test_every_codec_of_pictures_and_sound_has_a_family() -> None:
    assert VIDEO.keys() | AUDIO.keys() | TEXT_CODECS == set(Codec)
