"""Writes HLS playlists of a release, without I/O.

All URIs are relative, so that any file server can serve a title.

Sources: RFC 8216 and its successor draft-pantos-hls-rfc8216bis; Apple's HLS Authoring Specification; the Image Media
Playlist specification of WarnerMedia and Disney, as documented by Roku.
"""

from collections.abc import Iterable, Mapping, Sequence

from headend.core import layout
from headend.core.codecs import AUDIO
from headend.core.manifests.hls_variants import EFFICIENCY, AudioGroup, audio_groups, scores_of, variants_of
from headend.core.manifests.key_lines import key_attributes
from headend.core.manifests.labelling import (
    CLEAR_SPEECH,
    COMMENTARY,
    DESCRIBES_VIDEO,
    clean,
    first_choice,
    language,
    names,
)
from headend.core.manifests.outline import (
    SECOND,
    AnyOutlined,
    OutlinedTrack,
    ReleaseOutline,
    differences,
    microseconds,
    sheet_durations,
    sync_durations,
)
from headend.core.manifests.tracks import presented_ticks
from headend.core.media import (
    AnyTrack,
    AudioRendition,
    Codec,
    Protection,
    Scheme,
    TextRendition,
    TextRole,
    Thumbnails,
    Track,
    VideoRendition,
)
from headend.core.media.protection import KeyClass, kid_at, video_class
from headend.core.timing import Grid

CODECS = frozenset({*EFFICIENCY, *(audio.codec for audio in AUDIO if audio.in_hls), Codec.VTT})
"""Codecs that HLS supports: Apple's HLS Authoring Specification has neither VP9 nor Opus."""
HEADER = "#EXTM3U"
VERSION = "#EXT-X-VERSION:7"
INDEPENDENT = "#EXT-X-INDEPENDENT-SEGMENTS"
STEERING = "#EXT-X-CONTENT-STEERING"
HERE = "."
"""The default pathway (draft-pantos-hls-rfc8216bis, section 4.4.6.6)."""
TARGET_DURATION = "#EXT-X-TARGETDURATION"
FIRST_NUMBER = "#EXT-X-MEDIA-SEQUENCE:1"
ON_DEMAND = "#EXT-X-PLAYLIST-TYPE:VOD"
IFRAMES_ONLY = "#EXT-X-I-FRAMES-ONLY"
IMAGES_ONLY = "#EXT-X-IMAGES-ONLY"
MAP = "#EXT-X-MAP"
KEY = "#EXT-X-KEY"
SESSION_KEY = "#EXT-X-SESSION-KEY"
SEGMENT = "#EXTINF"
BYTE_RANGE = "#EXT-X-BYTERANGE"
TILES = "#EXT-X-TILES"
END = "#EXT-X-ENDLIST"
MEDIA = "#EXT-X-MEDIA"
VARIANT = "#EXT-X-STREAM-INF"
IFRAME_VARIANT = "#EXT-X-I-FRAME-STREAM-INF"
SESSION_DATA = "#EXT-X-SESSION-DATA"
IMAGE_VARIANT = "#EXT-X-IMAGE-STREAM-INF"

HDCP_LEVELS = {KeyClass.SD: "NONE", KeyClass.HD: "TYPE-0", KeyClass.UHD: "TYPE-1"}
"""HDCP level that an output needs, by key class, if the title requires HDCP."""

TEXT_GROUP = "text"
"""All text is in one group, which every variant refers to."""
FOR_THE_DEAF = "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"
"""Apple, HLS Authoring Specification: characteristics of subtitles for the deaf and hard of hearing."""

TITLE_DATA = "com.apple.hls.title"
"""The title that Apple's players show."""


def in_hls(track: AnyTrack | AnyOutlined) -> bool:
    """Whether HLS supports the track's codec."""
    return track.rendition.codec in CODECS


def multivariant(outline: ReleaseOutline, *, identity: bool = False, steering: str = "") -> str:
    """The multivariant playlist: audio groups, variants, I-frame playlists and thumbnails.

    BANDWIDTH is the sum of the video's peak rate and of the highest peak rates in the audio and text groups, even if
    the peaks don't coincide: "the largest sum of peak segment bit rates that is produced by any playable combination of
    Renditions". The default rendition with AAC stereo comes first, because players start with the first variant.

    Args:
        outline: The title.
        identity: Whether to refer to playlists that state key addresses, for players that fetch keys directly.
        steering: Address of the title's steering manifest; empty for none.

    Source:
        RFC 8216, section 4.3.4; the quotation is from 4.3.4.2.
    """
    video = [track for track in outline.video if in_hls(track)]
    groups = audio_groups([track for track in outline.audio if in_hls(track)])
    labels = names(track.rendition for track in outline.audio)
    chosen = first_choice(track.rendition for track in outline.audio if in_hls(track))
    lines = [HEADER, VERSION, INDEPENDENT]
    if steering:
        # Variants state no pathway, so all belong to this default; the steering server clones it for other hosts.
        lines.append(_tag(STEERING, {"SERVER-URI": _quoted(steering), "PATHWAY-ID": _quoted(HERE)}))
    lines.append(_tag(SESSION_DATA, {"DATA-ID": _quoted(TITLE_DATA), "VALUE": _quoted(outline.title)}))
    lines += _session_keys(outline, identity=identity)
    for group in groups:
        lines += [_media_line(group, member, labels, chosen, identity) for member in group.members]
    text = [track for track in outline.text if in_hls(track)]
    lines += [_text_line(track, text) for track in text]
    variants = variants_of(video, groups)
    scores = scores_of(variants)
    for (track, sound), score in zip(variants, scores, strict=True):
        lines += [
            _variant_line(track, sound, text, score, outline.protection),
            layout.media_playlist_name(track.id, identity=identity),
        ]
    if has_iframe_playlists(outline.protection):
        lines += [_iframe_variant_line(track, identity) for track in (*video, *filter(in_hls, outline.trick))]
    if outline.thumbnails is not None:
        lines.append(_image_variant_line(outline.thumbnails))
    return _text(lines)


def media_playlist(track: AnyTrack, grid: Grid, protection: Protection | None = None, *, identity: bool = False) -> str:
    """The media playlist of one rendition.

    Durations are differences of rounded times, so that rounding errors don't add up: the sum of all EXTINF durations is
    the track's length to the microsecond.

    Args:
        track: The rendition.
        grid: Segment boundaries.
        protection: Encryption of the track; None if it is clear.
        identity: As for `multivariant`.

    Source:
        RFC 8216, sections 4.3.2 and 4.3.3.
    """
    durations = _segment_durations(track)
    bounds = [microseconds(start.numerator, start.denominator) for start in grid.segment_starts_s()]
    lines = [*_head([*durations, *differences(bounds)]), INDEPENDENT]
    before = 0
    for segment, duration in zip(track.segments, durations, strict=True):
        lines += _changes(track, protection, before, segment.number, identity=identity)
        lines += [_duration_line(duration), _segment_uri(track, segment.number)]
        before = segment.number
    return _text([*lines, END])


def has_iframe_playlists(protection: Protection | None) -> bool:
    """Whether I-frame playlists are possible. If whole segments are encrypted, byte ranges can't be decrypted."""
    return protection is None or protection.scheme is not Scheme.AES_128


def iframe_playlist(
    track: Track[VideoRendition], grid: Grid, protection: Protection | None = None, *, identity: bool = False
) -> str:
    """The sync frames of one rendition, as byte ranges of its regular segments; see `media_playlist`.

    Source:
        RFC 8216, section 4.3.3.6: the duration is the time to the next I-frame.
    """
    durations = sync_durations(track, grid)
    lines = [*_head(durations), INDEPENDENT, IFRAMES_ONLY]
    before = 0
    ranges = ((segment.number, at, size) for segment in track.segments for at, size in segment.sync)
    for (number, at, size), duration in zip(ranges, durations, strict=True):
        lines += _changes(track, protection, before, number, identity=identity)
        before = number
        lines += [_duration_line(duration), f"{BYTE_RANGE}:{size}@{at}", _segment_uri(track, number)]
    return _text([*lines, END])


def image_playlist(thumbnails: Track[Thumbnails], grid: Grid) -> str:
    """The playlist of thumbnail sheets. Players ignore tiles that would lie after the end of a sheet's duration.

    Source:
        Image Media Playlist specification, ``EXT-X-IMAGES-ONLY`` and ``EXT-X-TILES``.
    """
    layout_px, rate = thumbnails.rendition, grid.frame_rate
    tile_s = microseconds(layout_px.interval_frames * rate.denominator, rate.numerator)
    tiles = {
        "RESOLUTION": f"{layout_px.tile_width_px}x{layout_px.tile_height_px}",
        "LAYOUT": f"{layout_px.columns}x{layout_px.rows}",
        "DURATION": _seconds(tile_s),
    }
    durations = sheet_durations(thumbnails, grid)
    lines = [*_head(durations), IMAGES_ONLY]
    for sheet, duration in zip(thumbnails.segments, durations, strict=True):
        lines += [_duration_line(duration), _tag(TILES, tiles), _segment_uri(thumbnails, sheet.number)]
    return _text([*lines, END])


# --- lines --------------------------------------------------------------------------------------------------------


def _media_line(
    group: AudioGroup,
    member: OutlinedTrack[AudioRendition],
    labels: Mapping[int, str],
    chosen: int | None,
    identity: bool,
) -> str:
    rendition = member.rendition
    is_default = rendition.track_index == chosen
    return _tag(
        MEDIA,
        {
            "TYPE": "AUDIO",
            "GROUP-ID": _quoted(group.id),
            "LANGUAGE": _quoted(language(rendition)),
            "NAME": _quoted(labels[rendition.track_index]),
            "DEFAULT": _yes(is_default),
            "AUTOSELECT": _yes(is_default or _is_autoselected(group, rendition, chosen)),
            "CHARACTERISTICS": _quoted(_characteristics(rendition)),
            "CHANNELS": _quoted(str(rendition.channels)),
            "STABLE-RENDITION-ID": _quoted(rendition.id),
            "URI": _quoted(layout.media_playlist_name(member.id, identity=identity)),
        },
    )


def _is_autoselected(group: AudioGroup, rendition: AudioRendition, chosen: int | None) -> bool:
    """Whether a player may select the programme by language: true for only one of those with the same attributes.

    Source:
        RFC 8216, section 4.3.4.1.1: such members should differ in LANGUAGE or CHARACTERISTICS.
    """
    if COMMENTARY in rendition.roles:
        return False
    alike = [
        other.track_index
        for other in (member.rendition for member in group.members)
        if (language(other), _characteristics(other)) == (language(rendition), _characteristics(rendition))
        and COMMENTARY not in other.roles
    ]
    return rendition.track_index == (chosen if chosen in alike else alike[0])


def _characteristics(rendition: AudioRendition) -> str | None:
    """Accessibility features of a programme.

    Source:
        Apple, HLS Authoring Specification: 2.12 and 2.28.
    """
    features = [
        *["public.accessibility.describes-video"] * (not DESCRIBES_VIDEO.isdisjoint(rendition.roles)),
        *["public.accessibility.enhances-speech-intelligibility"] * (CLEAR_SPEECH in rendition.roles),
    ]
    return ",".join(features) or None


def _text_line(track: OutlinedTrack[TextRendition], text: Sequence[OutlinedTrack[TextRendition]]) -> str:
    """Text is never shown by default; the viewer or the player's settings turn it on.

    Source:
        RFC 8216, section 4.3.4.1: of members with the same language and characteristics, one is AUTOSELECT.
    """
    rendition = track.rendition
    others = (other.rendition for other in text)
    alike = [other for other in others if (other.language, other.role) == (rendition.language, rendition.role)]
    return _tag(
        MEDIA,
        {
            "TYPE": "SUBTITLES",
            "GROUP-ID": _quoted(TEXT_GROUP),
            "LANGUAGE": _quoted(language(rendition)),
            "NAME": _quoted(rendition.name),
            "DEFAULT": "NO",
            "AUTOSELECT": _yes(rendition == alike[0]),
            "FORCED": _yes(rendition.role is TextRole.FORCED),
            "CHARACTERISTICS": _quoted(FOR_THE_DEAF) if rendition.role is TextRole.SDH else None,
            "STABLE-RENDITION-ID": _quoted(rendition.id),
            "URI": _quoted(layout.media_playlist_name(track.id)),
        },
    )


def _variant_line(
    track: OutlinedTrack[VideoRendition],
    sound: AudioGroup | None,
    text: Sequence[OutlinedTrack[TextRendition]],
    score: int,
    protection: Protection | None,
) -> str:
    # CODECS does not list WebVTT: it needs no decoder, and players choose variants by video and audio.
    rendition = track.rendition
    members = sound.members if sound else ()
    groups: tuple[Sequence[AnyOutlined], ...] = (members, text)
    codecs = dict.fromkeys([track.codec_string, *(member.codec_string for member in members)])
    return _tag(
        VARIANT,
        {
            "BANDWIDTH": str(
                track.peak_bps + sum(max((member.peak_bps for member in group), default=0) for group in groups)
            ),
            "AVERAGE-BANDWIDTH": str(
                track.average_bps + sum(max((member.average_bps for member in group), default=0) for group in groups)
            ),
            "CODECS": _quoted(",".join(codecs)),
            "RESOLUTION": f"{rendition.width_px}x{rendition.height_px}",
            "FRAME-RATE": f"{float(rendition.frame_rate):.3f}",
            "VIDEO-RANGE": rendition.video_range,
            "HDCP-LEVEL": _hdcp_level(rendition, protection),
            "AUDIO": _quoted(sound.id if sound else None),
            "SUBTITLES": _quoted(TEXT_GROUP if text else None),
            # The video has no captions: they have been converted to text tracks.
            "CLOSED-CAPTIONS": "NONE",
            "STABLE-VARIANT-ID": _quoted(rendition.id),
            "SCORE": str(score),
        },
    )


def _hdcp_level(rendition: VideoRendition, protection: Protection | None) -> str | None:
    """The HDCP level that an output needs (RFC 8216bis, section 4.4.6.2); None if HDCP is not required."""
    if protection is None or not protection.hdcp:
        return None
    return HDCP_LEVELS[video_class(rendition.width_px, rendition.height_px)]


def _iframe_variant_line(track: OutlinedTrack[VideoRendition], identity: bool) -> str:
    rendition = track.rendition
    return _tag(
        IFRAME_VARIANT,
        {
            "BANDWIDTH": str(track.image_peak_bps),
            "AVERAGE-BANDWIDTH": str(track.image_average_bps),
            "CODECS": _quoted(track.codec_string),
            "RESOLUTION": f"{rendition.width_px}x{rendition.height_px}",
            "VIDEO-RANGE": rendition.video_range,
            "URI": _quoted(layout.iframe_playlist_name(track.id, identity=identity)),
        },
    )


def _image_variant_line(thumbnails: OutlinedTrack[Thumbnails]) -> str:
    sheet = thumbnails.rendition
    return _tag(
        IMAGE_VARIANT,
        {
            "BANDWIDTH": str(thumbnails.image_peak_bps),
            "AVERAGE-BANDWIDTH": str(thumbnails.image_average_bps),
            "CODECS": _quoted("jpeg"),
            "RESOLUTION": f"{sheet.tile_width_px}x{sheet.tile_height_px}",
            "URI": _quoted(layout.media_playlist_name(thumbnails.id)),
        },
    )


def _changes(track: AnyTrack, protection: Protection | None, before: int, number: int, *, identity: bool) -> list[str]:
    """The init segment and the keys to list before a segment, if they differ from those of the previous segment.

    With encrypted samples, the first init segment is clear, so it is listed before the keys. If whole segments are
    encrypted, the init segment is, too, so its key is listed first. When keys change, the new key is listed before the
    new init segment, so that the old key does not apply to it.

    Args:
        track: The rendition.
        protection: Encryption of the track; None if it is clear.
        before: Number of the previous segment; 0 for the first.
        number: The segment's number.
        identity: As for `multivariant`.

    Source:
        RFC 8216, section 4.3.2.5: a key before ``EXT-X-MAP`` applies to the init segment, too.
    """
    if before == number:
        return []
    if protection is None or not track.kid:
        return _map(track, 1) if not before else []
    schedule = protection.schedule
    period, kid = schedule.period(number), kid_at(track.kids, schedule, number)
    init = _map(track, period) if not before or schedule.period(before) != period else []
    if not kid or (before and kid_at(track.kids, schedule, before) == kid):
        return init
    keys = [_tag(KEY, attributes) for attributes in key_attributes(protection, kid, identity=identity)]
    return [*keys, *init] if before or protection.scheme is Scheme.AES_128 else [*init, *keys]


def _map(track: AnyTrack, period: int) -> list[str]:
    uri = f"{layout.track_uri(track.id)}/{layout.init_name(period)}"
    return [_tag(MAP, {"URI": _quoted(uri)})] if track.init_bytes else []


def _session_keys(outline: ReleaseOutline, *, identity: bool) -> list[str]:
    """All keys of the playlists, each listed once, so that players can request licences early.

    Source:
        RFC 8216, section 4.3.4.5.
    """
    protection = outline.protection
    if protection is None:
        return []
    kids = dict.fromkeys(kid for track in outline.played() if in_hls(track) for kid in track.kids)
    lines = (
        _tag(SESSION_KEY, attributes)
        for kid in kids
        for attributes in key_attributes(protection, kid, identity=identity)
    )
    return list(dict.fromkeys(lines))


def _segment_uri(track: AnyTrack | Track[Thumbnails], number: int) -> str:
    return f"{layout.track_uri(track.id)}/{layout.segment_name(track.id, number)}"


def _head(durations: Iterable[int]) -> list[str]:
    longest_s = (max(durations) + SECOND // 2) // SECOND  # RFC 8216, 4.3.3.1: to the nearest second
    return [HEADER, VERSION, f"{TARGET_DURATION}:{max(1, longest_s)}", FIRST_NUMBER, ON_DEMAND]


def _tag(name: str, attributes: Mapping[str, str | None]) -> str:
    return f"{name}:" + ",".join(f"{key}={value}" for key, value in attributes.items() if value is not None)


def _quoted(text: str | None) -> str | None:
    return None if text is None else f'"{clean(text)}"'


def _yes(value: bool) -> str:
    return "YES" if value else "NO"


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


# --- durations and rates ------------------------------------------------------------------------------------------


def _duration_line(duration: int) -> str:
    return f"{SEGMENT}:{_seconds(duration)},"


def _seconds(duration: int) -> str:
    return f"{duration // SECOND}.{duration % SECOND:06}"


def _segment_durations(track: AnyTrack) -> list[int]:
    return differences(microseconds(ticks, track.timescale) for ticks in presented_ticks(track))
