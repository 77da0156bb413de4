"""Carrying out a measuring task on a worker: compare segments from the store with the master, and write the result.

The result is one document, written at the end. A task that is killed leaves nothing behind and is repeated.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import mean

from encoder import cluster, measuring, picture_faults
from encoder.command import MASTER
from encoder.measuring import Measured, Picture, Shown
from encoder.picture_faults import Timing
from headend.app import task_master
from headend.core import documents, layout
from headend.core.errors import ToolFailed
from headend.core.keys import ContentKey
from headend.core.media import Master, TrackKeys
from headend.core.media.quality import Measurement, MeasureTask, SegmentQuality, TrackQuality
from headend.core.settings import StoreSettings
from headend.core.storage import Store
from headend.core.timing import Grid
from packager.encrypted_tracks import init_of_period

DIGITS = 2


def score(
    run: cluster.TaskRun,
    store: Store,
    settings: StoreSettings,
    master: Master,
    grid: Grid,
    keys: Mapping[str, ContentKey] | None = None,
) -> Measurement:
    """Carry out a measuring task.

    Args:
        run: The task, and its callbacks.
        store: The store with the segments, which also gets the result.
        settings: The store's settings, which also name the master's S3 endpoint.
        master: The master.
        grid: Segment boundaries.
        keys: The keys of encrypted tracks, by their ids.

    Returns:
        The measurement, which is also in the store.

    Raises:
        HeadendError: The task failed.
    """
    started_s = time.monotonic()
    task: MeasureTask = run.task
    with task_master.opened(master, settings, run) as (scratch, source):
        paths = {subject.rendition: scratch / f"{subject.rendition}.mp4" for subject in task.subjects}
        for subject in task.subjects:
            fetch(store, task.title, subject.track, task.segments, paths[subject.rendition], subject.keys, keys)
        try:
            measured = compare(task, paths, source.url, run.cancelled, run.on_frames)
        except ToolFailed:
            if (failure := source.failure()) is not None:  # FFmpeg saw only an early end of the master
                raise failure from None
            raise
    found = found_by(task, measured, grid, attempt=run.attempt, worker=run.worker, wall_s=time.monotonic() - started_s)
    store.put(layout.measurement(task.title, task.id), documents.write(found))
    return found


def found_by(
    task: MeasureTask, measured: Measured, grid: Grid, *, attempt: int, worker: str, wall_s: float
) -> Measurement:
    """Make a measurement from the result of a comparison.

    Args:
        task: The task.
        measured: Its scores and small pictures.
        grid: Segment boundaries.
        attempt: Number of the attempt, from 1.
        worker: The worker's address.
        wall_s: Duration in seconds.
    """
    return Measurement(
        task=task.id,
        segments=task.segments,
        model=task.viewing.model,
        every=task.every,
        tone_mapped=task.tone_mapped,
        tracks=tuple(_tracks(task, measured, grid)),
        master=picture_faults.of_master(measured.small[0], _timing(task, grid, 1)),
        attempt=attempt,
        worker=worker,
        cpu_s=measured.cpu_s,
        wall_s=wall_s,
    )


def compare(
    task: MeasureTask,
    paths: Mapping[str, Path],
    url: str,
    cancelled: Callable[[], bool] = lambda: False,
    on_frames: Callable[[int], None] = lambda _: None,
) -> Measured:
    """Compare the renditions of a task with its master.

    Args:
        task: The task.
        paths: Files with the task's segments of each rendition, by its id.
        url: The master, as FFmpeg opens it.
        cancelled: Returns true once the task is cancelled.
        on_frames: Called with the number of frames done.
    """
    shown = []
    for subject in task.subjects:
        skipped = task.skipped_frames // subject.rate_divisor
        picture = Picture((("-i", str(paths[subject.rendition])),), task.rendition_filters, skipped=skipped)
        shown.append(Shown(picture, subject.width_px, subject.height_px, subject.bit_depth, subject.rate_divisor))
    opening = tuple(url if word == MASTER else word for word in task.opening)
    return measuring.measure(
        Picture((opening,), task.master_filters, task.frames),
        shown,
        task.viewing,
        task.end_frame - task.first_frame,
        every=task.every,
        small=True,
        cancelled=cancelled,
        on_frames=on_frames,
    )


def fetch(
    store: Store,
    title: str,
    track: str,
    segments: Sequence[int],
    path: Path,
    track_keys: TrackKeys | None = None,
    keys: Mapping[str, ContentKey] | None = None,
) -> None:
    """Write segments of a track to a file that a decoder can open.

    Args:
        store: The store with the title.
        title: Catalogue entry.
        track: The track's id.
        segments: Segment numbers.
        path: The file.
        track_keys: Key names of an encrypted track, whose segments are decrypted; None for a clear track.
        keys: The keys, by their ids.
    """
    init = store.get(layout.track_init(title, track))
    with path.open("wb") as file:
        for index, number in enumerate(segments):
            segment, clear = store.get(layout.track_segment(title, track, number)), init
            if track_keys is not None and keys:
                from packager.decrypting import decrypted

                key = keys[track_keys.name(number).kid]
                clear, segment = decrypted(init_of_period(init, key.name), segment, key)
            file.write(segment if index else clear + segment)


def _timing(task: MeasureTask, grid: Grid, divisor: int) -> Timing:
    return Timing(task.first_frame, task.end_frame, task.every * divisor, grid.frame_rate, divisor)


def _tracks(task: MeasureTask, measured: Measured, grid: Grid) -> list[TrackQuality]:
    bounds = grid.segment_bounds()
    master, *others = measured.small
    found = []
    for subject, scores, pictures in zip(task.subjects, measured.scores, others, strict=True):
        timing = _timing(task, grid, subject.rate_divisor)
        frames = [task.first_frame + index * timing.step_frames for index in range(len(scores))]
        faults = picture_faults.of_rendition(
            pictures, master.thinned(subject.rate_divisor), timing, toned=task.tone_mapped
        )
        scored = list(zip(frames, scores, strict=True))
        is_part = task.end_frame - task.first_frame < bounds[task.segments[-1]] - bounds[task.segments[0] - 1]
        if is_part and len(scored) > 1:
            # VMAF's motion feature is missing for the first frame, which matters in a short stretch.
            scored = scored[1:]
        segments = [
            _segment(number, bounds[number - 1], scored, bounds[number], grid.frame_rate, is_part=is_part)
            for number in task.segments
        ]
        found.append(
            TrackQuality(
                subject.track,
                tuple(segment for segment in segments if segment is not None),
                lifts=(),
                **faults.by_kind(),
            )
        )
    return found


def _segment(
    number: int, first: int, scored: Sequence[tuple[int, float]], end: int, rate: Fraction, *, is_part: bool
) -> SegmentQuality | None:
    """Sum up the scores of a segment's frames; None if no frame of it was measured."""
    here = [(frame, score) for frame, score in scored if first <= frame < end]
    if not here:
        return None
    count = max(1, round((end - first) / rate))
    borders = [first + (end - first) * index / count for index in range(count)]
    seconds = [
        [score for frame, score in here if low <= frame < high] for low, high in pairwise((*borders, float(end)))
    ]
    worst_frame, worst = min(here, key=lambda each: each[1])
    return SegmentQuality(
        number=number,
        mean=round(mean(score for _, score in here), DIGITS),
        worst=round(worst, DIGITS),
        worst_frame=worst_frame,
        seconds=tuple(round(mean(second), DIGITS) for second in seconds if second),
        frames=len(here),
        is_part=is_part,
    )
