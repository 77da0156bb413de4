"""Which audio rungs each programme of sound gets."""

import pytest

from headend.core.errors import MasterError
from ladders.fitting import fit
from ladders.loading import load
from tests.support.makers import make_audio_track, make_probe

STUDIO, WEB = load("studio"), load("web")


def test_stereo_and_mono_masters_get_stereo_rungs_only() -> None:
    for channels in (1, 2):
        audio = fit(STUDIO, make_probe(width_px=1280, height_px=720, channels=channels)).audio
        assert {r.layout for r in audio} == {"2.0"}
        assert {r.channels for r in audio} == {2}


@pytest.mark.parametrize(
    ("channels", "layout", "surround"),
    [
        (6, "5.1", True),
        (6, "5.1(side)", True),
        (7, "6.1", True),
        (8, "7.1", True),
        (8, "7.1(wide)", True),
        (6, "6 channels", True),
        (8, "", True),
        (6, "hexagonal", False),
        (5, "5.0", False),
        (4, "quad", False),
    ],
)
def test_only_layouts_with_all_channels_of_5_1_get_5_1_rungs(channels: int, layout: str, surround: bool) -> None:
    audio = fit(STUDIO, make_probe(audio=(make_audio_track(channels=channels, layout=layout),))).audio
    assert len(audio) == (15 if surround else 10)


@pytest.mark.parametrize(("channels", "layout"), [(0, ""), (16, "16 channels"), (5, "")])
def test_unknown_channels_are_refused(channels: int, layout: str) -> None:
    with pytest.raises(MasterError, match=f"audio 3 has {channels} channels in an unknown layout"):
        fit(STUDIO, make_probe(audio=(make_audio_track(index=3, channels=channels, layout=layout),)))


def test_further_programmes_get_the_short_set_and_names_of_their_own() -> None:
    tracks = (
        make_audio_track(index=1, language="de", channels=6, default=False),
        make_audio_track(index=2, language="en", channels=6, title="Original"),
        make_audio_track(index=3, language="en", channels=2, title="Original", roles=("comment",), default=False),
    )
    audio = fit(STUDIO, make_probe(audio=tracks)).audio
    programmes = {index: [r for r in audio if r.track_index == index] for index in (1, 2, 3)}
    assert [r.id for r in programmes[1]] == [
        "aac-2.0-128k-de",
        "opus-2.0-96k-de",
        "ac3-5.1-384k-de",
        "eac3-5.1-192k-de",
    ]
    assert len(programmes[2]) == 15
    assert [r.id for r in programmes[3]] == ["aac-2.0-128k-en-2", "opus-2.0-96k-en-2"]
    assert [{r.name for r in rs} for rs in programmes.values()] == [{"de"}, {"Original"}, {"Original 2"}]
    assert [{r.default for r in rs} for rs in programmes.values()] == [{False}, {True}, {False}]
    assert {r.roles for r in programmes[3]} == {("comment",)}


def test_a_name_that_looks_numbered_stays_unique() -> None:
    titles = ("Film", "Film 2", "Film")
    tracks = tuple(make_audio_track(index=n, title=title) for n, title in enumerate(titles, 1))
    names = {r.track_index: r.name for r in fit(WEB, make_probe(audio=tracks)).audio}
    assert names == {1: "Film", 2: "Film 2", 3: "Film 3"}


def test_a_master_may_be_silent() -> None:
    fitted = fit(STUDIO, make_probe(audio=()))
    assert fitted.audio == ()
    assert "master has no audio tracks: no audio renditions" in fitted.decisions
