import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from headend.core.codecs.base import CICP_SCHEME
from headend.core.codecs.dolby import CHANNEL_SCHEME
from headend.core.manifests import dash
from headend.core.manifests.outline import outline_of
from headend.core.media import Codec, Presentation, TextRole, VideoRange
from headend.core.timing import plan_grid
from tests.support.makers import make_audio_rendition, make_text_rendition, make_video_rendition
from tests.support.releases import make_grid, make_presentation, with_text

SCHEMA = Path(
    os.environ.get("HEADEND_DASH_XSD", Path(__file__).parents[4].parent / "shared" / "schema" / "DASH-MPD.xsd")
)
NAMES = {"": dash.NAMESPACE}
RATE = Fraction(24000, 1001)


def parsed(presentation: Presentation) -> Any:
    return etree.fromstring(dash.mpd(outline_of(presentation)))


def sets_of(root: Any, content_type: str) -> list[Any]:
    return [s for s in root.iterfind("Period/AdaptationSet", NAMES) if s.get("contentType") == content_type]


def ids_of(adaptation_set: Any) -> list[str]:
    return [representation.get("id") for representation in adaptation_set.iterfind("Representation", NAMES)]


def value_of(adaptation_set: Any, kind: str) -> dict[str, str]:
    return {d.get("schemeIdUri"): d.get("value") for d in adaptation_set.iterfind(kind, NAMES)}


def full() -> Presentation:
    """Every codec, both HDR kinds, half rate with an odd frame count, two languages and hostile names."""
    video = (
        *(
            make_video_rendition(codec=codec, frame_rate=RATE)
            for codec in (Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9)
        ),
        make_video_rendition(frame_rate=RATE / 2, rate_divisor=2, average_bps=300_000),
        make_video_rendition(codec=Codec.HEVC, frame_rate=RATE, video_range=VideoRange.PQ),
        make_video_rendition(id="hlg", codec=Codec.AV1, frame_rate=RATE, video_range=VideoRange.HLG),
    )
    stereo, surround = make_audio_rendition(), make_audio_rendition(codec=Codec.EAC3, layout="5.1")
    audio = (
        stereo,
        make_audio_rendition(bit_rate_bps=64_000),
        make_audio_rendition(codec=Codec.OPUS, layout="5.1"),
        make_audio_rendition(codec=Codec.AC3),
        surround,
        replace(stereo, id="x", track_index=2, language="<&>", name='"]]><\0&', default=False, roles=("comment",)),
        replace(
            stereo, id="d", track_index=3, language="de", name="Hörfilm", default=False, roles=("visual_impaired",)
        ),
        replace(stereo, id="f", track_index=4, language="fr", name="Français", default=False),
    )
    return with_text(
        make_presentation(make_grid(frame_count=721), video, audio),
        *(
            make_text_rendition(codec=codec, language=tag, name='"]]><&', role=role)
            for codec in (Codec.VTT, Codec.WVTT, Codec.IMSC)
            for tag, role in (("en", TextRole.SUBTITLES), ("und", TextRole.SDH), ("pt-BR", TextRole.FORCED))
        ),
    )


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"no DASH-MPD.xsd at {SCHEMA}; name one with HEADEND_DASH_XSD")
@pytest.mark.parametrize("presentation", [full(), make_presentation(audio=[])], ids=["full", "silent"])
def test_the_mpd_is_valid(presentation: Presentation) -> None:
    schema = etree.XMLSchema(etree.parse(str(SCHEMA), etree.XMLParser(no_network=True)))
    schema.assertValid(parsed(presentation))


def test_a_set_contains_renditions_that_players_may_switch_between() -> None:
    root = parsed(full())
    assert [ids_of(s) for s in sets_of(root, "video")] == [
        ["avc-1080p-300k", "avc-1080p-6000k"],
        ["hevc-1080p-6000k"],
        ["av1-1080p-6000k"],
        ["vp9-1080p-6000k"],
        ["hevc-1080p-6000k-hdr"],
        ["hlg"],
    ]
    assert [ids_of(s) for s in sets_of(root, "audio")] == [
        ["aac-2.0-64k-en", "aac-2.0-128k-en"],
        ["opus-5.1-128k-en"],
        ["ac3-2.0-128k-en"],
        ["eac3-5.1-128k-en"],
        ["x"],
        ["d"],
        ["f"],
    ]


def test_sound_states_its_language_its_role_and_its_channels() -> None:
    sets = {ids_of(s)[0]: s for s in sets_of(parsed(full()), "audio")}
    assert {id: value_of(s, "Role")[dash.ROLE] for id, s in sets.items()} == {
        "aac-2.0-64k-en": "main",
        "opus-5.1-128k-en": "main",
        "ac3-2.0-128k-en": "main",
        "eac3-5.1-128k-en": "main",
        "x": "commentary",
        "d": "description",
        "f": "alternate",
    }
    assert {id: s.get("lang") for id, s in sets.items() if id in "xdf"} == {"x": "und", "d": "de", "f": "fr"}
    channels = {id: value_of(s, "AudioChannelConfiguration") for id, s in sets.items()}
    assert channels["aac-2.0-64k-en"] == {CICP_SCHEME: "2"}
    assert channels["opus-5.1-128k-en"] == {CICP_SCHEME: "6"}
    assert channels["ac3-2.0-128k-en"] == {CHANNEL_SCHEME: "A000"}
    assert channels["eac3-5.1-128k-en"] == {CHANNEL_SCHEME: "F801"}
    assert sets["x"].findtext("Label", namespaces=NAMES) == "']]>< &"


def test_pq_must_be_understood_and_hlg_need_not() -> None:
    sets = {ids_of(s)[0]: s for s in sets_of(parsed(full()), "video")}
    transfer = "urn:mpeg:mpegB:cicp:TransferCharacteristics"
    assert value_of(sets["hevc-1080p-6000k-hdr"], "EssentialProperty")[transfer] == "16"
    assert value_of(sets["hlg"], "SupplementalProperty")[transfer] == "18"
    assert value_of(sets["hlg"], "EssentialProperty") == {}
    assert value_of(sets["hevc-1080p-6000k"], "EssentialProperty") == {}


@pytest.mark.parametrize(
    "frame_rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001)]
)
def test_timelines_start_at_zero_and_last_as_long_as_the_title(frame_rate: Fraction) -> None:
    grid = plan_grid(frame_rate, 4001, segment_s=Fraction(6), chunk_s=Fraction(30))
    root = parsed(make_presentation(grid, [make_video_rendition(frame_rate=frame_rate)]))
    for template in root.iterfind("Period/AdaptationSet/SegmentTemplate", NAMES):
        entries = template.findall("SegmentTimeline/S", NAMES)
        assert [entry.get("t") for entry in entries] == ["0", *[None] * (len(entries) - 1)]
        ticks = sum(int(entry.get("d")) * (1 + int(entry.get("r", "0"))) for entry in entries)
        assert abs(Fraction(ticks, int(template.get("timescale"))) - grid.duration_s) < Fraction(1, 40_000)
        assert sum(1 + int(entry.get("r", "0")) for entry in entries) == grid.segment_count
    assert root.get("mediaPresentationDuration") == f"PT{float(grid.duration_s):.6f}S"


def test_equal_durations_are_one_entry() -> None:
    (video,) = sets_of(parsed(make_presentation(make_grid(frame_count=144 * 9 + 48))), "video")
    entries = video.findall("SegmentTemplate/SegmentTimeline/S", NAMES)
    assert [dict(entry.attrib) for entry in entries] == [{"t": "0", "d": "144144", "r": "8"}, {"d": "48048"}]


def test_half_rate_pictures_share_the_timeline_unless_the_frame_count_is_odd() -> None:
    video = [
        make_video_rendition(frame_rate=RATE),
        make_video_rendition(frame_rate=RATE / 2, rate_divisor=2, average_bps=1_000_000),
    ]
    (even,) = sets_of(parsed(make_presentation(make_grid(frame_count=720), video)), "video")
    assert len(even.findall("SegmentTemplate", NAMES)) == 1
    assert even.findall("Representation/SegmentTemplate", NAMES) == []
    (odd,) = sets_of(parsed(make_presentation(make_grid(frame_count=721), video)), "video")
    assert odd.findall("SegmentTemplate", NAMES) == []
    last = [
        r.findall("SegmentTemplate/SegmentTimeline/S", NAMES)[-1].get("d")
        for r in odd.iterfind("Representation", NAMES)
    ]
    assert [int(d) for d in last] == [144144 + 2002, 144144 + 1001]


def test_a_representation_states_measured_and_planned_values() -> None:
    presentation = make_presentation()
    root = parsed(presentation)
    picture = sets_of(root, "video")[0].find("Representation", NAMES)
    assert int(picture.get("bandwidth")) >= max(presentation.video[0].segment_bps())
    assert (picture.get("frameRate"), picture.get("sar")) == ("24000/1001", "1:1")
    assert (picture.get("width"), picture.get("height")) == ("1920", "1080")
    sound = sets_of(root, "audio")[0].find("Representation", NAMES)
    assert (sound.get("codecs"), sound.get("audioSamplingRate")) == ("mp4a.40.2", "48000")


def test_a_channel_of_the_stated_rate_never_runs_dry_after_the_stated_buffer_time() -> None:
    presentation = full()
    root = parsed(presentation)
    buffer_s = float(root.get("minBufferTime")[2:-1])
    bandwidths = {r.get("id"): int(r.get("bandwidth")) for r in root.iter(f"{{{dash.NAMESPACE}}}Representation")}
    for track in (*presentation.video, *presentation.audio):
        arrived_s = 0.0
        for segment in track.segments:
            arrived_s += 8 * segment.size_bytes / bandwidths[track.rendition.id]
            assert arrived_s <= buffer_s + segment.start_ticks / track.timescale


@pytest.mark.parametrize(
    ("roles", "default", "expected", "purpose"),
    [
        ((), True, ["main"], None),
        ((), False, ["alternate"], None),
        (("original",), False, ["alternate"], None),
        (("dub",), True, ["main", "dub"], None),
        (("comment",), False, ["alternate", "commentary"], None),
        (("visual_impaired",), False, ["alternate", "description"], "1"),
        (("descriptions",), False, ["alternate", "description"], "1"),
        (("hearing_impaired",), False, ["alternate", "enhanced-audio-intelligibility"], "2"),
    ],
)
def test_a_programme_states_its_role(
    roles: tuple[str, ...], default: bool, expected: list[str], purpose: str | None
) -> None:
    other = make_audio_rendition(id="other", track_index=2, default=not default)
    sound = make_audio_rendition(id="sound", roles=roles, default=default)
    first, _ = sets_of(parsed(make_presentation(audio=[sound, other])), "audio")
    assert [role.get("value") for role in first.iterfind("Role", NAMES)] == expected
    assert value_of(first, "Accessibility").get("urn:tva:metadata:cs:AudioPurposeCS:2007") == purpose


def test_text_states_its_format_its_language_and_its_role() -> None:
    sets = sets_of(parsed(full()), "text")
    assert [ids_of(s) for s in sets] == [
        ["wvtt-en"], ["wvtt-und-sdh"], ["wvtt-pt-BR-forced"], ["imsc-en"], ["imsc-und-sdh"], ["imsc-pt-BR-forced"],
    ]  # fmt: skip
    assert {s.get("mimeType") for s in sets} == {"application/mp4"}
    assert [s.find("Representation", NAMES).get("codecs") for s in sets] == ["wvtt"] * 3 + ["stpp.ttml.im1t"] * 3
    assert [s.get("lang") for s in sets[:3]] == ["en", "und", "pt-BR"]
    assert [value_of(s, "Role")[dash.ROLE] for s in sets[:3]] == ["subtitle", "caption", "forced-subtitle"]
    assert [value_of(s, "Accessibility") for s in sets[:3]] == [{}, {dash.AUDIO_PURPOSE: dash.FOR_THE_DEAF}, {}]


def test_text_has_the_segments_of_the_picture() -> None:
    presentation = full()
    text = sets_of(parsed(presentation), "text")[0]
    lasting = [
        (s.get("d"), s.get("r")) for s in text.iterfind("SegmentTemplate/SegmentTimeline/S", NAMES)
    ]  # 721 frames of 1001 ticks: five segments of 144 and a frame
    assert lasting == [(str(144 * 1001), "3"), (str(145 * 1001), None)]


def test_a_picture_set_states_its_shape_its_limits_and_sets_to_switch_to() -> None:
    sets = {ids_of(s)[-1]: s for s in sets_of(parsed(full()), "video")}
    avc, hdr = sets["avc-1080p-6000k"], sets["hevc-1080p-6000k-hdr"]
    assert (avc.get("par"), avc.get("maxWidth"), avc.get("maxHeight")) == ("16:9", "1920", "1080")
    assert (avc.get("minFrameRate"), avc.get("maxFrameRate")) == ("12000/1001", "24000/1001")
    assert (hdr.get("minFrameRate"), hdr.get("maxFrameRate")) == (None, "24000/1001")
    numbers = {id: s.get("id") for id, s in sets.items()}
    others = [numbers[f"{codec}-1080p-6000k"] for codec in ("hevc", "av1", "vp9")]
    assert value_of(avc, "SupplementalProperty")[dash.SWITCHING] == ",".join(others)
    assert dash.SWITCHING not in value_of(hdr, "SupplementalProperty")
