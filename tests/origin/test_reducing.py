from xml.etree import ElementTree as Xml

import m3u8
import pytest

from headend import layout
from headend.manifests import dash, hls
from headend.media import Codec, Presentation
from origin.reducing import reduced
from tests.support.nouns import make_audio_rendition, make_video_rendition
from tests.support.releases import make_presentation

SIZES = ((320, 180), (1280, 720), (1920, 1080))
LARGE = frozenset({"avc-1080p", "vp9-1080p"})


@pytest.fixture(scope="module")
def presentation() -> Presentation:
    video = [
        make_video_rendition(id=f"{codec}-{height}p", codec=codec, width_px=width, height_px=height)
        for codec in (Codec.AVC, Codec.VP9)
        for width, height in SIZES
        if codec is Codec.AVC or height == 1080
    ]
    return make_presentation(
        None, video, (make_audio_rendition(id="aac"), make_audio_rendition(id="de", track_index=2))
    )


def representations(mpd: bytes) -> list[list[str]]:
    sets = Xml.fromstring(mpd).iterfind(".//{*}AdaptationSet")
    return [[one.get("id") or "" for one in found.iterfind("{*}Representation")] for found in sets]


def test_a_playlist_loses_variants_and_their_iframes_and_nothing_else(presentation: Presentation) -> None:
    whole = hls.multivariant(presentation)
    left = m3u8.loads(reduced(layout.MULTIVARIANT, whole.encode(), LARGE).decode())
    before = m3u8.loads(whole)
    assert {variant.uri for variant in before.playlists} == {f"avc-{height}p.m3u8" for _, height in SIZES}
    assert [variant.uri for variant in left.playlists] == [
        variant.uri for variant in before.playlists if "1080p" not in variant.uri
    ]
    assert all(variant.stream_info.resolution[1] < 1080 for variant in left.playlists)
    assert {variant.uri for variant in left.iframe_playlists} == {f"avc-{px}p.iframes.m3u8" for px in (180, 720)}
    assert [medium.uri for medium in left.media] == [medium.uri for medium in before.media]


def test_an_mpd_loses_representations_and_sets_that_are_left_empty(presentation: Presentation) -> None:
    whole = dash.mpd(presentation)
    left = reduced(layout.MPD, whole, LARGE)
    pictures = [ids for ids in representations(left) if ids[0] not in ("aac", "de")]
    assert sorted(pictures[0]) == ["avc-180p", "avc-720p"]
    assert len(pictures) == 1
    assert [ids for ids in representations(left) if ids[0] in ("aac", "de")] == [["aac"], ["de"]]
    assert left.startswith(b"<?xml") and b'<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"' in left


@pytest.mark.parametrize("name", [layout.MULTIVARIANT, layout.MPD])
def test_a_manifest_without_what_is_withheld_comes_back_as_it_was(presentation: Presentation, name: str) -> None:
    whole = dash.mpd(presentation) if name == layout.MPD else hls.multivariant(presentation).encode()
    left = reduced(name, whole, frozenset({"avc-2160p"}))
    assert Xml.canonicalize(left.decode()) == Xml.canonicalize(whole.decode()) if name == layout.MPD else left == whole
