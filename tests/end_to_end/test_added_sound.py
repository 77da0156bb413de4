"""Sound from another file is added to a published title: only the sound is encoded, and nothing else changes."""

import signal
import subprocess
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from headend.app import editing
from headend.app.editing import Edit
from headend.app.request import Planned
from headend.app.verifying import verify
from headend.core import layout
from headend.core.errors import ConfigError, MasterError
from headend.core.manifests import hls
from headend.core.manifests.outline import outline_of
from headend.core.media import AudioRole
from headend.core.settings import AudioFileChoice, ClusterSettings, StoreSettings
from headend.core.storage import Store, open_store
from packager.reading import current_presentation, current_release
from tests.support.command_line import command, environment
from tests.support.jobs import picture_ladder, submit_small
from tests.support.masters import Sound, make_film, make_sound
from tests.support.playback import sound, track_bytes

FILM_S = Fraction(4)
NEW_HZ = 1000


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> StoreSettings:
    folder = tmp_path_factory.mktemp("dubs")
    master = make_film(folder / "film.mp4", frame_count=100, sound=[Sound()])
    store = StoreSettings(str(folder / "store"))
    submit_small(master, store, scheduler, ladder=picture_ladder())
    return store


@pytest.fixture
def store(settings: StoreSettings) -> Iterator[Store]:
    """The title's store; the current release is restored after each test."""
    opened = open_store(settings)
    before = opened.get(layout.current("film"))
    yield opened
    opened.put(layout.current("film"), before)


def tone(path: Path, duration_s: Fraction = FILM_S, **changes: object) -> Path:
    return make_sound(path, duration_s=duration_s, sound=[Sound(frequency_hz=NEW_HZ, **changes)])  # type: ignore[arg-type]


def add(settings: StoreSettings, scheduler: str, *files: AudioFileChoice, **options: object) -> editing.Edited:
    workers = ClusterSettings(scheduler=scheduler)
    return editing.edit(settings, "film", Edit(audio=files), workers=workers, **options)  # type: ignore[arg-type]


def media(store: Store) -> dict[str, str]:
    return {info.key: info.etag for info in store.list(layout.tracks("film"))}


def test_added_sound_is_heard_at_the_level_of_the_rest_and_nothing_else_is_encoded(
    settings: StoreSettings, store: Store, scheduler: str, tmp_path: Path
) -> None:
    before, tracks = media(store), current_presentation(store, "film")
    planned: list[Planned] = []
    quiet = tone(tmp_path / "film.fr.wav", codec="pcm_s16le", amplitude=0.02)
    edited = add(
        settings,
        scheduler,
        AudioFileChoice(str(quiet), "fr", AudioRole.DUB, "Français"),
        on_event=lambda event: planned.append(event) if isinstance(event, Planned) else None,
    )
    now = current_presentation(store, "film")
    assert edited.added == ("aac-2.0-96k-fr",) and edited.encoded == 1
    assert [task.renditions for one in planned for task in one.plan.tasks] == [edited.added]
    assert (now.video, now.audio[: len(tracks.audio)]) == (tracks.video, tracks.audio)
    (new,) = now.audio[len(tracks.audio) :]
    assert (new.rendition.language, new.rendition.name, new.rendition.roles) == ("fr", "Français", ("dub",))
    assert not new.rendition.default
    assert new.loudness is not None and tracks.audio[0].loudness is not None
    assert new.loudness.result_lufs == pytest.approx(tracks.audio[0].loudness.result_lufs, abs=0.1)
    samples = sound(track_bytes(store, now, new))[0]
    assert np.abs(np.fft.rfft(samples[: 4 * 48_000])).argmax() / 4 == pytest.approx(NEW_HZ, abs=1)
    after = media(store)
    assert before.items() <= after.items()
    assert all(f"/{new.id}/" in key for key in after.keys() - before.keys())
    assert 'LANGUAGE="fr",NAME="Français"' in hls.multivariant(outline_of(now))
    verdict = verify(store, "film", deep=True)
    assert (verdict.findings, verdict.not_compared) == ((), "")

    with pytest.raises(ConfigError, match=r"has the sound of .*film.fr.wav already"):
        add(settings, scheduler, AudioFileChoice(str(quiet), "fr"))
    # If it is removed and added again, it is not encoded again.
    workers = ClusterSettings(scheduler=scheduler)
    editing.edit(settings, "film", Edit(remove=edited.added), workers=workers)
    again = add(settings, scheduler, AudioFileChoice(str(quiet), "fr", AudioRole.DUB, "Français"))
    assert (again.encoded, again.published.presentation.release) == (0, now.release)


def test_default_sound_gets_every_rung(settings: StoreSettings, store: Store, scheduler: str, tmp_path: Path) -> None:
    file = tone(tmp_path / "film.de.mka", codec="libopus", language="")
    edited = add(settings, scheduler, AudioFileChoice(str(file), "de", AudioRole.MAIN))
    now = current_presentation(store, "film")
    assert edited.added == ("aac-2.0-96k-de", "opus-2.0-64k-de", "ac3-2.0-192k-de", "eac3-2.0-128k-de")
    assert {track.rendition.language for track in now.audio if track.rendition.default} == {"de"}
    assert verify(store, "film").findings == ()


def two_languages(folder: Path) -> Path:
    return make_sound(folder / "two.mka", duration_s=FILM_S, sound=[Sound(), Sound(language="fra")])


def rubbish(folder: Path) -> Path:
    (folder / "text.wav").write_text("RIFF, but no sound")
    return folder / "text.wav"


UNFIT = {
    "short": (
        lambda d: tone(d / "short.wav", Fraction(7, 2), codec="pcm_s16le"),
        r"short.wav has 3.500 s of sound and 'film' lasts 4.000 s: it is 0.500 s shorter, and 0.2 s are allowed",
    ),
    "long": (lambda d: tone(d / "long.mka", Fraction(17, 4)), r"lasts 4.000 s: it is 0.2\d+ s longer"),
    "mute": (lambda d: make_film(d / "mute.mp4", frame_count=100), "has no sound"),
    "several": (two_languages, r"has 2 tracks of sound: 0 \(en, stereo\), 1 \(fr, stereo\)"),
    "rubbish": (rubbish, "has no sound that can be read"),
    "missing": (lambda d: d / "missing.wav", "there is no file"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_files_that_do_not_fit_are_refused_and_change_nothing(
    kind: str, settings: StoreSettings, store: Store, scheduler: str, tmp_path: Path
) -> None:
    make, message = UNFIT[kind]
    before = {info.key: info.etag for info in store.list("")}
    with pytest.raises(MasterError, match=message):
        add(settings, scheduler, AudioFileChoice(str(make(tmp_path)), "fr"))
    assert {info.key: info.etag for info in store.list("")} == before


def test_sound_of_another_film_starts_when_that_films_picture_does(
    settings: StoreSettings, store: Store, scheduler: str, tmp_path: Path
) -> None:
    beeps = Sound(frequency_hz=NEW_HZ, codec="pcm_s16le", beeps_s=(Fraction(2),), start_s=Fraction(1))
    file = make_film(tmp_path / "other.mkv", frame_count=100, sound=[beeps], start_s=Fraction(1))
    would = add(settings, scheduler, AudioFileChoice(str(file), "es"), dry_run=True)
    assert (would.added, would.encoded, would.published.is_current) == (("aac-2.0-96k-es",), 1, False)
    add(settings, scheduler, AudioFileChoice(str(file), "es"))
    now = current_presentation(store, "film")
    samples = np.abs(sound(track_bytes(store, now, now.audio[-1]))[0])
    assert np.flatnonzero(samples > samples.max() / 2)[0] / 48_000 == pytest.approx(2, abs=0.005)


def test_killed_work_resumes_where_it_stopped(
    settings: StoreSettings, store: Store, scheduler: str, tmp_path: Path
) -> None:
    file, release = tone(tmp_path / "film.it.wav", codec="pcm_s16le"), current_release(store, "film")
    words = ["edit", "film", "--add-audio", f"{file}:it:main", "--store", settings.url, "--scheduler", scheduler]
    edit = subprocess.Popen(command(*words, "--yes"), env=environment(), stderr=subprocess.DEVNULL)
    folder, deadline_s = Path(settings.url) / "titles/film/tracks", time.monotonic() + 60
    while not list(folder.glob("*-it-*/1.m4s")) and time.monotonic() < deadline_s:
        time.sleep(0.005)
    edit.send_signal(signal.SIGKILL)
    edit.wait()
    pointer = current_release(store, "film")
    assert verify(store, "film").findings == ()
    again = add(settings, scheduler, AudioFileChoice(str(file), "it", AudioRole.MAIN)) if pointer == release else None
    assert again is None or again.published.is_current
    now = current_presentation(store, "film")
    assert now.audio[0].rendition.id == "aac-2.0-96k-en"
    assert {track.rendition.language for track in now.audio if track.rendition.default} == {"it"}
    assert verify(store, "film", deep=True).findings == ()


def test_finished_parts_of_a_killed_run_are_reused(
    settings: StoreSettings, store: Store, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tone(tmp_path / "film.pt.flac", codec="flac")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(editing.making, "publish", lambda *_args, **_more: (_ for _ in ()).throw(KeyboardInterrupt))
        add(settings, scheduler, AudioFileChoice(str(file), "pt-br"))
    again = add(settings, scheduler, AudioFileChoice(str(file), "pt-br"))
    assert (again.added, again.encoded) == (("aac-2.0-96k-pt-BR",), 0)
    assert verify(store, "film").findings == ()
