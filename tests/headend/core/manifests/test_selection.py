"""Filters of manifests: their meaning, refused values, and linear time."""

from dataclasses import replace
from xml.etree import ElementTree as Xml

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core import documents
from headend.core.manifests import dash, devices, hls
from headend.core.manifests.outline import ReleaseOutline, outline_of
from headend.core.manifests.selection import ALL, PICTURES, SOUNDS, Selection, SelectionError, Span, parse, select
from headend.core.media import Codec, TextRole, VideoRange
from tests.support.makers import make_audio_rendition, make_text_rendition, make_video_rendition
from tests.support.releases import make_presentation, with_text

SIZES = {180: 320, 720: 1280, 1080: 1920, 2160: 3840}


@pytest.fixture(scope="module")
def outline() -> ReleaseOutline:
    video = [
        make_video_rendition(codec=codec, width_px=width, height_px=height, average_bps=height * 1000)
        for codec in (Codec.AVC, Codec.HEVC, Codec.VP9)
        for height, width in SIZES.items()
    ]
    video += [make_video_rendition(id="hdr", codec=Codec.HEVC, video_range=VideoRange.PQ)]
    video += [make_video_rendition(id="upright", width_px=1080, height_px=1920)]
    stereo = make_audio_rendition()
    german = replace(stereo, track_index=2, language="de-AT", name="Deutsch", default=False)
    audio = [
        stereo,
        make_audio_rendition(codec=Codec.EAC3, layout="5.1"),
        make_audio_rendition(codec=Codec.OPUS),
        replace(german, id="aac-de"),
    ]
    presentation = make_presentation(None, video, audio, trick_play=True)
    return outline_of(
        with_text(
            presentation,
            *(
                make_text_rendition(id=f"{codec}-{tag}", codec=codec, language=tag, name=tag, role=TextRole.SUBTITLES)
                for codec in (Codec.VTT, Codec.WVTT)
                for tag in ("en", "de")
            ),
        )
    )


def ids(outline: ReleaseOutline) -> set[str]:
    return {track.id.rpartition("k")[0] or track.id for track in (*outline.video, *outline.audio)}


def heights(outline: ReleaseOutline) -> set[int]:
    return {min(track.rendition.width_px, track.rendition.height_px) for track in outline.video}


@pytest.mark.parametrize(
    ("query", "selection"),
    [
        ("", ALL),
        ("CMCD=bl%3D3000&x=height=..3", ALL),
        ("height=..1080", Selection(height_px=Span(None, 1080))),
        ("height=480..1080&a=b", Selection(height_px=Span(480, 1080))),
        ("height=720", Selection(height_px=Span(720, 720))),
        ("rate=..6M", Selection(rate_bps=Span(None, 6_000_000))),
        ("rate=500k..2.5M", Selection(rate_bps=Span(500_000, 2_500_000))),
        ("codec=hevc,avc,avc", Selection(codecs=frozenset({Codec.AVC, Codec.HEVC}))),
        ("codec=avc%2Chevc", Selection(codecs=frozenset({Codec.AVC, Codec.HEVC}))),
        ("lang=EN,pt-BR", Selection(languages=frozenset({"en", "pt-br"}))),
        ("channels=6,2", Selection(channels=frozenset({2, 6}))),
        ("hdr=no", Selection(hdr=False)),
        ("device=roku&hdr=yes", Selection(hdr=True, device="roku")),
    ],
)
def test_queries_are_parsed(query: str, selection: Selection) -> None:
    assert parse(query) == selection
    assert parse(selection.canonical) == selection


def test_queries_that_mean_the_same_have_one_canonical_form() -> None:
    forms = {
        parse(query).canonical
        for query in (
            "height=..1080&codec=avc,hevc&rate=..6M",
            "rate=..6000k&codec=hevc,avc,hevc&height=..1080&CMCD=bl%3D1",
            "codec=avc%2Chevc&x=1&height=..1080&rate=..6000000",
        )
    }
    assert forms == {"codec=avc,hevc&height=..1080&rate=..6000000"}


@pytest.mark.parametrize(
    "query",
    [
        "height=", "height", "height=..", "height=1080..480", "height=-1", "height=1e9", "height=..1080..",
        "height=0.5",
        "height=..1080&height=..720", "rate=6G", "rate=..0.0001", "rate=1234567890", "codec=", "codec=h264",
        "codec=avc,", "codec=AVC", "lang=", "lang=e", "lang=en,,de", "lang=%00", "lang=\u0663", "channels=0",
        "channels=5.1", "hdr=maybe", "hdr=", "device=", "device=toaster", "device=../apple", "height=\u0661\u0662",
        "lang=" + ",".join(f"en-{n}" for n in range(100)),
    ],
)  # fmt: skip
def test_a_malformed_filter_is_refused_with_a_reason_that_repeats_nothing(query: str) -> None:
    with pytest.raises(SelectionError) as refused:
        parse(query)
    reason = str(refused.value)
    assert '"' not in reason and reason.isascii()
    assert reason == "height occurs twice" or f"{query.partition('=')[0]} is " in reason


@given(st.text(max_size=300))
def test_any_query_is_parsed_or_refused(text: str) -> None:
    for query in (text, *(f"{name}={text}" for name in ("height", "rate", "codec", "lang", "channels", "hdr"))):
        try:
            selection = parse(query)
        except SelectionError:
            continue
        assert parse(selection.canonical) == selection


@pytest.mark.parametrize("name", ["height", "rate", "codec", "lang", "channels", "hdr", "device"])
@pytest.mark.parametrize("unit", ["en,", "%2C", "1", "..", "a-", "\u0661"])
def test_an_overlong_term_is_refused_without_parsing(name: str, unit: str) -> None:
    with pytest.raises(SelectionError):
        parse(f"{name}={unit * 10_000}")


def test_pictures_by_height_rate_codec_and_range(outline: ReleaseOutline) -> None:
    assert heights(select(outline, parse("height=..1080"))) == {180, 720, 1080}
    assert "upright" in {track.id for track in select(outline, parse("height=1080")).video}
    assert heights(select(outline, parse("height=700..800"))) == {720}
    only = select(outline, parse("codec=hevc,eac3"))
    assert {track.rendition.codec for track in only.video} == {Codec.HEVC}
    assert {track.rendition.codec for track in only.audio} == {Codec.EAC3}
    assert len(select(outline, parse("codec=hevc")).audio) == len(outline.audio)
    assert [track.id for track in select(outline, parse("hdr=yes")).video] == ["hdr"]
    assert "hdr" not in {track.id for track in select(outline, parse("hdr=no")).video}
    limit = sorted(track.peak_bps for track in outline.video)[3]
    assert max(track.peak_bps for track in select(outline, parse(f"rate=..{limit}")).video) == limit


def test_sound_and_text_by_language_and_channels(outline: ReleaseOutline) -> None:
    german = select(outline, parse("lang=de"))
    assert [track.id for track in german.audio] == ["aac-de"]
    assert {track.rendition.language for track in german.text} == {"de"}
    assert len(german.video) == len(outline.video)
    assert {track.rendition.channels for track in select(outline, parse("channels=6")).audio} == {6}
    assert len(select(outline, parse("lang=de,en")).audio) == len(outline.audio)


@pytest.mark.parametrize(
    "query", ["height=..100", "codec=av1", "lang=fr", "channels=8", "rate=..1", "hdr=yes&codec=avc"]
)
def test_a_filter_that_leaves_nothing_is_refused(outline: ReleaseOutline, query: str) -> None:
    with pytest.raises(SelectionError, match="is left"):
        select(outline, parse(query))


@pytest.mark.parametrize("query", ["", "height=..4320", "height=2160", "device=tizen", "codec=hevc", "hdr=yes"])
def test_no_filter_widens_a_plan(outline: ReleaseOutline, query: str) -> None:
    try:
        left = select(outline, parse(query), 720)
    except SelectionError:
        return
    assert max(heights(left)) <= 720
    assert all(min(t.rendition.width_px, t.rendition.height_px) <= 720 for t in left.trick)


def test_selecting_everything_gives_the_published_manifests(outline: ReleaseOutline) -> None:
    assert select(outline, ALL) == outline
    assert select(outline, ALL, 10_000) == outline
    assert documents.read(ReleaseOutline, documents.write(outline)) == outline


@pytest.mark.parametrize(
    "query", ["height=..720", "codec=vp9,opus", "lang=de", *(f"device={d}" for d in devices.known_devices())]
)
def test_both_manifests_list_exactly_the_selected_tracks(outline: ReleaseOutline, query: str) -> None:
    left = select(outline, parse(query))
    root = Xml.fromstring(dash.mpd(left))
    named = {one.get("id") for one in root.iter("{urn:mpeg:dash:schema:mpd:2011}Representation")} - {"thumbnails"}
    assert named == {track.id for track in left.played() if track.rendition.codec is not Codec.VTT}
    playlist = m3u8.loads(hls.multivariant(left))
    shown = {variant.uri.removesuffix(".m3u8") for variant in playlist.playlists}
    assert shown == {track.id for track in left.video if hls.in_hls(track)}


@pytest.mark.parametrize("name", devices.known_devices())
def test_a_device_has_a_source_for_each_codec_and_plays_something(name: str) -> None:
    device = devices.known_devices()[name]
    assert all(line.source and (line.max_height_px > 0) != (line.max_channels > 0) for line in device.codecs)
    assert all((line.codec in PICTURES) == bool(line.max_height_px) for line in device.codecs)
    assert all((line.codec in SOUNDS) == bool(line.max_channels) for line in device.codecs)
    assert {Codec.AVC, Codec.AAC} <= {line.codec for line in device.codecs}
    assert len({line.codec for line in device.codecs}) == len(device.codecs)


def test_every_documented_device_is_known() -> None:
    assert set(devices.known_devices()) == {"apple", "android", "chromecast", "roku", "tizen", "webos", "hbbtv"}
