"""Joins encoded chunks into tracks and tracks into a presentation, and checks that tracks are complete and on the grid.

Nothing is published without these checks. A track is built from the receipts of the tasks that encoded its chunks, or
from the index that an earlier run has written; both give the same track.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, TypeVar, cast

from headend.core import boxes, track_index
from headend.core.errors import PackagingError, StorageError
from headend.core.media import (
    AnyTrack,
    AudioRendition,
    Codec,
    Copy,
    Damage,
    EncodedTrack,
    EncodePlan,
    Poster,
    Presentation,
    Protection,
    Rendition,
    Segment,
    TextRendition,
    Thumbnails,
    Track,
    VideoRendition,
    merged,
)
from headend.core.timing import Chunk, Grid, ceil_div, timescale
from headend.core.track_index import SyncRanges, TrackFacts, TrackIndex
from packager.codec_strings import codec_of, codec_string

StoredTrack = AnyTrack | Track[Thumbnails] | Track[Poster]
"""Any track that a store can hold."""

StoredT = TypeVar("StoredT", bound=StoredTrack)
Change = Callable[[Any], Any]
"""Converts a track to another one of the same type."""

JPEG = "jpeg"
"""The codec string of thumbnails and posters."""


def assemble(plan: EncodePlan, tracks: Mapping[str, StoredTrack]) -> Presentation:
    """Assemble a plan's tracks into a presentation.

    Args:
        plan: The plan.
        tracks: The plan's tracks, by their names in ``plan.tracks``.

    Returns:
        The presentation, with its tracks in the plan's order.

    Raises:
        PackagingError: A track is missing.
    """
    missing = [rendition for rendition in plan.tracks if rendition not in tracks]
    if missing:
        raise PackagingError(
            f"{len(missing)} of {len(plan.tracks)} tracks are incomplete, such as {missing[0]}; submit the master "
            "again to complete them",
            rendition=missing[0],
        )
    text = [_of(Track[TextRendition], tracks[rendition.id]) for rendition in plan.text]
    # A programme may turn out to have no cues when it is extracted; manifests must not list it then.
    with_cues = {
        t.rendition.programme for t in text if t.rendition.codec is Codec.VTT and any(s.samples for s in t.segments)
    }
    tracks = {
        name: with_kids(track, plan.sealings[name].kids) if name in plan.sealings else track
        for name, track in tracks.items()
    }
    return Presentation(
        plan.title,
        "",
        plan.grid,
        video=tuple(_of(Track[VideoRendition], tracks[rendition.id]) for rendition in plan.video),
        audio=tuple(_of(Track[AudioRendition], tracks[rendition.id]) for rendition in plan.audio),
        trick=tuple(_of(Track[VideoRendition], tracks[rendition.id]) for rendition in plan.trick),
        thumbnails=_of(Track[Thumbnails], tracks[plan.thumbnails.id]) if plan.thumbnails else None,
        poster=_of(Track[Poster], tracks[plan.poster.id]) if plan.poster else None,
        text=tuple(track for track in text if track.rendition.programme in with_cues),
        damage=merged((*plan.damage, *(damage for id in plan.tracks for damage in tracks[id].damage))),
        light=plan.light,
        master=plan.master,
        picture_stream=plan.picture_stream,
        sound=plan.sound,
        protection=plan.protection[0] if plan.protection else None,
        copies=tuple(_copy(plan, protection, tracks) for protection in plan.protection[1:]),
    )


def with_kids(track: StoredT, kids: Sequence[str]) -> StoredT:
    """Set a track's key ids, one per period; if there are none, the track stays unencrypted."""
    return replace(track, kid=kids[0], later_kids=tuple(kids[1:])) if kids else track


def _copy(plan: EncodePlan, protection: Protection, tracks: Mapping[str, StoredTrack]) -> Copy:
    """The copies of the plan's tracks that are encrypted with another scheme."""
    copied = {
        encryption.rendition: tracks[name]
        for name, encryption in plan.sealings.items()
        if encryption.scheme is protection.scheme and name in tracks
    }
    return Copy(
        protection,
        video=tuple(_of(Track[VideoRendition], copied[video.id]) for video in plan.video if video.id in copied),
        audio=tuple(_of(Track[AudioRendition], copied[audio.id]) for audio in plan.audio if audio.id in copied),
        trick=tuple(_of(Track[VideoRendition], copied[trick.id]) for trick in plan.trick if trick.id in copied),
    )


def renditions_of(plan: EncodePlan) -> dict[str, Any]:
    """The rendition of each track of a plan by the track's name, including thumbnails and poster."""
    pictures = [item for item in (plan.thumbnails, plan.poster) if item is not None]
    encoded = {item.id: item for item in (*plan.video, *plan.trick, *plan.audio, *plan.text, *pictures)}
    return {name: encoded[plan.encoded_for(name)] for name in (*encoded, *plan.sealings)}


def join_chunks(
    id: str,
    rendition: Rendition,
    parts: Sequence[tuple[Chunk, EncodedTrack]],
    init: bytes,
    grid: Grid,
    damage: Iterable[Damage] = (),
) -> Track[Rendition]:
    """Join a track's encoded chunks, and check that the track is complete and on the grid.

    Args:
        id: The track's id.
        rendition: Its rendition.
        parts: Each chunk with the result of encoding it, in order; at least one.
        init: The stored init segment; empty for formats without one.
        grid: The title's grid.
        damage: Damage of the master that was concealed.

    Raises:
        PackagingError: The chunks have different init segments, or the track has a gap, or more or fewer frames than
            the grid. The facts have ``rendition``, ``chunk`` and ``segment``, as far as they apply.
    """
    (first_chunk, first), *others = parts
    for chunk, part in others:
        if _init_facts(part) != _init_facts(first):
            raise PackagingError(
                f"{rendition.id}: chunks {first_chunk.number} and {chunk.number} have different init segments; submit "
                "the master again with --force",
                rendition=rendition.id,
                chunk=chunk.number,
            )
    if (hashlib.sha256(init).hexdigest(), len(init)) != (first.init_sha256, first.init_bytes):
        raise PackagingError(
            f"{rendition.id}: the stored init segment differs from that in the receipts; submit the master again with "
            "--force",
            rendition=rendition.id,
        )
    if not (isinstance(rendition, Thumbnails | Poster) or first.codec_string):
        _check_init(rendition, init, first.timescale)
    track = Track(
        id=id,
        rendition=rendition,
        codec_string=first.codec_string or _codec_string(rendition, init),
        init_bytes=first.init_bytes,
        timescale=first.timescale,
        priming_samples=first.priming_samples,
        segments=tuple(segment for _, part in parts for segment in part.segments),
        loudness=first.loudness,
        init_sha256=first.init_sha256,
        damage=merged(damage),
        later_inits=first.later_inits,
    )
    check(track, grid)
    return track


def _codec_string(rendition: VideoRendition | AudioRendition | TextRendition | Thumbnails | Poster, init: bytes) -> str:
    if isinstance(rendition, Thumbnails | Poster):
        return JPEG
    # WebVTT files have no sample entry; use the name of WebVTT in MP4.
    return codec_string(init) if init else "wvtt"


def check(track: Track[Rendition], grid: Grid) -> None:
    """Check a track against the grid; raises `PackagingError` if they differ."""
    rendition = track.rendition
    if isinstance(rendition, VideoRendition):
        _check_video(track, grid, _video_shape(grid, rendition.rate_divisor))
    elif isinstance(rendition, AudioRendition):
        _check_audio(track, grid, rendition.sample_rate_hz)
    elif isinstance(rendition, TextRendition):
        _check_text(track, grid)
    else:
        expected = (
            rendition.sheet_numbers(0, grid.frame_count)
            if isinstance(rendition, Thumbnails)
            else rendition.numbers(0, grid.frame_count)
        )
        if tuple(segment.number for segment in track.segments) != expected:
            raise PackagingError(
                f"{rendition.id}: {len(track.segments)} pictures, not {len(expected)}", rendition=rendition.id
            )


def index_of(track: StoredTrack) -> tuple[TrackIndex, bytes]:
    """The index of a track, and the object that lists its sync frames; empty if it is not video.

    Raises:
        PackagingError: Its segments are not consecutive.
    """
    rendition = track.rendition
    sync = b""
    if isinstance(rendition, VideoRendition):
        sync = track_index.encode_sync([segment.sync for segment in track.segments])
    width_px, height_px = 0, 0
    if isinstance(rendition, VideoRendition | Poster):
        width_px, height_px = rendition.width_px, rendition.height_px
    elif isinstance(rendition, Thumbnails):
        width_px, height_px = (
            rendition.columns * rendition.tile_width_px,
            rendition.rows * rendition.tile_height_px,
        )
    facts = TrackFacts(
        track=track.id,
        content_type=content_type(rendition),
        codec_string=track.codec_string,
        timescale=track.timescale,
        init_bytes=track.init_bytes,
        init_sha256=track.init_sha256,
        width_px=width_px,
        height_px=height_px,
        average_bps=track.average_bps,
        peak_bps=track.peak_bps,
        priming_samples=track.priming_samples,
        loudness=track.loudness,
        sync_sha256=hashlib.sha256(sync).hexdigest() if sync else "",
        damage=track.damage,
        later_inits=track.later_inits,
    )
    try:
        return track_index.index_of(facts, track.segments), sync
    except ValueError as error:
        raise PackagingError(str(error), rendition=rendition.id) from error


def content_type(rendition: VideoRendition | AudioRendition | TextRendition | Thumbnails | Poster) -> str:
    """The media type of a track's segments."""
    if isinstance(rendition, Thumbnails | Poster):
        return "image/jpeg"
    if rendition.codec is Codec.VTT:
        return "text/vtt; charset=utf-8"
    if isinstance(rendition, TextRendition):
        return "application/mp4"  # there is no MIME type for text in MP4 (RFC 4337)
    return "video/mp4" if isinstance(rendition, VideoRendition) else "audio/mp4"


def track_from_index(rendition: Rendition, index: TrackIndex, sync: Sequence[SyncRanges]) -> Track[Rendition]:
    """The track that an index describes.

    Args:
        rendition: Its rendition, with the labels to use.
        index: The track's index.
        sync: Its sync frames; empty for sound and text.

    Raises:
        StorageError: The number of sync frames does not match the index.
    """
    facts = index.facts
    if sync and len(sync) != index.segment_count:
        raise StorageError(
            f"the sync frames of {facts.track} don't match its index; submit the master again with --force"
        )
    return Track(
        id=facts.track,
        rendition=rendition,
        codec_string=facts.codec_string,
        init_bytes=facts.init_bytes,
        timescale=facts.timescale,
        priming_samples=facts.priming_samples,
        segments=tuple(index.segments(sync)),
        loudness=facts.loudness,
        init_sha256=facts.init_sha256,
        damage=facts.damage,
        later_inits=facts.later_inits,
    )


def stored_tracks(presentation: Presentation) -> tuple[StoredTrack, ...]:
    """All tracks of a presentation, including thumbnails, poster, and copies in other encryption schemes."""
    pictures = [track for track in (presentation.thumbnails, presentation.poster) if track is not None]
    copied: list[StoredTrack] = []
    for copy in presentation.copies:
        copied += (*copy.video, *copy.trick, *copy.audio)
    return (*presentation.all_tracks, *pictures, *copied)


def with_tracks(presentation: Presentation, change: "Change") -> Presentation:
    """Apply a change to each track of a presentation."""
    return replace(
        presentation,
        video=tuple(map(change, presentation.video)),
        trick=tuple(map(change, presentation.trick)),
        audio=tuple(map(change, presentation.audio)),
        text=tuple(map(change, presentation.text)),
        thumbnails=presentation.thumbnails and change(presentation.thumbnails),
        poster=presentation.poster and change(presentation.poster),
        copies=tuple(
            replace(
                copy,
                video=tuple(map(change, copy.video)),
                trick=tuple(map(change, copy.trick)),
                audio=tuple(map(change, copy.audio)),
            )
            for copy in presentation.copies
        ),
    )


def _of(kind: type[StoredT], track: StoredTrack) -> StoredT:
    """Narrow a track's static type; its rendition already has the right type."""
    del kind  # only for the type checker
    return cast(StoredT, track)


def _check_init(rendition: VideoRendition | AudioRendition | TextRendition, init: bytes, ticks: int) -> None:
    actual = f"{codec_of(init)} at {boxes.timescale(init)} ticks/s" if init else f"{Codec.VTT} at {ticks} ticks/s"
    expected = f"{rendition.codec} at {ticks} ticks/s"
    if isinstance(rendition, VideoRendition):
        actual += " in {}x{}".format(*_picture_size(init))
        expected += f" in {rendition.width_px}x{rendition.height_px}"
    if actual != expected:
        raise PackagingError(
            f"{rendition.id}: the init segment is for {actual}, not {expected}", rendition=rendition.id
        )


def _picture_size(init: bytes) -> tuple[int, int]:
    """Width and height of VisualSampleEntry (ISO/IEC 14496-12, section 12.1.3)."""
    width_px, height_px = struct.unpack_from(">HH", init, boxes.sample_entry(init).body + 24)
    return width_px, height_px


def _init_facts(part: EncodedTrack) -> tuple[str, int, int, int, tuple[str, ...]]:
    return part.init_sha256, part.init_bytes, part.timescale, part.priming_samples, part.later_inits


_SHAPE = ("number", "start_ticks", "duration_ticks", "samples", "sync frames")


@cache
def _video_shape(grid: Grid, rate_divisor: int) -> tuple[tuple[int, ...], ...]:
    """The values that the grid prescribes for each segment, in the order of `_SHAPE`."""
    frame_ticks = timescale(grid.frame_rate).frame_ticks
    shape = []
    for number, (first, end) in enumerate(pairwise(grid.segment_bounds()), start=1):
        frames = ceil_div(end - first, rate_divisor)
        # In trick play, a picture is shown until the next GOP; the last GOP may be shorter than the others.
        shown = end - first if rate_divisor == grid.gop_frames else frames * rate_divisor
        gops = ceil_div(end - first, grid.gop_frames)
        shape.append((number, first * frame_ticks, shown * frame_ticks, frames, gops))
    return tuple(shape)


def _check_video(track: Track[Rendition], grid: Grid, shape: Sequence[tuple[int, ...]]) -> None:
    _check_timescale(track, timescale(grid.frame_rate).ticks_per_second)
    # The counts may differ: the first wrong segment tells more than the count, which is checked afterwards.
    for segment, expected in zip(track.segments, shape, strict=False):
        actual = (segment.number, segment.start_ticks, segment.duration_ticks, segment.samples, len(segment.sync))
        if actual != expected:
            wrong = (f"{n} is {a}, not {e}" for n, a, e in zip(_SHAPE, actual, expected, strict=True) if a != e)
            raise _off_grid(track, segment, "; ".join(wrong))
    _check_count(track, grid)


def _check_audio(track: Track[Rendition], grid: Grid, sample_rate_hz: int) -> None:
    _check_timescale(track, sample_rate_hz)
    at = 0
    for number, segment in enumerate(track.segments, start=1):
        if (segment.number, segment.start_ticks) != (number, at):
            raise _off_grid(
                track, segment, f"expected number {number} at {at} ticks, found {segment.start_ticks} ticks"
            )
        at += segment.duration_ticks
    _check_count(track, grid)
    expected = round(grid.duration_s * track.timescale) + track.priming_samples
    if at != expected:
        raise _off_grid(
            track, track.segments[-1], f"the sound ends at {at} ticks, but the picture ends at {expected} ticks"
        )


def _check_text(track: Track[Rendition], grid: Grid) -> None:
    frame_ticks = timescale(grid.frame_rate).frame_ticks
    _check_timescale(track, timescale(grid.frame_rate).ticks_per_second)
    for number, ((first, end), segment) in enumerate(
        zip(pairwise(grid.segment_bounds()), track.segments, strict=False), 1
    ):
        expected = (number, first * frame_ticks, (end - first) * frame_ticks)
        if (segment.number, segment.start_ticks, segment.duration_ticks) != expected:
            raise _off_grid(track, segment, "expected number {}, start {} ticks, duration {} ticks".format(*expected))
    _check_count(track, grid)


def _check_timescale(track: Track[Rendition], expected: int) -> None:
    if track.timescale != expected:
        raise PackagingError(
            f"{track.rendition.id}: {track.timescale} ticks/s, not {expected}", rendition=track.rendition.id
        )


def _check_count(track: Track[Rendition], grid: Grid) -> None:
    if len(track.segments) != grid.segment_count:
        raise PackagingError(
            f"{track.rendition.id}: {len(track.segments)} segments, not {grid.segment_count}",
            rendition=track.rendition.id,
        )


def _off_grid(track: Track[Rendition], segment: Segment, what: str) -> PackagingError:
    return PackagingError(
        f"{track.rendition.id}: segment {segment.number} is not on the grid: {what}",
        rendition=track.rendition.id,
        segment=segment.number,
    )
