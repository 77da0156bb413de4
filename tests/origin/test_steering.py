"""Manifests of an origin with --steering: entry points change, releases don't."""

import xml.etree.ElementTree as Xml

import pytest

from origin.serving import OriginSettings, running
from tests.cdn_sim.live.test_edge import get
from tests.origin.grants import KEYS, token
from tests.origin.releases import MPD, MULTIVARIANT, RELEASE, TITLE, WatchedStore

STEERING = "http://steer.example:8083"
LINE = f'#EXT-X-CONTENT-STEERING:SERVER-URI="{STEERING}/{TITLE}",PATHWAY-ID="."'
NAMESPACE = "{urn:mpeg:dash:schema:mpd:2011}"
STEERED = OriginSettings(steering=STEERING)


def test_hls_players_are_redirected_to_a_playlist_with_the_steering_server(store: WatchedStore) -> None:
    with running(store, settings=STEERED) as url:
        status, body, headers = get(f"{url}/{TITLE}/multivariant.m3u8")  # follows the redirect
        assert status == 200 and LINE in body.decode().splitlines()
        assert "immutable" not in headers["Cache-Control"]
        lines = body.decode().splitlines()
        assert lines.index(LINE) < next(at for at, line in enumerate(lines) if line.startswith("#EXT-X-STREAM-INF"))
        filtered = get(f"{url}/{TITLE}/multivariant.m3u8?height=..1080&codec=avc")[1].decode()
        assert LINE in filtered


def test_dash_players_get_it_with_a_base_that_can_be_replaced(store: WatchedStore) -> None:
    with running(store, settings=STEERED) as url:
        for path, base in ((f"/{TITLE}/manifest.mpd", f"releases/{RELEASE}/"),
                           (f"/{TITLE}/releases/{RELEASE}/manifest.mpd?steering=on", "./")):  # fmt: skip
            root = Xml.fromstring(get(url + path)[1])
            assert [child.tag.removeprefix(NAMESPACE) for child in root] == ["BaseURL", "ContentSteering", "Period"]
            assert (root[0].text, root[0].get("serviceLocation")) == (base, ".")
            assert root[1].text == f"{STEERING}/{TITLE}"
            assert root[1].attrib == {"defaultServiceLocation": ".", "queryBeforeStart": "true"}


def test_addresses_of_a_release_keep_their_bytes_with_steering(store: WatchedStore) -> None:
    with running(store, settings=STEERED) as url:
        assert get(f"{url}/{TITLE}/releases/{RELEASE}/multivariant.m3u8")[1] == MULTIVARIANT
        assert get(f"{url}/{TITLE}/releases/{RELEASE}/manifest.mpd")[1] == MPD
        get(f"{url}/{TITLE}/releases/{RELEASE}/multivariant.m3u8?steering=on")
        assert get(f"{url}/{TITLE}/releases/{RELEASE}/multivariant.m3u8")[1] == MULTIVARIANT


@pytest.mark.parametrize("name", ["multivariant.m3u8", "manifest.mpd"])
def test_without_a_steering_server_nothing_names_one(store: WatchedStore, name: str) -> None:
    with running(store) as url:
        for path in (f"/{TITLE}/{name}", f"/{TITLE}/releases/{RELEASE}/{name}?steering=on"):
            assert b"teering" not in get(url + path)[1].replace(b"steering=on", b"")


def test_tokens_stay_in_the_paths_and_out_of_the_steering_servers_address(store: WatchedStore) -> None:
    with running(store, settings=OriginSettings(steering=STEERING, keys=KEYS)) as url:
        good = token(title=TITLE)
        body = get(f"{url}/t/{good}/{TITLE}/multivariant.m3u8")[1].decode()
        assert LINE in body and good not in body


def test_pages_may_ask_other_servers_only_where_players_are_steered(store: WatchedStore) -> None:
    for settings, wanted in ((STEERED, "connect-src 'self' http: https:"), (OriginSettings(), "connect-src 'self'")):
        with running(store, settings=settings) as url:
            policy = get(f"{url}/watch/{TITLE}")[2]["Content-Security-Policy"]
            assert wanted in policy.split("; ")
