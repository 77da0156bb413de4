"""Nothing depends on a title's length: picture, sound and text are in sync at the end, in both manifests.

Three minutes are longer than the minute after which sound once failed, and make thirty segments and six chunks.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from urllib.request import urlopen

import av
import m3u8
import numpy as np
import pytest
from lxml import etree

from headend.core.media import Codec
from headend.core.settings import StoreSettings, TextChoice
from ladders.ladder import Ladder
from origin.serving import running
from packager.conformance import verify
from tests.support.frame_numbers import read_frame_number
from tests.support.jobs import Published, picture_ladder, submit_small
from tests.support.long_films import RATE_HZ, LongFilm, beeps_s, make_long_film
from tests.support.masters import run_ffmpeg
from tests.support.playback import frame_numbers, luma_of, sound, track_bytes
from tests.support.text import shown, srt, track_cues

DURATION_S = 180
TITLE = "film"
MANIFESTS = ("multivariant.m3u8", "manifest.mpd")


def one_picture() -> Ladder:
    """Return the smallest H.264 of the smoke ladder, and all its sound."""
    ladder = picture_ladder()
    return replace(ladder, video=tuple(replace(rung, default=True) for rung in ladder.video[:1]))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> LongFilm:
    path = tmp_path_factory.mktemp("film") / "film.mov"
    return make_long_film(path, DURATION_S, frame_rate=Fraction(12_000, 1001), size=(160, 90))


@pytest.fixture(scope="module")
def store(film: LongFilm) -> StoreSettings:
    return StoreSettings(str(film.path.parent / "store"))


@pytest.fixture(scope="module")
def published(film: LongFilm, store: StoreSettings, scheduler: str) -> Published:
    sidecar = film.path.with_suffix(".srt")
    sidecar.write_text(srt(film.captions()))
    return submit_small(
        film.path,
        store,
        scheduler,
        title=TITLE,
        ladder=one_picture(),
        segment_s=Fraction(6),
        chunk_s=Fraction(30),
        text=(TextChoice(str(sidecar), "en"),),
    )


@pytest.fixture(scope="module")
def url(published: Published, store: StoreSettings) -> Iterator[str]:  # noqa: ARG001 - there must be a title
    with running(store) as address:
        yield address


def test_the_title_verifies(published: Published) -> None:
    assert verify(published.store, TITLE).findings == ()


def test_every_picture_is_the_right_one_to_the_end(published: Published, film: LongFilm) -> None:
    (track,) = published.outcome.presentation.video
    shown_numbers = frame_numbers(track_bytes(published.store, published.outcome.presentation, track))
    assert shown_numbers == [film.number_at((n + Fraction(1, 2)) / film.frame_rate) for n in range(film.frame_count)]


def test_every_beep_is_on_its_picture_to_the_end_in_each_codec_and_language(
    published: Published, film: LongFilm
) -> None:
    tracks = published.outcome.presentation.audio
    assert {t.rendition.codec for t in tracks} == {Codec.AAC, Codec.OPUS, Codec.AC3, Codec.EAC3}
    assert {t.rendition.language for t in tracks} == {"en", "fr"}
    flashes_s = [float(start_ms / 1000) for start_ms, _, _ in film.captions()]
    assert len(flashes_s) == 9
    for track in tracks:
        total = sum(part.duration_ticks for part in track.segments) - track.priming_samples
        assert total == round(film.duration_s * RATE_HZ), track.rendition.id
        samples = sound(track_bytes(published.store, published.outcome.presentation, track))[0]
        # Codecs smear the start of a sound by a few milliseconds, whatever the film's length.
        assert beeps_s(samples) == pytest.approx(flashes_s, abs=0.005), track.rendition.id


def test_every_cue_has_its_time_to_the_end(published: Published, film: LongFilm) -> None:
    for track in published.outcome.presentation.text:
        assert shown(track_cues(published.store, published.outcome.presentation, track)) == film.captions()


def test_both_manifests_state_the_exact_length(url: str, film: LongFilm) -> None:
    mpd = etree.fromstring(urlopen(f"{url}/{TITLE}/manifest.mpd").read())
    assert float(mpd.get("mediaPresentationDuration")[2:-1]) == pytest.approx(float(film.duration_s), abs=0.001)
    top = urlopen(f"{url}/{TITLE}/multivariant.m3u8")
    playlist = m3u8.loads(top.read().decode(), uri=top.geturl())
    named = [p.absolute_uri for p in playlist.playlists] + [m.absolute_uri for m in playlist.media if m.uri]
    # The picture, sound of each language, and text. A second language without Dolby leaves Dolby out of HLS.
    assert len(named) >= 4
    for uri in named:
        parts = m3u8.loads(urlopen(uri).read().decode()).segments
        assert sum(part.duration for part in parts) == pytest.approx(float(film.duration_s), abs=0.03), uri


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_the_last_seconds_play_in_step(manifest: str, url: str, film: LongFilm) -> None:
    """FFmpeg seeks to shortly before the last beep, and plays to the end."""
    beep_s = float(film.last_beep_s())
    # skip_manual: FFmpeg's DASH demuxer would drop the priming of sound in each segment.
    played = run_ffmpeg(
        "-flags2", "+skip_manual", "-copyts", "-ss", f"{beep_s - 4:.3f}", "-i", f"{url}/{TITLE}/{manifest}",
        "-map", "0:v:0", "-map", "0:a:0", "-fps_mode", "passthrough", "-c:v", "rawvideo", "-c:a", "pcm_f32le",
        "-f", "nut", "-",
    )  # fmt: skip
    pictures: list[av.VideoFrame] = []
    blocks: list[av.AudioFrame] = []
    with av.open(io.BytesIO(played)) as container:
        for frame in container.decode():
            (pictures if isinstance(frame, av.VideoFrame) else blocks).append(frame)
    assert pictures[0].time < beep_s - 1
    assert pictures[-1].time == pytest.approx(float(film.duration_s - 1 / film.frame_rate), abs=0.001)
    flashes = [frame.time for frame in pictures if _number(frame) == film.number_at(beep_s + 0.01)]
    assert min(flashes) == pytest.approx(beep_s, abs=0.001)
    samples = np.concatenate([block.to_ndarray()[0, :: len(block.layout.channels)] for block in blocks])
    assert [blocks[0].time + at_s for at_s in beeps_s(samples)] == pytest.approx([beep_s], abs=0.005)


def _number(frame: av.VideoFrame) -> int | None:
    return read_frame_number(luma_of(frame))
