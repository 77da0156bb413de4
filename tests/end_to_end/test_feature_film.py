"""A feature film: two hours, into a folder and into a real S3 server, killed half-way, and watched at its end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from headend.core.storage.local_server import LocalS3, rclone_server
from origin.serving import running
from origin.watch import fetch, pages
from packager.conformance import verify
from tests.support.browsers import Viewer, chromium
from tests.support.long_films import BEEP_S, PITCHES_HZ, RATE_HZ, LongFilm, make_long_film
from tests.support.text import srt

# Two hours are encoded in a quarter of an hour on two quiet cores, for each kind of store.
pytestmark = [pytest.mark.heavy, pytest.mark.timeout(3 * 3600)]

ROOT = Path(__file__).parents[2]
DURATION_S = 7200
RENDITIONS = 10
"""Renditions: two of the picture, and four of each programme of sound."""
TITLE = "film"
BUCKET = "titles"
PLAYERS = [("hls", "hls"), ("dash", "dash"), ("shaka", "hls"), ("shaka", "dash")]
MAX_BYTES = 600_000_000
"""Upper limit for the memory of each process."""

LADDER = """
name = "long"
summary = "Two small pictures, four kinds of sound."
area_exponent = 0.75
families = [
    { codec = "avc", profile = "high", bit_depth = 8, at_most_25p = 1.0, above_30p = 1.4, crf_per_halving = 5.0 },
]
video = [
    { codec = "avc", width_px = 160, height_px = 90, average_kbps = 60, cap_kbps = 90, buffer_kb = 120, crf = 30.0 },
    { codec = "avc", width_px = 320, height_px = 180, average_kbps = 240, cap_kbps = 360, buffer_kb = 480, crf = 26.0, default = true },
]
audio = [
    { codec = "aac", layout = "2.0", bit_rate_kbps = 96, every_programme = true, default = true },
    { codec = "opus", layout = "2.0", bit_rate_kbps = 64, every_programme = true },
    { codec = "ac3", layout = "2.0", bit_rate_kbps = 192, every_programme = true },
    { codec = "eac3", layout = "2.0", bit_rate_kbps = 128, every_programme = true },
]
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class ResumedTitle:
    """A title that was killed and resumed.

    Attributes:
        film: Its master.
        store: Where it is.
        reused: Chunks of renditions that the second run found in the store.
        encoded: Tasks that it ran.
        peak_bytes: The largest memory of any process in both runs.
    """

    film: LongFilm
    store: StoreSettings
    reused: int
    encoded: int
    peak_bytes: int


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> LongFilm:
    return make_long_film(tmp_path_factory.mktemp("film") / "film.mov", DURATION_S)


@pytest.fixture(scope="module", params=["folder", "S3"])
def resumed(
    request: pytest.FixtureRequest, film: LongFilm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ResumedTitle]:
    folder = tmp_path_factory.mktemp("store")
    if request.param == "folder":
        yield make(film, StoreSettings(str(folder)), folder, {})
        return
    with rclone_server(folder, buckets=[BUCKET]) as server, credentials(server):
        store = StoreSettings(f"s3://{BUCKET}", server.endpoint_url)
        yield make(film, store, folder, server.environment())


@contextmanager
def credentials(server: LocalS3) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield


def make(film: LongFilm, store: StoreSettings, folder: Path, environment: dict[str, str]) -> ResumedTitle:
    """Submit a film, kill everything half-way, and submit it again."""
    (folder / "ladder.toml").write_text(LADDER)
    (folder / "en.srt").write_text(srt(film.captions()))
    argv = [sys.executable, "-m", "headend", "submit", str(film.path), "--title", TITLE, "--store", store.url]
    argv += ["--ladder", str(folder / "ladder.toml"), "--subtitles", f"{folder}/en.srt:en", "--effort", "draft"]
    argv += ["--json", "--workers", "2"]
    argv += ["--s3-endpoint", store.endpoint_url] if store.endpoint_url else []

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            argv,
            cwd=ROOT,
            env={**os.environ, **environment},
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def segments() -> int:
        return sum(info.key.endswith(".m4s") for info in open_store(store).list("titles/"))

    half = RENDITIONS * film.duration_s / 6 / 2
    first, peak_bytes = start(), 0
    while segments() < half:
        assert first.poll() is None, "it ended before it was half done"
        peak_bytes = max(peak_bytes, memory_of(first.pid))
        time.sleep(1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second = start()
    while second.poll() is None:
        peak_bytes = max(peak_bytes, memory_of(second.pid))
        time.sleep(0.5)
    out = second.stdout.read() if second.stdout else b""
    assert second.returncode == 0
    result = json.loads(out)
    return ResumedTitle(film, store, result["reused_parts"], result["encoded_tasks"], peak_bytes)


def memory_of(pid: int) -> int:
    """Memory of the largest process in a tree."""
    sizes = [0]
    try:
        root = psutil.Process(pid)
        sizes += [process.memory_info().rss for process in (root, *root.children(recursive=True))]
    except psutil.NoSuchProcess:
        pass
    return max(sizes)


def test_the_second_run_reuses_the_first_ones_work(resumed: ResumedTitle) -> None:
    assert resumed.reused > 0
    assert resumed.encoded > 0


def test_no_process_takes_much_memory(resumed: ResumedTitle) -> None:
    assert 50_000_000 < resumed.peak_bytes < MAX_BYTES


def test_the_release_verifies(resumed: ResumedTitle) -> None:
    verdict = verify(open_store(resumed.store), TITLE)
    assert verdict.findings == ()
    assert verdict.objects > RENDITIONS * film_segments(resumed.film)


def film_segments(film: LongFilm) -> int:
    return int(film.duration_s / Fraction(1001 * 6, 1000))


# --- watched ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser(resumed: ResumedTitle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:  # noqa: ARG001 - made before
    fetch.fetch()
    pages.load.cache_clear()
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def url(resumed: ResumedTitle) -> Iterator[str]:
    with running(resumed.store) as address:
        yield address


LATE_MS = 150
"""A page whose timer is later than that has not run in time, so its clock and its sound don't belong together."""
ATTEMPTS = 10
"""Times that the last beep is played until the page runs in time."""

# Records the first beep with its samples, and the time of each cue. The analyser holds the last 683 ms of the sound, so
# a page that runs late on a busy machine still finds the beep; ``late_ms`` says how late the timer was then.
ATTEND = """(beepSamples) => {
  const context = new AudioContext({ sampleRate: 48000 });
  const ear = context.createAnalyser();
  ear.fftSize = 32768;
  const source = context.createMediaElementSource(video);
  source.connect(ear);
  source.connect(context.destination);
  const sound = new Float32Array(ear.fftSize);
  window.beep = null;
  window.cues = {};
  let last = performance.now();
  setInterval(() => {
    const late_ms = performance.now() - last - 50;
    last = performance.now();
    if (video.paused || video.seeking) return;
    const now = video.currentTime;
    for (const track of video.textTracks) {
      if (track.mode !== 'showing') continue;
      for (const cue of track.activeCues ?? []) cues[cue.text] ??= now;
    }
    if (beep !== null) return;
    ear.getFloatTimeDomainData(sound);
    const start = sound.findIndex((sample) => Math.abs(sample) > 0.05);
    if (start < 0 || start + beepSamples > sound.length) return;
    const samples = Array.from(sound.subarray(start, start + beepSamples));
    beep = { time: now - (sound.length - start) / 48000, samples, late_ms };
  }, 50);
}"""


@pytest.mark.parametrize(
    ("player", "manifest"), PLAYERS, ids=["hls.js", "dash.js", "Shaka with HLS", "Shaka with DASH"]
)
def test_the_last_minute_is_there_with_picture_sound_text_and_thumbnail(
    browser: Any, url: str, resumed: ResumedTitle, player: str, manifest: str
) -> None:
    check_last_minute(browser, url, resumed.film, player, manifest)


def strength(samples: Sequence[float], pitch_hz: int) -> float:
    """Strength of a pitch in a sound."""
    times_s = np.arange(len(samples)) / RATE_HZ
    return float(abs(np.dot(samples, np.exp(-2j * np.pi * pitch_hz * times_s))))


def play_beep(viewer: Viewer, beep_s: float) -> dict[str, Any]:
    """Play a beep, again if the page ran late then; returns its time and samples."""
    for _ in range(ATTEMPTS):
        viewer.pause()
        viewer.seek(beep_s - 2)
        viewer.ask("(window.beep = null, window.cues = {})")
        viewer.play()
        viewer.wait("beep !== null")
        beep: dict[str, Any] = viewer.ask("beep")
        if beep["late_ms"] <= LATE_MS:
            return beep
    pytest.fail(f"the page ran later than {LATE_MS} ms in each of {ATTEMPTS} attempts: this machine is too busy")


def check_last_minute(browser: Any, url: str, film: LongFilm, player: str, manifest: str) -> float:
    """Check the film around its last beep; returns the seconds until the title could be played."""
    began_s = time.monotonic()
    with Viewer(browser, url, TITLE, player, manifest) as viewer:
        opened_s = time.monotonic() - began_s
        assert viewer.ask("video.duration") == pytest.approx(float(film.duration_s), abs=0.1)
        viewer.choose("text", "en")
        if player == "shaka":  # it loses a text track whose first segment is still loading during a seek
            viewer.wait("[...video.textTracks].some((track) => track.mode === 'showing' && track.cues?.length)")
        beep_s = float(film.last_beep_s())
        assert film.duration_s - film.last_beep_s() < 60

        shown_s, number = viewer.seek(beep_s + 0.02)
        assert number == film.number_at(beep_s + 0.02)
        assert shown_s == pytest.approx(beep_s, abs=0.05)
        _, before = viewer.seek(beep_s - 0.02)
        assert before == number - 1

        viewer.page.evaluate(ATTEND, int(BEEP_S * RATE_HZ))
        beep = play_beep(viewer, beep_s)
        # Browsers update the time at least four times a second.
        assert beep["time"] == pytest.approx(beep_s, abs=0.3)
        first, second = (strength(beep["samples"], pitch_hz) for pitch_hz in PITCHES_HZ)
        assert first > 5 * second, "it was the other language"
        start_ms, stop_ms, cue = film.captions()[-1]
        viewer.wait(f"'{cue}' in cues")
        assert start_ms / 1000 - 0.05 <= viewer.ask(f"cues['{cue}']") <= stop_ms / 1000 + 0.05

        # dash.js pauses at the end by itself, sometimes before the browser says that the film has ended.
        viewer.wait(f"video.currentTime > {float(film.duration_s) - 0.1}")
        start_s, thumbnail = viewer.hover(0.999)
        assert thumbnail == film.number_at(start_s + 0.001)
        assert float(film.duration_s) * 0.999 - start_s < 12.1
        assert viewer.complaints == []
    return opened_s
