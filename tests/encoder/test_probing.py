import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.probing import STANDARD_RATES, frame_rate, indexing, opening, probe, probe_sound
from headend.core.errors import MasterError
from headend.core.media import Colour, ContentLight, FieldOrder, MasteringDisplay, Probe, VideoRange, VideoTrack
from tests.support.byte_counter import serve_counted
from tests.support.damage import skip_frames
from tests.support.marks import repeated
from tests.support.masters import Sound, decoded_times_s, make_film, make_sound, master_of, rewrap, run_ffmpeg

RATES = [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001)]
CONTAINERS = [".mp4", ".mov", ".mkv", ".ts"]
OPEN_GOP = ("-g", "12", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0:b-pyramid=normal")


def look(path: Path) -> Probe:
    return probe(master_of(path), str(path))


def picture(path: Path) -> VideoTrack:
    track = look(path).video
    assert track is not None
    return track


def shown_s(track: VideoTrack) -> tuple[Fraction, ...]:
    return tuple(ticks * track.time_base for ticks in track.frames.pts_ticks)


# --- frames and their times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", CONTAINERS)
@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{float(rate):.3f}")
def test_rate_and_frames_are_exact_in_every_container(tmp_path: Path, rate: Fraction, suffix: str) -> None:
    film = make_film(tmp_path / f"film{suffix}", frame_rate=rate, frame_count=45, size=(160, 90))
    track = picture(film)

    assert (track.frame_rate, track.constant_rate, track.frame_count) == (rate, True, 45)
    assert shown_s(track) == decoded_times_s(film)
    assert track.frames.origin == ("container index" if suffix in {".mp4", ".mov"} else "packets")


FILMS: dict[str, Callable[[Path], Path]] = {
    "long_gop": lambda d: make_film(d / "film.mp4", codec_args=("-g", "250", "-bf", "0"), frame_count=60),
    "b_pyramid": lambda d: make_film(d / "film.mp4", codec_args=("-bf", "8", "-x264-params", "b-pyramid=normal")),
    "open_gop": lambda d: make_film(d / "film.mp4", codec_args=OPEN_GOP),
    "open_gop_ts": lambda d: make_film(d / "film.ts", codec_args=OPEN_GOP),
    "prores": lambda d: make_film(d / "film.mov", codec="prores_ks", pixel_format="yuv422p10le", frame_count=10),
    "ffv1": lambda d: make_film(d / "film.nut", codec="ffv1", frame_count=10),
    "y4m": lambda d: make_film(d / "film.y4m", codec="wrapped_avframe", frame_count=10),
    "mxf": lambda d: make_film(d / "film.mxf", codec="mpeg2video", codec_args=("-bf", "2", "-b:v", "4M")),
    "mpeg_ps": lambda d: make_film(d / "film.mpg", codec="mpeg2video", codec_args=("-bf", "2", "-b:v", "4M")),
    "avi_b_frames": lambda d: make_film(d / "film.avi", codec="mpeg4", codec_args=("-bf", "2")),
    "avi_odd_rate": lambda d: rewrap(d / "film.avi", make_film(d / "film.mp4")),
    "hevc": lambda d: make_film(d / "film.mp4", codec="libx265", frame_count=30),
    "fragments": lambda d: make_film(
        d / "film.mp4", codec_args=("-g", "12"), output_args=("-movflags", "frag_keyframe")
    ),
    "fragments_only": lambda d: make_film(
        d / "film.mp4", codec_args=("-g", "12"), output_args=("-movflags", "frag_keyframe+empty_moov")
    ),
    "segment_index": lambda d: make_film(d / "film.mp4", codec_args=("-g", "12"), output_args=("-movflags", "dash")),
    "late_start": lambda d: make_film(d / "film.mov", start_s=Fraction(1, 2)),
    "cut_in_gop": lambda d: cut(make_film(d / "film.mp4", codec_args=("-g", "24", "-bf", "3")), "1.3"),
    "cut_both_ends": lambda d: cut(make_film(d / "film.mp4", codec_args=("-g", "24", "-bf", "3")), "0.7", "-t", "0.8"),
    "cut_at_the_end": lambda d: rewrap(d / "cut.mp4", make_film(d / "film.mp4", codec_args=OPEN_GOP), "-t", "0.84"),
    "cut_open_gop": lambda d: cut(make_film(d / "film.mp4", codec_args=OPEN_GOP), "1.1"),
    "cut_open_gop_hevc": lambda d: cut(open_gop_hevc(d / "film.mp4"), "1.1"),
    "cut_intra": lambda d: cut(
        make_film(d / "film.mov", codec="prores_ks", pixel_format="yuv422p10le", frame_count=10), "0.2"
    ),
    "moved": lambda d: rewrap(d / "moved.mp4", make_film(d / "film.mp4"), input_args=("-itsoffset", "0.3")),
    "begins_in_gop": lambda d: behead(make_film(d / "film.ts", codec_args=OPEN_GOP)),
    "begins_in_gop_hevc": lambda d: behead(open_gop_hevc(d / "film.ts")),
    "one_frame": lambda d: make_film(d / "film.mp4", frame_count=1),
    "variable": lambda d: make_film(d / "film.mp4", filters="select='not(between(mod(n,10),4,6))'"),
}


def cut(film: Path, start_s: str, *output_args: str) -> Path:
    """Cut without encoding: an edit list hides the frames after the keyframe."""
    return rewrap(film.with_stem("cut"), film, *output_args, input_args=("-ss", start_s))


def behead(film: Path) -> Path:
    film.write_bytes(film.read_bytes()[188 * 100 :])
    return film


def open_gop_hevc(path: Path) -> Path:
    params = "log-level=none:open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"
    return make_film(path, codec="libx265", codec_args=("-x265-params", params))


@pytest.mark.parametrize("kind", FILMS)
def test_the_frame_index_equals_the_frames_of_the_encoders_decoder(tmp_path: Path, kind: str) -> None:
    film = FILMS[kind](tmp_path)

    assert shown_s(picture(film)) == decoded_times_s(film)


@pytest.mark.parametrize(("suffix", "codec"), [(".avi", "rawvideo"), (".mov", "qtrle")])
def test_a_picture_with_a_palette_is_decoded_from_its_start(tmp_path: Path, suffix: str, codec: str) -> None:
    palette = {"rawvideo": "pal8", "qtrle": "rgb24"}[codec]
    track = picture(make_film(tmp_path / f"film{suffix}", codec=codec, pixel_format=palette, size=(64, 48)))

    assert (track.frames.keyframes == (0,)) is (track.pixel_format == "pal8")


def test_h264_in_mxf_without_presentation_times_is_counted(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mxf", codec_args=("-bf", "2"), size=(64, 48))
    track = picture(film)

    assert track.frames.origin == "count"
    assert shown_s(track) == tuple(number / Fraction(25) for number in range(50))


def test_no_frame_is_lost_if_the_picture_is_not_the_first_stream(tmp_path: Path) -> None:
    tiny = ("-bf", "2", "-b:v", "40k")
    film = make_film(
        tmp_path / "film.vob", codec="mpeg2video", codec_args=tiny, size=(64, 48), noise=0, output_args=("-f", "dvd")
    )
    track = picture(film)

    assert track.index == 1
    assert track.frame_count == 50


@pytest.mark.parametrize("kind", ["begins_in_gop", "begins_in_gop_hevc", "fragments", "mxf", "mpeg_ps"])
def test_only_films_without_times_are_decoded(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "by_decoding", None)

    assert picture(FILMS[kind](tmp_path)).frames.origin == "packets"


def test_keyframes_are_counted_in_display_order_when_packets_are_read(tmp_path: Path) -> None:
    args = ("-g", "12", "-bf", "3", "-sc_threshold", "0")
    track = picture(make_film(tmp_path / "film.mkv", codec_args=args))

    assert track.frames.keyframes == (0, 12, 24, 36, 48)
    assert not track.intra_only


@pytest.mark.parametrize(
    "kind", ["open_gop", "b_pyramid", "hevc", "cut_in_gop", "cut_both_ends", "cut_open_gop", "variable"]
)
def test_an_index_gives_the_same_times_and_keyframes_as_packets(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = FILMS[kind](tmp_path)
    indexed = picture(film).frames
    monkeypatch.setattr(indexing, "by_container_index", lambda *_: None)
    read = picture(film).frames

    assert (indexed.origin, read.origin) == ("container index", "packets")
    assert (indexed.pts_ticks, indexed.keyframes) == (read.pts_ticks, read.keyframes)


def test_the_decoder_wins_if_the_index_has_other_frames(tmp_path: Path) -> None:
    film = skip_frames(make_film(tmp_path / "film.mp4", codec="mpeg4"), [1, 2])

    track = picture(film)

    assert track.frame_count == 48
    assert [pts * track.time_base for pts in track.frames.pts_ticks] == list(decoded_times_s(film))


def test_a_film_of_keyframes_only_is_intra_only(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mov", codec="prores_ks", pixel_format="yuv422p10le", frame_count=10)
    track = picture(film)

    assert track.intra_only
    assert (track.codec, track.profile, track.pixel_format, track.bit_depth) == ("prores", "HQ", "yuv422p10le", 10)


# --- frame rate ---------------------------------------------------------------------------------------------------


def test_milliseconds_of_matroska_count_as_constant() -> None:
    rate = Fraction(24000, 1001)
    pts = [round(1000 * number / rate) for number in range(500)]

    assert frame_rate(pts, Fraction(1, 1000), rate) == (rate, True)


@given(st.sampled_from(STANDARD_RATES), st.integers(2, 300), st.sampled_from([1000, 600, 24000, 90000, 1_000_000]))
def test_every_standard_rate_is_found_again(rate: Fraction, count: int, ticks_per_second: int) -> None:
    pts = [round(ticks_per_second * number / rate) for number in range(count)]

    assert frame_rate(pts, Fraction(1, ticks_per_second), rate) == (rate, True)


def test_a_non_standard_rate_is_measured() -> None:
    assert frame_rate(range(0, 700, 7), Fraction(1, 100), Fraction(25)) == (Fraction(100, 7), True)


def test_frame_times_win_over_the_containers_rate() -> None:
    assert frame_rate(range(0, 1000, 40), Fraction(1, 1000), Fraction(50)) == (Fraction(25), True)


def test_23_98_that_drifts_from_the_standard_rate_keeps_its_own() -> None:
    pts = [number * 50 for number in range(6000)]

    assert frame_rate(pts, Fraction(1, 1199), Fraction(1199, 50)) == (Fraction(1199, 50), True)


@pytest.mark.parametrize("late_ms", [-15, 5, 15])
@pytest.mark.parametrize("place", [0, 60, 124])
def test_one_misplaced_frame_changes_no_rate(late_ms: int, place: int) -> None:
    pts = [40 * number + 20 + (late_ms if number == place else 0) for number in range(125)]

    assert frame_rate(pts, Fraction(1, 1000), Fraction(24975, 1000)) == (Fraction(25), True)


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(24000, 1001), Fraction(30), Fraction(30000, 1001)])
def test_the_declared_rate_wins_a_tie(rate: Fraction) -> None:
    pts = [round(1000 * number / rate) for number in range(30)]

    assert frame_rate(pts, Fraction(1, 1000), Fraction(57, 2), rate) == (rate, True)


def test_film_with_repeated_fields_has_the_frame_rate_of_film() -> None:
    fields = [5 * (number // 2) + 3 * (number % 2) for number in range(240)]
    pts = [round(fields_before * 90_000 * 1001 / 60_000) for fields_before in fields]

    found = frame_rate(pts, Fraction(1, 90_000), Fraction(30), Fraction(30000, 1001), Fraction(24000, 1001))
    assert found == (Fraction(24000, 1001), True)


def test_a_missing_frame_breaks_the_constant_rate_if_ticks_are_as_long_as_frames() -> None:
    # AVI counts frames; FFmpeg leaves one out after the first picture if the sound has priming.
    assert frame_rate([0, *range(2, 51)], Fraction(1, 25), Fraction(25)) == (Fraction(25), False)


def test_a_missing_frame_breaks_the_constant_rate() -> None:
    pts = [40 * (number + (number > 50)) for number in range(100)]

    assert frame_rate(pts, Fraction(1, 1000), Fraction(25)) == (Fraction(25), False)


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_dropped_frames_make_a_variable_rate_that_keeps_its_grid(tmp_path: Path, suffix: str) -> None:
    film = make_film(tmp_path / f"film{suffix}", frame_count=60, filters="select='not(between(mod(n,10),4,6))'")
    track = picture(film)

    assert (track.frame_rate, track.constant_rate, track.frame_count) == (Fraction(25), False, 42)


# --- the picture --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_rotation_is_stated_clockwise(tmp_path: Path, clockwise: int) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=5)
    turned = rewrap(tmp_path / "turned.mp4", film, input_args=("-display_rotation:v:0", str(-clockwise)))
    track = picture(turned)

    assert (track.rotation_deg, track.width_px, track.height_px) == (clockwise, 320, 180)


def test_non_square_pixels_are_detected(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=5, filters="setsar=64/45")

    assert picture(film).sample_aspect_ratio == Fraction(64, 45)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_hdr10_metadata_is_read_completely(tmp_path: Path, suffix: str) -> None:
    params = (
        "log-level=none:hdr10=1:repeat-headers=1:range=limited:chromaloc=2:colorprim=bt2020:transfer=smpte2084:"
        "colormatrix=bt2020nc:max-cll=1000,400:"
        "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    )
    film = make_film(
        tmp_path / f"film{suffix}",
        frame_count=5,
        codec="libx265",
        pixel_format="yuv420p10le",
        codec_args=("-x265-params", params),
    )
    track = picture(film)

    assert track.colour == Colour("bt2020", "smpte2084", "bt2020nc", "tv", "topleft")
    assert track.video_range is VideoRange.PQ
    assert (track.codec, track.profile, track.bit_depth) == ("hevc", "Main 10", 10)
    assert track.content_light == ContentLight(1000, 400)
    assert track.mastering_display == MasteringDisplay(
        red_xy=(Fraction(34000, 50000), Fraction(16000, 50000)),
        green_xy=(Fraction(13250, 50000), Fraction(34500, 50000)),
        blue_xy=(Fraction(7500, 50000), Fraction(3000, 50000)),
        white_xy=(Fraction(15635, 50000), Fraction(16450, 50000)),
        min_nits=Fraction(5, 1000),
        max_nits=Fraction(1000),
    )


def test_a_film_without_hdr_metadata_has_none(tmp_path: Path) -> None:
    track = picture(make_film(tmp_path / "film.mov", codec="prores_ks", pixel_format="yuv422p10le", frame_count=3))

    assert (track.mastering_display, track.content_light) == (None, None)
    assert track.colour.primaries == "unknown"


@pytest.mark.parametrize(("flag", "order"), [("tff", FieldOrder.TOP_FIRST), ("bff", FieldOrder.BOTTOM_FIRST)])
@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        (".mkv", "mpeg2video", "yuv420p"),
        (".ts", "mpeg2video", "yuv420p"),
        (".mp4", "libx264", "yuv420p"),
        (".mov", "prores_ks", "yuv422p10le"),
    ],
)
def test_field_order_is_detected(
    tmp_path: Path, suffix: str, codec: str, pixel_format: str, flag: str, order: FieldOrder
) -> None:
    args = ("-x264-params", f"{flag}=1") if codec == "libx264" else ("-flags", "+ildct+ilme")
    film = make_film(
        tmp_path / f"film{suffix}",
        frame_count=5,
        codec=codec,
        pixel_format=pixel_format,
        filters=f"setfield={flag}",
        codec_args=args,
    )

    assert picture(film).field_order is order


def test_interlaced_frames_win_over_the_containers_flags(tmp_path: Path) -> None:
    film = make_film(
        tmp_path / "film.mxf",
        frame_count=5,
        codec="prores_ks",
        pixel_format="yuv422p10le",
        filters="setfield=tff",
        codec_args=("-flags", "+ildct+ilme"),
    )

    assert picture(film).field_order is FieldOrder.TOP_FIRST


def test_a_progressive_film_is_detected_as_progressive(tmp_path: Path) -> None:
    assert picture(make_film(tmp_path / "film.mp4", frame_count=5)).field_order is FieldOrder.PROGRESSIVE


@pytest.fixture
def cover(tmp_path: Path) -> Path:
    run_ffmpeg("-f", "lavfi", "-i", "color=red:size=64x64", "-frames:v", "1", str(tmp_path / "cover.png"))
    return tmp_path / "cover.png"


def test_cover_art_in_mp4_is_not_the_picture(tmp_path: Path, cover: Path) -> None:
    film, covered = make_film(tmp_path / "film.mp4", frame_count=5), tmp_path / "covered.mp4"
    inputs = ("-i", str(cover), "-i", str(film), "-map", "0", "-map", "1")
    run_ffmpeg(*inputs, "-c", "copy", "-disposition:v:0", "attached_pic", str(covered))
    track = picture(covered)

    assert (track.codec, track.frame_count) == ("h264", 5)


def test_cover_art_in_matroska_is_not_the_picture(tmp_path: Path, cover: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=5)
    art = ("-attach", str(cover), "-metadata:s:t", "mimetype=image/png")
    track = picture(rewrap(tmp_path / "covered.mkv", film, *art))

    assert (track.codec, track.frame_count) == ("h264", 5)


# --- sound and text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_programmes_of_sound_are_listed_in_order(tmp_path: Path, suffix: str) -> None:
    sound = (
        Sound(language="eng", disposition="default"),
        Sound(440, "5.1", "ac3", language="fre"),
        Sound(layout="mono", language="ger", disposition="visual_impaired"),
        Sound(language=""),
    )
    tracks = look(make_film(tmp_path / f"film{suffix}", sound=sound)).audio

    assert [track.language for track in tracks] == ["en", "fr", "de", "und"]
    assert [(track.codec, track.layout, track.channels) for track in tracks] == [
        ("aac", "stereo", 2), ("ac3", "5.1(side)", 6), ("aac", "mono", 1), ("aac", "stereo", 2),
    ]  # fmt: skip
    assert [track.default for track in tracks][:2] == [suffix != ".ts", False]
    assert "visual_impaired" in tracks[2].roles
    assert all(track.sample_rate_hz == 48000 for track in tracks)
    assert all(abs(track.duration_s - 2) < Fraction(1, 10) for track in tracks)


def test_a_late_start_of_sound_is_detected(tmp_path: Path) -> None:
    late = Sound(codec="pcm_s16le", start_s=Fraction(1, 4))
    (track,) = look(make_film(tmp_path / "film.mov", sound=(late,))).audio

    assert (track.start_s, track.duration_s) == (Fraction(1, 4), 2)


def test_titles_and_roles_of_sound_are_read(tmp_path: Path) -> None:
    spoken = Sound(title="Director's commentary", disposition="default+comment+dub")
    (track,) = look(make_film(tmp_path / "film.mkv", sound=(spoken,))).audio

    assert (track.title, track.roles, track.default) == ("Director's commentary", ("comment", "dub"), True)


def test_the_priming_of_aac_is_not_counted(tmp_path: Path) -> None:
    (track,) = look(make_film(tmp_path / "film.mp4", sound=(Sound(),))).audio

    assert track.start_s == 0


def test_text_tracks_are_listed(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", frame_count=10)
    cues = tmp_path / "cues.srt"
    cues.write_text("1\n00:00:00,000 --> 00:00:00,300\nHello\n")
    run_ffmpeg(
        "-i", str(film), "-i", str(cues), "-map", "0", "-map", "1", "-c", "copy", "-metadata:s:s:0", "language=spa",
        "-disposition:s:0", "forced", str(tmp_path / "texted.mkv"),
    )  # fmt: skip
    (track,) = look(tmp_path / "texted.mkv").subtitles

    assert (track.codec, track.language, track.roles) == ("subrip", "es", ("forced",))


# --- unusable masters ---------------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(MasterError) as caught:
        look(path)
    message = str(caught.value)
    assert message.startswith(f"{path} ") or f" {path};" in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["notes.txt", "film.mp4", "film.mov"])
def test_text_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("This is not a film.\n" * 200)

    assert "is not a film that can be read; deliver MOV, MP4" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["still.png", "still.jpg", "still.tif"])
def test_an_image_is_refused(tmp_path: Path, name: str) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=size=64x64:duration=0.04", "-frames:v", "1", str(tmp_path / name))

    assert "is not a film that can be read" in refusal(tmp_path / name)


def test_an_mp4_that_was_never_finished_is_refused(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4")
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])

    assert "has no usable index (moov box)" in refusal(film)


def test_an_mp4_whose_end_is_missing_is_refused(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", output_args=("-movflags", "+faststart"))
    film.write_bytes(film.read_bytes()[:-5000])

    assert "is cut short" in refusal(film)


@pytest.mark.parametrize("suffix", ["mkv", "mxf", "avi", "mp4"])
def test_a_film_whose_end_is_missing_is_refused_though_ffmpeg_reads_the_rest(tmp_path: Path, suffix: str) -> None:
    fragments = ("-movflags", "frag_keyframe") if suffix == "mp4" else ()
    film = make_film(tmp_path / f"film.{suffix}", codec="mpeg2video", output_args=fragments)
    probe(master_of(film), str(film))
    film.write_bytes(film.read_bytes()[:-5000])

    assert "is cut short" in refusal(film)


def test_a_film_that_ends_in_the_index_of_a_fragment_is_refused(tmp_path: Path) -> None:
    fragments = ("-movflags", "frag_keyframe+empty_moov")
    film = make_film(tmp_path / "film.mp4", codec_args=("-g", "25"), output_args=fragments)
    data = film.read_bytes()
    film.write_bytes(data[: data.rindex(b"moof") + 20])

    assert "is cut short" in refusal(film)


@pytest.mark.parametrize("suffix", ["mka", "wav", "w64", "m4a"])
def test_sound_whose_end_is_missing_is_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == "m4a":
        film = make_film(tmp_path / "film.mp4", sound=[Sound()], size=(64, 48))
        sound = rewrap(tmp_path / "sound.m4a", film, "-vn", "-movflags", "+faststart")
    else:
        sound = make_sound(tmp_path / f"sound.{suffix}", sound=(Sound(codec="pcm_s16le"),))
    probe_sound(master_of(sound), str(sound))
    sound.write_bytes(sound.read_bytes()[:-5000])

    with pytest.raises(MasterError, match=r"sound\.\w+ is cut short: \d+ bytes of at least \d+; deliver it again"):
        probe_sound(master_of(sound), str(sound))


@pytest.mark.parametrize("codec", ["libx264", "prores_ks"])
def test_samples_that_ffmpeg_leaves_out_are_refused(tmp_path: Path, codec: str) -> None:
    # FFmpeg writes each fragment before it knows how long its only sample lasts.
    sound = [Sound()] if codec == "libx264" else [Sound(codec="pcm_s16le")]
    live = ("-movflags", "frag_every_frame+empty_moov")
    film = make_film(tmp_path / "film.mov", codec=codec, size=(64, 48), sound=sound, output_args=live)

    with pytest.raises(
        MasterError, match=r"\d+ samples of stream \d have the same time as another, .* longer fragments"
    ):
        look(film)


def test_an_edit_list_that_cuts_fragments_is_refused(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", codec_args=("-g", "24", "-bf", "3"), sound=[Sound()], size=(64, 48))
    fragments = ("-movflags", "frag_keyframe+delay_moov")
    probe(master_of(whole := rewrap(tmp_path / "whole.mp4", film, *fragments)), str(whole))
    late = rewrap(tmp_path / "late.mp4", film, *fragments, input_args=("-ss", "0.7"))

    with pytest.raises(
        MasterError, match=r"edit list of stream 0 leaves out the first 0\.\d+ s, which is not supported"
    ):
        look(late)


def test_an_error_without_a_number_is_not_a_lack_of_permission(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4")

    # As FFmpeg's demuxer of GXF raises it.
    with (
        pytest.raises(MasterError, match="is damaged, or of a kind that FFmpeg can't read to its end"),
        opening.opened(master_of(film), str(film)),
    ):
        raise av.error.PermissionError(1, "Operation not permitted")


def test_pictures_before_time_0_in_matroska_are_refused(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=30, codec_args=("-bf", "0"))
    early = tmp_path / "early.mkv"
    run_ffmpeg("-itsoffset", "-0.4", "-i", str(film), "-c", "copy", "-avoid_negative_ts", "disabled", str(early))

    assert "has no times for its first 10 pictures" in refusal(early)


def test_a_picture_is_cropped_as_the_stream_says_at_all_edges(tmp_path: Path) -> None:
    whole, film = make_film(tmp_path / "whole.mp4", size=(320, 180)), tmp_path / "film.mp4"
    crop = "h264_metadata=crop_left=16:crop_right=8:crop_top=6:crop_bottom=22"
    run_ffmpeg("-i", str(whole), "-c", "copy", "-bsf:v", crop, str(film))
    track = probe(master_of(film), str(film)).video

    assert track is not None
    assert (track.width_px, track.height_px) == (320 - 16 - 8, 192 - 6 - 22)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    assert "has no picture; deliver a file with a video track" in refusal(make_sound(tmp_path / "sound.m4a"))


def test_sound_with_cover_art_is_refused(tmp_path: Path, cover: Path) -> None:
    sound, covered = make_sound(tmp_path / "sound.m4a"), tmp_path / "covered.m4a"
    inputs = ("-i", str(sound), "-i", str(cover), "-map", "0", "-map", "1")
    run_ffmpeg(*inputs, "-c", "copy", "-disposition:v:0", "attached_pic", str(covered))

    assert "has no picture" in refusal(covered)


def test_an_empty_file_and_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mov").touch()

    assert "is not a film that can be read" in refusal(tmp_path / "empty.mov")
    with pytest.raises(MasterError, match=r"there is no file .*missing\.mov; give the path of a film"):
        probe(master_of(tmp_path / "empty.mov", url="missing.mov"), str(tmp_path / "missing.mov"))


def test_a_film_without_frames_is_refused(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", frame_count=25)
    film.write_bytes(film.read_bytes()[:700])

    assert "deliver" in refusal(film)


@pytest.mark.parametrize("name", ["master.m3u8", "master.mp4", "list.ffconcat", "manifest.mpd"])
def test_a_master_that_names_other_files_reaches_none_of_them(tmp_path: Path, name: str) -> None:
    with serve_counted(tmp_path) as server:
        film = make_film(tmp_path / "film.ts", frame_count=5)
        scripts = {
            "list.ffconcat": f"ffconcat version 1.0\nfile '{server.url}/film.ts'\n",
            "manifest.mpd": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
            f"<Period><BaseURL>{server.url}/film.ts</BaseURL></Period></MPD>",
        }
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{server.url}/{film.name}\n#EXT-X-ENDLIST\n"
        (tmp_path / name).write_text(scripts.get(name, playlist))
        refusal(tmp_path / name)

        assert server.requests == []


def test_a_path_that_looks_like_a_protocol_is_opened_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    film = make_film(tmp_path / "concat:a|b.mp4", frame_count=5)

    assert probe(master_of(film), film.name).video is not None


def test_nothing_reaches_standard_error(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", sound=(Sound(),), frame_count=10)
    damaged = behead(make_film(tmp_path / "film.ts", codec_args=OPEN_GOP))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(film.read_bytes()[:5000])
    script = (
        "import sys; from encoder.probing import probe; from headend.core.media import Master\n"
        "from headend.core.errors import MasterError\n"
        "for path in sys.argv[1:]:\n"
        "    try: probe(Master(path, 1, '', ''), path)\n"
        "    except MasterError as error: print(error)\n"
    )
    argv = [sys.executable, "-c", script, str(film), str(damaged), str(broken)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    assert done.stderr == ""
    assert "moov" in done.stdout


# --- over HTTP ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["at_end", repeated("at_start")])
@pytest.mark.parametrize(
    ("codec", "codec_args", "pixel_format"),
    [
        ("libx264", ("-preset", "ultrafast", "-qp", "3", "-bf", "2", "-g", "8"), "yuv420p"),
        ("prores_ks", ("-profile:v", "4", "-qscale:v", "1"), "yuv444p10le"),
    ],
)
def test_probing_a_film_in_a_store_reads_a_small_part_of_it(
    tmp_path: Path, codec: str, codec_args: tuple[str, ...], pixel_format: str, index: str
) -> None:
    film = make_film(
        tmp_path / "big.mov",
        codec=codec,
        codec_args=codec_args,
        pixel_format=pixel_format,
        frame_count=625,
        noise=80,
        sound=(Sound(codec="pcm_s16le"),),
    )
    if index == "at_start":
        film = rewrap(tmp_path / "fast.mov", film, "-movflags", "+faststart")
    with serve_counted(tmp_path) as server:
        found = probe(master_of(film), f"{server.url}/{film.name}?X-Amz-Signature=secret")

    assert found.video is not None
    assert (found.video.frame_count, found.video.frames.origin) == (625, "container index")
    assert found == look(film)
    assert film.stat().st_size > 25_000_000
    # headend reads one of its twenty-five seconds to look for captions.
    assert server.body_bytes < film.stat().st_size / 10


def test_mxf_with_keyframes_only_is_probed_by_its_edit_units(tmp_path: Path) -> None:
    film = make_film(
        tmp_path / "film.mxf", codec="prores_ks", codec_args=("-profile:v", "4", "-qscale:v", "1"),
        pixel_format="yuv444p10le", frame_count=625, noise=80, sound=(Sound(codec="pcm_s16le"),),
    )  # fmt: skip
    with serve_counted(tmp_path) as server:
        found = probe(master_of(film), f"{server.url}/{film.name}")
    with opening.opened(master_of(film), str(film)) as container:
        read = indexing.by_packets(container, opening.select(container, master_of(film)).picture, master_of(film))

    assert read is not None and found.video is not None
    assert found.video.frames == replace(read.frames, origin="container index")
    assert (found.audio[0].start_s, found.audio[0].duration_s) == (0, 25)
    assert server.body_bytes < film.stat().st_size / 2

    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert "is cut short" in refusal(film)


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_film_without_an_index_is_probed_over_http_as_on_disk(tmp_path: Path, suffix: str) -> None:
    film = make_film(tmp_path / f"film{suffix}", noise=60, codec_args=("-qp", "20"), sound=(Sound(),))
    with serve_counted(tmp_path) as server:
        assert probe(master_of(film), f"{server.url}/{film.name}") == look(film)


def test_an_error_over_http_does_not_reveal_the_signature(tmp_path: Path) -> None:
    (tmp_path / "notes.mov").write_text("not a film" * 100)
    master = master_of(tmp_path / "notes.mov", url="s3://masters/notes.mov")
    with serve_counted(tmp_path) as server:
        for name in ("notes.mov", "missing.mov"):
            with pytest.raises(MasterError) as caught:
                probe(master, f"{server.url}/{name}?X-Amz-Signature=secret")
            assert str(caught.value).startswith("s3://masters/notes.mov ")
            assert "secret" not in f"{caught.value!r} {caught.value.facts} {caught.value.__cause__}"
            assert caught.value.__suppress_context__


def test_reading_from_a_store_that_never_answers_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "OPEN_TIMEOUT_S", 0.5)
    master = master_of(make_film(tmp_path / "film.mp4", frame_count=5), url="s3://masters/film.mp4")
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(MasterError, match=r"s3://masters/film\.mp4 stopped answering; check the network"),
    ):
        probe(master, f"http://127.0.0.1:{silent.getsockname()[1]}/film.mp4")
