"""Writes the DASH MPD of a release, without I/O.

Each switching set is an AdaptationSet. All URLs are relative.

Sources: ISO/IEC 23009-1; DASH-IF Interoperability Points; ISO/IEC 23091 (ITU-T H.273) for code points.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, repeat
from xml.etree import ElementTree as Xml

from headend.core import layout
from headend.core.codecs import AUDIO
from headend.core.manifests import content_protection
from headend.core.manifests.labelling import (
    CLEAR_SPEECH,
    COMMENTARY,
    DESCRIBES_VIDEO,
    DUB,
    UNDETERMINED,
    clean,
    first_choice,
    language,
    names,
)
from headend.core.manifests.outline import OutlinedTrack, ReleaseOutline, Timeline, runs_of
from headend.core.media import (
    AudioRendition,
    Codec,
    Playable,
    Protection,
    TextRendition,
    TextRole,
    Thumbnails,
    VideoRange,
    VideoRendition,
)
from headend.core.media.protection import WHOLE_TITLE
from headend.core.timing import Grid, timescale

Timelines = Sequence[Timeline]

_FOLDER = layout.track_uri("$RepresentationID$")
"""Folder of a Representation's segments; its id is its track's."""

HERE = "."
"""Service location that stands for the server that sent the MPD, for content steering; as in HLS."""
NAMESPACE = "urn:mpeg:dash:schema:mpd:2011"
PROFILES = "urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019"
ROLE = "urn:mpeg:dash:role:2011"
AUDIO_PURPOSE = "urn:tva:metadata:cs:AudioPurposeCS:2007"
FOR_THE_BLIND, FOR_THE_DEAF = "1", "2"
"""ETSI TS 102 822-3-1, AudioPurposeCS: audio description; audio for the hard of hearing."""
SWITCHING = "urn:mpeg:dash:adaptation-set-switching:2016"
"""Lists sets of other codecs to which a player may switch; DASH-IF Interoperability Points, section 3.8."""
TRICK_MODE = "http://dashif.org/guidelines/trickmode"
THUMBNAIL_TILE = "http://dashif.org/guidelines/thumbnail_tile"
CHANNELS = {audio.codec: (audio.channel_scheme, audio.channel_values) for audio in AUDIO}
"""Each codec's scheme for channel configurations, and its value by layout."""
COLOUR = {
    "urn:mpeg:mpegB:cicp:ColourPrimaries": {VideoRange.PQ: "9", VideoRange.HLG: "9"},
    "urn:mpeg:mpegB:cicp:TransferCharacteristics": {VideoRange.PQ: "16", VideoRange.HLG: "18"},
    "urn:mpeg:mpegB:cicp:MatrixCoefficients": {VideoRange.PQ: "9", VideoRange.HLG: "9"},
}
"""Code points of HDR: BT.2020 with non-constant luminance, and PQ or HLG."""

TEXT_ROLES = {TextRole.SUBTITLES: "subtitle", TextRole.SDH: "caption", TextRole.FORCED: "forced-subtitle"}
"""ISO/IEC 23009-1, table 22."""


def mpd(outline: ReleaseOutline, base: str = "", steering: str = "") -> bytes:
    """Describe a title in one static MPD.

    ``@bandwidth`` is the rate of the segment with the highest rate, and ``@minBufferTime`` is the duration of the
    longest segment. This satisfies ISO/IEC 23009-1, section 5.3.5.4: at that bandwidth, a player that has buffered that
    much never stalls.

    Args:
        outline: The title.
        base: Base of relative addresses, relative to the MPD's address; empty for the MPD's own folder.
        steering: Address of the title's steering manifest; empty for none.
    """
    longest_s = max(outline.timelines[track.timeline].longest_s for track in outline.played())
    protection = outline.protection
    root = Xml.Element(
        "MPD",
        {
            "xmlns": NAMESPACE,
            **(content_protection.NAMESPACES if protection is not None else {}),
            "profiles": PROFILES,
            "type": "static",
            "mediaPresentationDuration": _duration(outline.grid.duration_s),
            "minBufferTime": _duration(longest_s),
        },
    )
    if steering:
        # The only location in the MPD; the steering server clones it for other hosts (ETSI TS 103 998).
        Xml.SubElement(root, "BaseURL", {"serviceLocation": HERE}).text = base or "./"
        steering_attributes = {"defaultServiceLocation": HERE, "queryBeforeStart": "true"}
        Xml.SubElement(root, "ContentSteering", steering_attributes).text = steering
    elif base:
        Xml.SubElement(root, "BaseURL").text = base
    parts, sheets = _parts(outline), outline.thumbnails
    # A Period can't begin within a sheet: players count sheets and tiles from the Period's start.
    if sheets is not None and any(part.first_frame % sheets.rendition.sheet_frames for part in parts):
        sheets = None
    for part in parts:
        _period(root, outline, part, sheets)
    Xml.indent(root)
    return bytes(Xml.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a title in one Period. A title has several only if keys change, since an init segment has one key.

    Attributes:
        number: From 1; also the key period's number.
        segments: Number of the first segment, and the one after the last.
        first_frame: Its first frame.
        start_s: Its start time.
    """

    number: int
    segments: tuple[int, int]
    first_frame: int
    start_s: Fraction


def _parts(outline: ReleaseOutline) -> tuple[_Part, ...]:
    grid = outline.grid
    schedule = outline.protection.schedule if outline.protection is not None else WHOLE_TITLE
    count, bounds = grid.segment_count, grid.segment_bounds()
    per_period = schedule.period_segments or count
    return tuple(
        _Part(
            number, (first, min(first + per_period, 1 + count)), bounds[first - 1], bounds[first - 1] / grid.frame_rate
        )
        for number, first in enumerate(range(1, 1 + count, per_period), start=1)
    )


def _period(root: Xml.Element, outline: ReleaseOutline, part: _Part, sheets: OutlinedTrack[Thumbnails] | None) -> None:
    """Describe a part of the title, with thumbnails if ``sheets`` is given."""
    protection = outline.protection
    start = "PT0S" if part.number == 1 else _duration(part.start_s)
    period = Xml.SubElement(root, "Period", {"id": str(part.number), "start": start})
    # Renditions with different keys get different sets: players ignore ContentProtection in Representations.
    pictures: dict[tuple[Codec, VideoRange, str], list[OutlinedTrack[VideoRendition]]] = defaultdict(list)
    for track in outline.video:
        pictures[track.rendition.codec, track.rendition.video_range, track.kid].append(track)
    families = list(pictures)  # their sets come first, so their ids are known
    for family, tracks in pictures.items():
        same_range = [n for n, other in enumerate(families, start=1) if other != family and other[1] == family[1]]
        _video_set(period, outline.timelines, family[1], tracks, same_range, protection, part)
    sounds: dict[tuple[int, Codec, str], list[OutlinedTrack[AudioRendition]]] = defaultdict(list)
    for sound in outline.audio:
        sounds[sound.rendition.track_index, sound.rendition.codec, sound.rendition.layout].append(sound)
    labels = names(track.rendition for track in outline.audio)
    chosen = first_choice(track.rendition for track in outline.audio)
    for (programme, _, _), sound_tracks in sounds.items():
        _audio_set(period, outline.timelines, labels[programme], programme == chosen, sound_tracks, protection, part)
    for text in outline.text:
        if text.rendition.codec is not Codec.VTT:
            _text_set(period, outline.timelines, text, part)
    for trick in outline.trick:
        wanted = (trick.rendition.codec, trick.rendition.video_range)
        main = [number for number, family in enumerate(families, start=1) if family[:2] == wanted]
        _trick_set(period, outline.timelines, main, trick, outline.grid, protection, part)
    if sheets is not None:
        _image_set(period, sheets, outline.grid, part)
    for number, adaptation_set in enumerate(period, start=1):
        adaptation_set.set("id", str(number))


def _video_set(
    period: Xml.Element,
    timelines: Timelines,
    video_range: VideoRange,
    tracks: Sequence[OutlinedTrack[VideoRendition]],
    switchable: Sequence[int],
    protection: Protection | None,
    part: _Part,
) -> None:
    adaptation_set = _adaptation_set(period, "video")
    _protect(adaptation_set, tracks, protection, part)
    # PQ looks wrong on players that don't support it, so they must skip the set. HLG looks acceptable on all players.
    kind = "EssentialProperty" if video_range is VideoRange.PQ else "SupplementalProperty"
    for scheme, values in COLOUR.items():
        if video_range in values:
            _descriptor(adaptation_set, kind, scheme, values[video_range])
    if switchable:
        _descriptor(adaptation_set, "SupplementalProperty", SWITCHING, ",".join(map(str, switchable)))
    _descriptor(adaptation_set, "Role", ROLE, "main")
    _pictures(adaptation_set, timelines, tracks, part)


def _pictures(
    adaptation_set: Xml.Element, timelines: Timelines, tracks: Sequence[OutlinedTrack[VideoRendition]], part: _Part
) -> None:
    renditions = [track.rendition for track in tracks]
    largest = max(renditions, key=lambda rendition: rendition.width_px * rendition.height_px)
    rates = {rendition.frame_rate for rendition in renditions}
    # Pixels are square, so all sizes have about the same aspect ratio; the largest has the smallest rounding error.
    shape = Fraction(largest.width_px, largest.height_px)
    adaptation_set.set("par", f"{shape.numerator}:{shape.denominator}")
    adaptation_set.set("maxWidth", str(max(rendition.width_px for rendition in renditions)))
    adaptation_set.set("maxHeight", str(max(rendition.height_px for rendition in renditions)))
    if len(rates) > 1:
        adaptation_set.set("minFrameRate", str(min(rates)))
    adaptation_set.set("maxFrameRate", str(max(rates)))
    for rendition, representation in _representations(adaptation_set, timelines, tracks, part):
        representation.set("width", str(rendition.width_px))
        representation.set("height", str(rendition.height_px))
        representation.set("sar", "1:1")
        representation.set("frameRate", str(rendition.frame_rate))


def _trick_set(
    period: Xml.Element,
    timelines: Timelines,
    main: Sequence[int],
    track: OutlinedTrack[VideoRendition],
    grid: Grid,
    protection: Protection | None,
    part: _Part,
) -> None:
    """Describe the set for trick play of the sets ``main``: one picture per GOP. Players without support skip it.

    Source:
        DASH-IF Interoperability Points, section 3.2.9.
    """
    adaptation_set = _adaptation_set(period, "video")
    # A decoder that is fast enough for the main set decodes this many times as fast here: one picture per GOP.
    adaptation_set.set("maxPlayoutRate", str(grid.gop_frames))
    adaptation_set.set("codingDependency", "false")
    _protect(adaptation_set, [track], protection, part)
    _descriptor(adaptation_set, "EssentialProperty", TRICK_MODE, " ".join(map(str, main)))
    _pictures(adaptation_set, timelines, [track], part)


def _image_set(period: Xml.Element, thumbnails: OutlinedTrack[Thumbnails], grid: Grid, part: _Part) -> None:
    """Describe the sheets of thumbnails, which have equal durations except at the title's end.

    Source:
        DASH-IF Interoperability Points, section 6.2.6.
    """
    adaptation_set = Xml.SubElement(period, "AdaptationSet", {"contentType": "image", "mimeType": "image/jpeg"})
    sheet, ticks = thumbnails.rendition, timescale(grid.frame_rate)
    Xml.SubElement(
        adaptation_set,
        "SegmentTemplate",
        {
            "timescale": str(ticks.ticks_per_second),
            "duration": str(sheet.sheet_frames * ticks.frame_ticks),
            "startNumber": str(1 + part.first_frame // sheet.sheet_frames),
            "media": f"{_FOLDER}/$Number${layout.SHEET_SUFFIX}",
        },
    )
    representation = Xml.SubElement(
        adaptation_set,
        "Representation",
        {
            "id": thumbnails.id,
            "bandwidth": str(thumbnails.image_peak_bps),
            "width": str(sheet.columns * sheet.tile_width_px),
            "height": str(sheet.rows * sheet.tile_height_px),
        },
    )
    _descriptor(representation, "EssentialProperty", THUMBNAIL_TILE, f"{sheet.columns}x{sheet.rows}")


def _audio_set(
    period: Xml.Element,
    timelines: Timelines,
    label: str,
    chosen: bool,
    tracks: Sequence[OutlinedTrack[AudioRendition]],
    protection: Protection | None,
    part: _Part,
) -> None:
    first = tracks[0].rendition
    adaptation_set = _adaptation_set(period, "audio")
    adaptation_set.set("lang", language(first) or UNDETERMINED)
    scheme, values = CHANNELS[first.codec]
    _descriptor(adaptation_set, "AudioChannelConfiguration", scheme, values[first.layout])
    _protect(adaptation_set, tracks, protection, part)
    Xml.SubElement(adaptation_set, "Label").text = label
    if not DESCRIBES_VIDEO.isdisjoint(first.roles):
        _descriptor(adaptation_set, "Accessibility", AUDIO_PURPOSE, FOR_THE_BLIND)
    if CLEAR_SPEECH in first.roles:
        _descriptor(adaptation_set, "Accessibility", AUDIO_PURPOSE, FOR_THE_DEAF)
    for role in _roles(first, chosen):
        _descriptor(adaptation_set, "Role", ROLE, role)
    for rendition, representation in _representations(adaptation_set, timelines, tracks, part):
        representation.set("audioSamplingRate", str(rendition.sample_rate_hz))


def _text_set(period: Xml.Element, timelines: Timelines, track: OutlinedTrack[TextRendition], part: _Part) -> None:
    rendition = track.rendition
    adaptation_set = _adaptation_set(period, "text")
    adaptation_set.set("lang", language(rendition) or UNDETERMINED)
    Xml.SubElement(adaptation_set, "Label").text = clean(rendition.name)
    if rendition.role is TextRole.SDH:
        _descriptor(adaptation_set, "Accessibility", AUDIO_PURPOSE, FOR_THE_DEAF)
    _descriptor(adaptation_set, "Role", ROLE, TEXT_ROLES[rendition.role])
    list(_representations(adaptation_set, timelines, [track], part))


def _roles(rendition: AudioRendition, chosen: bool) -> Iterator[str]:
    """The values of ``Role``; the programme that plays by default is ``main``.

    Source:
        ISO/IEC 23009-1, table 22.
    """
    yield "main" if chosen else "alternate"
    if COMMENTARY in rendition.roles:
        yield "commentary"
    if not DESCRIBES_VIDEO.isdisjoint(rendition.roles):
        yield "description"
    if CLEAR_SPEECH in rendition.roles:
        yield "enhanced-audio-intelligibility"
    if DUB in rendition.roles:
        yield "dub"


def _adaptation_set(period: Xml.Element, content_type: str) -> Xml.Element:
    attributes = {
        "contentType": content_type,
        # There is no MIME type for text in MP4 (RFC 4337).
        "mimeType": "application/mp4" if content_type == "text" else f"{content_type}/mp4",
        "segmentAlignment": "true",
        "startWithSAP": "1",
    }
    return Xml.SubElement(period, "AdaptationSet", attributes)


def _representations(
    adaptation_set: Xml.Element, timelines: Timelines, tracks: Sequence[OutlinedTrack[Playable]], part: _Part
) -> Iterator[tuple[Playable, Xml.Element]]:
    """Add the set's representations, lowest rate first, and the segments that they share.

    A set usually has one timeline. If the number of frames is odd, the last segment of half-rate renditions is one
    frame longer, so each representation gets its own timeline.
    """
    used = {track.timeline for track in tracks}
    # Tracks that are not encrypted, such as text, have only one init segment.
    period = part.number if tracks[0].later_kids else 1
    if len(used) == 1:
        _template(adaptation_set, timelines[tracks[0].timeline], part, period)
    for track in sorted(tracks, key=lambda track: track.peak_bps):
        representation = Xml.SubElement(
            adaptation_set,
            "Representation",
            {"id": track.id, "codecs": track.codec_string, "bandwidth": str(track.peak_bps)},
        )
        if len(used) > 1:
            _template(representation, timelines[track.timeline], part, period)
        yield track.rendition, representation


def _template(parent: Xml.Element, timeline: Timeline, part: _Part, period: int) -> None:
    """Write the segments' addresses and times.

    Times are presentation times after the edit list. If sound begins with priming samples, the first segment starts at
    0 and is shorter than its samples by the length of the priming.
    """
    first, _ = part.segments
    start_ticks, runs = _of_part(timeline, part)
    offset = {"presentationTimeOffset": str(round(part.start_s * timeline.timescale))} if first > 1 else {}
    template = Xml.SubElement(
        parent,
        "SegmentTemplate",
        {
            "timescale": str(timeline.timescale),
            **offset,
            "initialization": f"{_FOLDER}/{layout.init_name(period)}",
            "media": f"{_FOLDER}/$Number${layout.SEGMENT_SUFFIX}",
            "startNumber": str(first),
        },
    )
    segment_timeline = Xml.SubElement(template, "SegmentTimeline")
    for number, (count, duration) in enumerate(runs):
        start = {"t": str(start_ticks)} if number == 0 else {}
        attributes = start | {"d": str(duration)} | ({"r": str(count - 1)} if count > 1 else {})
        Xml.SubElement(segment_timeline, "S", attributes)


def _of_part(timeline: Timeline, part: _Part) -> tuple[int, tuple[tuple[int, int], ...]]:
    """The start of a part's first segment in ticks, and runs of segments of equal duration."""
    first, end = part.segments
    if end - first == sum(count for count, _ in timeline.runs):
        return 0, timeline.runs
    durations = list(chain.from_iterable(repeat(ticks, count) for count, ticks in timeline.runs))
    return sum(durations[: first - 1]), runs_of(durations[first - 1 : end - 1])


def _protect(
    adaptation_set: Xml.Element,
    tracks: Sequence[OutlinedTrack[VideoRendition]] | Sequence[OutlinedTrack[AudioRendition]],
    protection: Protection | None,
    part: _Part,
) -> None:
    """Signal how a set is encrypted; all its renditions share a key."""
    if protection is not None and tracks[0].kid:
        adaptation_set.extend(content_protection.elements(protection, tracks[0].kids[part.number - 1]))


def _descriptor(parent: Xml.Element, kind: str, scheme: str, value: str) -> None:
    Xml.SubElement(parent, kind, {"schemeIdUri": scheme, "value": value})


def _duration(seconds: Fraction) -> str:
    """Format an xs:duration, to the nearest microsecond."""
    microseconds = round(seconds * 1_000_000)
    return f"PT{microseconds // 1_000_000}.{microseconds % 1_000_000:06}S"
