from dataclasses import replace
from fractions import Fraction

import m3u8
import pytest

from headend.core.manifests import hls
from headend.core.manifests.outline import outline_of
from headend.core.media import AudioRendition, Codec, Presentation, TextRole, VideoRange, VideoRendition
from headend.core.timing import plan_grid
from tests.support.makers import make_audio_rendition, make_text_rendition, make_video_rendition
from tests.support.releases import make_grid, make_presentation, with_text

RATE = Fraction(24000, 1001)


def make_picture(height_px: int, kbps: int, codec: Codec = Codec.AVC, *, default: bool = False) -> VideoRendition:
    width_px = height_px * 16 // 9 // 2 * 2
    return make_video_rendition(
        codec=codec, width_px=width_px, height_px=height_px, average_bps=kbps * 1000, frame_rate=RATE, default=default
    )


LADDER = (
    make_picture(1080, 6000),
    make_picture(720, 3000),
    make_picture(540, 2000, default=True),
    make_picture(360, 365),
    make_picture(234, 145),
    make_picture(720, 2400, Codec.HEVC),
    make_picture(360, 145, Codec.HEVC),
    make_picture(720, 2400, Codec.VP9),
)
SOUND = (
    *(make_audio_rendition(bit_rate_bps=rate * 1000) for rate in (64, 96, 128, 160)),
    make_audio_rendition(layout="5.1", bit_rate_bps=320_000),
    make_audio_rendition(codec=Codec.OPUS),
    make_audio_rendition(codec=Codec.AC3, layout="5.1", bit_rate_bps=384_000),
    make_audio_rendition(codec=Codec.EAC3, layout="5.1", bit_rate_bps=192_000),
    make_audio_rendition(codec=Codec.EAC3, layout="5.1", bit_rate_bps=384_000),
)


def parsed(presentation: Presentation) -> m3u8.M3U8:
    return m3u8.loads(hls.multivariant(outline_of(presentation)), custom_tags_parser=None)


def rendition_of(uri: str) -> str:
    return uri.removesuffix(".m3u8").removesuffix(".iframes")


@pytest.fixture(scope="module")
def full() -> Presentation:
    return make_presentation(video=LADDER, audio=SOUND)


def test_players_start_with_the_default_rendition_and_aac_stereo(full: Presentation) -> None:
    first = parsed(full).playlists[0]
    assert first.uri == "avc-540p-2000k.m3u8"
    assert first.stream_info.audio == "aac-2.0-128k"
    assert first.stream_info.resolution == (960, 540)


def test_hls_names_neither_vp9_nor_opus(full: Presentation) -> None:
    text = hls.multivariant(outline_of(full))
    assert "vp9" not in text
    assert "vp09" not in text
    assert "opus" not in text.lower()


def test_every_other_rendition_is_used_by_a_variant(full: Presentation) -> None:
    playlist = parsed(full)
    used = {variant.stream_info.audio for variant in playlist.playlists}
    assert used == {media.group_id for media in playlist.media}
    assert {rendition_of(media.uri) for media in playlist.media} == {r.id for r in SOUND if r.codec is not Codec.OPUS}
    shown = {rendition_of(variant.uri) for variant in playlist.playlists}
    assert shown == {r.id for r in LADDER if r.codec is not Codec.VP9}
    assert {rendition_of(line.uri) for line in playlist.iframe_playlists} == shown


def test_no_pairing_is_listed_twice(full: Presentation) -> None:
    pairs = [(variant.uri, variant.stream_info.audio) for variant in parsed(full).playlists]
    assert len(pairs) == len(set(pairs))


def test_low_pictures_go_with_low_sound_and_top_with_top(full: Presentation) -> None:
    stereo = {
        rendition_of(variant.uri): variant.stream_info.audio
        for variant in parsed(full).playlists
        if variant.stream_info.audio.startswith("aac-2.0")
    }
    assert stereo["avc-234p-145k"] == "aac-2.0-64k"
    assert stereo["avc-1080p-6000k"] == "aac-2.0-160k"


def test_surround_sound_goes_with_large_pictures_only(full: Presentation) -> None:
    with_surround = {
        rendition_of(variant.uri) for variant in parsed(full).playlists if "-5.1-" in variant.stream_info.audio
    }
    assert with_surround == {"avc-540p-2000k", "avc-720p-3000k", "avc-1080p-6000k", "hevc-720p-2400k"}


def test_a_title_of_small_pictures_still_offers_its_surround_sound() -> None:
    sound = (make_audio_rendition(), make_audio_rendition(layout="5.1", bit_rate_bps=320_000))
    playlist = parsed(make_presentation(video=[make_picture(180, 300), make_picture(90, 100)], audio=sound))
    groups = {(rendition_of(v.uri), v.stream_info.audio) for v in playlist.playlists}
    assert ("avc-180p-300k", "aac-5.1-320k") in groups
    assert ("avc-90p-100k", "aac-5.1-320k") not in groups


def test_surround_sound_alone_goes_with_every_picture() -> None:
    sound = [make_audio_rendition(layout="5.1", bit_rate_bps=320_000)]
    playlist = parsed(make_presentation(video=[make_picture(180, 300), make_picture(90, 100)], audio=sound))
    assert [variant.stream_info.audio for variant in playlist.playlists] == ["aac-5.1-320k", "aac-5.1-320k"]


def test_bandwidth_is_the_largest_sum_of_peaks_that_can_be_met() -> None:
    loud = make_audio_rendition(track_index=2, language="fr", name="Français", bit_rate_bps=128_000, default=False)
    presentation = make_presentation(audio=[make_audio_rendition(), loud])
    (variant,) = parsed(presentation).playlists
    picture = max(presentation.video[0].segment_bps())
    sound = max(max(track.segment_bps()) for track in presentation.audio)
    assert picture + sound <= variant.stream_info.bandwidth < picture + sound + 2
    assert variant.stream_info.average_bandwidth == presentation.video[0].average_bps + max(
        track.average_bps for track in presentation.audio
    )


def test_attributes_of_a_variant_match_its_tracks() -> None:
    picture = replace(make_picture(720, 2400, Codec.HEVC), video_range=VideoRange.PQ)
    (line,) = [
        line
        for line in hls.multivariant(outline_of(make_presentation(video=[picture]))).splitlines()
        if line.startswith("#EXT-X-STREAM-INF")
    ]
    assert line.endswith(
        'CODECS="hvc1.2.4.L30.90,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=23.976,VIDEO-RANGE=PQ,AUDIO="aac-2.0-128k",'
        'CLOSED-CAPTIONS=NONE,STABLE-VARIANT-ID="hevc-720p-2400k",SCORE=1'
    )


def test_a_title_without_sound_has_no_audio_groups() -> None:
    text = hls.multivariant(outline_of(make_presentation(audio=[])))
    assert "AUDIO" not in text
    assert len(m3u8.loads(text).playlists) == 1


# --- audio groups -------------------------------------------------------------------------------------------------


def in_french(rendition: AudioRendition, **changes: object) -> AudioRendition:
    return replace(
        rendition, id=f"{rendition.id}-fr", track_index=2, language="fr", name="Français", default=False, **changes
    )


def test_every_group_offers_every_programme_in_the_nearest_form() -> None:
    sound = (*SOUND, in_french(SOUND[2]), in_french(SOUND[6]), in_french(SOUND[8]))
    playlist = parsed(make_presentation(video=LADDER, audio=sound))
    members: dict[str, list[tuple[str, str]]] = {}
    for media in playlist.media:
        members.setdefault(media.group_id, []).append((media.name, rendition_of(media.uri)))
    assert {tuple(name for name, _ in group) for group in members.values()} == {("English", "Français")}
    assert members["aac-2.0-64k"][1][1] == SOUND[2].id + "-fr"
    assert members["ac3-5.1-384k"][1][1] == SOUND[6].id + "-fr"
    assert members["eac3-5.1-192k"][1][1] == SOUND[8].id + "-fr"
    assert members["aac-5.1-320k"][1][1] == SOUND[2].id + "-fr"


@pytest.mark.parametrize("lacking", [(Codec.EAC3,), (Codec.AC3,), (Codec.AC3, Codec.EAC3)])
def test_a_codec_that_a_programme_lacks_has_no_group(lacking: tuple[Codec, ...]) -> None:
    sound = (*SOUND, *(in_french(one) for one in SOUND if one.codec not in lacking))
    playlist = parsed(make_presentation(video=LADDER, audio=sound))
    groups = {media.group_id for media in playlist.media}
    assert {group.partition("-")[0] for group in groups} == {"aac", "ac3", "eac3"} - set(lacking)
    assert groups == {variant.stream_info.audio for variant in playlist.playlists}
    for variant in playlist.playlists:
        assert variant.stream_info.codecs.count(",") == 1, "a group of several codecs"
    for group in groups:
        members = [media for media in playlist.media if media.group_id == group]
        assert [media.name for media in members] == ["English", "Français"]
        assert {media.uri.partition("-")[0] for media in members} == {group.partition("-")[0]}


def test_programmes_without_a_common_codec_never_share_a_group() -> None:
    sound = (SOUND[6], in_french(SOUND[2]))
    playlist = parsed(make_presentation(video=LADDER[:1], audio=sound))
    assert {variant.stream_info.codecs.partition(",")[2] for variant in playlist.playlists} == {"ac-3"}
    assert [media.name for media in playlist.media] == ["English"]


def test_one_programme_is_the_default_and_the_undetermined_language_is_not_named() -> None:
    second = replace(in_french(SOUND[2]), language="und", name="")
    first, other = parsed(make_presentation(audio=[SOUND[2], second])).media
    assert (first.default, first.autoselect, first.language) == ("YES", "YES", "en")
    assert (other.default, other.autoselect, other.language, other.name) == ("NO", "YES", None, "Audio")


def test_one_of_several_indistinguishable_programmes_is_autoselected() -> None:
    commentary = replace(SOUND[2], id="c", track_index=2, name="Director", roles=("comment",), default=False)
    twin = replace(SOUND[2], id="t", track_index=3, default=False)
    described = replace(SOUND[2], id="d", track_index=4, name="Described", roles=("visual_impaired",), default=False)
    media = parsed(make_presentation(audio=[commentary, twin, SOUND[2], described])).media
    assert [(m.name, m.autoselect) for m in media] == [
        ("Director", "NO"),
        ("English", "NO"),
        ("English 2", "YES"),
        ("Described", "YES"),
    ]
    assert media[3].characteristics == "public.accessibility.describes-video"


def test_clear_speech_is_distinguished_and_may_be_autoselected() -> None:
    clear = replace(SOUND[2], id="c", track_index=2, name="Clear", roles=("hearing_impaired",), default=False)
    plain, clear_media = parsed(make_presentation(audio=[SOUND[2], clear])).media
    assert plain.characteristics is None
    assert clear_media.characteristics == "public.accessibility.enhances-speech-intelligibility"
    assert (clear_media.default, clear_media.autoselect) == ("NO", "YES")


def test_names_from_a_hostile_master_stay_inside_their_quotes() -> None:
    name = 'x",URI="http://evil/\n#EXT-X-ENDLIST\r\0'
    text = hls.multivariant(
        outline_of(make_presentation(audio=[make_audio_rendition(id="a", name=name, language='en"\n#EXTM3U')]))
    )
    (media,) = m3u8.loads(text).media
    assert media.uri == "a.m3u8"
    assert media.name == "x',URI='http://evil/ #EXT-X-ENDLIST"
    assert media.language is None
    assert not any(line.startswith(("#EXT-X-ENDLIST", "http")) for line in text.splitlines())


# --- media playlists ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame_rate", [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60000, 1001)]
)
def test_durations_add_up_to_the_length_of_the_title(frame_rate: Fraction) -> None:
    grid = plan_grid(frame_rate, 2001, segment_s=Fraction(6), chunk_s=Fraction(30))
    presentation = make_presentation(grid, [make_video_rendition(frame_rate=frame_rate)])
    for track in (*presentation.video, *presentation.audio):
        playlist = m3u8.loads(hls.media_playlist(track, grid))
        total = sum(Fraction(str(segment.duration)) for segment in playlist.segments)
        assert abs(total - grid.duration_s) < Fraction(1, 40_000)
        assert all(round(segment.duration) <= playlist.target_duration for segment in playlist.segments)
    frames = m3u8.loads(hls.iframe_playlist(presentation.video[0], grid))
    assert abs(sum(Fraction(str(s.duration)) for s in frames.segments) - grid.duration_s) < Fraction(1, 1_000_000)


def test_a_media_playlist_reads_as_written_by_hand() -> None:
    grid = make_grid(frame_count=300)
    assert hls.media_playlist(make_presentation(grid).video[0], grid) == (
        "#EXTM3U\n"
        "#EXT-X-VERSION:7\n"
        "#EXT-X-TARGETDURATION:6\n"
        "#EXT-X-MEDIA-SEQUENCE:1\n"
        "#EXT-X-PLAYLIST-TYPE:VOD\n"
        "#EXT-X-INDEPENDENT-SEGMENTS\n"
        '#EXT-X-MAP:URI="../../tracks/avc-1080p-6000k/init.mp4"\n'
        "#EXTINF:6.006000,\n"
        "../../tracks/avc-1080p-6000k/1.m4s\n"
        "#EXTINF:6.006000,\n"
        "../../tracks/avc-1080p-6000k/2.m4s\n"
        "#EXTINF:0.500500,\n"
        "../../tracks/avc-1080p-6000k/3.m4s\n"
        "#EXT-X-ENDLIST\n"
    )


def test_priming_is_not_counted_in_the_first_segment_of_sound() -> None:
    presentation = make_presentation()
    track = presentation.audio[0]
    first = m3u8.loads(hls.media_playlist(track, presentation.grid)).segments[0]
    assert first.duration == round((track.segments[0].duration_ticks - 1024) / 48_000, 6)


def test_all_renditions_share_their_target_duration() -> None:
    grid = plan_grid(
        RATE, 144 * 3 + 11, segment_s=Fraction(6), chunk_s=Fraction(30)
    )  # a tail of 11 frames is folded in
    presentation = make_presentation(grid)
    playlists = [hls.media_playlist(track, grid) for track in (*presentation.video, *presentation.audio)]
    assert [m3u8.loads(text).target_duration for text in playlists] == [6, 6]


# --- I-frame playlists --------------------------------------------------------------------------------------------


def test_iframe_ranges_are_those_of_the_segments() -> None:
    grid = make_grid(frame_count=300)
    track = make_presentation(grid).video[0]
    playlist = m3u8.loads(hls.iframe_playlist(track, grid))
    assert playlist.is_i_frames_only
    assert [(segment.uri, segment.byterange) for segment in playlist.segments] == [
        (f"../../tracks/{track.id}/{segment.number}.m4s", f"{size}@{at}")
        for segment in track.segments
        for at, size in segment.sync
    ]
    assert [segment.duration for segment in playlist.segments] == [2.002] * 6 + [0.5005]
    assert playlist.segment_map[0].uri == f"../../tracks/{track.id}/init.mp4"


def test_half_rate_pictures_have_their_sync_frames_at_the_same_times() -> None:
    grid = make_grid(frame_count=301)
    full, half = make_presentation(
        grid,
        [
            make_video_rendition(frame_rate=RATE),
            make_video_rendition(frame_rate=RATE / 2, rate_divisor=2, average_bps=1_000_000),
        ],
    ).video
    times = [[s.duration for s in m3u8.loads(hls.iframe_playlist(track, grid)).segments] for track in (full, half)]
    assert times[0][:-1] == times[1][:-1]
    assert times[1][-1] == pytest.approx(times[0][-1] + 1001 / 24000, abs=1e-5)


def test_iframe_bandwidth_holds_but_is_not_blown_up_by_a_last_gop_of_one_frame() -> None:
    grid = make_grid(frame_count=144 * 2 + 49)
    presentation = make_presentation(grid)
    (line,) = parsed(presentation).iframe_playlists
    sizes = [size for segment in presentation.video[0].segments for _, size in segment.sync]
    gop_s = float(48 / RATE)
    assert line.iframe_stream_info.bandwidth >= max(8 * size / gop_s for size in sizes[:-1])
    assert line.iframe_stream_info.bandwidth < 8 * (sizes[-2] + sizes[-1]) / gop_s + 1
    assert line.iframe_stream_info.average_bandwidth <= line.iframe_stream_info.bandwidth


# --- text ---------------------------------------------------------------------------------------------------------


def subtitled() -> Presentation:
    return with_text(
        make_presentation(),
        *(
            make_text_rendition(id=f"{codec}-{number}", codec=codec, language=tag, name=name, role=role)
            for number, (tag, name, role) in enumerate(
                [
                    ("en", "en", TextRole.SUBTITLES), ("en", 'en "2"\n', TextRole.SUBTITLES),
                    ("en", "SDH", TextRole.SDH), ("und", "forced", TextRole.FORCED),
                ]
            )
            for codec in (Codec.VTT, Codec.WVTT)
        ),
    )  # fmt: skip


def test_text_is_one_group_that_goes_with_every_picture() -> None:
    playlist = parsed(subtitled())
    text = [media for media in playlist.media if media.type == "SUBTITLES"]
    assert [media.uri for media in text] == [f"vtt-{number}.m3u8" for number in range(4)]
    assert {media.group_id for media in text} == {variant.stream_info.subtitles for variant in playlist.playlists}
    assert [media.language for media in text] == ["en", "en", "en", None]
    assert [media.name for media in text] == ["en", "en '2'", "SDH", "forced"]
    assert [media.forced for media in text] == ["NO", "NO", "NO", "YES"]
    assert [media.characteristics for media in text] == [None, None, hls.FOR_THE_DEAF, None]


def test_text_is_never_the_default_and_one_of_similar_texts_is_autoselected() -> None:
    text = [media for media in parsed(subtitled()).media if media.type == "SUBTITLES"]
    assert {media.default for media in text} == {"NO"}
    assert [media.autoselect for media in text] == ["YES", "NO", "YES", "YES"]


def test_bandwidth_has_room_for_text() -> None:
    with_it, without = subtitled(), make_presentation()
    room = parsed(with_it).playlists[0].stream_info.bandwidth - parsed(without).playlists[0].stream_info.bandwidth
    assert room == max(track.peak_bps for track in with_it.text if track.rendition.codec is Codec.VTT) > 0


def test_a_playlist_of_text_lists_files_on_the_grid_of_the_picture_and_no_init_segment() -> None:
    presentation = subtitled()
    text = hls.media_playlist(presentation.text[0], presentation.grid)
    picture = hls.media_playlist(presentation.video[0], presentation.grid)
    (named,) = (line for line in picture.splitlines(keepends=True) if line.startswith(hls.MAP))
    assert text == picture.replace(named, "").replace(presentation.video[0].id, "vtt-0").replace(".m4s", ".vtt")


def test_a_title_without_text_names_no_group() -> None:
    assert "SUBTITLES" not in hls.multivariant(outline_of(make_presentation()))


def test_the_title_and_the_same_ids_in_every_release_are_stated() -> None:
    text = hls.multivariant(outline_of(subtitled()))
    assert f'{hls.SESSION_DATA}:DATA-ID="com.apple.hls.title",VALUE="{subtitled().title}"\n' in text
    lines = [line for line in text.splitlines() if line.startswith((hls.VARIANT + ":", hls.MEDIA + ":"))]
    assert lines and all("STABLE-VARIANT-ID=" in line or "STABLE-RENDITION-ID=" in line for line in lines)
    assert all("CLOSED-CAPTIONS=NONE" in line for line in lines if line.startswith(hls.VARIANT))


def test_scores_rise_with_picture_and_sound_quality(full: Presentation) -> None:
    lines = [line for line in hls.multivariant(outline_of(full)).splitlines() if line.startswith(hls.VARIANT + ":")]
    scores = [int(line.partition("SCORE=")[2].partition(",")[0]) for line in lines]
    assert set(scores) == set(range(1, max(scores) + 1))  # AC-3 and E-AC-3 at one rate have the same score
    assert max(scores) > len(lines) - 5
    best, least = lines[scores.index(max(scores))], lines[scores.index(1)]
    assert "1920x1080" in best and "5.1" in best
    assert "416x234" in least and "aac-2.0-64k" in least
