"""Selection of text and reading of its cues, with real files and the encoding FFmpeg."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from encoder import encoding, probing, text
from encoder.subtitles.sidecars import Sidecar
from headend.core.errors import ConfigError, MasterError
from headend.core.media import Codec, Cue, EncodeTask, Kind, Probe, SubtitleTrack, TextRole, TextTrack
from headend.core.settings import TextChoice
from headend.core.timing import Chunk
from tests.support import captions
from tests.support.captions import make_captioned_film
from tests.support.makers import make_master, make_probe, make_video_track
from tests.support.masters import make_film, master_of, rewrap, run_ffmpeg
from tests.support.text import Shown, ass, shown, srt, webvtt

LINES: list[Shown] = [(120, 900, "Hello & a < b"), (900, 1400, "two\nlines"), (1400, 1960, "Grüße")]
AS_WEBVTT = [(120, 900, "Hello &amp; a &lt; b"), (900, 1400, "two\nlines"), (1400, 1960, "Grüße")]


def stream(index: int, codec: str = "subrip", language: str = "en", *roles: str, title: str = "") -> SubtitleTrack:
    return SubtitleTrack(index, codec, language, title, roles, False)


def with_text(*streams: SubtitleTrack, captions: bool = False) -> Probe:
    return make_probe(video=replace(make_video_track(), captions=captions), subtitles=streams)


def read(path: Path, tracks: Sequence[TextTrack], scratch: Path, probe: Probe) -> list[list[Shown]]:
    return [shown(found) for found in cues_of(path, tracks, scratch, probe)]


def cues_of(path: Path, tracks: Sequence[TextTrack], scratch: Path, probe: Probe) -> list[tuple[Cue, ...]]:
    assert probe.video is not None
    task = EncodeTask(
        "t", Kind.TEXT, Chunk(0, 0, 50, 1), (), text.command(probe.master, tracks), 1.0, text=tuple(tracks)
    )
    for track in tracks:
        if track.codec == text.PICTURE_CAPTIONS:
            assert track.index is not None
            text.write_captions(probing.read_captions(probe.master, str(path), track.index), scratch)
    encoding.encode(task, input_url=str(path), scratch=scratch, cancelled=lambda: False, on_frames=lambda _: None)
    start_s, duration_s = probe.video.start_s, probe.video.frame_count / probe.video.frame_rate
    return [text.read(track, scratch, start_s=start_s, duration_s=duration_s)[0] for track in tracks]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "film.mkv", size=(160, 90))


@pytest.mark.parametrize(
    ("source", "codec", "container"),
    [
        (srt, "mov_text", "mov"), (srt, "mov_text", "mp4"), (srt, "subrip", "mkv"), (webvtt, "webvtt", "mkv"),
        (ass, "ass", "mkv"),
    ],
    ids=["mov_text in MOV", "mov_text in MP4", "SRT", "WebVTT", "ASS"],
)  # fmt: skip
@pytest.mark.parametrize("offset", ["0", "1.5"])
def test_embedded_text_keeps_every_cue_at_its_time_from_the_first_frame(
    source: object, codec: str, container: str, offset: str, film: Path, tmp_path: Path
) -> None:
    written = tmp_path / "text"
    # WebVTT defines its own markup.
    written.write_text(source(AS_WEBVTT if source is webvtt else LINES))  # type: ignore[operator]
    path = tmp_path / f"film.{container}"
    run_ffmpeg(
        "-i", str(film), "-i", str(written), "-map", "0", "-map", "1", "-c", "copy",
        "-c:s", "copy" if source is webvtt else codec, "-output_ts_offset", offset, str(path),
    )  # fmt: skip
    probe = probing.probe(master_of(path), str(path))
    tracks = text.choose(probe)
    assert [track.codec for track in tracks] == [codec]
    assert read(path, tracks, tmp_path, probe) == [AS_WEBVTT]


def test_cues_before_and_after_the_picture_are_cut(film: Path, tmp_path: Path) -> None:
    written = tmp_path / "text.srt"
    written.write_text(srt([(0, 300, "before"), (200, 1200, "over the start"), (1500, 9000, "over the end")]))
    path = tmp_path / "film.mkv"
    late = rewrap(tmp_path / "late.mkv", film, "-output_ts_offset", "0.5")
    run_ffmpeg("-copyts", "-i", str(late), "-i", str(written), "-map", "0", "-map", "1", "-c", "copy", str(path))
    probe = probing.probe(master_of(path), str(path))
    assert probe.video is not None and probe.video.start_s == Fraction(1, 2)
    (track,) = text.choose(probe)
    assert read(path, [track], tmp_path, probe) == [[(0, 700, "over the start"), (1000, 2000, "over the end")]]
    assert [line for line in text.describe([track], probe, duration_s=Fraction(2)) if "picture" in line] == [
        "text 1: 1 of 3 cues are outside the picture → left out, the first at 00:00:00.000",
        "text 1: 2 of 3 cues cross the picture's start or end → cut there, the first at 00:00:00.200",
    ]


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "mov_text"), ("mov", "mov_text"), ("mkv", "subrip")])
def test_planning_reports_which_embedded_cues_are_cut(film: Path, tmp_path: Path, suffix: str, codec: str) -> None:
    (tmp_path / "text.srt").write_text(srt([(100, 300, "one"), (1900, 2500, "over"), (3000, 3500, "behind")]))
    path = tmp_path / f"film.{suffix}"
    run_ffmpeg(
        "-i",
        str(film),
        "-i",
        str(tmp_path / "text.srt"),
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-c:s",
        codec,
        str(path),
    )
    probe = probing.probe(master_of(path), str(path))
    assert probe.subtitles[0].times_ms == ((100, 300), (1900, 2500), (3000, 3500))
    lines = list(text.describe(text.choose(probe), probe, duration_s=Fraction(2)))
    assert any("1 of 3 cues are outside the picture → left out, the first at 00:00:03.000" in line for line in lines)
    assert any("1 of 3 cues cross" in line and line.endswith("at 00:00:01.900") for line in lines)


def test_embedded_text_completely_outside_the_picture_is_refused(film: Path, tmp_path: Path) -> None:
    (tmp_path / "text.srt").write_text(srt([(3_600_500, 3_601_000, "an hour late")]))
    path = tmp_path / "film.mkv"
    run_ffmpeg("-i", str(film), "-i", str(tmp_path / "text.srt"), "-map", "0", "-map", "1", "-c", "copy", str(path))
    probe = probing.probe(master_of(path), str(path))
    with pytest.raises(MasterError, match=r"all 1 cues of text 1 .* the first at 01:00:00\.500; .*--embedded-text"):
        text.check(text.choose(probe), probe, start_s=Fraction(0), duration_s=Fraction(2))


@pytest.mark.parametrize(("codec", "container"), [("mov_text", "mov"), ("subrip", "mkv"), ("ass", "mkv")])
def test_embedded_text_keeps_its_position(codec: str, container: str, film: Path, tmp_path: Path) -> None:
    source, leaning = (ass, r"{\i1}down") if codec == "ass" else (srt, "<i>down</i>")
    (tmp_path / "text").write_text(source([(100, 900, r"{\an8}up"), (1000, 1900, leaning)]))
    path = tmp_path / f"film.{container}"
    run_ffmpeg(
        "-i", str(film), "-i", str(tmp_path / "text"), "-map", "0", "-map", "1", "-c", "copy", "-c:s", codec, str(path)
    )
    probe = probing.probe(master_of(path), str(path))
    found = cues_of(path, text.choose(probe), tmp_path, probe)
    settings = ["" if codec == "mov_text" else "line:0", ""]  # FFmpeg's mov_text writer drops positions
    assert [[(cue.text, cue.settings) for cue in track] for track in found] == [
        list(zip(["up", "<i>down</i>"], settings, strict=True))
    ]


def test_layers_and_drawings_of_an_embedded_script_are_not_separate_cues(film: Path, tmp_path: Path) -> None:
    shown_ = [(100, 900, r"one\htwo"), (100, 900, r"one\htwo"), (1000, 1900, r"{\p1}m 0 0 l 9 9{\p0}")]
    (tmp_path / "text.ass").write_text(ass(shown_))
    path = tmp_path / "film.mkv"
    run_ffmpeg("-i", str(film), "-i", str(tmp_path / "text.ass"), "-map", "0", "-map", "1", "-c", "copy", str(path))
    probe = probing.probe(master_of(path), str(path))
    assert read(path, text.choose(probe), tmp_path, probe) == [[(100, 900, "one\N{NO-BREAK SPACE}two")]]


def test_text_without_a_cue_in_the_picture_is_an_error_with_its_first_time(film: Path, tmp_path: Path) -> None:
    (tmp_path / "text.srt").write_text(srt([(3_600_500, 3_601_000, "late")]))
    path = tmp_path / "film.mkv"
    run_ffmpeg("-i", str(film), "-i", str(tmp_path / "text.srt"), "-map", "0", "-map", "1", "-c", "copy", str(path))
    probe = probing.probe(master_of(path), str(path))
    with pytest.raises(MasterError, match=r"all 1 cues of text 1 .* the first at 01:00:00\.500; .*--embedded-text"):
        read(path, text.choose(probe), tmp_path, probe)


@pytest.mark.parametrize("name", ["film.mov", "it's [a], film; of 100%: \\1.ts"])
def test_captions_in_the_picture_are_found_and_read_whatever_the_file_is_called(name: str, tmp_path: Path) -> None:
    path = make_captioned_film(tmp_path / name, [(20, 30, "HELLO WORLD"), (42, 48, "ONE: MORE")], size=(160, 90))
    probe = probing.probe(master_of(path), str(path))
    assert probe.video is not None and probe.video.captions
    (track,) = text.choose(probe)
    assert (track.codec, track.language, track.role, track.name) == ("cea-608", "und", TextRole.SDH, "SDH")
    assert read(path, [track], tmp_path, probe) == [[(800, 1200, "HELLO WORLD"), (1680, 1920, "ONE: MORE")]]


@pytest.mark.parametrize(
    ("codec", "codec_args", "suffix", "put"),
    [
        ("mpeg2video", ("-bf", "2", "-g", "12", "-q:v", "3"), ".vob", captions.in_mpeg2),
        ("libx265", ("-x265-params", "bframes=0:log-level=error"), ".mov", captions.in_hevc),
        ("libx265", ("-x265-params", "bframes=0:log-level=error"), ".ts", captions.in_hevc),
    ],
)
def test_captions_are_read_in_the_order_in_which_frames_are_shown(
    tmp_path: Path, codec: str, codec_args: tuple[str, ...], suffix: str, put: Callable[..., bytes]
) -> None:
    plain = make_film(tmp_path / "plain.mkv", codec=codec, codec_args=codec_args, size=(160, 90))
    kind = "mpeg2video" if codec == "mpeg2video" else "hevc"
    stream = run_ffmpeg("-i", str(plain), "-map", "0:v", "-c", "copy", "-f", kind, "-")
    (tmp_path / f"stream.{kind}").write_bytes(put(stream, captions.pop_on([(20, 30, "HELLO WORLD"), (42, 48, "ONE")])))
    tag = ("-tag:v", "hvc1") if suffix == ".mov" else ()
    path = tmp_path / f"film{suffix}"
    demuxer = "mpegvideo" if codec == "mpeg2video" else kind
    run_ffmpeg("-r", "25", "-f", demuxer, "-i", str(tmp_path / f"stream.{kind}"), "-c", "copy", *tag, str(path))
    probe = probing.probe(master_of(path), str(path))

    assert read(path, text.choose(probe), tmp_path, probe) == [[(800, 1200, "HELLO WORLD"), (1680, 1920, "ONE")]]


def test_captions_that_begin_late_are_found(tmp_path: Path) -> None:
    path = tmp_path / "film.mov"
    make_captioned_film(path, [(1190, 1200, "LATE")], sparse=True, size=(160, 90), frame_count=1250)
    probe = probing.probe(master_of(path), str(path))
    assert probe.video is not None and probe.video.captions


def test_a_caption_that_nothing_erases_stays_to_the_end(tmp_path: Path) -> None:
    path = make_captioned_film(tmp_path / "film.mov", [(20, None, "LAST")], size=(160, 90))
    probe = probing.probe(master_of(path), str(path))
    assert read(path, text.choose(probe), tmp_path, probe) == [[(800, 2000, "LAST")]]


def test_a_film_without_captions_has_none(film: Path) -> None:
    probe = probing.probe(master_of(film), str(film))
    assert probe.video is not None and not probe.video.captions
    assert text.choose(probe) == ()


# --- selection ----------------------------------------------------------------------------------------------------


def test_dispositions_become_roles_and_names_say_them() -> None:
    probe = with_text(
        stream(2),
        stream(3, "mov_text", "en", "forced"),
        stream(4, "ass", "fr", "hearing_impaired"),
        stream(5, title="Fun"),
    )
    output = [(track.language, track.role, track.name) for track in text.choose(probe)]
    assert output == [
        ("en", TextRole.SUBTITLES, "en"),
        ("en", TextRole.FORCED, "en forced"),
        ("fr", TextRole.SDH, "fr SDH"),
        ("en", TextRole.SUBTITLES, "Fun"),
    ]


def test_captions_have_the_language_of_the_default_sound() -> None:
    (track,) = text.choose(with_text(captions=True))
    assert (track.language, track.role) == ("en", TextRole.SDH)


def test_text_is_relabelled_left_out_and_joined_by_sidecars() -> None:
    file = make_master("/films/film.srt")
    probe = with_text(stream(2), stream(3), stream(4), captions=True)
    choices = (
        TextChoice("3", "pt-br", TextRole.SDH, "Brasil"),
        TextChoice("/films/film.srt", "de"),
        TextChoice("captions", "es"),
    )
    tracks = text.choose(probe, choices, {"/films/film.srt": Sidecar(file, "srt", ())}, ("3", "captions"))
    assert [(t.number, t.index, t.language, t.role, t.name) for t in tracks] == [
        (1, 3, "pt-BR", TextRole.SDH, "Brasil"),
        (2, 0, "es", TextRole.SDH, "es SDH"),
        (3, None, "de", TextRole.SUBTITLES, "de"),
    ]
    lines = list(text.describe(tracks, probe))
    assert "text 2 left out by --embedded-text" in lines
    assert "text 4 left out by --embedded-text" in lines
    assert "sidecar /films/film.srt (srt) → WebVTT, de, subtitles, named 'de'" in lines


def test_bitmap_subtitles_and_unreadable_text_are_reported_as_not_delivered() -> None:
    probe = with_text(stream(2, "hdmv_pgs_subtitle"), stream(3, "dvb_subtitle"), stream(4, "unknown"))
    assert text.choose(probe) == ()
    assert list(text.describe((), probe)) == [
        "text 2 (hdmv_pgs_subtitle) is bitmap subtitles → not delivered; add a text file with --subtitles",
        "text 3 (dvb_subtitle) is bitmap subtitles → not delivered; add a text file with --subtitles",
        "text 4 (unknown) can't be read → not delivered; add a text file with --subtitles",
    ]


@pytest.mark.parametrize(
    ("choices", "embedded", "message"),
    [
        ([TextChoice("7")], None, "has no text 7 that can be delivered; it has 2 .en, subrip."),
        ([TextChoice("captions")], None, "has no text captions"),
        ([], ("9",), "--embedded-text: the master has no text 9"),
        ([TextChoice("2"), TextChoice("2")], None, "2 is given twice"),
        ([TextChoice("2", "klingonisch")], None, "is not a language tag"),
    ],
)
def test_wrong_choices_are_refused_with_the_existing_tracks(
    choices: list[TextChoice], embedded: tuple[str, ...] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        text.choose(with_text(stream(2)), choices, {}, embedded)


def test_each_programme_is_made_for_hls_and_dash_and_ttml_as_imsc_too() -> None:
    tracks = text.choose(
        with_text(stream(2), stream(3, "subrip", "en", "forced"), stream(4)),
        (TextChoice("/a.ttml", "de"),),
        {"/a.ttml": Sidecar(make_master("/a.ttml"), "ttml", ())},
    )
    assert [rendition.id for rendition in text.renditions(tracks)] == [
        "vtt-en", "wvtt-en", "vtt-en-forced", "wvtt-en-forced", "vtt-en-2", "wvtt-en-2", "vtt-de", "wvtt-de", "imsc-de",
    ]  # fmt: skip
    assert {rendition.codec for rendition in text.renditions(tracks)} == {Codec.VTT, Codec.WVTT, Codec.IMSC}


def test_streams_of_the_master_are_read_in_one_task_and_other_text_in_its_own() -> None:
    file = Sidecar(make_master("/a.srt"), "srt", ())
    tracks = text.choose(with_text(stream(2), stream(3), captions=True), (TextChoice("/a.srt"),), {"/a.srt": file})
    assert [[track.number for track in group] for group in text.group_by_input(tracks)] == [[1, 2], [3], [4]]
