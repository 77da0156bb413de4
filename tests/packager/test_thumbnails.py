from fractions import Fraction
from itertools import pairwise

import m3u8
import pytest
from lxml import etree

from headend.core.manifests import dash, hls
from headend.core.manifests.outline import outline_of
from headend.core.manifests.tracks import presented_ticks
from headend.core.media import Codec, Presentation
from packager import thumbnails
from tests.headend.core.manifests.test_dash import NAMES, SCHEMA, ids_of, sets_of, value_of
from tests.support.makers import make_video_rendition
from tests.support.releases import make_grid, make_presentation

RATE = Fraction(24000, 1001)


def make_trick_play(frame_count: int = 48 * 16 + 24) -> Presentation:
    """Make a release with trick play and thumbnails, by default on three sheets; its first video set is AV1."""
    video = [make_video_rendition(codec=codec, frame_rate=RATE) for codec in (Codec.AV1, Codec.AVC)]
    return make_presentation(make_grid(frame_count=frame_count), video, trick_play=True)


def index(presentation: Presentation) -> str:
    assert presentation.thumbnails is not None
    return thumbnails.index(presentation.thumbnails, presentation.grid)


def test_the_cues_of_the_index_cover_the_title_without_gaps() -> None:
    lines = index(make_trick_play()).split("\n\n")
    assert lines[0] == "WEBVTT"
    cues = [cue.strip().split("\n") for cue in lines[1:]]
    times = [timing.split(" --> ") for timing, _ in cues]
    assert times[0] == ["00:00:00.000", "00:00:02.002"]
    assert times[-1] == ["00:00:32.032", "00:00:33.033"]
    assert all(end == start for (_, end), (start, _) in pairwise(times))
    assert [address for _, address in cues[4:8]] == [
        "../../tracks/thumbnails/1.jpg#xywh=0,360,320,180",
        "../../tracks/thumbnails/1.jpg#xywh=320,360,320,180",
        "../../tracks/thumbnails/2.jpg#xywh=0,0,320,180",
        "../../tracks/thumbnails/2.jpg#xywh=320,0,320,180",
    ]
    assert len(cues) == 17


def test_the_index_of_a_long_title_contains_hours() -> None:
    assert "\n01:40:06.000 --> 01:40:10.004\n" in index(make_trick_play(frame_count=round(6010 * RATE)))


def test_hls_lists_the_sheets_with_their_layout() -> None:
    presentation = make_trick_play()
    assert presentation.thumbnails is not None
    tiling = presentation.thumbnails.rendition
    top = m3u8.loads(hls.multivariant(outline_of(presentation)))
    (images,) = top.image_playlists
    assert (images.uri, images.image_stream_info.codecs) == ("thumbnails.m3u8", "jpeg")
    assert images.image_stream_info.resolution == (tiling.tile_width_px, tiling.tile_height_px)
    text = hls.image_playlist(presentation.thumbnails, presentation.grid)
    playlist = m3u8.loads(text)
    assert playlist.is_images_only
    assert [segment.uri for segment in playlist.segments] == [f"../../tracks/thumbnails/{n}.jpg" for n in (1, 2, 3)]
    assert sum(segment.duration for segment in playlist.segments) == pytest.approx(float(presentation.grid.duration_s))
    assert text.count("#EXT-X-TILES:RESOLUTION=320x180,LAYOUT=2x3,DURATION=2.002000\n") == 3
    heaviest = max(8 * sheet.size_bytes for sheet in presentation.thumbnails.segments[:-1]) / float(
        tiling.sheet_frames / RATE
    )
    assert images.image_stream_info.bandwidth >= heaviest


def test_hls_lists_trick_play_as_an_iframe_playlist_and_not_as_a_variant() -> None:
    presentation = make_trick_play()
    top = m3u8.loads(hls.multivariant(outline_of(presentation)))
    assert "avc-1080p-trick.iframes.m3u8" in [line.uri for line in top.iframe_playlists]
    assert not any("trick" in line.uri for line in top.playlists)
    frames = m3u8.loads(hls.iframe_playlist(presentation.trick[0], presentation.grid))
    assert sum(frame.duration for frame in frames.segments) == pytest.approx(float(presentation.grid.duration_s))


def test_dash_has_an_adaptation_set_for_trick_play_that_refers_to_its_main_set() -> None:
    root = etree.fromstring(dash.mpd(outline_of(make_trick_play())))
    sets = {ids_of(s)[0]: s for s in sets_of(root, "video")}
    trick, main = sets["avc-1080p-trick"], sets["avc-1080p-6000k"]
    assert value_of(trick, "EssentialProperty") == {dash.TRICK_MODE: main.get("id")}
    assert value_of(sets["av1-1080p-trick"], "EssentialProperty") == {
        dash.TRICK_MODE: sets["av1-1080p-6000k"].get("id")
    }
    assert (trick.get("maxPlayoutRate"), trick.get("codingDependency")) == ("48", "false")
    assert trick.find("Representation", NAMES).get("frameRate") == "500/1001"


def test_trick_play_lasts_as_long_as_the_title() -> None:
    presentation = make_trick_play()
    assert presented_ticks(presentation.trick[0]) == presented_ticks(presentation.video[0])


def test_dash_has_the_sheets_as_tiled_images() -> None:
    presentation = make_trick_play()
    assert presentation.thumbnails is not None
    tiling = presentation.thumbnails.rendition
    (images,) = sets_of(etree.fromstring(dash.mpd(outline_of(presentation))), "image")
    template = images.find("SegmentTemplate", NAMES)
    assert Fraction(int(template.get("duration")), int(template.get("timescale"))) == tiling.sheet_frames / RATE
    assert template.get("media") == "../../tracks/$RepresentationID$/$Number$.jpg"
    (representation,) = images.findall("Representation", NAMES)
    assert value_of(representation, "EssentialProperty") == {dash.THUMBNAIL_TILE: f"{tiling.columns}x{tiling.rows}"}
    size = (tiling.columns * tiling.tile_width_px, tiling.rows * tiling.tile_height_px)
    assert (int(representation.get("width")), int(representation.get("height"))) == size


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"no DASH-MPD.xsd at {SCHEMA}; name one with HEADEND_DASH_XSD")
def test_the_mpd_with_thumbnails_and_trick_play_is_valid() -> None:
    schema = etree.XMLSchema(etree.parse(str(SCHEMA), etree.XMLParser(no_network=True)))
    schema.assertValid(etree.fromstring(dash.mpd(outline_of(make_trick_play()))))
