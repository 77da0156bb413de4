"""Protected titles in a real Chromium: its own decryption (EME, ClearKey), three players, a real licence service."""

import contextlib
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headend.core.errors import ConfigError
from headend.core.keys import lines
from headend.core.keys.base import ContentKey, new_secret
from headend.core.media import Codec, KeyClass, Scheme
from headend.core.media.protection import key_name, key_names
from headend.core.settings import KeySettings, ProtectionSettings, StoreSettings
from ladders.ladder import Ladder
from ladders.loading import load
from origin.serving import OriginSettings, running
from origin.watch import fetch, pages
from origin.watch.players import PLAYERS as SCRIPTS
from tests.origin.grants import EDGE, KEYS, PLAYBACK, token
from tests.support.browsers import WAIT_S, Viewer, chromium, wait_for
from tests.support.command_line import serving
from tests.support.jobs import submit_small
from tests.support.marks import repeated
from tests.support.masters import Sound, make_film

TITLES = {Scheme.CBCS: "film", Scheme.CENC: "counter"}
TURNING = "turning"
"""A title whose first second is clear, and whose keys change after two."""
FRAMES, RATE = 100, 25
PLAYERS = [("hls", "hls"), ("dash", "dash"), ("shaka", "hls"), ("shaka", "dash")]
NAMES = ["hls.js", "dash.js", "Shaka with HLS", "Shaka with DASH"]


@dataclass(frozen=True)
class Protected:
    """Titles in two schemes, the same title unencrypted, and all keys."""

    store: StoreSettings
    keys: Path
    folder: Path
    pictures: dict[str, tuple[str, int]]


def ladder() -> Ladder:
    """H.264 in SD and HD, AV1 and VP9 in SD, AAC and Opus: what Debian's Chromium decodes."""
    smoke = load("smoke")
    codecs = (Codec.AVC, Codec.AV1, Codec.VP9)
    small = [rung for rung in smoke.video if rung.codec in codecs and rung.height_px == 180]
    large = replace(
        small[0], width_px=1280, height_px=720, average_kbps=900, cap_kbps=1400, buffer_kb=1800, default=False
    )
    sound = [one for one in smoke.audio if one.codec in (Codec.AAC, Codec.OPUS)]
    return replace(smoke, video=(large, *small), audio=tuple(sound))


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Protected:
    folder = tmp_path_factory.mktemp("protected")
    store = StoreSettings(str(folder / "store"))
    master = make_film(folder / "film.mov", size=(1280, 720), frame_count=FRAMES, sound=[Sound(codec="pcm_s16le")])
    keys = folder / "keys"
    keys.touch(0o600)
    names = [name for scheme, title in TITLES.items() for name in key_names(title, scheme)]
    names += key_names(TURNING, Scheme.CBCS, periods=2)
    keys.write_text(lines.write(ContentKey(name, new_secret()) for name in names))
    pictures = {}
    for scheme, title in ((None, "clear"), *TITLES.items()):
        protection = ProtectionSettings((scheme,), KeySettings(str(keys))) if scheme is not None else None
        done = submit_small(
            master, store, scheduler, title=title, ladder=ladder(), segment_s=Fraction(1), chunk_s=Fraction(2),
            thumbnails=True, protection=protection,
        )  # fmt: skip
        for track in done.outcome.presentation.video:
            pictures[track.id] = (track.kid, track.rendition.height_px)
    turning = ProtectionSettings(
        (Scheme.CBCS,), KeySettings(str(keys)), lead_s=Fraction(1), rotate_s=Fraction(2)
    )  # fmt: skip
    least = replace(ladder(), video=ladder().video[1:2], audio=ladder().audio[:1])
    submit_small(
        master, store, scheduler, title=TURNING, ladder=least, segment_s=Fraction(1), chunk_s=Fraction(2),
        thumbnails=True, protection=turning,
    )  # fmt: skip
    return Protected(store, keys, folder, pictures)


@pytest.fixture(scope="module")
def browser(
    protected: Protected,  # noqa: ARG001 - a cluster's client must not find the event loop of the browser's driver
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    fetch_players()
    with chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def fetch_players() -> None:
    with contextlib.suppress(ConfigError):
        fetch.fetch()  # pages look for the players once, when the first origin starts
        pages.load.cache_clear()
    if not all(fetch.is_fetched(pages.VENDOR, player) for player in SCRIPTS):
        pytest.skip("the players are not here; 'python -m origin.watch.fetch' brings them, with npm")


@contextmanager
def licences(*options: str | Path) -> Iterator[str]:
    """Run a licence service by its command; yields its address."""
    with serving("keys", "serve", *options) as (url, _):
        yield url


@pytest.fixture(scope="module")
def url(protected: Protected) -> Iterator[str]:
    """An origin whose licence service gives every key."""
    with (
        licences("--keys", protected.keys, "--open") as where,
        running(protected.store, settings=OriginSettings(licence_url=where)) as found,
    ):
        yield found


def shown(viewer: Viewer) -> Any:
    """Return a screenshot of the picture, once it no longer changes; a canvas of a protected film would be black."""
    pillow = pytest.importorskip("PIL.Image")
    viewer.ask("(video.controls = false, document.getElementById('trouble').hidden = true)")
    before, deadline_s = b"", time.monotonic() + WAIT_S
    while (picture := viewer.page.locator("#video").screenshot(type="png")) != before:
        assert time.monotonic() < deadline_s, "the picture never stands still"
        before = picture
    return np.asarray(pillow.open(io.BytesIO(picture)).convert("RGB"), np.float64)


def jump(viewer: Viewer, frame: int) -> None:
    viewer.page.evaluate(
        """(time) => new Promise((resolve) => {
          video.requestVideoFrameCallback(() => requestAnimationFrame(() => requestAnimationFrame(resolve)));
          video.currentTime = time;
        })""",
        (frame + 0.5) / RATE,
    )


def plays_to_its_end(viewer: Viewer) -> None:
    viewer.load_all()
    viewer.play(speed=2)
    viewer.wait_end()
    assert viewer.ask("video.mediaKeys !== null")
    assert viewer.decoded_frames() >= FRAMES
    assert viewer.starved() == []
    assert viewer.complaints == []


@pytest.mark.parametrize(("player", "manifest"), PLAYERS, ids=NAMES)
@pytest.mark.parametrize("scheme", [Scheme.CBCS, repeated(Scheme.CENC)])
def test_a_protected_title_plays_to_its_end(browser: Any, url: str, scheme: Scheme, player: str, manifest: str) -> None:
    with Viewer(browser, url, TITLES[scheme], player, manifest) as viewer:
        plays_to_its_end(viewer)


@pytest.mark.parametrize(("player", "manifest"), [*PLAYERS[:2], repeated(*PLAYERS[2]), PLAYERS[3]], ids=NAMES)
def test_a_title_plays_from_its_clear_lead_across_a_change_of_keys(
    browser: Any, url: str, player: str, manifest: str
) -> None:
    with Viewer(browser, url, TURNING, player, manifest) as viewer:
        plays_to_its_end(viewer)


@pytest.mark.parametrize(("player", "manifest"), [PLAYERS[0], PLAYERS[3]], ids=[NAMES[0], NAMES[3]])
def test_the_protected_title_looks_like_the_clear_one(browser: Any, url: str, player: str, manifest: str) -> None:
    def look(title: str) -> list[Any]:
        with Viewer(browser, url, title, player, manifest) as viewer:
            viewer.choose("picture", next(id for id in viewer.offered("picture") if id.startswith("avc-180p")))
            viewer.wait("document.getElementById('now-id').dataset.picture?.startsWith('avc-180p')")
            viewer.wait("video.videoHeight === 180")
            pictures = []
            for frame in (10, 60, 30):
                jump(viewer, frame)
                viewer.wait("video.videoHeight === 180")
                pictures.append(shown(viewer))
            return pictures

    for clear, decrypted in zip(look("clear"), look(TITLES[Scheme.CBCS]), strict=True):
        assert clear.std() > 20  # a film, not a grey area
        assert np.abs(clear - decrypted).max() <= 3


@pytest.mark.parametrize(("player", "manifest"), [PLAYERS[1], PLAYERS[3]], ids=[NAMES[1], NAMES[3]])
def test_pictures_are_switched_across_keys(
    browser: Any, protected: Protected, url: str, player: str, manifest: str
) -> None:
    with Viewer(browser, url, TITLES[Scheme.CBCS], player, manifest) as viewer:
        offered = viewer.offered("picture")
        small = next(id for id in offered if id.startswith("avc-180p"))
        large = next(id for id in offered if id.startswith("avc-720p"))
        assert protected.pictures[small][0] != protected.pictures[large][0]
        viewer.play()
        for id in (small, large, small):
            viewer.choose("picture", id)
            viewer.wait_playing(f"video.videoHeight === {protected.pictures[id][1]}")
            viewer.ask("(video.currentTime = 0, video.play())")
        assert viewer.complaints == []


@pytest.fixture(scope="module")
def without_hd(protected: Protected) -> Iterator[str]:
    """An origin whose licence service lacks the keys of HD."""
    path = protected.folder / "sd.keys"
    path.touch(0o600)
    path.write_text("".join(line for line in protected.keys.open() if f" {KeyClass.HD} " not in line))
    with (
        licences("--keys", path, "--open") as where,
        running(protected.store, settings=OriginSettings(licence_url=where)) as origin,
    ):
        yield origin


RESTRICTED = """(() => {
  const statuses = Object.getOwnPropertyDescriptor(MediaKeySession.prototype, 'keyStatuses').get;
  const hex = (id) => Array.from(new Uint8Array(id), (byte) => byte.toString(16).padStart(2, '0')).join('');
  Object.defineProperty(MediaKeySession.prototype, 'keyStatuses', { get() {
    const found = new Map();
    statuses.call(this).forEach((status, id) => found.set(id, hex(id) === 'KID' ? 'output-restricted' : status));
    return found;
  } });
})()"""
"""Make Chromium report a key as restricted, as a DRM does on a screen without HDCP; ClearKey itself never does."""


def plays_in_sd(viewer: Viewer) -> None:
    viewer.play(speed=2)
    viewer.wait_end()
    assert viewer.ask("video.videoHeight") == 180
    assert viewer.page.inner_text("#trouble") == ""


def large_of(protected: Protected) -> tuple[str, str]:
    """Return the track in HD, and the id of its key."""
    kid = key_name(TITLES[Scheme.CBCS], Scheme.CBCS, KeyClass.HD).kid
    return next(track for track, (used, _) in protected.pictures.items() if used == kid), kid


@pytest.mark.parametrize(("player", "manifest"), [*PLAYERS[:2], PLAYERS[3]], ids=[*NAMES[:2], NAMES[3]])
def test_without_the_key_of_hd_the_title_plays_in_sd(
    browser: Any, protected: Protected, without_hd: str, player: str, manifest: str
) -> None:
    with Viewer(browser, without_hd, TITLES[Scheme.CBCS], player, manifest) as viewer:
        if player == "dash":  # the others switch to HD by themselves
            viewer.choose("picture", large_of(protected)[0])
        plays_in_sd(viewer)


@pytest.mark.parametrize(("player", "manifest"), [PLAYERS[1], PLAYERS[3]], ids=[NAMES[1], NAMES[3]])
def test_a_key_that_outputs_restrict_is_not_used(
    browser: Any, protected: Protected, url: str, player: str, manifest: str
) -> None:
    large, kid = large_of(protected)
    script = RESTRICTED.replace("KID", kid)
    with Viewer(browser, url, TITLES[Scheme.CBCS], player, manifest, script=script) as viewer:
        if player == "dash":
            viewer.choose("picture", large)
        plays_in_sd(viewer)


def test_a_token_opens_the_title_and_its_keys(browser: Any, protected: Protected) -> None:
    tokens = protected.folder / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"{PLAYBACK.line}\n{EDGE.line}\n")
    title = TITLES[Scheme.CBCS]
    with (
        licences("--keys", protected.keys, "--token-keys", tokens) as where,
        running(protected.store, settings=OriginSettings(licence_url=where, keys=KEYS)) as origin,
        Viewer(browser, f"{origin}/t/{token(title=title)}", title, "dash", "dash") as viewer,
    ):
        plays_to_its_end(viewer)


def test_a_page_without_a_licence_service_shows_a_message(browser: Any, protected: Protected) -> None:
    with running(protected.store) as origin:
        page = browser.new_page()
        page.goto(f"{origin}/watch/{TITLES[Scheme.CBCS]}")
        wait_for(page, "!document.getElementById('trouble').hidden")
        assert "protected" in page.inner_text("#trouble")
        page.close()
