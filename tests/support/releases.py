"""Makers of releases: a small title, made up or really encoded, and its objects before publishing."""

import subprocess
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.synthetic import (
    ENCODERS,
    MOVFLAGS,
    AnyRendition,
    inits_of,
    plan_of,
    presentation_of,
    receipts_of,
    renditions_of,
)
from encoder.tool import ffmpeg_path
from encoder.trick_play import choose_poster, choose_thumbnails, trick_renditions
from headend.core import documents, layout
from headend.core.codecs import AUDIO
from headend.core.media import (
    AudioRendition,
    Codec,
    Cue,
    EncodedTrack,
    EncodePlan,
    EncodeTask,
    Presentation,
    Receipt,
    TextRendition,
    Track,
    VideoRendition,
)
from headend.core.storage.base import Store
from headend.core.storage.memory import MemoryStore
from headend.core.timing import Grid, plan_grid, timescale
from packager import captions
from packager.codec_strings import codec_string
from packager.presentation import assemble
from packager.publishing import PublishResult, publish
from packager.segmenting.sound import cut_audio
from packager.segmenting.video import cut_video
from packager.stored_parts import find_stored_parts, merge_parts
from tests.support.makers import make_audio_rendition, make_video_rendition

FRAME_SAMPLES = {codec.codec: codec.frame_samples for codec in AUDIO}


def make_grid(
    frame_rate: Fraction = Fraction(24000, 1001),
    frame_count: int = 720,
    *,
    segment_s: Fraction = Fraction(6),
    chunk_s: Fraction = Fraction(12),
) -> Grid:
    """Five segments of six seconds in three chunks by default."""
    return plan_grid(frame_rate, frame_count, segment_s=segment_s, chunk_s=chunk_s)


def make_plan(
    grid: Grid | None = None,
    video: Iterable[VideoRendition] | None = None,
    audio: Iterable[AudioRendition] | None = None,
    *,
    trick_play: bool = False,
) -> EncodePlan:
    """Return a plan of one picture and one sound by default; with renditions for trick play if ``trick_play``."""
    grid = grid or make_grid()
    pictures = (make_video_rendition(frame_rate=grid.frame_rate, default=True),) if video is None else video
    pictures = tuple(pictures)
    return plan_of(
        grid,
        pictures,
        (make_audio_rendition(),) if audio is None else audio,
        trick=trick_renditions(pictures, grid) if trick_play else (),
        thumbnails=choose_thumbnails(pictures[0], grid) if trick_play else None,
        poster=choose_poster(pictures[0], grid, grid.chunks()) if trick_play else None,
    )


def make_presentation(
    grid: Grid | None = None,
    video: Iterable[VideoRendition] | None = None,
    audio: Iterable[AudioRendition] | None = None,
    *,
    trick_play: bool = False,
) -> Presentation:
    """Return the presentation of a successfully encoded title, with made-up sizes of segments."""
    return presentation_of(make_plan(grid, video, audio, trick_play=trick_play))


def store_synthetic(store: Store, plan: EncodePlan) -> None:
    """Write to a store what workers would: init segments, segments (of zeros) and receipts."""
    title = plan.title
    for rendition, init in inits_of(plan).items():
        store.put(layout.track_init(title, plan.tracks[rendition]), init)
    for receipt in receipts_of(plan):
        for track in receipt.tracks:
            for segment in track.segments:
                store.put(layout.track_segment(title, track.track, segment.number), bytes(segment.size_bytes))
        store.put(layout.receipt(title, receipt.task), documents.write(receipt))


def publish_plan(store: Store, plan: EncodePlan, *, submitted_at: str = "2026-01-01T00:00:00+00:00") -> PublishResult:
    """Publish a plan's stored parts."""
    stored = find_stored_parts(store, plan)
    return publish(store, assemble(plan, merge_parts(store, stored, plan.tracks)), submitted_at=submitted_at)


REAL_GRID = plan_grid(Fraction(24), 140, segment_s=Fraction(2), chunk_s=Fraction(4))
"""Three segments, the last of 44 frames, in two chunks."""
REAL_VIDEO = (
    make_video_rendition(id="avc-90p", width_px=160, height_px=90, default=True),
    make_video_rendition(id="avc-90p-half", width_px=160, height_px=90, frame_rate=Fraction(12), rate_divisor=2),
    make_video_rendition(id="vp9-90p", codec=Codec.VP9, width_px=160, height_px=90),
)
REAL_AUDIO = (
    make_audio_rendition(id="aac-2.0"),
    make_audio_rendition(id="opus-2.0", codec=Codec.OPUS),
)


def store_real(store: Store) -> EncodePlan:
    """Write to a store a title of six seconds, encoded and cut as workers do, without publishing it."""
    plan, objects = _real()
    for key, data in objects.items():
        store.put(key, data)
    return plan


@cache
def _real() -> tuple[EncodePlan, dict[str, bytes]]:
    plan, store = plan_of(REAL_GRID, REAL_VIDEO, REAL_AUDIO), MemoryStore()
    renditions = renditions_of(plan)
    for task in plan.tasks:
        tracks = tuple(_encode(store, plan, task, renditions[id]) for id in task.renditions)
        receipt = Receipt(
            task.id, task.chunk.number, tracks, attempt=1, worker="here", cpu_s=1.0, wall_s=1.0, peak_memory_bytes=1
        )
        store.put(layout.receipt(plan.title, task.id), documents.write(receipt))
    return plan, {info.key: store.get(info.key) for info in store.list(layout.TITLES)}


def _encode(store: Store, plan: EncodePlan, task: EncodeTask, rendition: AnyRendition) -> EncodedTrack:
    grid, chunk = plan.grid, task.chunk
    if isinstance(rendition, VideoRendition):
        gop = grid.gop_frames // rendition.rate_divisor
        keys = f"expr:not(mod(n,{gop}))"
        filters = f"trim=start_frame={chunk.first_frame}:end_frame={chunk.end_frame},setpts=PTS-STARTPTS"
        if rendition.rate_divisor == 2:
            filters += ",framestep=2"
        source = f"testsrc2=size=160x90:rate={grid.frame_rate}:duration={float(grid.duration_s)}"
        options = ["-vf", filters, "-fps_mode", "passthrough", "-g", str(gop), "-keyint_min", str(gop)]
        options += [
            "-force_key_frames",
            keys,
            "-video_track_timescale",
            str(timescale(grid.frame_rate).ticks_per_second),
        ]
        options += ["-use_editlist", "0", "-threads", "1", "-c:v", *ENCODERS[rendition.codec]]
        if rendition.codec is Codec.AVC:
            options += ["-x264-params", "stitchable=1:scenecut=0:open-gop=0"]
    else:
        source = f"sine=frequency=440:sample_rate={rendition.sample_rate_hz}:duration={float(grid.duration_s)}"
        options = ["-ac", str(rendition.channels), "-frag_duration", "60000000", "-use_editlist", "1"]
        options += ["-c:a", *ENCODERS[rendition.codec]]
    common = ["-movflags", MOVFLAGS, "-write_btrt", "0", "-map_metadata", "-1", "-fflags", "+bitexact"]
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "out.mp4"
        argv = [ffmpeg_path(), "-v", "error", "-f", "lavfi", "-i", source, *options, *common, str(path)]
        subprocess.run(argv, check=True, timeout=120)
        data = memoryview(bytearray(path.read_bytes()))
    if isinstance(rendition, VideoRendition):
        cut = cut_video(data, rendition=rendition.id, grid=grid, chunk=chunk, rate_divisor=rendition.rate_divisor)
    else:
        cut = cut_audio(
            data,
            rendition=rendition.id,
            grid=grid,
            sample_rate_hz=rendition.sample_rate_hz,
            frame_samples=FRAME_SAMPLES[rendition.codec],
        )
    title, id = plan.title, plan.tracks[rendition.id]
    store.put(layout.track_init(title, id), cut.init)
    for segment, body in zip(cut.track.segments, cut.bodies, strict=True):
        store.put(layout.track_segment(title, id, segment.number), bytes(body))
    return replace(cut.track, track=id)


def with_text(presentation: Presentation, *renditions: TextRendition) -> Presentation:
    """Return the presentation with text; all programmes have the same cues."""
    cues = (Cue(1_000, 8_000, "first"), Cue(9_000, 10_000, "second"))
    document = b'<tt xmlns="http://www.w3.org/ns/ttml"><body><div><p end="00:00:08.000">first</p></div></body></tt>'
    tracks = []
    for rendition in renditions:
        packaged = captions.cut(rendition, cues, document, presentation.grid)
        output = codec_string(packaged.init) if packaged.init else "wvtt"
        track = packaged.track
        tracks.append(Track(rendition.id, rendition, output, track.init_bytes, track.timescale, 0, track.segments))
    return replace(presentation, text=tuple(tracks))
