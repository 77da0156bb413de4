import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from encoder.tool import ffmpeg_path
from headend.core import documents, layout, track_index
from headend.core.manifests import dash, hls
from headend.core.manifests.outline import outline_of
from headend.core.media import Current
from headend.core.storage import Store
from headend.core.storage.local import LocalStore
from headend.core.storage.memory import MemoryStore
from origin.serving import OriginSettings, running
from packager.presentation import index_of
from tests.origin.grants import CLOSED, KEYS, STRANGE_KEYS, from_edge, token
from tests.origin.releases import INIT, PICTURE, RELEASE, SEGMENTS, SOUND, TITLE, WatchedStore, ask, put_release
from tests.support.makers import make_video_rendition
from tests.support.releases import make_presentation, publish_plan, store_real

ROOT = f"/{TITLE}/releases/{RELEASE}"
TRACKS = f"/{TITLE}/tracks"
SEGMENT = f"{TRACKS}/{PICTURE}/1.m4s"
MANIFESTS = [f"{ROOT}/{layout.MULTIVARIANT}", f"{ROOT}/{layout.MPD}"]
ENTRIES = [f"/{TITLE}/{layout.MULTIVARIANT}", f"/{TITLE}/{layout.MPD}"]
MEDIA = [f"{TRACKS}/{PICTURE}/{name}" for name in ("init.mp4", "1.m4s")]
MEDIA += [f"{ROOT}/{PICTURE}.m3u8", f"{ROOT}/{PICTURE}.iframes.m3u8"]
MEDIA += [f"{TRACKS}/thumbnails/1.jpg", f"{ROOT}/thumbnails.vtt"]
NOW_S = int(time.time())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    store = MemoryStore()
    put_release(store)
    put_release(store, title="other")
    with running(store, settings=CLOSED) as found:
        yield found


def reason_of(body: bytes) -> str:
    found = re.fullmatch(rb'\{"error": "([a-z ]+)"\}\n', body)
    assert found, body
    return found[1].decode()


def ask_with_token(url: str, path: str, headers: dict[str, str] | None = None, **changes: Any) -> tuple[int, str]:
    """Request a path with a token; return the status, and the reason of a refusal."""
    got = ask(url, f"/t/{token(**changes)}{path}", headers)
    return got.status, reason_of(got.body) if got.status >= 400 else ""


@pytest.mark.parametrize("path", [*ENTRIES, *MANIFESTS, *MEDIA, "/"])
def test_without_a_token_no_object_of_a_title_is_served(url: str, path: str) -> None:
    got = ask(url, path)
    assert (got.status, reason_of(got.body)) == (403, "no valid token")
    assert got.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics"])
def test_health_needs_no_token(url: str, path: str) -> None:
    assert ask(url, path).status == 200


def test_cached_objects_are_refused_without_a_token_too(url: str) -> None:
    for path in (MEDIA[1], MEDIA[2]):  # a segment and a playlist
        for _ in range(2):
            assert ask_with_token(url, path) == (200, "")
        assert ask_with_token(url, path, title="other") == (403, "no valid token")
        assert ask_with_token(url, path, expires_s=NOW_S - 3600) == (403, "the token has expired")
        assert ask_with_token(url, path, max_height_px=1) == (403, "not in the plan")
        assert ask_with_token(url, path, territories=("DE",)) == (403, "not available here")
        assert (ask(url, path).status, ask(url, f"/t/x{path}").status) == (403, 403)
        assert ask_with_token(url, path) == (200, "")


def test_a_token_opens_its_title_and_the_entry_point_keeps_it(url: str) -> None:
    good = token()
    for path in [*MANIFESTS, *MEDIA]:
        assert ask(url, f"/t/{good}{path}").status == 200
    entry = ask(url, f"/t/{good}{ENTRIES[0]}")
    assert (entry.status, entry.headers["location"]) == (302, f"releases/{RELEASE}/{layout.MULTIVARIANT}")
    assert ask(url, f"/t/{good}{SEGMENT}").body == SEGMENTS[0]
    assert ask(url, f"/t/{good}{SEGMENT}", {"Range": "bytes=0-9"}).status == 206


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another title's token": ({"title": "other"}, "no valid token"),
    "a stranger's token": ({"keys": STRANGE_KEYS}, "no valid token"),
    "an old token": ({"expires_s": NOW_S - 61}, "the token has expired"),
    "a licence that is over": ({"licensed_until_s": NOW_S - 1}, "not available now"),
    "a licence that is to come": ({"licensed_from_s": NOW_S + 3600}, "not available now"),
    "a territory that nobody vouches for": ({"territories": ("DE",)}, "not available here"),
    "a plan for less than the least": ({"max_height_px": 719}, "not in the plan"),
}


@pytest.mark.parametrize("path", [MANIFESTS[0], *ENTRIES, SEGMENT, f"{ROOT}/{PICTURE}.m3u8"])
@pytest.mark.parametrize(("changes", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_a_token_does_not_cover_is_refused_with_its_reason(
    url: str, path: str, changes: dict[str, Any], reason: str
) -> None:
    assert ask_with_token(url, path, **changes) == (403, reason)


def test_a_future_licence_period_says_when_it_begins(url: str) -> None:
    got = ask(url, f"/t/{token(licensed_from_s=int(time.time()) + 1000)}{MANIFESTS[0]}")
    assert 0 < int(got.headers["retry-after"]) <= 1000


@pytest.mark.parametrize(
    ("make_headers", "status"),
    [
        (lambda: from_edge("DE"), 200),
        (lambda: from_edge("FR"), 200),
        (lambda: from_edge("US"), 403),
        (lambda: from_edge("DE", ago_s=10_000), 403),
        (lambda: {"Headend-Edge": "DE"}, 403),
        (lambda: {"X-Country": "DE", "CF-IPCountry": "DE", "X-Forwarded-For": "192.0.2.1"}, 403),
        (dict, 403),
    ],
)
def test_only_an_edge_can_state_a_viewers_country(
    url: str, make_headers: Callable[[], dict[str, str]], status: int
) -> None:
    headers = make_headers()  # now, since an edge's header is valid for minutes only
    assert ask_with_token(url, SEGMENT, headers, territories=("DE", "FR"))[0] == status


def test_responses_without_a_token_do_not_reveal_what_exists(url: str) -> None:
    bodies = {(got.status, got.body) for path in (SEGMENT, "/nothing/tracks/y/1.m4s") for got in [ask(url, path)]}
    assert len(bodies) == 1


def test_requests_without_a_token_cause_no_read(store: WatchedStore) -> None:
    with running(store, settings=CLOSED) as url:
        for path in (SEGMENT, MANIFESTS[0], ENTRIES[0]):
            ask(url, path)
            ask(url, f"/t/{token(keys=STRANGE_KEYS)}{path}")
            ask(url, f"/t/{token(expires_s=1)}{path}")
        assert not store.reads


def test_caches_that_check_no_tokens_store_nothing_for_other_viewers(url: str) -> None:
    def caching(path: str, headers: dict[str, str] | None = None) -> str:
        return ask(url, f"/t/{token()}{path}", headers).headers["cache-control"]

    for path in (*MANIFESTS, *ENTRIES):
        assert caching(path) == caching(path, from_edge()) == "no-store"
    for path in MEDIA:
        assert caching(path) == "private, max-age=31536000, immutable"
        assert caching(path, from_edge()) == "public, max-age=31536000, immutable"
    etag = ask(url, f"/t/{token()}{SEGMENT}").headers["etag"]
    again = ask(url, f"/t/{token()}{SEGMENT}", {"If-None-Match": etag})
    assert (again.status, again.headers["cache-control"]) == (304, "private, max-age=31536000, immutable")


def test_one_screen_too_many_gets_retry_after(url: str) -> None:
    def fetch(session: str, path: str = SEGMENT) -> Any:
        return ask(url, f"/t/{token(account='family', session=session, screens=2)}{path}")

    assert fetch("kitchen").status == fetch("garden").status == 200
    refused = fetch("attic")
    assert (refused.status, reason_of(refused.body)) == (403, "too many screens")
    assert 0 < int(refused.headers["retry-after"]) <= 30
    assert fetch("attic", MANIFESTS[0]).status == 200
    assert fetch("kitchen").status == 200
    assert ask(url, f"/t/{token(account='neighbours')}{SEGMENT}").status == 200


def test_screens_are_counted_across_processes(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    put_release(store)
    shared = OriginSettings(keys=KEYS, state_dir=tmp_path / "state")
    with running(store, settings=shared) as one, running(store, settings=shared) as other:
        assert ask(one, f"/t/{token(session='first')}{SEGMENT}").status == 200
        assert ask_with_token(other, SEGMENT, session="second") == (403, "too many screens")
        assert ask(other, f"/t/{token(session='first')}{SEGMENT}").status == 200


def put_ladder(store: Store) -> None:
    """A title with real manifests, whose portrait picture has three heights."""
    sizes = ((640, 360), (1080, 1920), (3840, 2160))
    video = [make_video_rendition(id=f"avc-{min(size)}p", width_px=size[0], height_px=size[1]) for size in sizes]
    presentation = make_presentation(None, video)
    root = layout.release_path(presentation.title, "r1")
    for track in (*presentation.video, *presentation.audio):
        store.put(
            f"{root}/{layout.media_playlist_name(track.id)}", hls.media_playlist(track, presentation.grid).encode()
        )
        store.put(layout.track_index(presentation.title, track.id), track_index.encode(index_of(track)[0]))
    store.put(f"{root}/{layout.MULTIVARIANT}", hls.multivariant(outline_of(presentation)).encode())
    store.put(layout.outline(presentation.title, "r1"), documents.write(outline_of(presentation)))
    store.put(f"{root}/{layout.MPD}", dash.mpd(outline_of(presentation)))
    store.put(layout.published(presentation.title), b"")
    store.put(layout.current(presentation.title), documents.write(Current("r1", "2026-01-01T00:00:00+00:00", "", ())))


@pytest.fixture(scope="module")
def ladder() -> Iterator[tuple[str, str, str]]:
    """An origin, its title, and the path of the release."""
    store = MemoryStore()
    put_ladder(store)
    title = next(iter(store.list(layout.TITLES))).key.split("/")[1]
    with running(store, settings=CLOSED) as url:
        entry = ask(url, f"/t/{token(title=title)}/{title}/{layout.MULTIVARIANT}")
        yield url, title, f"/{title}/{entry.headers['location'].rpartition('/')[0]}"


@pytest.mark.parametrize("name", [layout.MULTIVARIANT, layout.MPD])
@pytest.mark.parametrize(
    ("limit", "heights"),
    [(None, {360, 1080, 2160}), (2160, {360, 1080, 2160}), (2159, {360, 1080}), (1080, {360, 1080}), (360, {360})],
)
def test_renditions_above_the_plan_are_neither_listed_nor_served(
    ladder: tuple[str, str, str], name: str, limit: int | None, heights: set[int]
) -> None:
    url, title, root = ladder
    good = token(title=title, max_height_px=limit)
    for _ in range(2):  # the second time, from memory
        got = ask(url, f"/t/{good}{root}/{name}")
        assert {int(height) for height in re.findall(rb"avc-([0-9]+)p", got.body)} == heights
    for height in (360, 1080, 2160):
        playlist = ask(url, f"/t/{good}{root}/avc-{height}p.m3u8")
        assert playlist.status == (200 if height in heights else 403)


@pytest.mark.parametrize("name", [layout.MULTIVARIANT, layout.MPD])
def test_a_filter_can_not_widen_a_plan(ladder: tuple[str, str, str], name: str) -> None:
    url, title, root = ladder
    place = url, f"/t/{token(title=title, max_height_px=1080)}{root}/{name}"

    def heights(query: str) -> set[int]:
        got = ask(place[0], place[1] + query)
        assert got.headers["cache-control"] == "no-store"
        return {int(height) for height in re.findall(rb"avc-([0-9]+)p", got.body)}

    for query in ("?height=360..", "?height=..4320", "?height=..9999&codec=avc"):
        assert heights(query) == {360, 1080}
    assert heights("?height=..400") == {360}
    assert heights("?height=2160") == set()
    assert ask(place[0], f"{place[1]}?height=2160").status == 400


def test_filtered_manifests_have_their_own_etags(ladder: tuple[str, str, str]) -> None:
    url, title, root = ladder
    tags = {
        ask(url, f"/t/{token(title=title, max_height_px=limit)}{root}/{layout.MPD}", headers).headers["etag"]
        for limit in (360, 1080, None)
        for headers in ({}, {"Accept-Encoding": "gzip"})
    }
    assert len(tags) == 6


def test_sound_is_in_every_plan(url: str) -> None:
    assert ask(url, f"/t/{token(max_height_px=100)}{TRACKS}/{SOUND}/init.mp4").body == INIT


def test_a_player_follows_relative_addresses_with_the_token_in_them(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    plan = store_real(store)
    release = publish_plan(store, plan).presentation.release
    root = f"{plan.title}/releases/{release}"
    with running(store, settings=CLOSED) as url:
        for name in (layout.MULTIVARIANT, layout.MPD):
            manifest = f"{url}/t/{token(title=plan.title)}/{root}/{name}"
            argv = [ffmpeg_path(), "-v", "error", "-xerror", "-i", manifest, "-f", "null", "-"]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
            assert (done.returncode, done.stderr) == (0, "")


def test_an_open_origin_ignores_tokens(base_url: str) -> None:
    assert ask(base_url, f"/t/{token()}{SEGMENT}").status == 404


def test_refusals_are_counted_by_reason_without_naming_anybody(url: str) -> None:
    secret = token(account="account-of-alice", expires_s=1)
    ask(url, f"/t/{secret}{SEGMENT}")
    text = ask(url, "/metrics").body.decode()
    assert 'headend_origin_denied_total{reason="expired"}' in text
    assert "account-of-alice" not in text and secret not in text
