"""The encode commands, read as data and run for real on films of seconds."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from encoder.command import VideoCommands
from encoder.sound.command import audio_command
from headend.core.errors import MasterError
from headend.core.media import (
    Codec,
    ContentLight,
    Effort,
    FrameIndex,
    MasteringDisplay,
    VideoRange,
    VideoRendition,
    VideoTrack,
)
from headend.core.timing import Chunk, Grid, lay_grid
from packager.segmenting import fragments
from tests.support.encodes import encode_chunk, encode_sound, look_at, picture_of
from tests.support.masters import Sound, make_film
from tests.support.nouns import (
    BT709,
    HDR10,
    HLG,
    make_audio_rendition,
    make_audio_track,
    make_frame_index,
    make_master,
    make_video_rendition,
    make_video_track,
)
from tests.support.playback import frame_numbers, frames, sound

RATE = Fraction(24)
GRID = lay_grid(RATE, 480, segment_s=Fraction(2), chunk_s=Fraction(4))
DISPLAY = MasteringDisplay(
    red_xy=(Fraction(34000, 50000), Fraction(16000, 50000)),
    green_xy=(Fraction(13250, 50000), Fraction(34500, 50000)),
    blue_xy=(Fraction(7500, 50000), Fraction(3000, 50000)),
    white_xy=(Fraction(15635, 50000), Fraction(16450, 50000)),
    min_nits=Fraction(50, 10000),
    max_nits=Fraction(1000),
)
LIGHT = ContentLight(max_cll_nits=1000, max_fall_nits=400)
AS_PQ = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc:range=tv"
LADDER = (
    make_video_rendition(),
    make_video_rendition(codec=Codec.HEVC),
    make_video_rendition(codec=Codec.AV1),
    make_video_rendition(id="avc-720p", width_px=1280, height_px=720),
    make_video_rendition(id="avc-720p-low", width_px=1280, height_px=720),
    make_video_rendition(id="hevc-540p", codec=Codec.HEVC, width_px=960, height_px=540),
    make_video_rendition(id="avc-360p", width_px=640, height_px=360),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A filter of a graph: what it is called, its arguments, and the labels on both sides."""

    inputs: tuple[str, ...]
    name: str
    args: str
    outputs: tuple[str, ...]


def graph_of(argv: Sequence[str]) -> list[Step]:
    steps = []
    for part in argv[argv.index("-filter_complex") + 1].split(";"):
        inputs, body, outputs = re.fullmatch(r"((?:\[[^\]]+\])+)([^\[]+)((?:\[[^\]]+\])+)", part).groups()  # type: ignore[union-attr]
        name, _, args = body.partition("=")
        steps.append(Step(tuple(re.findall(r"\[([^\]]+)\]", inputs)), name, args, tuple(outputs[1:-1].split("]["))))
    return steps


def named(argv: Sequence[str], name: str) -> list[Step]:
    return [step for step in graph_of(argv) if step.name == name]


def way_to(argv: Sequence[str], rendition: str) -> list[Step]:
    """The filters that a rendition's frames pass, from the decoder on."""
    output = argv.index(f"{{scratch}}/{rendition}.mp4")
    label = next(argv[at + 1] for at in range(output - 1, 0, -1) if argv[at] == "-map")[1:-1]
    steps, way = graph_of(argv), []
    while step := next((step for step in steps if label in step.outputs), None):
        way.append(step)
        label = step.inputs[0]
    return way[::-1]


def options_of(argv: Sequence[str], rendition: str) -> dict[str, str]:
    output = argv.index(f"{{scratch}}/{rendition}.mp4")
    first = next(at for at in range(output - 1, 0, -1) if argv[at] == "-map")
    return dict(zip(argv[first:output:2], argv[first + 1 : output : 2], strict=True))


def input_options_of(argv: Sequence[str]) -> dict[str, str]:
    head = list(argv[: argv.index("-i")])
    return {word: after for word, after in pairwise(head) if word.startswith("-")}


def long_track(**changes: object) -> VideoTrack:
    frames_ = make_frame_index(480, frame_ticks=512, start_ticks=1000, keyframe_every=40)
    track = make_video_track(frames=frames_, time_base=Fraction(1, 12288), pixel_format="yuv420p", bit_depth=8)
    return replace(track, **changes)  # type: ignore[arg-type]


def command(
    renditions: Sequence[VideoRendition] = LADDER,
    *,
    track: VideoTrack | None = None,
    chunk: Chunk | None = None,
    grid: Grid = GRID,
    url: str = "/masters/film.mov",
) -> tuple[str, ...]:
    track = track or long_track()
    commands = VideoCommands(make_master(url), picture_of(track), grid, Effort.DRAFT)
    return commands.of(chunk or grid.chunks()[0], renditions)


# --- read as data -------------------------------------------------------------------------------------------------


def test_a_group_is_decoded_once() -> None:
    argv = command()

    assert argv.count("-i") == 1
    assert sum(word == "{master}" for word in argv) == 1
    assert len(named(argv, "trim")) == len(named(argv, "setparams")) == 1


def test_every_rendition_has_one_output_in_order() -> None:
    argv = command()

    outputs = [word for word in argv if word.startswith("{scratch}/")]
    assert outputs == [f"{{scratch}}/{rendition.id}.mp4" for rendition in LADDER]


def test_every_label_is_made_once_and_used_once() -> None:
    argv = command()
    steps = graph_of(argv)
    made = [label for step in steps for label in step.outputs]
    used = [label for step in steps for label in step.inputs] + [
        argv[at + 1][1:-1] for at, word in enumerate(argv) if word == "-map"
    ]

    assert len(made) == len(set(made))
    assert sorted([*made, "0:0"]) == sorted(used)


def sizes(steps: Iterable[Step]) -> list[str]:
    return [step.args.split(":filter")[0] for step in steps if ":filter" in step.args]


def test_each_size_is_scaled_once_from_the_smallest_half_that_is_not_smaller() -> None:
    argv = command(LADDER[::-1])

    assert Counter(sizes(named(argv, "zscale"))) == Counter(["1920:1080", "1280:720", "960:540", "640:360"])
    assert sizes(way_to(argv, "avc-360p")) == ["960:540", "640:360"]
    assert sizes(way_to(argv, "avc-720p")) == ["1280:720"]


def test_what_an_encoder_gets_does_not_depend_on_what_is_encoded_beside_it() -> None:
    together = command()
    for rendition in LADDER:
        alone = way_to(command([rendition]), rendition.id)
        beside = way_to(together, rendition.id)
        copies = ("split",)
        assert [(s.name, s.args) for s in alone if s.name not in copies] == [
            (s.name, s.args) for s in beside if s.name not in copies
        ]


def test_each_pixel_format_is_made_once_for_each_size() -> None:
    argv = command()
    ends = {
        rendition.id: [step for step in way_to(argv, rendition.id) if step.name == "format"] for rendition in LADDER
    }

    assert ends["hevc-1080p-6000k"][-1] is not ends["avc-1080p-6000k"][-1]
    assert ends["hevc-1080p-6000k"][-1] == ends["av1-1080p-6000k"][-1]
    assert ends["avc-720p"][-1] == ends["avc-720p-low"][-1]
    for rendition in LADDER:
        assert ends[rendition.id][-1].args == rendition.pixel_format
    # working formats of four sizes, and the two, one, one and one that encoders take
    assert len(named(argv, "format")) == 4 + 5


@pytest.mark.parametrize("chunk", GRID.chunks(), ids=lambda chunk: f"chunk {chunk.number}")
def test_the_cut_lies_half_way_between_frames(chunk: Chunk) -> None:
    track = long_track()
    pts = track.frames.pts_ticks
    args = dict(pair.split("=") for step in named(command(chunk=chunk), "trim") for pair in step.args.split(":"))

    assert ("start_pts" in args) == (chunk.first_frame > 0)
    assert ("end_pts" in args) == (chunk.end_frame < len(pts))
    if chunk.first_frame:
        assert abs(int(args["start_pts"]) - Fraction(pts[chunk.first_frame - 1] + pts[chunk.first_frame], 2)) <= 1
    if chunk.end_frame < len(pts):
        assert abs(int(args["end_pts"]) - Fraction(pts[chunk.end_frame - 1] + pts[chunk.end_frame], 2)) <= 1


@pytest.mark.parametrize("frame_ticks", [1, 2, 3, 512])
def test_the_cut_keeps_exactly_the_chunks_frames_however_coarse_the_ticks_are(frame_ticks: int) -> None:
    index = make_frame_index(480, frame_ticks=frame_ticks, start_ticks=-7, keyframe_every=40)
    track = make_video_track(frames=index, time_base=1 / RATE / frame_ticks)
    for chunk in GRID.chunks():
        args = dict(
            pair.split("=")
            for step in named(command(track=track, chunk=chunk), "trim")
            for pair in step.args.split(":")
        )
        first, end = int(args.get("start_pts", -(10**9))), int(args.get("end_pts", 10**9))
        kept = [number for number, pts in enumerate(index.pts_ticks) if first <= pts < end]
        assert kept == list(range(chunk.first_frame, chunk.end_frame))


@pytest.mark.parametrize("keyframe_every", [1, 7, 40, 96, 480])
def test_reading_starts_at_a_keyframe_that_is_early_enough_and_not_earlier_than_needed(keyframe_every: int) -> None:
    index = make_frame_index(480, frame_ticks=512, start_ticks=1000, keyframe_every=keyframe_every)
    track = long_track(frames=index)
    for chunk in GRID.chunks():
        options = input_options_of(command(track=track, chunk=chunk))
        needed = max([k for k in index.keyframes if k <= chunk.first_frame], default=0)
        if needed == 0:
            assert "-ss" not in options
            continue
        start_s = Fraction(options["-ss"])
        late_s = start_s - index.pts_ticks[needed] * track.time_base
        assert 0 <= late_s < Fraction(1, 1_000_000)
        assert start_s < index.pts_ticks[chunk.first_frame] * track.time_base + Fraction(1, 1_000_000)
        assert options["-seek_timestamp"] == "1"
        assert "-noaccurate_seek" in options


def test_intra_coded_masters_are_read_from_the_chunks_own_frame() -> None:
    index = make_frame_index(480, frame_ticks=512, keyframe_every=1, origin="container index")
    options = input_options_of(command(track=long_track(frames=index, intra_only=True), chunk=GRID.chunks()[1]))

    assert Fraction(options["-ss"]) == 4


def test_halved_renditions_take_every_second_frame_and_half_the_gop() -> None:
    half = make_video_rendition(id="half", frame_rate=RATE / 2, rate_divisor=2)
    argv = command((LADDER[0], half))

    way = [(step.name, step.args) for step in way_to(argv, "half")]
    assert way[way.index(("framestep", "2")) + 1] == ("fps", "12/1:eof_action=pass")
    assert not [step for step in way_to(argv, LADDER[0].id) if step.name == "framestep"]
    assert options_of(argv, "half")["-g"] == str(GRID.gop_frames // 2)
    assert options_of(argv, LADDER[0].id)["-g"] == str(GRID.gop_frames)
    assert options_of(argv, "half")["-video_track_timescale"] == "24000"


def test_no_tool_may_repeat_drop_or_turn_frames_by_itself() -> None:
    argv = command()

    assert "-noautorotate" in argv
    for rendition in LADDER:
        assert options_of(argv, rendition.id)["-fps_mode"] == "passthrough"


def hdr_track(colour: object = HDR10) -> VideoTrack:
    return long_track(
        colour=colour, mastering_display=DISPLAY, content_light=LIGHT, pixel_format="yuv420p10le", bit_depth=10
    )


def test_hdr_renditions_state_the_mastering_display_and_sdr_ones_do_not() -> None:
    hevc = make_video_rendition(codec=Codec.HEVC, video_range=VideoRange.PQ)
    av1 = make_video_rendition(codec=Codec.AV1, video_range=VideoRange.PQ)
    sdr = make_video_rendition(codec=Codec.HEVC)
    argv = command((hevc, av1, sdr), track=hdr_track())

    x265 = options_of(argv, hevc.id)["-x265-params"]
    assert "hdr10=1" in x265
    assert "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)" in x265
    assert "max-cll=1000,400" in x265
    svt = options_of(argv, av1.id)["-svtav1-params"]
    assert "mastering-display=G(0.26500,0.69000)B(0.15000,0.06000)R(0.68000,0.32000)" in svt
    assert "L(1000.0000,0.0050)" in svt
    assert "content-light=1000,400" in svt
    assert not re.search("hdr10|master-display|max-cll", options_of(argv, sdr.id)["-x265-params"])


@pytest.mark.parametrize("colour", [HDR10, HLG], ids=["PQ", "HLG"])
def test_sdr_of_an_hdr_master_is_tone_mapped_once_for_each_half_and_hdr_is_not(colour: object) -> None:
    track = hdr_track(colour)
    small = make_video_rendition(id="small", width_px=640, height_px=360)
    hdr = make_video_rendition(codec=Codec.HEVC, video_range=track.video_range)
    smaller = make_video_rendition(id="smaller", width_px=512, height_px=288)
    argv = command((LADDER[0], small, smaller, hdr), track=track)

    assert len(named(argv, "tonemap")) == 2
    for rendition in (LADDER[0], small):
        assert [step.name for step in way_to(argv, rendition.id)].count("tonemap") == 1
    assert "tonemap" not in [step.name for step in way_to(argv, hdr.id)]
    assert not [step for step in way_to(argv, hdr.id) if "transfer" in step.args]


def test_an_sdr_master_is_not_tone_mapped() -> None:
    assert not named(command(), "tonemap")


def test_nothing_of_the_masters_place_stands_in_a_command() -> None:
    here, there = command(url="/masters/secret-film.mov"), command(url="s3://vault/secret-film.mov")
    audio = audio_command(
        make_master("s3://vault/secret-film.mov"), make_audio_track(), GRID, Fraction(0), [make_audio_rendition()]
    )

    assert not [word for word in (*here, *there, *audio) if "secret" in word or "vault" in word or "masters" in word]


def test_a_local_master_may_open_files_only() -> None:
    assert input_options_of(command())["-protocol_whitelist"] == "file"


def test_a_master_in_s3_may_open_http_only_and_is_reconnected() -> None:
    options = input_options_of(command(url="s3://vault/film.mov"))

    assert set(options["-protocol_whitelist"].split(",")) == {"http", "https", "tcp", "tls"}
    assert options["-reconnect"] == "1"
    assert options["-reconnect_on_network_error"] == "1"


def test_a_master_may_only_be_a_container_of_media() -> None:
    for url in ("/masters/film.mov", "s3://vault/film.mov"):
        formats = input_options_of(command(url=url))["-format_whitelist"].split(",")
        assert "mov" in formats
        assert not {"hls", "dash", "concat", "image2", "lavfi", "tee"} & set(formats)


def test_the_masters_metadata_does_not_reach_renditions() -> None:
    argv = command()
    for rendition in LADDER:
        options = options_of(argv, rendition.id)
        assert (options["-map_metadata"], options["-map_chapters"]) == ("-1", "-1")


def test_a_programme_is_decoded_once_and_mixed_once_for_each_layout() -> None:
    renditions = [
        make_audio_rendition(),
        make_audio_rendition(codec=Codec.OPUS),
        make_audio_rendition(codec=Codec.AC3, layout="5.1", bit_rate_bps=384_000),
        make_audio_rendition(codec=Codec.EAC3, layout="5.1", bit_rate_bps=384_000),
    ]
    argv = audio_command(make_master(), make_audio_track(channels=6), GRID, Fraction(0), renditions)

    assert argv.count("-i") == 1
    assert len(named(argv, "pan")) == 2
    assert len(named(argv, "aresample")) == 1
    outputs = {word for word in argv if word.startswith("{scratch}/")}
    assert outputs == {f"{{scratch}}/{rendition.id}.mp4" for rendition in renditions}


@pytest.mark.parametrize(
    ("sound_s", "picture_s", "filters"),
    [
        (Fraction(1, 4), Fraction(0), ["adelay=12000S:all=1"]),
        (Fraction(0), Fraction(1, 4), ["atrim=start_sample=12000"]),
        (Fraction(2), Fraction(2), []),
    ],
)
def test_sound_is_put_on_the_pictures_timeline(sound_s: Fraction, picture_s: Fraction, filters: list[str]) -> None:
    argv = audio_command(make_master(), make_audio_track(start_s=sound_s), GRID, picture_s, [make_audio_rendition()])

    shifts = [f"{step.name}={step.args}" for step in graph_of(argv) if step.name == "adelay" or "start" in step.args]
    assert shifts == filters
    assert "end_sample=960000" in [step.args for step in named(argv, "atrim")]


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(MasterError, match="pick those to deliver"):
        audio_command(
            make_master(),
            make_audio_track(channels=7, layout="7 channels"),
            GRID,
            Fraction(0),
            [make_audio_rendition()],
        )


# --- run for real -------------------------------------------------------------------------------------------------

SMALL = make_video_rendition(id="avc-180p", width_px=320, height_px=180, average_bps=400_000, level="3.0")


def mean_luma(data: bytes) -> float:
    return float(np.mean([frame.to_ndarray()[: frame.height].mean() for frame in frames(data)]))


def test_chunks_hold_their_frames_and_halved_renditions_every_second(tmp_path: Path) -> None:
    film = look_at(
        make_film(tmp_path / "film.mkv", frame_rate=Fraction(50), frame_count=118, codec_args=("-g", "33", "-bf", "3"))
    )
    half = replace(SMALL, id="half", width_px=160, height_px=90, frame_rate=Fraction(25), rate_divisor=2)
    assert [chunk.frame_count for chunk in film.chunks] == [50, 68]
    for chunk in film.chunks:
        made = encode_chunk(film, chunk, (SMALL, half), tmp_path / str(chunk.number))
        assert frame_numbers(made["avc-180p"]) == list(range(chunk.first_frame, chunk.end_frame))
        assert frame_numbers(made["half"]) == list(range(chunk.first_frame, chunk.end_frame, 2))
        assert next(len(fragment.samples) for fragment in fragments(made["avc-180p"])) == film.grid.gop_frames


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_master_comes_out_upright(degrees: int, tmp_path: Path) -> None:
    turns = {90: "transpose=cclock", 180: "transpose=clock,transpose=clock", 270: "transpose=clock"}
    lying = make_film(tmp_path / "lying.mp4", frame_count=4, filters=turns[degrees])
    film = look_at(lying)
    assert film.probe.video is not None
    film = replace(film, probe=replace(film.probe, video=replace(film.probe.video, rotation_deg=degrees)))

    made = encode_chunk(film, film.chunks[0], (SMALL,), tmp_path / "out")

    assert frame_numbers(made["avc-180p"]) == [0, 1, 2, 3]


def test_a_full_range_master_becomes_limited_range(tmp_path: Path) -> None:
    pictures = make_film(
        tmp_path / "full.mp4",
        frame_count=4,
        filters="geq=lum=255:cb=128:cr=128,setparams=range=pc",
        pixel_format="yuv420p",
        codec_args=("-color_range", "pc", "-qp", "0"),
    )
    film = look_at(pictures)
    assert film.probe.video is not None
    assert film.probe.video.colour.range == "pc"

    made = encode_chunk(film, film.chunks[0], (SMALL,), tmp_path / "out")["avc-180p"]

    assert {int(frame.color_range) for frame in frames(made)} == {1}  # AVCOL_RANGE_MPEG
    assert mean_luma(made) == pytest.approx(235, abs=1)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "args", "suffix"),
    [
        ("libx264rgb", "rgb24", ("-qp", "0"), "mkv"),
        ("ffv1", "gbrp", (), "mkv"),
        ("qtrle", "argb", (), "mov"),
        ("libx264", "yuv444p", ("-qp", "0"), "mp4"),
        ("prores_ks", "yuv422p10le", (), "mov"),
    ],
)
def test_masters_of_other_pixel_formats_keep_their_colours(
    codec: str, pixel_format: str, args: tuple[str, ...], suffix: str, tmp_path: Path
) -> None:
    # Saturated green in BT.709: luma 173, Cb 42, Cr 26 (ITU-R BT.709-6, table 3).
    green = "geq=lum=173:cb=42:cr=26,setparams=colorspace=bt709:range=tv"
    if pixel_format in ("rgb24", "gbrp", "argb"):
        green = "format=gbrp,geq=r=0:g=255:b=0"
    film = look_at(
        make_film(
            tmp_path / f"film.{suffix}",
            size=(1280, 720),
            frame_count=3,
            filters=green,
            codec=codec,
            codec_args=args,
            pixel_format=pixel_format,
        )
    )

    made = encode_chunk(film, film.chunks[0], (SMALL,), tmp_path / "out")["avc-180p"]

    shown = next(iter(frames(made)))
    planes = shown.to_ndarray()
    assert planes[:180].mean() == pytest.approx(173, abs=2)
    assert planes[180:225].mean() == pytest.approx(42, abs=3)
    assert planes[225:].mean() == pytest.approx(26, abs=3)


def test_mid_grey_of_a_pq_master_stays_mid_grey_in_sdr(tmp_path: Path) -> None:
    # PQ code 0.58 is 203 cd/m², diffuse white (ITU-R BT.2408, table 1); 10 bits, limited range: 64 + 0.58 × 876.
    grey = "format=yuv420p10le,geq=lum=572:cb=512:cr=512"
    film = look_at(
        make_film(
            tmp_path / "pq.mkv", frame_count=3, filters=f"{grey},{AS_PQ}", codec="ffv1", pixel_format="yuv420p10le"
        )
    )
    assert film.probe.video is not None
    assert film.probe.video.video_range is VideoRange.PQ

    made = encode_chunk(film, film.chunks[0], (SMALL,), tmp_path / "out")["avc-180p"]

    shown = list(frames(made))
    assert {(int(frame.color_trc), int(frame.color_primaries), int(frame.colorspace)) for frame in shown} == {(1, 1, 1)}
    assert 180 < mean_luma(made) <= 236


def test_hdr_renditions_keep_the_masters_colour(tmp_path: Path) -> None:
    film = look_at(
        make_film(tmp_path / "pq.mkv", frame_count=3, filters=AS_PQ, codec="ffv1", pixel_format="yuv420p10le")
    )
    hevc = make_video_rendition(
        id="hevc", codec=Codec.HEVC, width_px=320, height_px=180, video_range=VideoRange.PQ, level="3.0"
    )

    made = encode_chunk(film, film.chunks[0], (hevc,), tmp_path / "out")["hevc"]

    # ITU-T H.273: 9 is BT.2020, 16 is PQ, 9 is BT.2020 non-constant luminance.
    assert {(int(f.color_primaries), int(f.color_trc), int(f.colorspace)) for f in frames(made)} == {(9, 16, 9)}
    assert frame_numbers(made) == [0, 1, 2]


@pytest.mark.parametrize("late_ms", [-250, 0, 250])
def test_sound_lasts_as_long_as_the_picture_wherever_it_began(late_ms: int, tmp_path: Path) -> None:
    start_s = Fraction(max(0, late_ms), 1000)
    tone = Sound(codec="pcm_s16le", start_s=start_s)
    film = look_at(
        make_film(tmp_path / "film.mkv", frame_count=25, sound=[tone], start_s=Fraction(max(0, -late_ms), 1000))
    )

    made = encode_sound(film, [make_audio_rendition(id="aac")], tmp_path / "out")["aac"]

    heard = np.abs(sound(made)[0, :48_000])
    assert len(heard) == 48_000
    silent_samples = int(np.argmax(heard > 0.02))
    assert silent_samples == pytest.approx(max(0, late_ms) * 48, abs=1100)


def test_a_master_of_many_frame_times_is_cut_at_the_right_ones() -> None:
    uneven = tuple(round(number * Fraction(1001, 24)) for number in range(480))  # milliseconds, as Matroska rounds them
    track = long_track(
        frames=FrameIndex(uneven, (0, 240), (0, uneven[240]), "packets"), time_base=Fraction(1, 1000), colour=BT709
    )
    chunk = GRID.chunks()[1]
    (step,) = named(command(track=track, chunk=chunk), "trim")
    args = dict(pair.split("=") for pair in step.args.split(":"))

    kept = [n for n, pts in enumerate(uneven) if int(args["start_pts"]) <= pts < int(args["end_pts"])]
    assert kept == list(range(chunk.first_frame, chunk.end_frame))
