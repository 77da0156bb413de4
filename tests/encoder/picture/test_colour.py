"""Interpretation of a master's colours, and the brightness and saturation of its renditions."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from encoder import probing
from encoder.picture.colour import check, complete_colour, describe, has_alpha, is_wide, light_of, peak_nits
from encoder.planning import checked_picture
from encoder.probing.picture import orientation
from headend.core.errors import MasterError
from headend.core.media import Colour, ContentLight, DolbyVision, Light, MasteringDisplay, VideoRange
from tests.support.colours import codes_of, signal_of
from tests.support.encodes import encode_chunk, probe_film
from tests.support.hard_masters import DISPLAY_P3, PQ
from tests.support.makers import BT709, make_master, make_probe, make_video_rendition, make_video_track
from tests.support.masters import encode_pictures, make_film, master_of, run_ffmpeg, with_dolby_vision
from tests.support.playback import frames, luma_of

SIZE = (160, 90)
RENDITION = make_video_rendition(id="avc", width_px=160, height_px=90, average_bps=600_000, level="3.0", crf=10)


def lumas(path: Path, columns: int) -> list[float]:
    """Mean luma of each column of a film's first rendition in H.264."""
    film = probe_film(path)
    outputs = encode_chunk(film, film.chunks[0], [RENDITION], path.parent / "out")
    luma = luma_of(next(frames(outputs["avc"])))
    step = luma.shape[1] / columns
    return [float(luma[20:70, round((n + 0.3) * step) : round((n + 0.7) * step)].mean()) for n in range(columns)]


# --- grey ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixel_format", "codec", "suffix"),
    [
        ("gray", "rawvideo", ".avi"), ("gray", "ffv1", ".mkv"), ("gray10le", "ffv1", ".mkv"),
        ("gray16le", "ffv1", ".mkv"), ("ya8", "ffv1", ".mkv"), ("gray", "png", ".mov"),
    ],
)  # fmt: skip
def test_grey_has_full_range_unless_it_states_otherwise(
    pixel_format: str, codec: str, suffix: str, tmp_path: Path
) -> None:
    steps = np.array([0, 64, 128, 255], np.uint8)
    picture = np.repeat(np.repeat(steps, SIZE[0] // 4)[None, :], SIZE[1], 0)
    path = tmp_path / f"grey{suffix}"
    run_ffmpeg(
        "-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", "25", "-i", "pipe:0",
        "-pix_fmt", pixel_format, "-c:v", codec, str(path), stdin=picture.tobytes() * 25,
    )  # fmt: skip
    track = probing.probe(master_of(path), str(path)).video
    assert track is not None and track.pixel_format.startswith(("gray", "ya"))
    assert complete_colour(track)[0].range == "pc"
    assert lumas(path, 4) == pytest.approx([16 + step * 219 / 255 for step in (0, 64, 128, 255)], abs=1.5)


def test_grey_that_states_limited_range_has_it() -> None:
    track = make_video_track(pixel_format="gray", colour=replace(BT709, range="tv"))
    assert complete_colour(track) == (replace(BT709, range="tv"), ())
    open_range = replace(track, colour=replace(BT709, range="unknown"))
    assert complete_colour(open_range) == (
        replace(BT709, range="pc"), ("grey without a stated range → taken as full range",),
    )  # fmt: skip


# --- HDR ----------------------------------------------------------------------------------------------------------

DISPLAY = MasteringDisplay(*[(Fraction(1, 3), Fraction(1, 3))] * 4, Fraction(1, 1000), Fraction(4000))


@pytest.mark.parametrize(
    ("light", "peak"),
    [
        (Light(PQ), 1000),
        (Light(PQ, DISPLAY), 4000),
        (Light(PQ, DISPLAY, ContentLight(1600, 400)), 1600),
        (Light(PQ, DISPLAY, ContentLight(0, 400)), 4000),
        (Light(PQ, None, ContentLight(90, 40)), 203),
        (Light(PQ, None, ContentLight(65535, 40)), 10_000),
        (Light(replace(PQ, transfer="arib-std-b67"), DISPLAY), 1000),
    ],
)
def test_the_peak_is_the_masters_stated_one(light: Light, peak: int) -> None:
    assert peak_nits(light) == peak


def make_bright(path: Path, nits: Sequence[float], *, max_cll: int, frame_cll: int | None = None) -> Path:
    """Make PQ with columns of grey and light levels; ``frame_cll`` states other levels from frame 12 on."""
    grey = signal_of(np.repeat(np.array(nits)[:, None] / 203, 3, axis=1), PQ)
    codes = np.rint(codes_of(grey, PQ, 10)).astype("<u2")
    columns = np.repeat(codes, SIZE[0] // len(nits), axis=0)
    plane = lambda n, step: np.repeat(columns[None, ::step, n], SIZE[1] // step, 0).tobytes()  # noqa: E731
    picture = plane(0, 1) + plane(1, 2) + plane(2, 2)
    says = "hdr10=1:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=error:bframes=0:keyint=12"
    parts = []
    for number, cll in enumerate((max_cll, max_cll if frame_cll is None else frame_cll)):
        part = path.with_name(f"part{number}.hevc")
        encode_pictures(
            part, picture * 12, size=SIZE, frame_rate=Fraction(24), sound_s=Fraction(1), codec="libx265",
            codec_args=("-preset", "ultrafast", "-crf", "6", "-x265-params", f"{says}:max-cll={cll},100"),
            pixel_format="yuv420p10le", raw_format="yuv420p10le", output_args=("-f", "hevc"),
        )  # fmt: skip
        parts.append(part.read_bytes())
    joined = path.with_name("joined.hevc")
    joined.write_bytes(b"".join(parts))
    run_ffmpeg("-r", "24", "-i", str(joined), "-c", "copy", "-tag:v", "hvc1", str(path))
    return path


def test_the_masters_stated_peak_becomes_white(tmp_path: Path) -> None:
    white, reference, mid, black = lumas(make_bright(tmp_path / "film.mp4", (1000, 203, 40, 0), max_cll=1000), 4)
    assert white == pytest.approx(235, abs=1)
    assert black == pytest.approx(16, abs=1)
    assert mid < reference < white - 10


def test_metadata_of_single_frames_is_ignored(tmp_path: Path) -> None:
    film = probe_film(make_bright(tmp_path / "film.mp4", (1000, 203, 40, 0), max_cll=1000, frame_cll=4000))
    outputs = encode_chunk(film, film.chunks[0], [RENDITION], tmp_path / "out")
    means = [luma_of(frame)[20:70, 10:30].mean() for frame in frames(outputs["avc"])]
    assert len(means) == 24
    assert max(means) - min(means) < 1


# --- gamut, transparency, Dolby Vision ----------------------------------------------------------------------------


def test_eight_bits_of_a_wide_gamut_are_bt709_and_ten_keep_it() -> None:
    light = Light(DISPLAY_P3)
    assert is_wide(DISPLAY_P3) and not is_wide(BT709) and not is_wide(PQ)
    assert light_of(VideoRange.SDR, light, bit_depth=8).colour == BT709
    assert light_of(VideoRange.SDR, light, bit_depth=10).colour == DISPLAY_P3


@pytest.mark.parametrize(
    ("name", "transparent"),
    [
        ("yuva420p", True), ("yuva444p12le", True), ("rgba", True), ("gbrap10le", True), ("ya8", True),
        ("yuv420p", False), ("gbrp", False), ("yuyv422", False), ("gray", False),
    ],
)  # fmt: skip
def test_transparency_is_reported(name: str, transparent: bool) -> None:
    assert has_alpha(name) == transparent
    line = f"picture has transparency ({name}) → dropped; all pixels are shown opaque"
    assert list(describe(make_video_track(pixel_format=name), BT709)) == [line] * transparent


@pytest.mark.parametrize(
    ("profile", "suffix"), [(5, ".mp4"), (5, ".mov"), (5, ".mkv"), (10, ".mp4"), (10, ".mkv"), (20, ".mov")]
)
def test_profiles_that_only_dolby_vision_can_show_are_refused(profile: int, suffix: str, tmp_path: Path) -> None:
    own = suffix in (".mp4", ".mov")
    film = make_film(
        tmp_path / f"film{suffix if own else '.mp4'}", size=SIZE, codec="libx265", pixel_format="yuv420p10le"
    )
    path = with_dolby_vision(film, profile, 0)
    if not own:
        path = tmp_path / f"master{suffix}"
        run_ffmpeg("-i", str(film), "-c", "copy", "-strict", "unofficial", str(path))
    probe = probing.probe(master_of(path), str(path))
    assert probe.video is not None and probe.video.dolby_vision == DolbyVision(profile, 0)
    with pytest.raises(MasterError, match=rf"Dolby Vision profile {profile}.* deliver profile 8\.1, HDR10 or SDR"):
        checked_picture(probe)


@pytest.mark.parametrize(
    ("dolby", "base"),
    [
        (DolbyVision(7, 6), "profile 7 → its base layer (HDR10 of a disc)"),
        (DolbyVision(8, 1), "profile 8.1 → its base layer (HDR10)"),
        (DolbyVision(8, 2), "profile 8.2 → its base layer (SDR)"),
        (DolbyVision(8, 4), "profile 8.4 → its base layer (HLG)"),
        (DolbyVision(10, 1), "profile 10.1 → its base layer (HDR10)"),
        (DolbyVision(7, 0), "profile 7 → its base layer (as tagged)"),
    ],
)
def test_the_base_layer_of_other_profiles_is_used_and_reported(dolby: DolbyVision, base: str) -> None:
    track = make_video_track(dolby_vision=dolby)
    check(make_master(), track)
    assert any(base in line for line in describe(track, track.colour))


def test_dolby_vision_without_a_base_layer_id_needs_tags() -> None:
    silent = make_video_track(dolby_vision=DolbyVision(0, 0), colour=Colour())
    with pytest.raises(MasterError, match="Dolby Vision"):
        checked_picture(make_probe(video=silent))
    assert checked_picture(make_probe(video=replace(silent, colour=PQ))).colour == PQ


# --- orientation --------------------------------------------------------------------------------------------------

ONE = 1 << 16


@pytest.mark.parametrize(
    ("matrix", "turned", "mirrored"),
    [
        ((ONE, 0, 0, ONE), 0, False), ((0, ONE, -ONE, 0), 90, False), ((-ONE, 0, 0, -ONE), 180, False),
        ((0, -ONE, ONE, 0), 270, False), ((-ONE, 0, 0, ONE), 0, True), ((ONE, 0, 0, -ONE), 180, True),
        ((0, ONE, ONE, 0), 270, True), ((0, -ONE, -ONE, 0), 90, True),
    ],
)  # fmt: skip
def test_a_display_matrix_turns_and_mirrors(matrix: tuple[int, ...], turned: int, mirrored: bool) -> None:
    a, b, c, d = matrix
    data = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32).tobytes()
    assert orientation(data) == (turned, mirrored)


def test_no_matrix_leaves_the_picture_as_it_is() -> None:
    assert orientation(None) == orientation(b"") == (0, False)
