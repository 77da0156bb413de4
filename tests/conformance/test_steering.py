"""Content steering in a real Chromium: an edge is killed during playback, and players continue from another one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from cdn_sim.live.steering_server import SteeringSettings
from cdn_sim.live.steering_server import running as steering_running
from cdn_sim.pathways import SteeringMap, parse_edge
from headend.core.errors import ConfigError
from headend.core.http.listening import listen
from headend.core.settings import StoreSettings
from origin.serving import OriginSettings, running
from origin.watch import fetch, pages
from tests.support.browsers import chromium, wait_for
from tests.support.command_line import environment
from tests.support.jobs import picture_ladder, submit_small
from tests.support.masters import Sound, make_film

TITLE = "film"
LENGTH_S = 30
BUFFER_S = 6
SPEED = 2

HLS = """async ([url, buffer]) => {
  const hls = new Hls({ maxBufferLength: buffer, maxMaxBufferLength: buffer });
  hls.loadSource(url);
  hls.attachMedia(film);
  await new Promise((resolve) => hls.once(Hls.Events.MANIFEST_PARSED, resolve));
}"""
DASH = """async ([url, buffer]) => {
  const player = dashjs.MediaPlayer().create();
  player.updateSettings({ streaming: { buffer: {
    bufferTimeDefault: buffer, bufferTimeAtTopQuality: buffer, bufferTimeAtTopQualityLongForm: buffer } } });
  player.initialize(film, url, false);
}"""
# The film's time, its longest stall in ms, and the hosts of segments in order. Time in which a busy machine did not run
# this page is not counted.
FOLLOW = """() => {
  const film = Object.assign(document.createElement('video'), { muted: true });
  document.body.append(film);
  Object.assign(window, { film, longest: 0 });
  performance.setResourceTimingBufferSize(5000);
  let [at, still, last] = [0, 0, performance.now()];
  setInterval(() => {
    const now = performance.now();
    still = film.currentTime !== at || film.ended || at < 0.5 ? 0 : still + Math.min(now - last, 100);
    [at, last] = [film.currentTime, now];
    window.longest = Math.max(window.longest, still);
  }, 50);
}"""
SOURCES = """performance.getEntriesByType('resource').filter(({ name }) => /\\.m4s$/.test(name))
  .map(({ name }) => new URL(name).host)"""


@dataclass(frozen=True)
class Edges:
    """Two edges of one provider, as processes, and their steering server.

    Attributes:
        origin: The origin's address.
        steering: The steering server's.
        processes: By host and port.
    """

    origin: str
    steering: str
    processes: dict[str, subprocess.Popen[str]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> StoreSettings:
    folder = tmp_path_factory.mktemp("steering")
    master = make_film(folder / "master.mov", frame_count=25 * LENGTH_S, sound=[Sound(codec="pcm_s16le")])
    store_settings = StoreSettings(str(folder / "store"))
    submit_small(
        master,
        store_settings,
        scheduler,
        title=TITLE,
        ladder=picture_ladder(),
        segment_s=Fraction(1),
        chunk_s=Fraction(15),
    )
    return store_settings


@pytest.fixture(scope="module")
def browser(store: StoreSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:  # noqa: ARG001
    with suppress(ConfigError):
        fetch.fetch()
        pages.load.cache_clear()
    if not all(fetch.is_fetched(pages.VENDOR, player) for player in pages.PLAYERS if player.name in ("hls", "dash")):
        pytest.skip("the players are not here; 'python -m origin.watch.fetch' brings them, with npm")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@contextmanager
def edge(origin: str, folder: Path, host: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run an edge at the origin's port, which players require."""
    argv = [
        *(sys.executable, "-m", "headend", "edge", "--origin", origin, "--disk", str(folder / host)),
        *("--disk-bytes", "100M", "--host", host, "--port", str(urlsplit(origin).port), "--json"),
    ]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment()) as child:
        try:
            assert child.stdout is not None
            text = ""
            while not text.rstrip().endswith("}"):
                text += child.stdout.readline()
            yield json.loads(text)["url"], child
        finally:
            child.kill()


@pytest.fixture
def edges(store: StoreSettings, tmp_path: Path) -> Iterator[Edges]:
    with ExitStack() as stack:
        [listener] = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        listener.close()
        hosts = ("127.0.0.2", "127.0.0.3")
        steering_map = SteeringMap(
            tuple(parse_edge(f"north/{n}=http://{host}:{port}") for n, host in enumerate(hosts, 1)), ttl_s=1
        )
        steering = stack.enter_context(steering_running(SteeringSettings(steering_map, check_s=0.2)))
        origin = stack.enter_context(running(store, port=port, settings=OriginSettings(steering=steering)))
        urls = [stack.enter_context(edge(origin, tmp_path, host)) for host in hosts]
        yield Edges(origin, steering, {url.removeprefix("http://"): child for url, child in urls})


@pytest.mark.parametrize(
    ("player", "manifest", "script"), [("hls", "multivariant.m3u8", HLS), ("dash", "manifest.mpd", DASH)]
)
def test_playback_continues_after_an_edge_is_killed(
    browser: Any, edges: Edges, player: str, manifest: str, script: str
) -> None:
    page = browser.new_page()
    with closing(page):
        page.goto(edges.origin)
        page.add_script_tag(url=f"{edges.origin}/watch/assets/{pages.load(is_steered=True).digest}/{player}.min.js")
        page.evaluate(FOLLOW)
        page.evaluate(script, [f"{edges.origin}/{TITLE}/{manifest}", BUFFER_S])
        wait_for(page, "film.readyState >= 2")
        page.evaluate(f"(film.playbackRate = {SPEED}, film.play())")
        wait_for(page, f"film.currentTime > 4 && {SOURCES}.slice(-3).every((host) => host !== location.host)")
        used = page.evaluate(f"{SOURCES}.at(-1)")
        edges.processes[used].kill()
        killed = page.evaluate(f"{SOURCES}.length")
        wait_for(page, "film.currentTime > 14")
        [other] = set(edges.processes) - {used}
        with urlopen(f"{edges.steering}/{TITLE}", timeout=5) as answer:
            steered = json.load(answer)
        assert [each["URI-REPLACEMENT"]["HOST"] for each in steered["PATHWAY-CLONES"]] == [other]
        wait_for(page, "film.ended", lambda: str(page.evaluate("[film.currentTime, window.longest]")))
        after = page.evaluate(f"{SOURCES}.slice({killed})")
        assert set(after) <= {used, other}, "a player tries the dead edge again, but never the origin"
        assert set(after[-10:]) == {other}
        assert page.evaluate("window.longest") < BUFFER_S / SPEED * 1000
