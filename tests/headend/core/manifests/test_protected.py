"""Manifests of protected titles, read back by other parsers."""

import base64
import re
import uuid
from dataclasses import replace
from typing import Any

import m3u8
import pytest
from lxml import etree

from headend.core import layout
from headend.core.manifests.forms import top_manifests
from headend.core.manifests.outline import outline_of
from headend.core.media import Presentation, Scheme
from packager.publishing import manifests
from packager.signalling import SYSTEM_IDS, System
from tests.headend.core.manifests.test_dash import SCHEMA
from tests.support.protected import protected

NAMES = {"": "urn:mpeg:dash:schema:mpd:2011", "cenc": "urn:mpeg:cenc:2013", "mspr": "urn:microsoft:playready"}
KID = "{urn:mpeg:cenc:2013}default_KID"
FORMATS = {
    "org.w3.clearkey",
    "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed",
    "com.microsoft.playready",
    "com.apple.streamingkeydelivery",
}


def sets_of(mpd: bytes) -> list[Any]:
    return list(etree.fromstring(mpd).iterfind("Period/AdaptationSet", NAMES))


def kids_of(presentation: Presentation) -> dict[str, str]:
    tracks = (*presentation.video, *presentation.audio, *presentation.trick)
    copied = (track for copy in presentation.copies for track in (*copy.video, *copy.audio, *copy.trick))
    return {track.id: track.kid for track in (*tracks, *copied)}


@pytest.mark.parametrize(
    ("schemes", "names"),
    [
        ((Scheme.CBCS,), {"multivariant.m3u8", "manifest.mpd", "multivariant-identity.m3u8"}),
        (
            (Scheme.CBCS, Scheme.CENC),
            {
                "multivariant.m3u8",
                "manifest.mpd",
                "multivariant-identity.m3u8",
                "multivariant-cenc.m3u8",
                "manifest-cenc.mpd",
            },
        ),
        (
            (Scheme.CENC, Scheme.AES_128),
            {"multivariant.m3u8", "manifest.mpd", "multivariant-identity.m3u8", "multivariant-aes-128.m3u8"},
        ),
    ],
)
def test_a_release_has_manifests_for_each_of_its_schemes(schemes: tuple[Scheme, ...], names: set[str]) -> None:
    assert {top.name for top in top_manifests(outline_of(protected(*schemes)))} == names


def test_each_named_playlist_exists() -> None:
    files = manifests(protected(Scheme.CBCS, Scheme.CENC, Scheme.AES_128))
    for name, data in files.items():
        if name.startswith("multivariant"):
            top = m3u8.loads(data.decode())
            for line in (*top.playlists, *top.media, *top.iframe_playlists):
                assert line.uri in files, name


@pytest.mark.skipif(not SCHEMA.is_file(), reason=f"there is no schema at {SCHEMA}")
@pytest.mark.parametrize("name", ["manifest.mpd", "manifest-cenc.mpd"])
def test_an_mpd_keeps_to_the_schema(name: str) -> None:
    schema = etree.XMLSchema(etree.parse(SCHEMA))
    schema.assertValid(etree.fromstring(manifests(protected(Scheme.CBCS, Scheme.CENC))[name]))


@pytest.mark.parametrize("scheme", [Scheme.CBCS, Scheme.CENC])
def test_each_set_has_one_key_and_signals_it_to_each_system(scheme: Scheme) -> None:
    presentation = protected(scheme)
    kids = kids_of(presentation)
    for adaptation_set in sets_of(manifests(presentation)["manifest.mpd"]):
        ids = [each.get("id") for each in adaptation_set.iterfind("Representation", NAMES)]
        found = list(adaptation_set.iterfind("ContentProtection", NAMES))
        if adaptation_set.get("contentType") == "image":
            assert not found
            continue
        [kid] = {kids[id] for id in ids}
        assert (found[0].get("value"), found[0].get(KID)) == (scheme, str(uuid.UUID(kid)))
        systems = [each.get("schemeIdUri").removeprefix("urn:uuid:") for each in found[1:]]
        wanted = [s for s in System if not (s is System.FAIRPLAY and scheme is Scheme.CENC)]
        assert systems == [SYSTEM_IDS[system] for system in wanted]
        pro = found[1 + wanted.index(System.PLAYREADY)].find("mspr:pro", NAMES)
        header = base64.b64decode(pro.text)
        assert int.from_bytes(header[:4], "little") == len(header)


def test_players_may_switch_between_sets_that_differ_in_their_key_only() -> None:
    sets = sets_of(manifests(protected())["manifest.mpd"])
    pictures = [each for each in sets if each.get("contentType") == "video" and each.get("maxPlayoutRate") is None]
    ids = {each.get("id") for each in pictures}
    assert len(ids) == 6  # two codecs in three classes
    for each in pictures:
        [switching] = each.iterfind("SupplementalProperty", NAMES)
        assert set(switching.get("value").split(",")) == ids - {each.get("id")}


def test_trick_play_names_all_sets_of_its_codec() -> None:
    sets = sets_of(manifests(protected())["manifest.mpd"])
    for each in sets:
        if each.get("maxPlayoutRate") is not None:
            [mode] = each.iterfind("EssentialProperty", NAMES)
            assert len(mode.get("value").split()) == 3


@pytest.mark.parametrize("name", [layout.media_playlist_name, layout.iframe_playlist_name])
def test_a_playlist_signals_its_key_to_each_system_after_the_init_segment(name: Any) -> None:
    presentation = protected()
    files = manifests(presentation)
    for track in presentation.video[:3]:
        text = files[name(track.id)].decode()
        keys = [key for key in m3u8.loads(text).keys if key]
        assert {key.keyformat for key in keys} == FORMATS
        assert {key.method for key in keys} == {"SAMPLE-AES"}
        assert {key.keyformatversions for key in keys} == {"1"}
        assert text.index("#EXT-X-MAP") < text.index("#EXT-X-KEY") < text.index("#EXTINF")
        [clearkey] = [key.uri for key in keys if key.keyformat == "org.w3.clearkey"]
        assert base64.b64decode(clearkey.partition(",")[2]).hex() == track.kid


def test_identity_playlists_name_the_keys_address_and_nothing_else() -> None:
    presentation = protected()
    files = manifests(presentation)
    track = presentation.video[0]
    playlist = m3u8.loads(files[layout.media_playlist_name(track.id, identity=True)].decode())
    [key] = [key for key in playlist.keys if key]
    assert (key.method, key.uri, key.keyformat) == ("SAMPLE-AES", f"../../keys/{track.kid}", "identity")


def test_session_keys_are_those_of_the_playlists_each_once() -> None:
    presentation = protected()
    files = manifests(presentation)
    lines = re.findall("#EXT-X-SESSION-KEY:(.*)", files["multivariant.m3u8"].decode())
    assert len(lines) == len(set(lines)) == 4 * 4
    in_playlists = {
        line for name, data in files.items() for line in re.findall("#EXT-X-KEY:(.*)", data.decode("latin-1"))
    }
    assert set(lines) < in_playlists  # the identity lines are in the others
    identity = re.findall("#EXT-X-SESSION-KEY:(.*)", files["multivariant-identity.m3u8"].decode())
    assert set(lines) | set(identity) == in_playlists


def test_whole_encrypted_segments_have_their_key_before_the_init_segment_and_no_iframe_playlists() -> None:
    presentation = protected(Scheme.CBCS, Scheme.AES_128)
    files = manifests(presentation)
    [copy] = presentation.copies
    track = copy.video[0]
    text = files[layout.media_playlist_name(track.id)].decode()
    assert text.index("#EXT-X-KEY") < text.index("#EXT-X-MAP")
    [key] = [key for key in m3u8.loads(text).keys if key]
    assert (key.method, key.uri) == ("AES-128", f"../../keys/{track.kid}")
    assert key.iv == f"0x{copy.protection.name(track.kid).iv}"
    assert layout.iframe_playlist_name(track.id) not in files
    assert "I-FRAME" not in files["multivariant-aes-128.m3u8"].decode()


def test_hls_states_required_output_protection_on_request() -> None:
    presentation = protected()
    assert presentation.protection is not None
    plain = manifests(presentation)["multivariant.m3u8"].decode()
    assert "HDCP-LEVEL" not in plain
    with_hdcp = replace(presentation, protection=replace(presentation.protection, hdcp=True))
    top = m3u8.loads(manifests(with_hdcp)["multivariant.m3u8"].decode())
    levels = {line.stream_info.resolution: line.stream_info.hdcp_level for line in top.playlists}
    assert levels == {(3840, 2160): "TYPE-1", (1280, 720): "TYPE-0", (640, 360): "NONE"}
