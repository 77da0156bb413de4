"""Programmes: tracks are selected, relabelled and joined, with one default and a line for every decision."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder.programmes import choose, describe
from headend.core.errors import ConfigError
from headend.core.media import AudioRole, AudioTrack, Codec
from headend.core.settings import AudioChoice, Channel
from tests.support.encodes import encode_sound, probe_film
from tests.support.makers import make_audio_rendition, make_audio_track
from tests.support.masters import Sound, make_film
from tests.support.playback import sound

ENGLISH = make_audio_track()
FRENCH = make_audio_track(index=2, language="fr", channels=6, title="VF", default=False)
TALK = make_audio_track(index=3, roles=("comment",), default=False)
MASTER = (ENGLISH, FRENCH, TALK)
MONO = tuple(make_audio_track(index=n, channels=1, title=f"Mono {n}") for n in range(1, 9))


def chosen(*choices: AudioChoice, tracks: tuple[AudioTrack, ...] = MASTER) -> tuple[AudioTrack, ...]:
    return choose(tracks, choices)


def lines(*choices: AudioChoice, tracks: tuple[AudioTrack, ...] = MASTER, **changes: Any) -> list[str]:
    place = {"start_s": Fraction(0), "duration_s": Fraction(2)} | changes
    return list(describe(chosen(*choices, tracks=tracks), tracks, **place))


def test_without_a_choice_every_track_is_a_programme() -> None:
    assert [(p.index, p.language, p.roles, p.default) for p in chosen()] == [
        (1, "en", (), True),
        (2, "fr", (), False),
        (3, "en", ("comment",), False),
    ]
    assert choose(()) == ()


@pytest.mark.parametrize(
    ("tracks", "default"),
    [
        ((TALK, FRENCH, ENGLISH), 1),
        ((TALK, FRENCH), 2),
        ((TALK,), 3),
        ((make_audio_track(index=5, roles=("visual_impaired",)), FRENCH), 2),
        ((ENGLISH, make_audio_track(index=5)), 1),
    ],
)
def test_one_programme_is_the_default_and_no_commentary_if_there_is_another(
    tracks: tuple[AudioTrack, ...], default: int
) -> None:
    assert [p.index for p in choose(tracks) if p.default] == [default]


def test_choices_set_order_language_role_and_name() -> None:
    programmes = chosen(
        AudioChoice((2,), "pt-br", AudioRole.DUB, "Dublado"), AudioChoice((1,), role=AudioRole.MAIN), AudioChoice((3,))
    )

    assert [(p.index, p.language, p.roles, p.title, p.default) for p in programmes] == [
        (2, "pt-BR", ("dub",), "Dublado", False),
        (1, "en", (), "", True),
        (3, "en", ("comment",), "en commentary", False),
    ]


def test_without_a_main_role_the_first_choice_is_the_default() -> None:
    programmes = chosen(AudioChoice((3,)), AudioChoice((2,)), AudioChoice((1,)))

    assert [p.index for p in programmes if p.default] == [2]


@pytest.mark.parametrize(
    ("role", "roles", "name"),
    [
        (AudioRole.DESCRIPTION, ("visual_impaired",), "en audio description"),
        (AudioRole.HEARING_IMPAIRED, ("hearing_impaired",), "en clear speech"),
        (AudioRole.COMMENTARY, ("comment",), "en commentary"),
        (AudioRole.ORIGINAL, ("original",), ""),
        (AudioRole.ALTERNATE, (), ""),
    ],
)
def test_special_roles_are_part_of_the_name(role: AudioRole, roles: tuple[str, ...], name: str) -> None:
    (programme,) = chosen(AudioChoice((1,), role=role))

    assert (programme.roles, programme.title) == (roles, name)


@pytest.mark.parametrize(
    ("streams", "layout"), [((1, 2), "stereo"), ((1, 2, 3, 4, 5, 6), "5.1"), ((*range(1, 9),), "7.1")]
)
def test_mono_tracks_are_joined_in_the_order_given(streams: tuple[int, ...], layout: str) -> None:
    (programme,) = chosen(AudioChoice(streams[::-1], "de"), tracks=MONO)

    assert (programme.layout, programme.channels, programme.language, programme.title) == (
        layout,
        len(streams),
        "de",
        "",
    )
    assert [part.index for part in programme.parts] == list(streams[::-1])


def test_stereo_pairs_and_mono_tracks_may_be_mixed() -> None:
    pairs = (make_audio_track(index=1), *MONO[1:3], make_audio_track(index=4))
    (programme,) = chosen(AudioChoice((1, 2, 3, 4)), tracks=pairs)

    assert (programme.layout, programme.channels) == ("5.1", 6)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            [AudioChoice((7,))],
            r"no audio stream 7; it has 1 \(en, stereo, pcm_s24le\), 2 \(fr, 5.1, pcm_s24le, VF\), 3",
        ),
        ([AudioChoice((1,)), AudioChoice((1,), "fr")], "stream 1 is chosen twice"),
        ([AudioChoice((1,)), AudioChoice((Channel(1, 0),), "fr")], "stream 1 is chosen twice"),
        ([AudioChoice((Channel(1, 0), Channel(1, 0)))], "channel 1.0 is chosen twice"),
        ([AudioChoice((Channel(1, 2),))], "stream 1 has no channel 2; its 2 channels are counted from 0"),
        ([AudioChoice((Channel(9, 0),))], "no audio stream 9; it has 1"),
        ([AudioChoice((Channel(1, 0), 3))], "can't be joined"),
        ([AudioChoice((1, 2))], r"1 \(en.*\), 2 \(fr.*\) can't be joined"),
        ([AudioChoice((1, 3))], "can't be joined; join mono and stereo streams, or channels, to 2, 6 or 8"),
        ([AudioChoice((1,), "english!")], "'english!' is not a language tag; use tags such as en"),
        ([AudioChoice((1,), role=AudioRole.MAIN), AudioChoice((2,), role=AudioRole.MAIN)], "only one programme"),
    ],
)
def test_an_impossible_choice_lists_the_existing_tracks(choices: list[AudioChoice], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(*choices)


def test_a_silent_master_has_nothing_to_choose_from() -> None:
    with pytest.raises(ConfigError, match="no audio stream 1; it has none"):
        choose((), [AudioChoice((1,))])


def test_empty_streams_are_left_out_and_can_not_be_chosen() -> None:
    dead = make_audio_track(index=4, codec="ac3", channels=0, layout="0 channels", default=True)
    tracks = (ENGLISH, dead)

    assert [programme.index for programme in choose(tracks)] == [1]
    assert lines(tracks=tracks) == ["audio 4 (ac3) never carries any sound → left out"]
    with pytest.raises(ConfigError, match="stream 4 never carries any sound"):
        choose(tracks, [AudioChoice((4,))])


def test_programmes_picked_from_one_stream_have_their_own_numbers() -> None:
    wide = make_audio_track(index=1, channels=8, layout="8 channels")
    pairs = [AudioChoice((Channel(1, n), Channel(1, n + 1)), language) for n, language in ((0, "en"), (2, "fr"))]

    programmes = choose((wide, TALK), [*pairs, AudioChoice((3,))])

    assert [(p.index, p.label, p.layout) for p in programmes] == [
        (1, "1.0+1.1", "stereo"), (4, "1.2+1.3", "stereo"), (3, "3", "stereo"),
    ]  # fmt: skip
    lines = describe(programmes, (wide, TALK), start_s=Fraction(0), duration_s=Fraction(2))
    assert next(lines) == "audio 1.0+1.1 joined to one programme of stereo"


# --- the plan's lines----------------------------------------------------------------------------------------------


def test_sound_that_fits_the_picture_is_not_reported() -> None:
    assert lines(tracks=(ENGLISH,)) == []
    assert lines(tracks=(make_audio_track(start_s=Fraction(1, 100), duration_s=Fraction(0)),)) == []


@pytest.mark.parametrize(
    ("start_s", "duration_s", "expected"),
    [
        (Fraction(1, 4), Fraction(7, 4), ["audio 1 starts 0.250 s after the picture → begins with silence"]),
        (Fraction(-1, 4), Fraction(9, 4), ["audio 1 starts 0.250 s before the picture → its beginning is cut"]),
        (Fraction(0), Fraction(12, 5), ["audio 1 ends 0.400 s after the picture → its end is cut"]),
        (Fraction(0), Fraction(3, 2), ["audio 1 ends 0.500 s before the picture → ends with silence"]),
    ],
)
def test_sound_that_starts_or_ends_elsewhere_is_reported(
    start_s: Fraction, duration_s: Fraction, expected: list[str]
) -> None:
    late = make_audio_track(start_s=start_s + 10, duration_s=duration_s)

    assert lines(tracks=(late,), start_s=Fraction(10)) == expected


def test_joins_roles_and_omissions_are_reported() -> None:
    assert lines(AudioChoice((1, 2), role=AudioRole.DUB), AudioChoice((3,), name="Left"), tracks=MONO[:4]) == [
        "audio 1+2 joined to one programme of stereo",
        "audio 1+2 is dub",
        "audio 4 left out by --audio",
    ]


def test_mono_tracks_that_look_like_channels_are_pointed_out() -> None:
    (hint,) = lines(tracks=MONO[:6])

    assert hint.startswith("6 mono tracks → 6 programmes")
    assert hint.endswith("--audio 1+2+3+4+5+6")


# --- run for real -------------------------------------------------------------------------------------------------


def pitch_hz(samples: np.ndarray) -> float:
    """Return the strongest frequency in the middle of a sound."""
    middle = samples[len(samples) // 4 : -len(samples) // 4]
    return float(np.argmax(np.abs(np.fft.rfft(middle * np.hanning(len(middle))))) * 48_000 / len(middle))


def test_six_mono_tracks_become_the_six_channels_in_the_order_given(tmp_path: Path) -> None:
    # The LFE carries only sound below 120 Hz.
    pitches = [400, 800, 1200, 60, 2000, 2400]
    tracks = [Sound(frequency_hz=pitch, layout="mono", codec="pcm_s16le") for pitch in pitches]
    film = probe_film(make_film(tmp_path / "split.mov", sound=tracks))
    order = (6, 5, 3, 4, 2, 1)
    (joined,) = choose(film.probe.audio, [AudioChoice(order, "en")])
    kinds = [
        make_audio_rendition(id="surround", codec=Codec.AC3, layout="5.1", bit_rate_bps=448_000),
        make_audio_rendition(id="stereo", bit_rate_bps=160_000),
    ]

    outputs = encode_sound(film, kinds, tmp_path / "out", track=joined)

    found_hz = [pitch_hz(channel) for channel in sound(outputs["surround"])]
    assert found_hz == pytest.approx([pitches[stream - 1] for stream in order], abs=2)
    left, right = sound(outputs["stereo"])
    assert (pitch_hz(left), pitch_hz(right)) == pytest.approx((2400, 2000), abs=2)


def test_parts_that_start_apart_are_joined_in_time(tmp_path: Path) -> None:
    late_s = Fraction(1, 2)
    tracks = [Sound(layout="mono", codec="pcm_s16le"), Sound(layout="mono", codec="pcm_s16le", start_s=late_s)]
    film = probe_film(make_film(tmp_path / "pair.mkv", sound=tracks))
    (pair,) = choose(film.probe.audio, [AudioChoice((1, 2))])

    left, right = np.abs(
        sound(encode_sound(film, [make_audio_rendition(id="aac")], tmp_path / "out", track=pair)["aac"])
    )

    assert int(np.argmax(left > 0.02)) < 480
    assert int(np.argmax(right > 0.02)) == pytest.approx(24_000, abs=480)
