"""The watch page in a real Chromium without Media Source Extensions, and with a player that fails."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from headend.core.storage.memory import MemoryStore
from origin.serving import running
from origin.watch import fetch, pages
from origin.watch.players import PLAYERS
from tests.support.browsers import PHONE, WAIT_S, chromium, wait_for
from tests.support.releases import publish_plan, store_real

NO_MEDIA_SOURCE = "delete window.MediaSource; delete window.ManagedMediaSource; delete window.WebKitMediaSource;"
NATIVE_HLS = "HTMLMediaElement.prototype.canPlayType = () => 'maybe';"
NO_HLS = "HTMLMediaElement.prototype.canPlayType = () => '';"


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    store = MemoryStore()
    plan = store_real(store)
    publish_plan(store, plan)
    with running(store) as url:
        yield f"{url}/watch/{plan.title}"


@pytest.fixture(scope="module")
def browser(served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    assert served
    if not all(fetch.is_fetched(pages.VENDOR, player) for player in PLAYERS):
        pytest.skip("the players are not here; 'python -m origin.watch.fetch' brings them, with npm")
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_an_iphone_without_media_source_gets_its_own_hls_player(browser: Any, served: str) -> None:
    page = browser.new_page()
    page.set_viewport_size(PHONE)
    page.add_init_script(NO_MEDIA_SOURCE + NATIVE_HLS)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: request.resource_type == "media" and asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(served)
    wait_for(page, "document.querySelectorAll('#player label').length", lambda: page.inner_text("body"))
    assert page.locator("#player label").all_inner_texts() == ["Browser"]
    deadline_s = time.monotonic() + WAIT_S
    while not any("multivariant.m3u8" in url for url in asked):
        assert time.monotonic() < deadline_s, asked
        page.wait_for_timeout(50)  # processes the browser's events
    assert complaints == []
    page.close()


def test_a_browser_without_any_player_gets_a_message(browser: Any, served: str) -> None:
    page = browser.new_page()
    page.add_init_script(NO_MEDIA_SOURCE + NO_HLS)
    page.goto(served)
    wait_for(page, "!document.getElementById('trouble').hidden", lambda: page.inner_text("body"))
    assert page.inner_text("#trouble") == "This browser can play neither HLS nor DASH."
    page.close()


@pytest.mark.parametrize(("player", "manifest"), [("hls", "hls"), ("dash", "dash"), ("shaka", "dash")])
def test_a_failed_player_releases_the_video(browser: Any, served: str, player: str, manifest: str) -> None:
    page = browser.new_page()
    page.route("**/tracks/**", lambda route: route.fulfill(status=404, body=""))
    page.goto(f"{served}?player={player}&manifest={manifest}")
    wait_for(page, "!document.getElementById('trouble').hidden", lambda: page.inner_text("body"))
    wait_for(page, "!document.getElementById('video').getAttribute('src')", lambda: page.inner_text("body"))
    page.close()
