"""All selected sound of a master, in both manifests; and titles without sound."""

from pathlib import Path

import m3u8
import numpy as np
import pytest
from lxml import etree

from headend.core import layout
from headend.core.manifests import dash
from headend.core.media import AudioRole
from headend.core.settings import AudioChoice, StoreSettings
from packager.conformance import verify
from packager.reading import current_presentation, read_track
from tests.support.jobs import Published, picture_ladder, submit_small
from tests.support.masters import Sound, make_film
from tests.support.playback import sound, track_bytes

NAMES = {"": dash.NAMESPACE}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Published:
    folder = tmp_path_factory.mktemp("programmes")
    split = [Sound(layout="mono", codec="pcm_s16le", frequency_hz=pitch) for pitch in (400, 800)]
    others = [
        Sound(codec="pcm_s16le", language="fra", title="Version française", amplitude=0.5),
        Sound(codec="pcm_s16le", disposition="visual_impaired"),
        Sound(codec="pcm_s16le", disposition="comment", title="The director"),
    ]
    master = make_film(folder / "master.mkv", sound=[*split, *others])
    audio = (
        AudioChoice((3,), role=AudioRole.DUB),
        AudioChoice((1, 2), "en", AudioRole.MAIN, "English"),
        AudioChoice((4,)),
        AudioChoice((5,)),
    )
    return submit_small(master, StoreSettings(str(folder / "store")), scheduler, ladder=picture_ladder(), audio=audio)


def test_hls_offers_every_programme_by_name_language_and_role(published: Published) -> None:
    presentation = published.outcome.presentation
    playlist = m3u8.loads(published.store.get(layout.multivariant(presentation.title, presentation.release)).decode())
    attributes = [
        (media.name, media.language, media.default, media.autoselect, media.characteristics)
        for media in playlist.media
        if media.group_id == "aac-2.0-96k"
    ]
    assert attributes == [
        ("Version française", "fr", "NO", "YES", None),
        ("English", "en", "YES", "YES", None),
        ("en audio description", "en", "NO", "YES", "public.accessibility.describes-video"),
        ("The director", "en", "NO", "NO", None),
    ]


def test_dash_offers_every_programme_by_language_and_role(published: Published) -> None:
    presentation = published.outcome.presentation
    root = etree.fromstring(published.store.get(layout.mpd(presentation.title, presentation.release)))
    attributes = {
        found.find("Label", NAMES).text: (
            found.get("lang"),
            [role.get("value") for role in found.iterfind("Role", NAMES)],
            [purpose.get("value") for purpose in found.iterfind("Accessibility", NAMES)],
        )
        for found in root.iterfind("Period/AdaptationSet[@contentType='audio']", NAMES)
    }
    assert attributes == {
        "Version française": ("fr", ["alternate", "dub"], []),
        "English": ("en", ["main"], []),
        "en audio description": ("en", ["alternate", "description"], ["1"]),
        "The director": ("en", ["alternate", "commentary"], []),
    }


def test_the_release_is_valid(published: Published) -> None:
    assert verify(published.store, "film").findings == ()


def test_two_mono_tracks_are_the_left_and_right_of_one_programme(published: Published) -> None:
    presentation = published.outcome.presentation
    english = next(track for track in presentation.audio if track.rendition.name == "English")
    left, right = sound(track_bytes(published.store, presentation, english))
    assert [pitch_hz(channel) for channel in (left, right)] == pytest.approx([400, 800], abs=2)


def pitch_hz(samples: np.ndarray) -> float:
    """Return the strongest frequency in a second from the middle."""
    return float(np.argmax(np.abs(np.fft.rfft(samples[24_000:72_000] * np.hanning(48_000)))))


def test_indexes_and_the_release_state_each_programmes_loudness_before_and_after(published: Published) -> None:
    outcome = published.outcome
    kept = current_presentation(published.store, "film")
    heard = {track.rendition.name: track.loudness for track in kept.audio}
    assert all(loud and loud.result_lufs == -24.0 for loud in heard.values())
    french, described = heard["Version française"], heard["en audio description"]
    assert french and described
    # It is 12 dB louder in the master, and as loud as the others in the release.
    assert french.gain_db == pytest.approx(described.gain_db - 12.0, abs=0.2)
    for track in kept.audio:
        index, _ = read_track(published.store, kept.title, track.id)
        assert index.facts.loudness == track.loudness
    assert [track.loudness for track in outcome.presentation.audio] == [track.loudness for track in kept.audio]


def test_a_film_without_sound_becomes_a_title(tmp_path: Path, scheduler: str) -> None:
    film, where = make_film(tmp_path / "silent.mp4"), StoreSettings(str(tmp_path / "store"))
    silent = submit_small(film, where, scheduler, ladder=picture_ladder())
    presentation = silent.outcome.presentation
    assert presentation.audio == ()
    assert "master has no audio tracks: no audio renditions" in silent.outcome.plan.decisions
    assert not [line for line in silent.outcome.plan.decisions if "loudness" in line]
    playlist = m3u8.loads(silent.store.get(layout.multivariant(presentation.title, presentation.release)).decode())
    assert playlist.playlists and not playlist.media
    assert all("mp4a" not in variant.stream_info.codecs for variant in playlist.playlists)
    root = etree.fromstring(silent.store.get(layout.mpd(presentation.title, presentation.release)))
    kinds = {found.get("contentType") for found in root.iterfind("Period/AdaptationSet", NAMES)}
    assert kinds == {"video"}
    assert verify(silent.store, "film").findings == ()
