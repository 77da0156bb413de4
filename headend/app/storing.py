"""Cutting a task's output into segments, and writing them to the store."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import chain
from mmap import ACCESS_READ, mmap
from pathlib import Path

from encoder import encoding, text
from headend.app.task_context import TaskContext
from headend.core import layout
from headend.core.errors import ChunkRejected
from headend.core.media import EncodedTrack, EncodeTask, Kind, Loudness, Segment
from headend.core.storage import Store
from headend.core.timing import timescale
from packager import captions
from packager.segmenting.cut import Cut, cut_of
from packager.segmenting.protection import Clear, Protect
from packager.segmenting.sound import cut_audio
from packager.segmenting.video import cut_video

UPLOADS = 4
"""Segments of a task that are written to the store in parallel, to hide the latency of S3."""

Seals = Mapping[str, tuple[tuple[str, Protect], ...]]
"""The tracks of each encrypted rendition, and how each is encrypted."""


@dataclass(frozen=True, slots=True)
class TrackWriter:
    """Writes a task's output to the store, as segments of tracks.

    Attributes:
        context: What all tasks of the plan have in common.
        store: Where segments go.
        seals: How the task's renditions are encrypted; empty for a clear title.
    """

    context: TaskContext
    store: Store
    seals: Seals = field(default_factory=dict)

    def write(self, task: EncodeTask, loudness: Sequence[Loudness], scratch: Path) -> Iterator[EncodedTrack]:
        """Write a task's tracks; yield each one once all of its segments are in the store."""
        context = self.context
        cuts = (
            _cut_text(context, task, scratch)
            if task.kind is Kind.TEXT
            else _cut_all(context, task, loudness, scratch, self.seals)
        )
        pictures = chain(_cut_sheets(context, task, scratch), _cut_stills(task, scratch))
        with ThreadPoolExecutor(UPLOADS) as pool:
            for cut in chain(pictures, cuts):
                track = cut.track.track or context.tracks[cut.track.rendition]
                if task.chunk.number == 0 and cut.init:
                    for period, init in enumerate((cut.init, *cut.later_inits), start=1):
                        self.store.put(layout.track_init(context.title, track, period), init)
                # Segments are read as uploads finish: a chunk may be a whole film, which doesn't fit into memory.
                uploads: set[Future[None]] = set()
                numbers = [segment.number for segment in cut.track.segments]
                keys = (layout.track_segment(context.title, track, number) for number in numbers)
                for key, body in zip(keys, cut.bodies, strict=True):
                    if len(uploads) == UPLOADS:
                        finished, uploads = wait(uploads, return_when=FIRST_COMPLETED)
                        for upload in finished:
                            upload.result()
                    uploads.add(pool.submit(self.store.put, key, body))
                for upload in uploads:
                    upload.result()
                yield replace(cut.track, track=track)


def cut_rendition(
    context: TaskContext,
    task: EncodeTask,
    rendition: str,
    loudness: Loudness | None,
    data: memoryview,
    protect: Protect = Clear,
) -> Cut:
    """Cut an encoded rendition of a task into segments.

    Args:
        context: What all tasks of the plan have in common.
        task: The task.
        rendition: The rendition's id.
        loudness: Measured loudness of sound; None for picture.
        data: The encoded file.
        protect: How the segments are encrypted.
    """
    if task.kind is Kind.AUDIO:
        return cut_audio(
            data,
            rendition=rendition,
            grid=context.grid,
            sample_rate_hz=context.sample_rate_hz,
            frame_samples=context.frame_samples[rendition],
            loudness=loudness,
            protect=protect,
        )
    return cut_video(
        data,
        rendition=rendition,
        grid=context.grid,
        chunk=task.chunk,
        rate_divisor=context.divisors.get(rendition, 1),
        vp9_level=context.vp9_levels.get(rendition),
        protect=protect,
    )


def _cut_all(
    context: TaskContext, task: EncodeTask, loudness: Sequence[Loudness], scratch: Path, seals: Seals
) -> Iterator[Cut]:
    by_layout = {measured.layout: measured for measured in loudness}
    layouts = task.loudness_target.layouts if task.loudness_target else ()
    by_rendition = {id: by_layout[layout] for id, layout in zip(task.renditions, layouts, strict=False)}
    for rendition in task.renditions:
        path = encoding.output(scratch, rendition)
        if not path.exists() or not path.stat().st_size:
            raise ChunkRejected(f"{rendition}: the encoder wrote nothing")
        with path.open("rb") as file:
            data = mmap(file.fileno(), 0, access=ACCESS_READ)
        path.unlink()
        for track, protect in seals.get(rendition, (("", Clear),)):
            cut = cut_rendition(context, task, rendition, by_rendition.get(rendition), memoryview(data), protect)
            yield replace(cut, track=replace(cut.track, track=track))


def _cut_text(context: TaskContext, task: EncodeTask, scratch: Path) -> Iterator[Cut]:
    for track in task.text:
        cues, document = text.read(track, scratch, start_s=task.start_s, duration_s=context.grid.duration_s)
        for rendition in context.text:
            if rendition.programme == track.number and rendition.id in task.renditions:
                yield captions.cut(rendition, cues, document, context.grid)


def _cut_sheets(context: TaskContext, task: EncodeTask, scratch: Path) -> Iterator[Cut]:
    """Yield the sheets of thumbnails as segments of their track."""
    thumbnails = context.thumbnails
    if not task.sheets or thumbnails is None:
        return
    sheet_count = len({*scratch.glob(f"{layout.THUMBNAILS}-*{layout.SHEET_SUFFIX}")} - {encoding.sheet(scratch, 0)})
    if sheet_count != len(task.sheets):
        raise ChunkRejected(
            f"chunk {task.chunk.number} gave {sheet_count} sheets of thumbnails instead of {len(task.sheets)}"
        )
    ticks = timescale(context.grid.frame_rate)

    def duration_ticks(number: int) -> int:
        first_frame = (number - 1) * thumbnails.sheet_frames
        frames = min(first_frame + thumbnails.sheet_frames, context.grid.frame_count) - first_frame
        return frames * ticks.frame_ticks

    starts = {number: (number - 1) * thumbnails.sheet_frames * ticks.frame_ticks for number in task.sheets}
    paths = {number: encoding.sheet(scratch, index) for index, number in enumerate(task.sheets, start=1)}
    yield _pictures(thumbnails.id, paths, {n: (starts[n], duration_ticks(n)) for n in paths}, ticks.ticks_per_second)


def _cut_stills(task: EncodeTask, scratch: Path) -> Iterator[Cut]:
    """Yield the poster's candidates as segments of their track; their numbers stand in for times."""
    if not task.posters:
        return
    paths = {number: encoding.still(scratch, index) for index, number in enumerate(task.posters, start=1)}
    if missing := [number for number, path in paths.items() if not path.exists()]:
        raise ChunkRejected(f"chunk {task.chunk.number} did not give candidate {missing[0]} for the poster")
    yield _pictures(layout.POSTER, paths, {number: (number - 1, 1) for number in paths}, 1)


def _pictures(
    rendition: str, paths: Mapping[int, Path], times: Mapping[int, tuple[int, int]], ticks_per_second: int
) -> Cut:
    bodies = {number: path.read_bytes() for number, path in paths.items()}
    segments = [
        Segment(number, *times[number], 1, len(body), hashlib.sha256(body).hexdigest())
        for number, body in bodies.items()
    ]
    return cut_of(rendition, b"", list(bodies.values()), segments, ticks_per_second, priming_samples=0)
