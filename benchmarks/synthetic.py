"""Synthetic titles of any length: plans, receipts and tracks as the encoder writes them, but no media.

Init segments are made by FFmpeg; receipts are generated, with sizes that vary like those of real segments.
"""

import hashlib
import random
import struct
import subprocess
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise

from encoder.tool import ffmpeg_path
from headend.core import boxes, layout
from headend.core.codecs import AUDIO
from headend.core.media import (
    AudioRendition,
    Codec,
    Effort,
    EncodedTrack,
    EncodePlan,
    EncodeTask,
    Kind,
    Master,
    Poster,
    Presentation,
    Receipt,
    Segment,
    Thumbnails,
    VideoRendition,
)
from headend.core.timing import Chunk, Grid, ceil_div, timescale
from packager import presentation
from packager.presentation import StoredTrack, assemble, join_chunks

AnyRendition = VideoRendition | AudioRendition

MOVFLAGS = "+cmaf+frag_keyframe+delay_moov+default_base_moof"
ENCODERS: dict[Codec, tuple[str, ...]] = {
    Codec.AVC: ("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
    Codec.HEVC: (
        *("libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le", "-tag:v", "hvc1"),
        *("-x265-params", "log-level=none:info=0"),
    ),
    Codec.AV1: ("libsvtav1", "-preset", "10", "-pix_fmt", "yuv420p10le"),
    Codec.VP9: ("libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-pix_fmt", "yuv420p"),
    **{codec.codec: (codec.encoder,) for codec in AUDIO},
}
VIDEO = frozenset({Codec.AVC, Codec.HEVC, Codec.AV1, Codec.VP9})
SHEET_BPS = 40_000
FRAME_SAMPLES = {codec.codec: codec.frame_samples for codec in AUDIO}
PRIMING = {Codec.AAC: 1024, Codec.OPUS: 312, Codec.AC3: 256, Codec.EAC3: 256}


@cache
def init_of_codec(codec: Codec, ticks_per_second: int) -> bytes:
    """Encode a tiny picture, or 48 kHz sound, and return its init segment."""
    if codec in VIDEO:
        source = ["-f", "lavfi", "-i", "color=size=64x64:rate=25:duration=0.04", "-c:v", *ENCODERS[codec]]
        source += ["-video_track_timescale", str(ticks_per_second), "-use_editlist", "0"]
    else:
        source = ["-f", "lavfi", "-i", "sine=sample_rate=48000:duration=0.2", "-c:a", *ENCODERS[codec]]
    common = ["-movflags", MOVFLAGS, "-write_btrt", "0", "-map_metadata", "-1", "-fflags", "+bitexact"]
    argv = [ffmpeg_path(), "-v", "error", *source, *common, "-f", "mp4", "-"]
    encoded = subprocess.run(argv, capture_output=True, check=True, timeout=60).stdout
    return encoded[: boxes.find(encoded, "moov").end]


def init_of(rendition: AnyRendition, grid: Grid) -> bytes:
    """Return an init segment for a rendition: a real one of its codec, with the rendition's picture size."""
    if isinstance(rendition, AudioRendition):
        return init_of_codec(rendition.codec, rendition.sample_rate_hz)
    init = init_of_codec(rendition.codec, timescale(grid.frame_rate).ticks_per_second)
    at = boxes.sample_entry(init).body + 24
    return init[:at] + struct.pack(">HH", rendition.width_px, rendition.height_px) + init[at + 4 :]


def plan_of(
    grid: Grid,
    video: Iterable[VideoRendition],
    audio: Iterable[AudioRendition] = (),
    *,
    trick: Iterable[VideoRendition] = (),
    thumbnails: Thumbnails | None = None,
    poster: Poster | None = None,
    title: str = "film",
) -> EncodePlan:
    """Make a plan with one task per chunk and one per audio programme."""
    pictures, tricks, sounds = tuple(video), tuple(trick), tuple(audio)
    video_ids = tuple(r.id for r in (*pictures, *tricks))
    tasks = [
        EncodeTask(
            f"video-{chunk.number}",
            Kind.VIDEO,
            chunk,
            video_ids,
            (),
            1.0,
            sheets=thumbnails.sheet_numbers(chunk.first_frame, chunk.end_frame) if thumbnails else (),
            posters=poster.numbers(chunk.first_frame, chunk.end_frame) if poster else (),
        )
        for chunk in grid.chunks()
    ]
    everything = Chunk(0, 0, grid.frame_count, 1)
    for programme in dict.fromkeys(r.track_index for r in sounds):
        audio_ids = tuple(r.id for r in sounds if r.track_index == programme)
        tasks.append(EncodeTask(f"audio-{programme}", Kind.AUDIO, everything, audio_ids, (), 1.0))
    still_ids = [stills.id for stills in (thumbnails, poster) if stills is not None]
    return EncodePlan(
        title=title,
        master=Master("/masters/film.mov", 1, "sha256:00", "1"),
        ladder="synthetic",
        effort=Effort.DRAFT,
        tool="none",
        grid=grid,
        decisions=(),
        video=pictures,
        audio=sounds,
        tasks=tuple(tasks),
        trick=tricks,
        thumbnails=thumbnails,
        poster=poster,
        chunks=grid.chunks(),
        tracks={id: id for id in (*video_ids, *(r.id for r in sounds), *still_ids)},
    )


def renditions_of(plan: EncodePlan) -> dict[str, AnyRendition]:
    """Return a plan's video and audio renditions, by id."""
    return {**{r.id: r for r in (*plan.video, *plan.trick)}, **{r.id: r for r in plan.audio}}


def inits_of(plan: EncodePlan) -> dict[str, bytes]:
    """Return init segments for a plan's renditions, by id; see `init_of`."""
    return {id: init_of(rendition, plan.grid) for id, rendition in renditions_of(plan).items()}


def receipts_of(plan: EncodePlan) -> tuple[Receipt, ...]:
    """Make receipts for all of a plan's tasks; the same plan always gets the same."""
    renditions, inits, bounds = renditions_of(plan), inits_of(plan), plan.grid.segment_bounds()
    return tuple(
        Receipt(
            task=task.id,
            chunk=task.chunk.number,
            tracks=(
                *(
                    _media_track(renditions[id], inits[id], plan.grid, bounds, task.chunk, plan.tracks[id])
                    for id in task.renditions
                ),
                *_still_tracks(plan, task),
            ),
            attempt=1,
            worker="here",
            cpu_s=1.0,
            wall_s=1.0,
            peak_memory_bytes=1,
        )
        for task in plan.tasks
    )


def presentation_of(plan: EncodePlan, receipts: Iterable[Receipt] | None = None) -> Presentation:
    """Make the presentation of a plan whose tasks are all done."""
    return assemble(plan, tracks_of(plan, receipts_of(plan) if receipts is None else receipts))


def tracks_of(plan: EncodePlan, receipts: Iterable[Receipt]) -> dict[str, StoredTrack]:
    """Join receipts into the tracks of a plan."""
    renditions, inits = presentation.renditions_of(plan), inits_of(plan)
    encoded = {
        (track.rendition, receipt.chunk): (track, receipt.damage) for receipt in receipts for track in receipt.tracks
    }
    tracks: dict[str, StoredTrack] = {}
    for id, track in plan.tracks.items():
        parts = [(chunk, *encoded[id, chunk.number]) for chunk in plan.chunks_of(id)]
        damage = [place for *_, places in parts for place in places]
        joined = join_chunks(track, renditions[id], [part[:2] for part in parts], inits.get(id, b""), plan.grid, damage)
        tracks[id] = joined
    return tracks


def _still_tracks(plan: EncodePlan, task: EncodeTask) -> Iterator[EncodedTrack]:
    ticks = timescale(plan.grid.frame_rate)
    if task.sheets and plan.thumbnails:
        thumbnails = plan.thumbnails
        ends = {n: min(n * thumbnails.sheet_frames, plan.grid.frame_count) for n in task.sheets}
        sheets = [
            Segment(
                number=n,
                start_ticks=(n - 1) * thumbnails.sheet_frames * ticks.frame_ticks,
                duration_ticks=(ends[n] - (n - 1) * thumbnails.sheet_frames) * ticks.frame_ticks,
                samples=1,
                size_bytes=_size(layout.THUMBNAILS, n, SHEET_BPS, Fraction(30)),
                sha256=_digest(layout.THUMBNAILS, n),
            )
            for n in task.sheets
        ]
        yield _still_track(thumbnails.id, plan.tracks[thumbnails.id], ticks.ticks_per_second, sheets)
    if task.posters and plan.poster:
        stills = [Segment(n, n - 1, 1, 1, 1000 + n, _digest(layout.POSTER, n)) for n in task.posters]
        yield _still_track(plan.poster.id, plan.tracks[plan.poster.id], 1, stills)


def _still_track(id: str, track: str, ticks_per_second: int, segments: Sequence[Segment]) -> EncodedTrack:
    nothing = hashlib.sha256(b"").hexdigest()
    return EncodedTrack(id, nothing, 0, ticks_per_second, 0, 1, 1, tuple(segments), track=track)


def _media_track(
    rendition: AnyRendition, init: bytes, grid: Grid, bounds: Sequence[int], chunk: Chunk, id: str
) -> EncodedTrack:
    if isinstance(rendition, VideoRendition):
        segments, priming = tuple(_video_segments(rendition, grid, bounds, chunk)), 0
    else:
        segments, priming = tuple(_audio_segments(rendition, grid)), PRIMING[rendition.codec]
    ticks = boxes.timescale(init)
    return EncodedTrack(
        rendition=rendition.id,
        init_sha256=hashlib.sha256(init).hexdigest(),
        init_bytes=len(init),
        timescale=ticks,
        priming_samples=priming,
        average_bps=8 * sum(s.size_bytes for s in segments) * ticks // sum(s.duration_ticks for s in segments),
        peak_bps=max(8 * s.size_bytes * ticks // s.duration_ticks for s in segments),
        segments=segments,
        track=id,
    )


def _video_segments(rendition: VideoRendition, grid: Grid, bounds: Sequence[int], chunk: Chunk) -> Iterator[Segment]:
    ticks = timescale(grid.frame_rate)
    mine = bounds[bisect_left(bounds, chunk.first_frame) : bisect_left(bounds, chunk.end_frame) + 1]
    for number, (first, end) in enumerate(pairwise(mine), start=chunk.first_segment):
        frames = ceil_div(end - first, rendition.rate_divisor)
        gops = ceil_div(end - first, grid.gop_frames)
        # A trick-play picture is shown until the next one, so the last one ends with the segment.
        shown = end - first if rendition.rate_divisor == grid.gop_frames else frames * rendition.rate_divisor
        size = _size(rendition.id, number, rendition.average_bps, (end - first) / grid.frame_rate)
        yield Segment(
            number=number,
            start_ticks=first * ticks.frame_ticks,
            duration_ticks=shown * ticks.frame_ticks,
            samples=frames,
            size_bytes=size,
            sha256=_digest(rendition.id, number),
            sync=tuple((gop * size // gops, size // gops // 3) for gop in range(gops)),
        )


def _audio_segments(rendition: AudioRendition, grid: Grid) -> Iterator[Segment]:
    frame, rate = FRAME_SAMPLES[rendition.codec], rendition.sample_rate_hz
    priming = PRIMING[rendition.codec]
    end_ticks = round(grid.duration_s * rate) + priming
    bounds = [0, *(frame * round((s * rate + priming) / frame) for s in grid.segment_starts_s()[1:-1]), end_ticks]
    for number, (start, end) in enumerate(pairwise(bounds), start=1):
        yield Segment(
            number=number,
            start_ticks=start,
            duration_ticks=end - start,
            samples=ceil_div(end - start, frame),
            size_bytes=_size(rendition.id, number, rendition.bit_rate_bps, Fraction(end - start, rate)),
            sha256=_digest(rendition.id, number),
        )


def _size(rendition: str, number: int, bps: int, duration_s: Fraction) -> int:
    return round(bps * duration_s * random.Random(f"{rendition}/{number}").uniform(0.6, 1.4) / 8)


def _digest(rendition: str, number: int) -> str:
    return hashlib.sha256(f"{rendition}/{number}".encode()).hexdigest()
