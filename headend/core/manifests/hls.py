"""HTTP Live Streaming: playlists as pure functions of a presentation.

Each tag is spelled once, at the top. All URIs are relative, so that any file server can serve a title.

Sources: RFC 8216 and its successor draft-pantos-hls-rfc8216bis; Apple's HLS Authoring Specification; the Image Media
Playlist specification of WarnerMedia and Disney, as Roku describes it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headend.core import layout
from headend.core.codecs import AUDIO, VIDEO
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
    VideoRange,
    VideoRendition,
)
from headend.core.media.protection import KeyClass, kid_at, video_class
from headend.core.timing import Grid

EFFICIENCY = tuple(one.codec for one in sorted(VIDEO, key=lambda one: one.hls_rank or 0) if one.hls_rank is not None)
"""Video codecs of HLS, from the one that needs most bits for a picture to the one that needs least."""
CODECS = frozenset({*EFFICIENCY, *(one.codec for one in AUDIO if one.in_hls), Codec.VTT})
"""Codecs that HLS can name: Apple's HLS Authoring Specification has neither VP9 nor Opus."""
_UNIVERSAL = frozenset(one.codec for one in AUDIO if one.in_first_release)
"""Audio codecs that every player decodes."""

HEADER = "#EXTM3U"
VERSION = "#EXT-X-VERSION:7"
INDEPENDENT = "#EXT-X-INDEPENDENT-SEGMENTS"
STEERING = "#EXT-X-CONTENT-STEERING"
HERE = "."
"""The pathway of all that names no other (draft-pantos-hls-rfc8216bis, section 4.4.6.6)."""
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
"""What an output of pictures of each class needs, where that is asked for."""

TEXT_GROUP = "text"
"""All text is one group: every picture goes with all of it."""
FOR_THE_DEAF = "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"
"""Apple, HLS Authoring Specification: what subtitles for the deaf and hard of hearing say of themselves."""

TITLE_DATA = "com.apple.hls.title"
"""What Apple's players show as the title."""

STEREO = "2.0"
SURROUND_LONG_SIDE_PX = 960
"""Smaller pictures go with stereo where there is any: surround sound would cost more than the picture."""

START_AUDIO_BPS = 128_000
"""Stereo of good quality that fits any connection that carries the default picture."""


def in_hls(track: AnyTrack | AnyOutlined) -> bool:
    """Whether HLS may name this track."""
    return track.rendition.codec in CODECS


def multivariant(outline: ReleaseOutline, *, identity: bool = False, steering: str = "") -> str:
    """The playlist that players open: every audio group, every sensible pairing, I-frame playlists and thumbnails.

    BANDWIDTH is the sum of the picture's peak and of the highest peak in the audio group, whether or not the two fall
    together: "the largest sum of peak segment bit rates that is produced by any playable combination of Renditions".
    The default rendition with plain stereo is listed first, since players start there.

    Args:
        outline: The title.
        identity: Whether playlists name the addresses of keys, for players that fetch them by themselves.
        steering: Address of the steering server's answer for the title; empty for none.

    Source:
        RFC 8216, section 4.3.4; the quotation is from 4.3.4.2.
    """
    video = [track for track in outline.video if in_hls(track)]
    groups = _groups([track for track in outline.audio if in_hls(track)])
    labels = names(track.rendition for track in outline.audio)
    chosen = first_choice(track.rendition for track in outline.audio if in_hls(track))
    lines = [HEADER, VERSION, INDEPENDENT]
    if steering:
        # Variants name no pathway, so all belong to this one; the steering server gives it other hosts.
        lines.append(_tag(STEERING, {"SERVER-URI": _quoted(steering), "PATHWAY-ID": _quoted(HERE)}))
    lines.append(_tag(SESSION_DATA, {"DATA-ID": _quoted(TITLE_DATA), "VALUE": _quoted(outline.title)}))
    lines += _session_keys(outline, identity=identity)
    for group in groups:
        lines += [_media_line(group, member, labels, chosen, identity) for member in group.members]
    text = [track for track in outline.text if in_hls(track)]
    lines += [_text_line(track, text) for track in text]
    variants = _variants(video, groups)
    scores = _scores(variants)
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
    """All segments of one rendition.

    Durations are differences of rounded times, so that rounding never adds up: the sum of all EXTINF is the track's
    length to the microsecond.

    Args:
        track: The rendition.
        grid: Where segments lie.
        protection: How it is encrypted, if it is.
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
    """Whether single pictures can be read: not where whole segments are encrypted, since CBC is read from its start."""
    return protection is None or protection.scheme is not Scheme.AES_128


def iframe_playlist(
    track: Track[VideoRendition], grid: Grid, protection: Protection | None = None, *, identity: bool = False
) -> str:
    """The sync frames of one rendition, as byte ranges of the very segments that are played; see `media_playlist`.

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
    """The sheets of thumbnails. Players count tiles from each sheet's first one, and ignore those behind its duration.

    Source:
        Image Media Playlist specification, ``EXT-X-IMAGES-ONLY`` and ``EXT-X-TILES``.
    """
    laid, rate = thumbnails.rendition, grid.frame_rate
    tile_s = microseconds(laid.interval_frames * rate.denominator, rate.numerator)
    tiles = {
        "RESOLUTION": f"{laid.tile_width_px}x{laid.tile_height_px}",
        "LAYOUT": f"{laid.columns}x{laid.rows}",
        "DURATION": _seconds(tile_s),
    }
    durations = sheet_durations(thumbnails, grid)
    lines = [*_head(durations), IMAGES_ONLY]
    for sheet, duration in zip(thumbnails.segments, durations, strict=True):
        lines += [_duration_line(duration), _tag(TILES, tiles), _segment_uri(thumbnails, sheet.number)]
    return _text([*lines, END])


# --- which sound goes with which picture --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Group:
    """Audio renditions of which a player picks one by programme.

    Attributes:
        kind: The rendition that the group was made for: its codec, layout and rate.
        members: One track per programme.
    """

    kind: AudioRendition
    members: tuple[OutlinedTrack[AudioRendition], ...]

    @property
    def id(self) -> str:
        return f"{self.kind.codec}-{self.kind.layout}-{self.kind.bit_rate_bps // 1000}k"


def _groups(audio: Sequence[OutlinedTrack[AudioRendition]]) -> list[_Group]:
    """One group per codec, layout and rate, of codecs in which every programme was made.

    Every group has to offer every programme (RFC 8216, section 4.3.4.1.1), and all members of a group have one codec:
    players prepare for a group's codec, and fail on a member that needs another decoder. So a codec in which a
    programme is missing has no group. A programme that was not made in a group's layout and rate stands there in the
    nearest that it was made in.
    """
    made: dict[Codec, dict[int, list[OutlinedTrack[AudioRendition]]]] = defaultdict(lambda: defaultdict(list))
    for track in audio:
        made[track.rendition.codec][track.rendition.track_index].append(track)
    offered = frozenset(track.rendition.track_index for track in audio)
    complete = [codec for codec, programmes in made.items() if programmes.keys() == offered]
    if audio and not complete:
        complete = [_widest(made, first_choice(track.rendition for track in audio))]
    return [_group(kind, made[kind.codec].values()) for kind in _kinds(audio) if kind.codec in complete]


def _widest(made: Mapping[Codec, Mapping[int, object]], chosen: int | None) -> Codec:
    """The codec of most programmes; on a tie one with the default programme, then one that every player decodes."""
    return max(made, key=lambda codec: (len(made[codec]), chosen in made[codec], codec in _UNIVERSAL))


def _kinds(audio: Iterable[OutlinedTrack[AudioRendition]]) -> Iterable[AudioRendition]:
    """The first rendition of each codec, layout and rate."""
    kinds: dict[tuple[str, str, int], AudioRendition] = {}
    for rendition in (track.rendition for track in audio):
        kinds.setdefault((rendition.codec, rendition.layout, rendition.bit_rate_bps), rendition)
    return kinds.values()


def _group(kind: AudioRendition, programmes: Iterable[Sequence[OutlinedTrack[AudioRendition]]]) -> _Group:
    def distance(track: OutlinedTrack[AudioRendition]) -> tuple[bool, int]:
        rendition = track.rendition
        return rendition.layout != kind.layout, abs(rendition.bit_rate_bps - kind.bit_rate_bps)

    return _Group(kind, tuple(min(programme, key=distance) for programme in programmes))


def _variants(
    video: Sequence[OutlinedTrack[VideoRendition]], groups: Sequence[_Group]
) -> list[tuple[OutlinedTrack[VideoRendition], _Group | None]]:
    """All variants in their order: where players start, then AAC stereo, then other sound."""
    if not video or not groups:
        return [(track, None) for track in sorted(video, key=lambda track: not track.rendition.default)]
    start = _start(video, groups)
    others = [row for row in _pairings(video, groups) if row != start]
    return [start, *sorted(others, key=lambda row: not _is_plain(row[1]))]


def _pairings(
    video: Sequence[OutlinedTrack[VideoRendition]], groups: Sequence[_Group]
) -> list[tuple[OutlinedTrack[VideoRendition], _Group]]:
    """Every picture with each codec and layout of sound, at the rate that fits: low with low, top with top.

    Done for each family of pictures between which a player switches, so that every group is used in each of them.
    """
    families: dict[tuple[str, str], list[OutlinedTrack[VideoRendition]]] = defaultdict(list)
    for track in sorted(video, key=lambda track: track.peak_bps):
        families[track.rendition.codec, track.rendition.video_range].append(track)
    kinds: dict[tuple[str, str], list[_Group]] = defaultdict(list)
    for group in sorted(groups, key=lambda group: group.kind.bit_rate_bps):
        kinds[group.kind.codec, group.kind.layout].append(group)
    any_stereo = any(layout_name == STEREO for _, layout_name in kinds)
    rows: list[tuple[OutlinedTrack[VideoRendition], _Group]] = []
    for family in families.values():
        for (_, layout_name), rates in kinds.items():
            partners = family
            if any_stereo and layout_name != STEREO:
                partners = [track for track in family if _is_large(track.rendition)] or family[-1:]
            for place, track in enumerate(partners):
                first = place * len(rates) // len(partners)
                end = max(first + 1, (place + 1) * len(rates) // len(partners))
                rows += [(track, group) for group in reversed(rates[first:end])]
    order = {id(track): number for number, track in enumerate(video)}
    return sorted(rows, key=lambda row: order[id(row[0])])


def _is_large(rendition: VideoRendition) -> bool:
    return max(rendition.width_px, rendition.height_px) >= SURROUND_LONG_SIDE_PX


def _start(
    video: Sequence[OutlinedTrack[VideoRendition]], groups: Sequence[_Group]
) -> tuple[OutlinedTrack[VideoRendition], _Group]:
    """The variant that players start with: the default picture and plain sound."""
    picture = next((track for track in video if track.rendition.default), video[0])
    plain = [group for group in groups if _is_plain(group)] or groups
    return picture, min(plain, key=lambda group: abs(group.kind.bit_rate_bps - START_AUDIO_BPS))


def _is_plain(group: _Group) -> bool:
    return group.kind.codec in _UNIVERSAL and group.kind.layout == STEREO


def _scores(variants: Sequence[tuple[OutlinedTrack[VideoRendition], _Group | None]]) -> list[int]:
    """How much is to be preferred if bandwidth allows: 1 for the least.

    More lines come first, then HDR, frames a second, the rate within a codec, and the sound. Between codecs at the same
    size, the newer one is preferred: it needs less for the same.

    Source:
        RFC 8216bis, section 4.4.6.2: SCORE.
    """

    def worth(variant: tuple[OutlinedTrack[VideoRendition], _Group | None]) -> tuple[object, ...]:
        track, sound = variant
        picture = track.rendition
        sound_rank = (sound.kind.channels, sound.kind.bit_rate_bps) if sound else (0, 0)
        return (
            min(picture.width_px, picture.height_px),
            picture.video_range is not VideoRange.SDR,
            picture.frame_rate,
            EFFICIENCY.index(picture.codec),
            track.average_bps,
            *sound_rank,
        )

    ranks = {value: number for number, value in enumerate(sorted({worth(one) for one in variants}), start=1)}
    return [ranks[worth(one)] for one in variants]


# --- lines --------------------------------------------------------------------------------------------------------


def _media_line(
    group: _Group,
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


def _is_autoselected(group: _Group, rendition: AudioRendition, chosen: int | None) -> bool:
    """Whether a player may pick this by language alone: of those that it can't tell apart, only one.

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
    """What a programme does for those who see or hear less.

    Source:
        Apple, HLS Authoring Specification: 2.12 and 2.28.
    """
    held = [
        *["public.accessibility.describes-video"] * (not DESCRIBES_VIDEO.isdisjoint(rendition.roles)),
        *["public.accessibility.enhances-speech-intelligibility"] * (CLEAR_SPEECH in rendition.roles),
    ]
    return ",".join(held) or None


def _text_line(track: OutlinedTrack[TextRendition], text: Sequence[OutlinedTrack[TextRendition]]) -> str:
    """Text is shown when a viewer, or a player on his behalf, wants it; never unasked.

    Source:
        RFC 8216, section 4.3.4.1: of members with the same language and characteristics, one is AUTOSELECT.
    """
    rendition = track.rendition
    others = (other.rendition for other in text)
    alike = [one for one in others if (one.language, one.role) == (rendition.language, rendition.role)]
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
    sound: _Group | None,
    text: Sequence[OutlinedTrack[TextRendition]],
    score: int,
    protection: Protection | None,
) -> str:
    # CODECS leaves WebVTT out: it needs no decoder, and players take a variant for its picture and sound.
    rendition = track.rendition
    members = sound.members if sound else ()
    beside: tuple[Sequence[AnyOutlined], ...] = (members, text)
    codecs = dict.fromkeys([track.codec_string, *(member.codec_string for member in members)])
    return _tag(
        VARIANT,
        {
            "BANDWIDTH": str(track.peak_bps + sum(max((one.peak_bps for one in group), default=0) for group in beside)),
            "AVERAGE-BANDWIDTH": str(
                track.average_bps + sum(max((one.average_bps for one in group), default=0) for group in beside)
            ),
            "CODECS": _quoted(",".join(codecs)),
            "RESOLUTION": f"{rendition.width_px}x{rendition.height_px}",
            "FRAME-RATE": f"{float(rendition.frame_rate):.3f}",
            "VIDEO-RANGE": rendition.video_range,
            "HDCP-LEVEL": _hdcp_level(rendition, protection),
            "AUDIO": _quoted(sound.id if sound else None),
            "SUBTITLES": _quoted(TEXT_GROUP if text else None),
            # Nothing is in the pictures: captions have become text.
            "CLOSED-CAPTIONS": "NONE",
            "STABLE-VARIANT-ID": _quoted(rendition.id),
            "SCORE": str(score),
        },
    )


def _hdcp_level(rendition: VideoRendition, protection: Protection | None) -> str | None:
    """Which protection an output needs (RFC 8216bis, section 4.4.6.2); None where nothing is asked for."""
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
    laid = thumbnails.rendition
    return _tag(
        IMAGE_VARIANT,
        {
            "BANDWIDTH": str(thumbnails.image_peak_bps),
            "AVERAGE-BANDWIDTH": str(thumbnails.image_average_bps),
            "CODECS": _quoted("jpeg"),
            "RESOLUTION": f"{laid.tile_width_px}x{laid.tile_height_px}",
            "URI": _quoted(layout.media_playlist_name(thumbnails.id)),
        },
    )


def _changes(track: AnyTrack, protection: Protection | None, before: int, number: int, *, identity: bool) -> list[str]:
    """Where the init segment is, for forms that have one, and the keys: what is new with a segment.

    The first init segment of encrypted samples is clear, and stands before its keys. Whole encrypted segments include
    the init segment, so their key comes before it. Where keys change, the key of the last period must not apply to the
    next init segment, so there the new key comes first, too.

    Args:
        track: The rendition.
        protection: How it is encrypted, if it is.
        before: Number of the segment before it; 0 if it is the first.
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
    """All keys that the playlists name, each once, so that players can ask for licences early.

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
