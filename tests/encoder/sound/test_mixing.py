"""Gains of every channel, from each layout to each rendition, as FFmpeg really mixes them."""

import re
from collections.abc import Mapping

import numpy as np
import pytest

from encoder.sound.mixing import matrix, pan
from headend.core.errors import MasterError
from headend.core.media.speakers import LAYOUTS, channel_count, holds_surround
from tests.support.makers import make_audio_track
from tests.support.masters import run_ffmpeg

HALF_POWER = 2**-0.5
CHANNELS = {
    "mono": "FC", "stereo": "FL FR", "2.1": "FL FR LFE", "3.0": "FL FR FC", "3.1": "FL FR FC LFE",
    "3.0(back)": "FL FR BC", "4.0": "FL FR FC BC", "4.1": "FL FR FC LFE BC",
    "quad": "FL FR BL BR", "quad(side)": "FL FR SL SR", "5.0": "FL FR FC BL BR", "5.0(side)": "FL FR FC SL SR",
    "5.1": "FL FR FC LFE BL BR", "5.1(side)": "FL FR FC LFE SL SR", "7.1": "FL FR FC LFE BL BR SL SR",
    "6.0": "FL FR FC BC SL SR", "6.1": "FL FR FC LFE BC SL SR", "hexagonal": "FL FR FC BL BR BC",
    "7.0": "FL FR FC BL BR SL SR", "7.1(wide)": "FL FR FC LFE BL BR FLC FRC", "downmix": "DL DR",
}  # fmt: skip
"""FFmpeg's channel orders (libavutil/channel_layout.c)."""
LEFT, RIGHT = ("FL", "DL", "FLC", "BL", "SL"), ("FR", "DR", "FRC", "BR", "SR")
SAMPLES = 480


def gains(layout: str, target: str) -> dict[str, list[float]]:
    """FFmpeg's gains of each of a programme's channels in the rendition's channels, in order."""
    names = CHANNELS[layout].split()
    matrix, _ = pan(make_audio_track(channels=len(names), layout=layout), target)
    sizes = {"2.0": 2, "5.1": 6}
    found = {}
    for index, name in enumerate(names):
        sound = np.zeros((SAMPLES, len(names)), np.float32)
        sound[:, index] = 0.5
        mixed = run_ffmpeg(
            "-f", "f32le", "-ar", "48000", "-ch_layout", layout, "-i", "pipe:0", "-af", f"pan={matrix}",
            "-c:a", "pcm_f32le", "-f", "f32le", "pipe:1", stdin=sound.tobytes(),
        )  # fmt: skip
        found[name] = (np.frombuffer(mixed, np.float32).reshape(-1, sizes[target])[SAMPLES // 2] / 0.5).tolist()
    return found


def lo_ro(layout: str) -> Mapping[str, list[float]]:
    """ITU-R BS.775-4, annex 4: centre and surrounds at -3 dB, the LFE left out."""
    names = CHANNELS[layout].split()
    if layout == "mono":
        return {"FC": [1, 1]}
    rows: dict[str, list[float]] = {"FC": [HALF_POWER, HALF_POWER], "LFE": [0, 0], "BC": [0.5, 0.5]}
    for side, row in ((LEFT, 0), (RIGHT, 1)):
        for name in side:
            rows[name] = [0.0, 0.0]
            rows[name][row] = 1 if name[0] in "FD" else HALF_POWER
    return {name: rows[name] for name in names}


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1", "5.1(side)", "7.1", "quad(side)", "5.0"])
def test_stereo_is_mixed_by_the_standard(layout: str) -> None:
    found = gains(layout, "2.0")

    assert found.keys() == lo_ro(layout).keys()
    for name, row in lo_ro(layout).items():
        assert found[name] == pytest.approx(row, abs=1e-5), name


@pytest.mark.parametrize("layout", ["5.1", "5.1(side)"])
def test_six_channels_stay_six_channels(layout: str) -> None:
    found = gains(layout, "5.1")

    assert np.array(list(found.values())) == pytest.approx(np.eye(6), abs=1e-6)


def test_eight_channels_keep_their_front_and_share_their_surrounds() -> None:
    found = gains("7.1", "5.1")

    for place, name in enumerate(("FL", "FR", "FC", "LFE")):
        assert found[name] == pytest.approx(np.eye(6)[place], abs=1e-6)
    for name, place in (("BL", 4), ("SL", 4), ("BR", 5), ("SR", 5)):
        assert found[name] == pytest.approx(HALF_POWER * np.eye(6)[place], abs=1e-5)


def coefficients(matrix: str) -> dict[str, dict[int, float]]:
    rows = {}
    for row in matrix.split("|")[1:]:
        name, _, terms = row.partition("=")
        found = [re.fullmatch(r"(?:([\d.]+)\*)?c(\d+)", term) for term in terms.split("+")]
        rows[name] = {int(term[2]): float(term[1] or 1) for term in found if term}
    return rows


@pytest.mark.parametrize("layout", sorted(CHANNELS))
def test_every_layout_has_a_matrix_of_the_standards_coefficients(layout: str) -> None:
    names = CHANNELS[layout].split()
    matrix, _ = pan(make_audio_track(channels=len(names), layout=layout), "2.0")
    rows = coefficients(matrix)

    for place, name in enumerate(names):
        wanted = lo_ro(layout)[name]
        assert [rows[side].get(place, 0) for side in ("FL", "FR")] == pytest.approx(wanted, abs=1e-6), name
    assert all(place < len(names) for row in rows.values() for place in row)


@pytest.mark.parametrize("layout", [name for name in sorted(CHANNELS) if "LFE" in CHANNELS[name]])
def test_stereo_mixes_leave_out_the_lfe(layout: str) -> None:
    names = CHANNELS[layout].split()
    rows = coefficients(pan(make_audio_track(channels=len(names), layout=layout), "2.0")[0])

    assert not any(names.index("LFE") in row for row in rows.values())


@pytest.mark.parametrize(("layout", "target"), [(name, "2.0") for name in sorted(CHANNELS)] + [("7.1", "5.1")])
def test_a_mix_may_clip_exactly_where_channels_add_up(layout: str, target: str) -> None:
    names = CHANNELS[layout].split()
    matrix, may_clip = pan(make_audio_track(channels=len(names), layout=layout), target)

    assert may_clip == any(sum(row.values()) > 1 for row in coefficients(matrix).values())


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_no_channel_of_a_named_layout_is_lost(layout: str) -> None:
    names = LAYOUTS[layout]
    track = make_audio_track(channels=len(names), layout=layout)
    stereo = matrix(track, "2.0")
    mixed = {place for row in stereo.values() for place in row}
    assert {name for place, name in enumerate(names) if place not in mixed} <= {"LFE", "LFE2"}
    if holds_surround(names):
        assert {place for row in matrix(track, "5.1").values() for place in row} == {*range(len(names))}


@pytest.mark.parametrize(
    ("layout", "rows"),
    [
        ("6.1(back)", {"FL": {0: 1}, "FC": {2: 1}, "BL": {4: 1, 6: HALF_POWER}, "BR": {5: 1, 6: HALF_POWER}}),
        ("6.1", {"LFE": {3: 1}, "BL": {4: HALF_POWER, 5: 1}, "BR": {4: HALF_POWER, 6: 1}}),
        ("7.1(wide)", {"FL": {0: 1, 6: 1}, "FR": {1: 1, 7: 1}, "BL": {4: 1}}),
        ("5.1.2", {"FL": {0: 1, 6: HALF_POWER}, "BL": {4: 1}}),
        ("6 channels (FL+FC+FR+BL+BR+LFE)", {"FR": {2: 1}, "FC": {1: 1}, "LFE": {5: 1}, "BL": {3: 1}}),
    ],
)
def test_wider_layouts_are_mixed_to_5_1_by_channel_names(layout: str, rows: dict[str, dict[int, float]]) -> None:
    mix = matrix(make_audio_track(channels=channel_count(layout), layout=layout), "5.1")
    for name, row in rows.items():
        assert mix[name] == pytest.approx(row, abs=1e-5), name


@pytest.mark.parametrize(("channels", "like"), [(1, "mono"), (2, "stereo"), (6, "5.1"), (8, "7.1")])
@pytest.mark.parametrize("name", ["", "unknown", "{} channels"])
def test_channels_without_names_are_taken_by_their_number(channels: int, like: str, name: str) -> None:
    nameless = make_audio_track(channels=channels, layout=name.format(channels))

    assert not nameless.speakers_stated
    assert pan(nameless, "2.0") == pan(make_audio_track(channels=channels, layout=like), "2.0")


@pytest.mark.parametrize(
    ("channels", "layout", "target"),
    [
        (3, "3 channels", "2.0"), (16, "16 channels", "2.0"), (4, "ambisonic 1", "2.0"), (2, "stereo", "5.1"),
        (5, "5.0", "5.1"), (6, "hexagonal", "5.1"), (2, "2 channels (FL+USR64)", "2.0"), (3, "stereo", "2.0"),
    ],
)  # fmt: skip
def test_a_layout_without_a_matrix_is_refused_with_its_stream(channels: int, layout: str, target: str) -> None:
    with pytest.raises(MasterError, match=f"audio 3 has {channels} channels") as caught:
        pan(make_audio_track(index=3, channels=channels, layout=layout), target)
    assert repr(layout) in str(caught.value)
    assert target in str(caught.value)
    assert str(caught.value).endswith("--audio 3.0+3.1")


@pytest.mark.parametrize(
    ("layout", "channels"),
    [("5.1(side)", 6), ("8 channels", 8), ("1 channels (FL)", 1), ("ambisonic 1+stereo", 6), ("", 0), ("nonsense", 0)],
)
def test_a_layout_states_its_number_of_channels(layout: str, channels: int) -> None:
    assert channel_count(layout) == channels
