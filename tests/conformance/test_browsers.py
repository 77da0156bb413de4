"""The page to watch in a real Chromium: each player, each manifest, each rendition that it can decode."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headend.media import Codec
from origin.serving import running
from origin.watch import fetch, pages
from origin.watch.players import PLAYERS as SCRIPTS
from tests.conformance.conftest import TITLE, Served
from tests.origin.grants import CLOSED, token
from tests.support.browsers import DESKTOP, PHONE, Viewer, chromium, wait_for

PLAYERS = [("hls", "hls"), ("dash", "dash"), ("shaka", "hls"), ("shaka", "dash")]
NAMES = ["hls.js", "dash.js", "Shaka with HLS", "Shaka with DASH"]
ANYWHERE = {Codec.AVC, Codec.AV1, Codec.AAC}
ONLY_DASH = {Codec.VP9, Codec.OPUS}
"""What Debian's Chromium decodes, of what there is."""

each_player = pytest.mark.parametrize(("player", "manifest"), PLAYERS, ids=NAMES)


@pytest.fixture(scope="module")
def browser(
    served: Served,  # noqa: ARG001 - a cluster's client must not find the event loop of the browser's driver
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    if not all(fetch.is_there(pages.VENDOR, player) for player in SCRIPTS):
        pytest.skip("the players are not here; 'python -m origin.watch.fetch' brings them, with npm")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def watch(browser: Any, served: Served, player: str, manifest: str) -> Viewer:
    return Viewer(browser, served.url, TITLE, player, manifest)


def decodable(served: Served, manifest: str) -> set[str]:
    codecs = ANYWHERE | ONLY_DASH if manifest == "dash" else ANYWHERE
    tracks = (*served.presentation.video, *served.presentation.audio)
    return {track.rendition.id for track in tracks if track.rendition.codec in codecs}


@each_player
def test_a_title_plays_to_its_end_with_every_frame_and_no_stall(
    browser: Any, served: Served, player: str, manifest: str
) -> None:
    with watch(browser, served, player, manifest) as viewer:
        viewer.play(speed=2)
        viewer.wait("video.ended")
        grid = served.presentation.grid
        assert viewer.ask("video.duration") == pytest.approx(float(grid.duration_s), abs=0.03)
        # A player that replaces what it has buffered decodes some twice.
        assert viewer.decoded_frames() >= grid.frame_count
        assert viewer.figure("stalls") == "0"
        assert viewer.complaints == []


@each_player
def test_pictures_are_switched_up_and_down(browser: Any, served: Served, player: str, manifest: str) -> None:
    tracks = [t.rendition for t in served.presentation.video if t.rendition.codec is Codec.AVC]
    small, large = sorted(tracks, key=lambda rendition: rendition.height_px)
    with watch(browser, served, player, manifest) as viewer:
        viewer.play()
        for rendition in (small, large, small):
            viewer.choose("picture", rendition.id)
            viewer.wait(
                f"video.videoHeight === {rendition.height_px}"
                f" && document.getElementById('now-id').dataset.picture === '{rendition.id}'"
            )
            viewer.ask("(video.currentTime = 0, video.play())")
        assert int(viewer.figure("switches")) >= 2
        assert viewer.complaints == []


@each_player
def test_jumps_over_chunk_borders_show_the_very_frame(browser: Any, served: Served, player: str, manifest: str) -> None:
    grid = served.presentation.grid
    borders = [chunk.first_frame for chunk in grid.chunks()[1:]]
    reordered = next(t.rendition for t in served.presentation.video if t.rendition.codec is Codec.AVC)
    with watch(browser, served, player, manifest) as viewer:
        viewer.play()
        viewer.choose("picture", reordered.id)
        viewer.wait(f"document.getElementById('now-id').dataset.picture === '{reordered.id}'")
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
    [*PLAYERS[:2], *(pytest.param(*one, marks=pytest.mark.heavy) for one in PLAYERS[2:])],
    ids=NAMES,
)
def test_every_rendition_that_this_browser_decodes_plays(
    browser: Any, served: Served, player: str, manifest: str
) -> None:
    heights = {track.rendition.id: track.rendition.height_px for track in served.presentation.video}
    with watch(browser, served, player, manifest) as viewer:
        pictures, sounds = viewer.offered("picture"), viewer.offered("sound")
        assert {*pictures, *sounds} == decodable(served, manifest)
        viewer.play()
        for picture in pictures:
            viewer.choose("picture", picture)
            viewer.wait(
                f"video.videoHeight === {heights[picture]}"
                f" && document.getElementById('now-id').dataset.picture === '{picture}'"
            )
            before = viewer.decoded_frames()
            viewer.ask("(video.currentTime = 0, video.play())")
            viewer.wait(f"video.getVideoPlaybackQuality().totalVideoFrames > {before + 10} && video.currentTime > 0.3")
        for sound in sounds:
            viewer.choose("sound", sound)
            viewer.wait(f"document.getElementById('now-id').dataset.sound === '{sound}'")
            before = viewer.ask("video.webkitAudioDecodedByteCount")
            viewer.ask("(video.currentTime = 0, video.play())")
            viewer.wait(f"video.webkitAudioDecodedByteCount > {before} && video.currentTime > 0.3")
        assert viewer.complaints == []


def test_titles_are_shown_with_their_posters_and_lead_to_the_page(browser: Any, served: Served, tmp_path: Path) -> None:
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


def test_a_viewer_changes_the_player_and_goes_on_where_he_was(browser: Any, served: Served, tmp_path: Path) -> None:
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


def test_a_title_that_is_not_there_is_said_so(browser: Any, served: Served) -> None:
    page = browser.new_page()
    answer = page.goto(f"{served.url}/watch/nothing")
    assert answer.status == 404
    page.close()


def test_a_token_opens_the_page_and_a_plan_shortens_its_menus(browser: Any, served: Served) -> None:
    with running(served.store, serving=CLOSED) as url:
        path = f"t/{token(title=TITLE, max_height_px=90)}"
        with Viewer(browser, f"{url}/{path}", TITLE, "shaka", "dash") as viewer:
            assert {id.split("-")[1] for id in viewer.offered("picture")} == {"90p"}
            viewer.play(speed=2)
            viewer.wait("video.currentTime > 2")
            viewer.wait("document.getElementById('now-size').textContent === '90p'")
            assert viewer.ask("video.poster").endswith(f"/{path}/{TITLE}/poster.jpg")
            assert viewer.complaints == []
