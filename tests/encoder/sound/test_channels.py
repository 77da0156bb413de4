"""Channels are mixed by their names, whatever their order, codec and container."""

from pathlib import Path

import pytest

from encoder import damage, sandbox
from encoder.programmes import choose, describe
from headend.core.media import AudioRendition, Codec, ReadRange
from headend.core.media.speakers import LAYOUTS
from headend.core.settings import AudioChoice, Channel
from tests.support.channels import make_channels, pitch_levels
from tests.support.encodes import Film, encode_sound, probe_film
from tests.support.makers import make_audio_rendition
from tests.support.marks import repeated
from tests.support.masters import master_of
from tests.support.playback import sound

HALF, QUARTER = 2**-0.5, 0.5
STEREO = make_audio_rendition(id="stereo", bit_rate_bps=320_000)
SURROUND = make_audio_rendition(id="surround", codec=Codec.AC3, layout="5.1", bit_rate_bps=640_000)
LO_RO = {
    "FL": [1, 0], "FR": [0, 1], "FC": [HALF, HALF], "LFE": [0, 0], "BL": [HALF, 0], "BR": [0, HALF], "SL": [HALF, 0],
    "SR": [0, HALF], "BC": [QUARTER, QUARTER], "FLC": [1, 0], "FRC": [0, 1],
}  # fmt: skip
FIVE_ONE = {
    "FL": 0, "FR": 1, "FC": 2, "LFE": 3, "BL": 4, "BR": 5, "SL": 4, "SR": 5, "FLC": 0, "FRC": 1,
}  # fmt: skip


Levels = dict[str, list[float]]


def film(path: Path) -> Film:
    return probe_film(path)


def mixed(
    film: Film, kinds: list[AudioRendition], speakers: list[str], scratch: Path
) -> dict[str, dict[str, list[float]]]:
    (programme,) = choose(film.probe.audio)
    outputs = encode_sound(film, kinds, scratch, track=programme)
    return {id: pitch_levels(sound(data), speakers) for id, data in outputs.items()}


def check_stereo(found: Levels) -> None:
    for speaker, levels in found.items():
        assert levels == pytest.approx(LO_RO[speaker], abs=0.04), speaker


def check_surround(found: Levels) -> None:
    twice = {"BL", "SL"} <= found.keys()
    for speaker, levels in found.items():
        wanted = [0.0] * 6
        if speaker == "BC":
            wanted[4] = wanted[5] = HALF
        else:
            wanted[FIVE_ONE[speaker]] = HALF if twice and speaker in ("BL", "BR", "SL", "SR") else 1.0
        assert levels == pytest.approx(wanted, abs=0.06), speaker


@pytest.mark.parametrize(
    ("order", "speakers"),
    [
        ("L C R Ls Rs LFE", "FL FC FR BL BR LFE"),
        ("C L R Ls Rs LFE", "FC FL FR BL BR LFE"),
        ("L R Ls Rs C LFE", "FL FR BL BR FC LFE"),
        ("LFE Rs Ls C R L", "LFE BR BL FC FR FL"),
    ],
)
@pytest.mark.parametrize("codec", ["pcm_s16le", repeated("pcm_s24be")])
def test_channels_in_any_order_are_mixed_by_their_names(order: str, speakers: str, codec: str, tmp_path: Path) -> None:
    names = speakers.split()
    path = make_channels(tmp_path / "film.mov", names, layout="5.1", codec=codec, stated_layout=order)
    master = film(path)
    (track,) = master.probe.audio
    assert set(track.speakers) in ({*names}, {name.replace("B", "S") for name in names})
    (line,) = describe((track,), (track,), start_s=track.start_s, duration_s=track.duration_s)
    assert line.endswith("→ mixed by their names")
    tones = mixed(master, [STEREO, SURROUND], names, tmp_path / "out")
    check_stereo(tones["stereo"])
    check_surround(tones["surround"])


def test_right_may_come_before_left(tmp_path: Path) -> None:
    path = make_channels(tmp_path / "film.mov", ["FR", "FL"], layout="stereo", stated_layout="R L")
    check_stereo(mixed(film(path), [STEREO], ["FL", "FR"], tmp_path / "out")["stereo"])


def test_an_unusual_channel_order_breaks_neither_the_probe_nor_the_damage_scan(tmp_path: Path) -> None:
    path = make_channels(
        tmp_path / "film.mov", ["FL", "FC", "FR", "BL", "BR", "LFE"], layout="5.1", stated_layout="L C R Ls Rs LFE"
    )
    probe = sandbox.probe(master_of(path), str(path))
    assert probe.audio[0].channels == 6
    video = probe.video
    assert video is not None
    whole = ReadRange(probe.audio[0].index, video.start_s, video.start_s * 0, None, video.start_s, probe.duration_s)
    assert sandbox.scan_damage(master_of(path), str(path), (whole,)) == ()
    assert damage.find_missing_frames(probe, video) == ()


@pytest.mark.parametrize(
    ("layout", "codec", "suffix"),
    [
        ("hexagonal", "aac", ".mp4"),
        ("6.0", "flac", ".mkv"),
        ("6.1", "flac", ".mkv"),
        ("6.1(back)", "pcm_s24le", ".mov"),
        ("7.0", "pcm_s16le", ".mov"),
        ("7.1", "flac", ".mkv"),
        ("7.1(wide)", "aac", ".mov"),
        ("5.1(side)", "ac3", ".ts"),
        ("5.1(side)", "eac3", ".mp4"),
    ],
)
def test_layouts_that_are_not_5_1_are_mixed_by_their_names(
    layout: str, codec: str, suffix: str, tmp_path: Path
) -> None:
    names = list(LAYOUTS[layout])
    args = ("-b:a", "640k") if codec in ("aac", "ac3", "eac3", "libopus") else ()
    path = make_channels(tmp_path / f"film{suffix}", names, layout=layout, codec=codec, codec_args=args)
    master = film(path)
    (track,) = master.probe.audio
    assert sorted(track.speakers) == sorted(names)
    kinds = [STEREO, *([SURROUND] if "LFE" in names else [])]
    tones = mixed(master, kinds, names, tmp_path / "out")
    check_stereo(tones["stereo"])
    if "surround" in tones:
        check_surround(tones["surround"])


@pytest.mark.parametrize("layout", ["4.0", "3.0(back)", "4.1", "quad", "2.1", "6.0(front)"])
def test_fewer_channels_are_mixed_to_stereo_by_their_names(layout: str, tmp_path: Path) -> None:
    names = list(LAYOUTS[layout])
    path = make_channels(tmp_path / "film.mov", names, layout=layout)
    check_stereo(mixed(film(path), [STEREO], names, tmp_path / "out")["stereo"])


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "pcm_s16le"), (".mxf", "pcm_s16le")])
def test_channels_are_picked_out_of_a_stream_that_names_none(suffix: str, codec: str, tmp_path: Path) -> None:
    names = ["FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"]
    master = film(make_channels(tmp_path / f"film{suffix}", names, layout="8C", codec=codec))
    tracks = master.probe.audio
    assert [(track.channels, track.speakers_stated) for track in tracks] == [(8, False)]
    (line,) = describe(choose(tracks), tracks, start_s=tracks[0].start_s, duration_s=tracks[0].duration_s)
    assert line.startswith("audio 1 has 8 channels without names → treated as 7.1 (FL FR FC LFE BL BR SL SR); ")
    assert line.endswith("pick channels, such as --audio 1.0+1.1")
    pair = choose(tracks, [AudioChoice((Channel(1, 6), Channel(1, 2)), "fr"), AudioChoice((Channel(1, 4),), "de")])
    assert [(p.label, p.layout, p.language) for p in pair] == [("1.6+1.2", "stereo", "fr"), ("1.4", "mono", "de")]
    assert len({programme.index for programme in pair}) == 2
    french, german = (
        pitch_levels(sound(encode_sound(master, [STEREO], tmp_path / name, track=p)["stereo"]), names)
        for name, p in zip(("fr", "de"), pair, strict=True)
    )
    silent = [0.0, 0.0]
    for name in names:
        assert french[name] == pytest.approx({"SL": [1, 0], "FC": [0, 1]}.get(name, silent), abs=0.04), name
        assert german[name] == pytest.approx({"BL": [1, 1]}.get(name, silent), abs=0.04), name


def test_six_channels_of_two_streams_make_a_programme_with_picked_ones(tmp_path: Path) -> None:
    names = ["FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"]
    master = film(make_channels(tmp_path / "film.mkv", names, layout="8C"))
    picked = AudioChoice(tuple(Channel(1, names.index(name)) for name in ("FR", "FL", "FC", "LFE", "SL", "SR")))
    (programme,) = choose(master.probe.audio, [picked])
    found = pitch_levels(sound(encode_sound(master, [SURROUND], tmp_path / "out", track=programme)["surround"]), names)
    assert [max(range(6), key=found[name].__getitem__) for name in ("FR", "FL", "FC", "LFE", "SL", "SR")] == [*range(6)]
    assert found["BL"] == pytest.approx([0] * 6, abs=0.04)
