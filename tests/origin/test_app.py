import gzip
import hashlib
import json
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from xml.etree.ElementTree import canonicalize

import brotli
import pytest

from headend.core import layout
from origin.serving import running
from tests.origin.releases import (
    INDEX,
    INIT,
    MPD,
    MULTIVARIANT,
    PICTURE,
    PLAYLIST,
    RELEASE,
    SEGMENTS,
    SHEET,
    SOUND,
    TEXT,
    TITLE,
    WatchedStore,
    ask,
)

ROOT = f"/{TITLE}/releases/{RELEASE}"
TRACKS = f"/{TITLE}/tracks"
SEGMENT = f"{TRACKS}/{PICTURE}/2.m4s"

FILES = {
    f"{ROOT}/multivariant.m3u8": (MULTIVARIANT, "application/vnd.apple.mpegurl"),
    f"{ROOT}/manifest.mpd": (MPD, "application/dash+xml"),
    f"{ROOT}/{PICTURE}.m3u8": (PLAYLIST, "application/vnd.apple.mpegurl"),
    f"{ROOT}/{PICTURE}.iframes.m3u8": (PLAYLIST, "application/vnd.apple.mpegurl"),
    f"{ROOT}/thumbnails.m3u8": (PLAYLIST, "application/vnd.apple.mpegurl"),
    f"{TRACKS}/thumbnails/1.jpg": (SHEET, "image/jpeg"),
    f"{ROOT}/thumbnails.vtt": (INDEX, "text/vtt; charset=utf-8"),
    f"{TRACKS}/{PICTURE}/init.mp4": (INIT, "video/mp4"),
    f"{TRACKS}/{PICTURE}/1.m4s": (SEGMENTS[0], "video/mp4"),
    f"{TRACKS}/{SOUND}/init.mp4": (INIT, "audio/mp4"),
    f"{TRACKS}/{SOUND}/3.m4s": (SEGMENTS[2], "audio/mp4"),
    f"{TRACKS}/{TEXT}/1.vtt": (SEGMENTS[0], "text/vtt; charset=utf-8"),
    f"{TRACKS}/w{TEXT}/init.mp4": (INIT, "application/mp4"),
    f"{TRACKS}/w{TEXT}/2.m4s": (SEGMENTS[1], "application/mp4"),
}


@pytest.mark.parametrize("path", FILES)
def test_a_file_of_a_release_is_served_whole_and_for_ever(base_url: str, path: str) -> None:
    body, content_type = FILES[path]
    got = ask(base_url, path)
    assert (got.status, got.body) == (200, body)
    assert got.headers["content-type"] == content_type
    assert got.headers["content-length"] == str(len(body))
    assert got.headers["etag"] == f'"{hashlib.sha256(body).hexdigest()}"'
    assert got.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert got.headers["accept-ranges"] == "bytes"
    assert parsedate_to_datetime(got.headers["last-modified"]) is not None
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in got.headers


@pytest.mark.parametrize("path", [*FILES, f"/{TITLE}/manifest.mpd", "/", "/livez", "/missing", f"{ROOT}/plan.json"])
def test_head_has_the_headers_of_get(base_url: str, path: str) -> None:
    whole, head = ask(base_url, path), ask(base_url, path, method="HEAD")
    assert head.body == b""
    assert head.status == whole.status
    assert head.headers | {"date": ""} == whole.headers | {"date": ""}


def test_the_hls_entry_point_redirects_to_the_current_release(base_url: str) -> None:
    got = ask(base_url, f"/{TITLE}/multivariant.m3u8?CMCD=sid%3D%22a%22")
    assert (got.status, got.body) == (302, b"")
    assert got.headers["location"] == f"releases/{RELEASE}/multivariant.m3u8"
    assert "max-age=60" in got.headers["cache-control"]
    assert "stale-while-revalidate" in got.headers["cache-control"]
    assert "stale-if-error" in got.headers["cache-control"]


def test_the_index_of_thumbnails_is_found_by_the_title_alone(base_url: str) -> None:
    assert ask(base_url, f"/{TITLE}/thumbnails.vtt").headers["location"] == f"releases/{RELEASE}/thumbnails.vtt"


@pytest.mark.parametrize("path", ["thumbnails/2.jpg", "thumbnails/0.jpg", "thumbnails/1.m4s", f"{PICTURE}/1.jpg"])
def test_a_missing_sheet_is_404(base_url: str, path: str) -> None:
    assert ask(base_url, f"{TRACKS}/{path}").status == 404


def test_the_dash_entry_point_is_the_manifest_with_its_base(base_url: str) -> None:
    got, published = ask(base_url, f"/{TITLE}/manifest.mpd"), ask(base_url, f"/{TITLE}/releases/{RELEASE}/manifest.mpd")
    assert got.status == 200
    assert got.body.count(f"<BaseURL>releases/{RELEASE}/</BaseURL>".encode()) == 1
    without = got.body.replace(f"<BaseURL>releases/{RELEASE}/</BaseURL>".encode(), b"")
    same = (canonicalize(body.decode(), strip_text=True) for body in (without, published.body))
    assert len(set(same)) == 1
    assert got.headers["etag"] != published.headers["etag"]
    assert ask(base_url, f"/{TITLE}/manifest.mpd", {"If-None-Match": got.headers["etag"]}).status == 304
    assert "immutable" not in got.headers["cache-control"]
    assert "max-age=60" in got.headers["cache-control"]
    assert "stale-while-revalidate" in got.headers["cache-control"]
    assert "stale-if-error" in got.headers["cache-control"]


def test_a_range_of_a_segment_is_served(base_url: str) -> None:
    got = ask(base_url, SEGMENT, {"Range": "bytes=10-19"})
    assert (got.status, got.body) == (206, SEGMENTS[1][10:20])
    assert got.headers["content-range"] == "bytes 10-19/1002"
    assert got.headers["content-length"] == "10"
    assert got.headers["etag"] == ask(base_url, SEGMENT).headers["etag"]


def test_an_unsatisfiable_range_is_answered_with_the_size_of_the_file(base_url: str) -> None:
    got = ask(base_url, SEGMENT, {"Range": "bytes=1002-"})
    assert got.status == 416
    assert got.headers["content-range"] == "bytes */1002"
    assert got.headers["cache-control"] == "no-store"
    assert "etag" not in got.headers


@pytest.mark.parametrize("value", ["bytes=0-1,4-5", "lines=0-1", "bytes=5-2"])
def test_unsupported_ranges_give_the_whole_file(base_url: str, value: str) -> None:
    got = ask(base_url, SEGMENT, {"Range": value})
    assert (got.status, got.body) == (200, SEGMENTS[1])


def test_a_file_that_the_client_has_is_not_sent_again(base_url: str) -> None:
    first = ask(base_url, SEGMENT)
    for headers in (
        {"If-None-Match": first.headers["etag"]},
        {"If-Modified-Since": first.headers["last-modified"]},
        {"If-None-Match": first.headers["etag"], "Range": "bytes=99999-"},
    ):
        got = ask(base_url, SEGMENT, headers)
        assert (got.status, got.body) == (304, b"")
        for name in ("etag", "cache-control", "last-modified"):
            assert got.headers[name] == first.headers[name]


def test_a_resumed_download_never_mixes_two_files(base_url: str) -> None:
    first = ask(base_url, SEGMENT)
    for known, status in ((first.headers["etag"], 206), (first.headers["last-modified"], 206), ('"other"', 200)):
        assert ask(base_url, SEGMENT, {"Range": "bytes=500-", "If-Range": known}).status == status


def test_a_failed_precondition_is_412(base_url: str) -> None:
    assert ask(base_url, SEGMENT, {"If-Match": '"other"'}).status == 412


UNPACK: dict[str | None, Callable[[bytes], bytes]] = {None: bytes, "gzip": gzip.decompress, "br": brotli.decompress}


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("br, gzip;q=0.5", "br"),
        ("gzip, deflate, br", "br"),
        ("GZIP", "gzip"),
        ("BR;q=1.0", "br"),
        ("gzip, br;q=0", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("notgzip, brr", None),
        ("", None),
    ],
)
def test_manifests_are_compressed_if_the_client_accepts_it(base_url: str, accepted: str, coding: str | None) -> None:
    got = ask(base_url, f"{ROOT}/manifest.mpd", {"Accept-Encoding": accepted})
    assert got.headers["vary"] == "Accept-Encoding"
    assert got.headers.get("content-encoding") == coding
    assert UNPACK[coding](got.body) == MPD


def test_each_encoding_of_a_manifest_has_its_own_etag(base_url: str) -> None:
    path, zipped = f"{ROOT}/manifest.mpd", {"Accept-Encoding": "gzip"}
    plain_tag = ask(base_url, path).headers["etag"]
    zipped_tag = ask(base_url, path, zipped).headers["etag"]
    assert plain_tag != zipped_tag
    assert ask(base_url, path, zipped | {"If-None-Match": zipped_tag}).status == 304
    assert ask(base_url, path, zipped | {"If-None-Match": plain_tag}).status == 200


def test_segments_are_never_compressed(base_url: str) -> None:
    got = ask(base_url, SEGMENT, {"Accept-Encoding": "gzip"})
    assert got.body == SEGMENTS[1]
    assert "vary" not in got.headers
    assert "content-encoding" not in got.headers


@pytest.mark.parametrize("path", [SEGMENT, f"/{TITLE}/multivariant.m3u8", "/missing"])
def test_cors_allows_pages_of_any_origin(base_url: str, path: str) -> None:
    got = ask(base_url, path, {"Origin": "https://player.example"})
    assert got.headers["access-control-allow-origin"] == "*"
    assert {"Content-Range", "ETag", "Date"} <= set(got.headers["access-control-expose-headers"].split(", "))
    assert "vary" not in got.headers


def test_a_preflight_is_answered_without_the_store(base_url: str) -> None:
    asked = {"Origin": "https://player.example", "Access-Control-Request-Headers": "range"}
    got = ask(base_url, SEGMENT, asked, method="OPTIONS")
    assert (got.status, got.body) == (204, b"")
    assert "Range" in got.headers["access-control-allow-headers"].split(", ")
    assert got.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
    assert int(got.headers["access-control-max-age"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"])
def test_other_methods_are_refused(base_url: str, method: str) -> None:
    got = ask(base_url, "example.com:443" if method == "CONNECT" else SEGMENT, method=method)
    assert got.status == 405
    assert got.headers["allow"] == "GET, HEAD, OPTIONS"
    assert got.headers["cache-control"] == "no-store"


ABSENT = {
    "an unknown title": "/nothing/multivariant.m3u8",
    "an unknown release": f"/{TITLE}/releases/ffff/multivariant.m3u8",
    "an unpublished title": "/secret/multivariant.m3u8",
    "a manifest of an unpublished release": f"/secret/releases/{RELEASE}/multivariant.m3u8",
    "a segment of an unpublished release": f"/secret/tracks/{PICTURE}/1.m4s",
    "an unknown rendition": f"{TRACKS}/avc-9999p-1k/1.m4s",
    "a segment past the end": f"{TRACKS}/{PICTURE}/4.m4s",
    "segment 0": f"{TRACKS}/{PICTURE}/0.m4s",
    "a number with a leading zero": f"{TRACKS}/{PICTURE}/01.m4s",
    "a number in other digits": f"{TRACKS}/{PICTURE}/%D9%A1.m4s",
    "a playlist that sound has not": f"{ROOT}/{SOUND}.iframes.m3u8",
    "a segment of text in another form": f"{TRACKS}/{TEXT}/1.m4s",
    "a segment of MP4 as a file of text": f"{TRACKS}/{PICTURE}/1.vtt",
    "an init segment of a form that has none": f"{TRACKS}/{TEXT}/init.mp4",
    "the plan": f"{ROOT}/plan.json",
    "the release's document": f"{ROOT}/release.json",
    "the pointer": f"/{TITLE}/current.json",
    "a receipt": f"{ROOT}/receipts/0a.json",
    "an attempt": f"{ROOT}/attempts/0a-1.json",
    "a folder": f"{ROOT}/",
    "a title's folder": f"/{TITLE}/",
    "a slash at the end": f"{SEGMENT}/",
    "the store's own path": f"/titles{ROOT}/manifest.mpd",
}


@pytest.mark.parametrize("path", ABSENT.values(), ids=ABSENT)
def test_an_unpublished_title_is_a_short_lived_404_without_details(base_url: str, path: str) -> None:
    got = ask(base_url, path)
    assert (got.status, got.body) == (404, b'{"error": "not found"}\n')
    assert got.headers["cache-control"] == "public, max-age=5"
    assert got.headers["content-type"] == "application/json"


def test_the_catalogue_lists_published_titles_with_relative_links(base_url: str) -> None:
    got = ask(base_url, "/")
    links = {"title": TITLE, "hls": f"{TITLE}/multivariant.m3u8", "dash": f"{TITLE}/manifest.mpd"}
    assert json.loads(got.body) == {"titles": [links]}


def test_a_query_changes_nothing(base_url: str) -> None:
    assert ask(base_url, f"{SEGMENT}?CMCD=br%3D3200%2Cbl%3D21300&x=../..").body == SEGMENTS[1]


def test_metrics_count_by_kind_and_never_contain_paths(base_url: str) -> None:
    ask(base_url, SEGMENT)
    ask(base_url, "/nothing/manifest.mpd")
    ask(base_url, "/who-knows-what")
    text = ask(base_url, "/metrics").body.decode()
    assert 'headend_origin_requests_total{object="segment",status="2xx"}' in text
    assert 'headend_origin_requests_total{object="entry",status="4xx"}' in text
    assert 'headend_origin_requests_total{object="other",status="4xx"}' in text
    assert "headend_origin_cache_bytes" in text
    assert "process_cpu_seconds_total" in text
    for name in (TITLE, RELEASE, PICTURE, "who-knows-what"):
        assert name not in text


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_the_health_endpoints_answer_ok_and_are_not_cached(base_url: str, path: str) -> None:
    got = ask(base_url, path)
    assert (got.status, got.body, got.headers["cache-control"]) == (200, b"ok\n", "no-store")


@pytest.mark.parametrize("query", ["?height=nonsense", "?height=..100", "?codec=vp9", "?hdr=yes", "?lang=xx"])
@pytest.mark.parametrize("name", [layout.MULTIVARIANT, layout.MPD])
def test_a_filter_that_is_malformed_or_leaves_nothing_is_refused_and_not_cached(
    base_url: str, name: str, query: str
) -> None:
    for _ in range(2):
        ask(base_url, f"/{TITLE}/releases/{RELEASE}/{name}")  # in memory, from now on
        got = ask(base_url, f"/{TITLE}/releases/{RELEASE}/{name}{query}")
        assert (got.status, got.headers["cache-control"]) == (400, "no-store")
        assert got.body.startswith(b'{"error": "')


def test_the_redirect_carries_the_filter_in_canonical_form(base_url: str) -> None:
    got = ask(base_url, f"/{TITLE}/{layout.MULTIVARIANT}?CMCD=bl%3D1&height=..1080&codec=hevc,avc")
    assert got.headers["location"] == f"releases/{RELEASE}/{layout.MULTIVARIANT}?codec=avc,hevc&height=..1080"
    assert ask(base_url, f"/{TITLE}/{layout.MULTIVARIANT}?height=x").status == 400


def test_equivalent_filters_share_one_file(store: WatchedStore) -> None:
    with running(store) as url:
        whole = ask(url, f"/{TITLE}/{layout.MPD}")
        for most in range(1080, 1100):
            got = ask(url, f"/{TITLE}/{layout.MPD}?height=..{most}")
            assert (got.status, got.headers["etag"]) == (200, whole.headers["etag"])
    assert store.reads[layout.outline(TITLE, RELEASE)] == 1
