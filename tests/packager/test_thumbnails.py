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
from tests.support.nouns import make_video_rendition
from tests.support.releases import make_grid, make_presentation

RATE = Fraction(24000, 1001)


def wound(frame_count: int = 48 * 16 + 24) -> Presentation:
    """Two sheets of six thumbnails and one of five by default; AV1 first, so H.264 is the second set."""
    video = [make_video_rendition(codec=codec, frame_rate=RATE) for codec in (Codec.AV1, Codec.AVC)]
    return make_presentation(make_grid(frame_count=frame_count), video, trick_play=True)


def index(presentation: Presentation) -> str:
    assert presentation.thumbnails is not None
    return thumbnails.index(presentation.thumbnails, presentation.grid)


def test_the_index_leads_through_all_tiles_without_a_gap() -> None:
    lines = index(wound()).split("\n\n")
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
    assert "\n01:40:06.000 --> 01:40:10.004\n" in index(wound(frame_count=round(6010 * RATE)))


def test_hls_names_the_sheets_and_how_to_read_them() -> None:
    presentation = wound()
    assert presentation.thumbnails is not None
    laid = presentation.thumbnails.rendition
    top = m3u8.loads(hls.multivariant(outline_of(presentation)))
    (images,) = top.image_playlists
    assert (images.uri, images.image_stream_info.codecs) == ("thumbnails.m3u8", "jpeg")
    assert images.image_stream_info.resolution == (laid.tile_width_px, laid.tile_height_px)
    text = hls.image_playlist(presentation.thumbnails, presentation.grid)
    playlist = m3u8.loads(text)
    assert playlist.is_images_only
    assert [segment.uri for segment in playlist.segments] == [f"../../tracks/thumbnails/{n}.jpg" for n in (1, 2, 3)]
    assert sum(segment.duration for segment in playlist.segments) == pytest.approx(float(presentation.grid.duration_s))
    assert text.count("#EXT-X-TILES:RESOLUTION=320x180,LAYOUT=2x3,DURATION=2.002000\n") == 3
    heaviest = max(8 * sheet.size_bytes for sheet in presentation.thumbnails.segments[:-1]) / float(
        laid.sheet_frames / RATE
    )
    assert images.image_stream_info.bandwidth >= heaviest


def test_hls_names_the_trick_pictures_as_iframes_and_not_as_a_variant() -> None:
    presentation = wound()
    top = m3u8.loads(hls.multivariant(outline_of(presentation)))
    assert "avc-1080p-trick.iframes.m3u8" in [line.uri for line in top.iframe_playlists]
    assert not any("trick" in line.uri for line in top.playlists)
    frames = m3u8.loads(hls.iframe_playlist(presentation.trick[0], presentation.grid))
    assert sum(frame.duration for frame in frames.segments) == pytest.approx(float(presentation.grid.duration_s))


def test_dash_has_a_set_for_trick_play_that_points_at_its_pictures() -> None:
    root = etree.fromstring(dash.mpd(outline_of(wound())))
    sets = {ids_of(s)[0]: s for s in sets_of(root, "video")}
    trick, main = sets["avc-1080p-trick"], sets["avc-1080p-6000k"]
    assert value_of(trick, "EssentialProperty") == {dash.TRICK_MODE: main.get("id")}
    assert value_of(sets["av1-1080p-trick"], "EssentialProperty") == {
        dash.TRICK_MODE: sets["av1-1080p-6000k"].get("id")
    }
    assert (trick.get("maxPlayoutRate"), trick.get("codingDependency")) == ("48", "false")
    assert trick.find("Representation", NAMES).get("frameRate") == "500/1001"


def test_trick_pictures_end_with_the_title() -> None:
    presentation = wound()
    assert presented_ticks(presentation.trick[0]) == presented_ticks(presentation.video[0])


def test_dash_has_the_sheets_as_tiled_images() -> None:
    presentation = wound()
    assert presentation.thumbnails is not None
    laid = presentation.thumbnails.rendition
    (images,) = sets_of(etree.fromstring(dash.mpd(outline_of(presentation))), "image")
    template = images.find("SegmentTemplate", NAMES)
    assert Fraction(int(template.get("duration")), int(template.get("timescale"))) == laid.sheet_frames / RATE
    assert template.get("media") == "../../tracks/$RepresentationID$/$Number$.jpg"
    (representation,) = images.findall("Representation", NAMES)
    assert value_of(representation, "EssentialProperty") == {dash.THUMBNAIL_TILE: f"{laid.columns}x{laid.rows}"}
    size = (laid.columns * laid.tile_width_px, laid.rows * laid.tile_height_px)
    assert (int(representation.get("width")), int(representation.get("height"))) == size


@pytest.mark.skipif(not SCHEMA.exists(), reason=f"no DASH-MPD.xsd at {SCHEMA}; name one with HEADEND_DASH_XSD")
def test_the_mpd_with_thumbnails_and_trick_play_is_valid() -> None:
    schema = etree.XMLSchema(etree.parse(str(SCHEMA), etree.XMLParser(no_network=True)))
    schema.assertValid(etree.fromstring(dash.mpd(outline_of(wound()))))
