"""HLS variants: forms audio groups, pairs video renditions with them, and orders the pairs.

Sources: RFC 8216 and its successor draft-pantos-hls-rfc8216bis; Apple's HLS Authoring Specification.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headend.core.codecs import AUDIO, VIDEO
from headend.core.manifests.labelling import first_choice
from headend.core.manifests.outline import OutlinedTrack
from headend.core.media import AudioRendition, Codec, VideoRange, VideoRendition

EFFICIENCY = tuple(
    video.codec for video in sorted(VIDEO, key=lambda video: video.hls_rank or 0) if video.hls_rank is not None
)
"""Video codecs of HLS, least efficient first."""
_DECODED_EVERYWHERE = frozenset(audio.codec for audio in AUDIO if audio.in_first_release)
"""Audio codecs that every player decodes."""

STEREO = "2.0"
SURROUND_LONG_SIDE_PX = 960
"""Smaller pictures are paired only with stereo if there is any: surround sound would take more bits than the video."""

START_AUDIO_BPS = 128_000
"""Preferred audio rate of the variant that players start with: good stereo that is small compared with the video."""


@dataclass(frozen=True, slots=True)
class AudioGroup:
    """An audio group: alternative programmes with the same codec, layout and rate, from which players pick one.

    Attributes:
        kind: A rendition with the group's codec, layout and rate.
        members: One track per programme.
    """

    kind: AudioRendition
    members: tuple[OutlinedTrack[AudioRendition], ...]

    @property
    def id(self) -> str:
        """The value of GROUP-ID."""
        return f"{self.kind.codec}-{self.kind.layout}-{self.kind.bit_rate_bps // 1000}k"


Variant = tuple[OutlinedTrack[VideoRendition], AudioGroup | None]
"""A video rendition and the audio group that it is paired with; None for a title without sound."""


def audio_groups(audio: Sequence[OutlinedTrack[AudioRendition]]) -> list[AudioGroup]:
    """One group per codec, layout and rate, for codecs that have every programme.

    Every group must offer every programme (RFC 8216, section 4.3.4.1.1), and its members must share one codec: players
    prepare a decoder for the group's codec, and fail on other members. So a codec that lacks a programme gets no group.
    If a programme lacks a group's layout and rate, its nearest rendition is listed instead.
    """
    by_codec: dict[Codec, dict[int, list[OutlinedTrack[AudioRendition]]]] = defaultdict(lambda: defaultdict(list))
    for track in audio:
        by_codec[track.rendition.codec][track.rendition.track_index].append(track)
    all_programmes = frozenset(track.rendition.track_index for track in audio)
    complete = [codec for codec, programmes in by_codec.items() if programmes.keys() == all_programmes]
    if audio and not complete:
        complete = [_widest(by_codec, first_choice(track.rendition for track in audio))]
    return [_group(kind, by_codec[kind.codec].values()) for kind in _kinds(audio) if kind.codec in complete]


def _widest(by_codec: Mapping[Codec, Mapping[int, object]], chosen: int | None) -> Codec:
    """The codec with most programmes; on a tie, one with the default programme, then one that every player decodes."""
    return max(
        by_codec, key=lambda codec: (len(by_codec[codec]), chosen in by_codec[codec], codec in _DECODED_EVERYWHERE)
    )


def _kinds(audio: Iterable[OutlinedTrack[AudioRendition]]) -> Iterable[AudioRendition]:
    """The first rendition of each codec, layout and rate."""
    kinds: dict[tuple[str, str, int], AudioRendition] = {}
    for rendition in (track.rendition for track in audio):
        kinds.setdefault((rendition.codec, rendition.layout, rendition.bit_rate_bps), rendition)
    return kinds.values()


def _group(kind: AudioRendition, programmes: Iterable[Sequence[OutlinedTrack[AudioRendition]]]) -> AudioGroup:
    def distance(track: OutlinedTrack[AudioRendition]) -> tuple[bool, int]:
        rendition = track.rendition
        return rendition.layout != kind.layout, abs(rendition.bit_rate_bps - kind.bit_rate_bps)

    return AudioGroup(kind, tuple(min(programme, key=distance) for programme in programmes))


def variants_of(video: Sequence[OutlinedTrack[VideoRendition]], groups: Sequence[AudioGroup]) -> list[Variant]:
    """All variants in order: the one that players start with, then those with AAC stereo, then the others."""
    if not video or not groups:
        return [(track, None) for track in sorted(video, key=lambda track: not track.rendition.default)]
    start = _start(video, groups)
    others = [row for row in _pairings(video, groups) if row != start]
    return [start, *sorted(others, key=lambda row: not _is_plain(row[1]))]


def _pairings(
    video: Sequence[OutlinedTrack[VideoRendition]], groups: Sequence[AudioGroup]
) -> list[tuple[OutlinedTrack[VideoRendition], AudioGroup]]:
    """Pair each video rendition with every audio codec and layout; low rates with low rates, high with high.

    The pairs are formed per switching set, so that each set uses every audio group.
    """
    families: dict[tuple[str, str], list[OutlinedTrack[VideoRendition]]] = defaultdict(list)
    for track in sorted(video, key=lambda track: track.peak_bps):
        families[track.rendition.codec, track.rendition.video_range].append(track)
    kinds: dict[tuple[str, str], list[AudioGroup]] = defaultdict(list)
    for group in sorted(groups, key=lambda group: group.kind.bit_rate_bps):
        kinds[group.kind.codec, group.kind.layout].append(group)
    any_stereo = any(layout_name == STEREO for _, layout_name in kinds)
    rows: list[tuple[OutlinedTrack[VideoRendition], AudioGroup]] = []
    for family in families.values():
        for (_, layout_name), rates in kinds.items():
            partners = family
            if any_stereo and layout_name != STEREO:
                partners = [track for track in family if _is_large(track.rendition)] or family[-1:]
            for position, track in enumerate(partners):
                first = position * len(rates) // len(partners)
                end = max(first + 1, (position + 1) * len(rates) // len(partners))
                rows += [(track, group) for group in reversed(rates[first:end])]
    order = {id(track): number for number, track in enumerate(video)}
    return sorted(rows, key=lambda row: order[id(row[0])])


def _is_large(rendition: VideoRendition) -> bool:
    return max(rendition.width_px, rendition.height_px) >= SURROUND_LONG_SIDE_PX


def _start(
    video: Sequence[OutlinedTrack[VideoRendition]], groups: Sequence[AudioGroup]
) -> tuple[OutlinedTrack[VideoRendition], AudioGroup]:
    """The variant that players start with: the default picture and plain sound."""
    picture = next((track for track in video if track.rendition.default), video[0])
    plain = [group for group in groups if _is_plain(group)] or groups
    return picture, min(plain, key=lambda group: abs(group.kind.bit_rate_bps - START_AUDIO_BPS))


def _is_plain(group: AudioGroup) -> bool:
    return group.kind.codec in _DECODED_EVERYWHERE and group.kind.layout == STEREO


def scores_of(variants: Sequence[Variant]) -> list[int]:
    """Rank the variants by preference if bandwidth is no limit; 1 is the least preferred.

    Higher resolution ranks first, then HDR, frame rate, codec, rate and sound. At equal size, newer codecs rank higher,
    as they need fewer bits for the same quality.

    Source:
        RFC 8216bis, section 4.4.6.2: SCORE.
    """

    def worth(variant: Variant) -> tuple[object, ...]:
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

    ranks = {value: number for number, value in enumerate(sorted(set(map(worth, variants))), start=1)}
    return [ranks[worth(variant)] for variant in variants]
