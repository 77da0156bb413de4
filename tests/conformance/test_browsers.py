"""The watch page in a real Chromium: each player, each manifest, each rendition that it can decode."""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers import run_nginx
from headend.core import layout
from headend.core.media import Codec
from origin.serving import running
from origin.watch import fetch, pages
from origin.watch.players import PLAYERS as SCRIPTS
from tests.conformance.conftest import LINES, TITLE, Served
from tests.origin.grants import CLOSED, token
from tests.support.browsers import DESKTOP, PHONE, Viewer, chromium, wait_for
from tests.support.marks import repeated

PLAYERS = [("hls", "hls"), ("dash", "dash"), ("shaka", "hls"), ("shaka", "dash")]
NAMES = ["hls.js", "dash.js", "Shaka with HLS", "Shaka with DASH"]
ANYWHERE = {Codec.AVC, Codec.AV1, Codec.AAC}
ONLY_DASH = {Codec.VP9, Codec.OPUS}
"""The codecs of the title that Debian's Chromium decodes."""

each_player = pytest.mark.parametrize(("player", "manifest"), PLAYERS, ids=NAMES)
each_player_once = pytest.mark.parametrize(
    ("player", "manifest"), [*PLAYERS[:2], repeated(*PLAYERS[2]), PLAYERS[3]], ids=NAMES
)
"""Shaka plays HLS by the code that plays DASH, so not every test needs both."""


@pytest.fixture(scope="module")
def browser(
    served: Served,  # noqa: ARG001 - a cluster's client must not find the event loop of the browser's driver
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    if not all(fetch.is_fetched(pages.VENDOR, player) for player in SCRIPTS):
        pytest.skip("the players are not here; 'python -m origin.watch.fetch' brings them, with npm")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def watch(browser: Any, served: Served, player: str, manifest: str) -> Viewer:
    return Viewer(browser, served.url, TITLE, player, manifest)


def decodable(served: Served, manifest: str) -> set[str]:
    codecs = ANYWHERE | ONLY_DASH if manifest == "dash" else ANYWHERE
    tracks = (*served.presentation.video, *served.presentation.audio)
    return {track.id for track in tracks if track.rendition.codec in codecs}


@each_player
def test_a_title_plays_to_its_end_with_every_frame_and_no_stall(
    browser: Any, served: Served, player: str, manifest: str
) -> None:
    with watch(browser, served, player, manifest) as viewer:
        viewer.load_all()
        viewer.play(speed=2)
        viewer.wait_end()
        grid = served.presentation.grid
        assert viewer.ask("video.duration") == pytest.approx(float(grid.duration_s), abs=0.03)
        # A player that replaces buffered segments decodes some frames twice.
        assert viewer.decoded_frames() >= grid.frame_count
        assert viewer.starved() == []
        assert viewer.complaints == []


@each_player_once
def test_pictures_are_switched_up_and_down(browser: Any, served: Served, player: str, manifest: str) -> None:
    tracks = [track for track in served.presentation.video if track.rendition.codec is Codec.AVC]
    small, large = sorted(tracks, key=lambda track: track.rendition.height_px)
    with watch(browser, served, player, manifest) as viewer:
        viewer.play()
        for track in (small, large, small):
            viewer.choose("picture", track.id)
            viewer.wait_playing(
                f"video.videoHeight === {track.rendition.height_px}"
                f" && document.getElementById('now-id').dataset.picture === '{track.id}'"
            )
            viewer.ask("(video.currentTime = 0, video.play())")
        assert int(viewer.figure("switches")) >= 2
        assert viewer.complaints == []


@each_player_once
def test_seeks_across_chunk_borders_show_the_exact_frame(
    browser: Any, served: Served, player: str, manifest: str
) -> None:
    grid = served.presentation.grid
    borders = [chunk.first_frame for chunk in grid.chunks()[1:]]
    reordered = next(track for track in served.presentation.video if track.rendition.codec is Codec.AVC)
    with watch(browser, served, player, manifest) as viewer:
        viewer.play()
        viewer.choose("picture", reordered.id)
        viewer.wait_playing(f"document.getElementById('now-id').dataset.picture === '{reordered.id}'")
        viewer.pause()
        for border in (borders[0], borders[2], borders[1]):
            for frame in (border - 1, border, border + 3):
                middle_s = float((frame + 0.5) / grid.frame_rate)
                time_s, number = viewer.seek(middle_s)
                assert number == frame
                assert time_s == pytest.approx(float(frame / grid.frame_rate), abs=0.001)
        assert viewer.complaints == []


@pytest.mark.parametrize(
    ("player", "manifest"),
    [*PLAYERS[:2], *(repeated(*one) for one in PLAYERS[2:])],
    ids=NAMES,
)
def test_every_rendition_that_this_browser_decodes_plays(
    browser: Any, served: Served, player: str, manifest: str
) -> None:
    heights = {track.id: track.rendition.height_px for track in served.presentation.video}
    with watch(browser, served, player, manifest) as viewer:
        pictures, sounds = viewer.offered("picture"), viewer.offered("sound")
        assert {*pictures, *sounds} == decodable(served, manifest)
        viewer.play()
        for picture in pictures:
            viewer.choose("picture", picture)
            viewer.wait_playing(
                f"video.videoHeight === {heights[picture]}"
                f" && document.getElementById('now-id').dataset.picture === '{picture}'"
            )
            before = viewer.decoded_frames()
            viewer.ask("(video.currentTime = 0, video.play())")
            viewer.wait(f"video.getVideoPlaybackQuality().totalVideoFrames > {before + 10} && video.currentTime > 0.3")
        for sound in sounds:
            viewer.choose("sound", sound)
            viewer.wait_playing(f"document.getElementById('now-id').dataset.sound === '{sound}'")
            before = viewer.ask("video.webkitAudioDecodedByteCount")
            viewer.ask("(video.currentTime = 0, video.play())")
            viewer.wait(f"video.webkitAudioDecodedByteCount > {before} && video.currentTime > 0.3")
        assert viewer.complaints == []


SHOWN = """[...video.textTracks].filter((track) => track.mode === 'showing')
  .flatMap((track) => [...track.activeCues ?? []].map((cue) => cue.text.split('\\n')[0]))"""
EARLY_S, LATE_S = 0.1, 0.4
"""A browser updates its text tracks four times a second."""


@each_player
def test_text_is_shown_at_its_time_changed_and_switched_off(
    browser: Any, served: Served, player: str, manifest: str
) -> None:
    with watch(browser, served, player, manifest) as viewer:
        assert viewer.offered("text") == ["en", "de"]
        viewer.choose("text", "en")
        viewer.ask(f"(window.seen = [], setInterval(() => seen.push([video.currentTime, {SHOWN}]), 40))")
        viewer.play()
        viewer.wait_end()
        seen = viewer.ask("seen")
        for start_ms, end_ms, text in LINES["en"]:
            line, start_s, end_s = text.split("\n")[0], start_ms / 1000, end_ms / 1000
            assert any(line in lines for _, lines in seen)
            wrong = [
                [line] != lines if start_s + LATE_S <= time_s <= end_s - EARLY_S else line in lines
                for time_s, lines in seen
                if not (start_s - EARLY_S < time_s < start_s + LATE_S or end_s - EARLY_S < time_s < end_s + LATE_S)
            ]
            # On a busy machine, the page may run before the browser updates its text.
            assert not any(map(all, pairwise(wrong)))
        # One step at a time, as people do: Shaka Player loses a text track that is changed during a seek.
        viewer.ask("(video.currentTime = 1.5, video.playbackRate = 0.25, video.play())")
        viewer.wait("!video.seeking && !video.ended && video.currentTime > 1.5")
        viewer.choose("text", "de")
        viewer.wait(f"{SHOWN}.join() === '{LINES['de'][0][2]}'")
        viewer.choose("text", "")
        viewer.wait(f"{SHOWN}.length === 0 && video.currentTime < 3.6")
        assert viewer.complaints == []


def test_titles_are_shown_with_posters_and_link_to_the_page(browser: Any, served: Served, tmp_path: Path) -> None:
    page = browser.new_page()
    for name, size in (("desktop", DESKTOP), ("phone", PHONE)):
        page.set_viewport_size(size)
        page.goto(served.url)
        wait_for(page, "document.querySelector('.card img')?.naturalWidth > 0")
        wait_for(page, "document.querySelector('.length').textContent === '0:08'")
        assert page.inner_text(".card p") == "180p · H.264, HEVC, AV1, VP9"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=tmp_path / f"titles-{name}.png")
    page.click(".card")
    page.wait_for_url(f"{served.url}/watch/{TITLE}*")
    assert page.inner_text("h1") == "Film"
    page.close()


def test_changing_the_player_keeps_the_position(browser: Any, served: Served, tmp_path: Path) -> None:
    with watch(browser, served, "hls", "hls") as viewer:
        viewer.page.set_viewport_size(PHONE)
        viewer.seek(5.02)
        for label in ("dash.js", "Shaka Player", "HLS", "hls.js"):
            viewer.page.click(f".choice label:has-text('{label}')")
            viewer.wait("video.readyState >= 2 && Math.abs(video.currentTime - 5) < 0.2")
        viewer.wait("document.getElementById('now-size').textContent !== '–'")
        assert viewer.ask("document.documentElement.scrollWidth <= innerWidth")
        viewer.page.screenshot(path=tmp_path / "watch-phone.png", full_page=True)
        assert viewer.complaints == []


def test_a_missing_title_is_reported(browser: Any, served: Served) -> None:
    page = browser.new_page()
    answer = page.goto(f"{served.url}/watch/nothing")
    assert answer.status == 404
    page.close()


def test_a_token_opens_the_page_and_a_plan_shortens_its_menus(browser: Any, served: Served) -> None:
    with running(served.store, settings=CLOSED) as url:
        path = f"t/{token(title=TITLE, max_height_px=90)}"
        with Viewer(browser, f"{url}/{path}", TITLE, "shaka", "dash") as viewer:
            assert {id.split("-")[1] for id in viewer.offered("picture")} == {"90p"}
            viewer.play(speed=2)
            viewer.wait("video.currentTime > 2")
            viewer.wait("document.getElementById('now-size').textContent === '90p'")
            assert viewer.ask("video.poster").endswith(f"/{path}/{TITLE}/poster.jpg")
            assert viewer.complaints == []


@each_player_once
def test_the_seek_bar_shows_the_frame_of_a_seek(
    browser: Any, served: Served, tmp_path: Path, player: str, manifest: str
) -> None:
    grid = served.presentation.grid
    with watch(browser, served, player, manifest) as viewer:
        for share in (0.0, 0.3, 0.62, 0.999):
            start_s, number = viewer.hover(share)
            assert number == round(start_s * grid.frame_rate)
            assert 0 <= share * float(grid.duration_s) - start_s < float(grid.gop_frames / grid.frame_rate) + 0.05
        viewer.page.screenshot(path=tmp_path / f"seek-{player}.png")
        viewer.page.mouse.click(*middle_of(viewer.page.locator("#seek input").bounding_box()))
        viewer.wait(f"Math.abs(video.currentTime - {float(grid.duration_s / 2)}) < 0.2")
        assert viewer.complaints == []


def middle_of(box: dict[str, float]) -> tuple[float, float]:
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


SHAKA = """async ([url, wanted]) => {
  const film = Object.assign(document.createElement('video'), { muted: true });
  document.body.append(film);
  const player = new shaka.Player();
  player.configure({ streaming: { bufferingGoal: 1, rebufferingGoal: 0.1 } });
  await player.attach(film);
  await player.load(url);
"""


@pytest.mark.parametrize("manifest", [repeated("multivariant.m3u8"), "manifest.mpd"])
def test_shaka_finds_the_thumbnail_of_each_time(browser: Any, served: Served, manifest: str) -> None:
    rate, times = float(served.presentation.grid.frame_rate), [0.0, 1.0, 3.9, 7.9]
    script = """
      const [{ id }] = player.getImageTracks();
      const found = await Promise.all(wanted.map((time) => player.getThumbnails(id, time)));
      await player.destroy();
      return found.map((one) => ({ start: one.startTime, part: {
        url: one.uris[0], x: one.positionX, y: one.positionY, width: one.width, height: one.height } }));
    }"""
    with watch(browser, served, "shaka", "dash") as viewer:
        for time_s, found in zip(
            times, viewer.page.evaluate(SHAKA + script, [f"{served.url}/{TITLE}/{manifest}", times]), strict=True
        ):
            assert viewer.thumbnail(**found["part"]) == round(found["start"] * rate)
            assert 0 <= time_s - found["start"] < served.presentation.grid.gop_frames / rate


def test_dash_js_finds_the_thumbnail_of_each_time(browser: Any, served: Served) -> None:
    grid, times = served.presentation.grid, [0.0, 1.0, 3.9, 7.9]
    script = """async ([url, wanted]) => {
      const player = dashjs.MediaPlayer().create();
      player.initialize(document.createElement('video'), url, false);
      await new Promise((resolve) => player.on(dashjs.MediaPlayer.events.STREAM_INITIALIZED, resolve));
      const found = [];
      for (const time of wanted) found.push(await new Promise((resolve) => player.provideThumbnail(time, resolve)));
      player.destroy();
      return found.map(({ url, x, y, width, height }) => ({ url, x, y, width, height }));
    }"""
    with watch(browser, served, "dash", "dash") as viewer:
        found = viewer.page.evaluate(script, [f"{served.url}/{TITLE}/manifest.mpd", times])
        wanted = [int(time_s * grid.frame_rate) // grid.gop_frames * grid.gop_frames for time_s in times]
        assert [viewer.thumbnail(**part) for part in found] == wanted


def test_shaka_shows_trick_play_and_then_plays_on(browser: Any, served: Served) -> None:
    script = """
      const asked = [];
      player.getNetworkingEngine().registerRequestFilter((_, { uris }) => asked.push(uris[0]));
      const until = (time) => new Promise((resolve) => {
        const look = setInterval(() => { if (film.currentTime >= time) { clearInterval(look); resolve(); } }, 20);
      });
      await film.play();
      player.trickPlay(4, true);
      await until(5);
      const trick_requests = asked.splice(0);
      player.cancelTrickPlay();
      await until(7);
      await player.destroy();
      return [trick_requests, asked];
    }"""
    with watch(browser, served, "shaka", "dash") as viewer:
        trick_requests, after = viewer.page.evaluate(SHAKA + script, [f"{served.url}/{TITLE}/manifest.mpd", None])
        codec = next(url for url in after if url.endswith(".m4s") and "/aac-" not in url).split("/")[-2].split("-")[0]
        assert any(f"/{codec}-180p-trick-" in url for url in trick_requests)
        assert not any("-trick-" in url for url in after)
        assert viewer.complaints == []


# --- without an origin --------------------------------------------------------------------------------------------


STATIC = """server {
  listen 127.0.0.1:PORT;
  root STORE;
  types { application/vnd.apple.mpegurl m3u8; application/dash+xml mpd; video/mp4 mp4 m4s; text/vtt vtt;
          image/jpeg jpg; text/html html; text/javascript js; }
  location /player/ { alias PAGE/; }
  location /vendor/ { alias VENDOR/; }
}"""
PAGE = '<!doctype html><meta charset="utf-8"><script src="/vendor/FILE"></script><video id="video" muted></video>'
START = {
    "hls": "(url) => { const player = new Hls(); player.loadSource(url); player.attachMedia(video); }",
    "dash": "(url) => dashjs.MediaPlayer().create().initialize(video, url, true)",
    "shaka": "async (url) => { const it = new shaka.Player(); await it.attach(video); await it.load(url); }",
}


@pytest.fixture(scope="module")
def static(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """nginx with its default settings, in front of the store's folder."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed; Debian has it")
    folder = tmp_path_factory.mktemp("static")
    for player in SCRIPTS:
        (folder / f"{player.name}.html").write_text(PAGE.replace("FILE", player.file))
    http = STATIC.replace("STORE", served.store.url).replace("PAGE", str(folder)).replace("VENDOR", str(pages.VENDOR))
    with run_nginx("static", http, folder) as server:
        yield server.url


@each_player
def test_a_server_of_static_files_plays_a_title_from_the_stores_folder(
    browser: Any, served: Served, static: str, player: str, manifest: str
) -> None:
    release, grid = served.presentation.release, served.presentation.grid
    name = {"hls": layout.multivariant, "dash": layout.mpd}[manifest](TITLE, release)
    page, failed = browser.new_page(), []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("response", lambda answer: answer.status >= 400 and failed.append(answer.url))
    page.goto(f"{static}/player/{player}.html")
    page.evaluate(START[player], f"{static}/{name}")
    wait_for(page, "video.readyState >= 2", lambda: str(failed))
    page.evaluate("(video.playbackRate = 2, video.play())")
    wait_for(page, "video.ended", lambda: str(failed))
    assert page.evaluate("video.duration") == pytest.approx(float(grid.duration_s), abs=0.03)
    assert page.evaluate("video.getVideoPlaybackQuality().totalVideoFrames") >= grid.frame_count
    assert page.evaluate("video.webkitAudioDecodedByteCount") > 0
    assert [one for one in failed if "favicon" not in one] == []
    page.close()
