"""Holding segments above a floor: a chunk that looks too bad is encoded once more, with a lower constant rate factor.

A worker measures what it has encoded before anything is stored. So there is nothing to replace: a job that is killed
does the task again, and comes to the same bytes. What becomes of a chunk depends on its own rendition alone, so that
every grouping of renditions gives the same bytes.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import encoding, reencoding
from headend.core.media import EncodeTask
from headend.core.media.quality import Floor, Lift, Measurement, MeasureTask, TrackQuality

AT_CAP = 0.9
"""From this share of its cap on, more bits can't help a segment."""

Encode = Callable[[EncodeTask, Path], None]
"""Carries out a task in a scratch folder, and keeps what it makes below its caps."""
Measure = Callable[[MeasureTask, Mapping[str, Path]], Measurement]
"""Measures files of renditions, by their ids."""
AtCap = Callable[[str, Path], Collection[int]]
"""Numbers of the segments of a rendition's file that are at their cap."""


def lift(task: EncodeTask, scratch: Path, *, encode: Encode, measure: Measure, at_cap: AtCap) -> list[Measurement]:
    """Encode the renditions of a task again that look worse than its floor, in the files that it has left.

    A rendition is encoded again if its worst segment is below the floor and not at its cap. The new file takes the
    place of the first one if its worst segment looks better. Nothing is encoded a third time.

    Args:
        task: A task of video that was carried out.
        scratch: The folder with its outputs.
        encode: Carries out a task that is derived from this one.
        measure: Measures what was encoded.
        at_cap: Tells which segments more bits can't help.

    Returns:
        How the task's SDR renditions look in the end; nothing without a floor.

    Raises:
        ToolFailed: FFmpeg failed.
    """
    floor = task.floor
    if floor is None:
        return []
    found = [measure(check, _files(check, scratch)) for check in floor.checks]
    low = _low(floor, found, scratch, at_cap)
    if not low:
        return found
    with TemporaryDirectory(prefix="floor-", dir=scratch) as name:
        folder = Path(name)
        argv = reencoding.encode_finer(task.argv, low)
        encode(replace(task, renditions=tuple(low), argv=argv, sheets=(), posters=(), floor=None), folder)
        made = []
        for check, before in zip(floor.checks, found, strict=True):
            again = tuple(subject for subject in check.subjects if subject.rendition in low)
            if not again:
                made.append(before)
                continue
            narrowed = replace(check, subjects=again)
            after = measure(narrowed, _files(narrowed, folder))
            lifted = _lifted(task.chunk.number, before, after)
            for subject in again:
                if subject.track in lifted:
                    encoding.output(folder, subject.rendition).replace(encoding.output(scratch, subject.rendition))
            made.append(
                replace(
                    before,
                    tracks=tuple(lifted.get(track.track, track) for track in before.tracks),
                    cpu_s=before.cpu_s + after.cpu_s,
                    wall_s=before.wall_s + after.wall_s,
                )
            )
    return made


@dataclass(frozen=True, slots=True)
class _Worst:
    number: int
    mean: float


def _worst(track: TrackQuality) -> _Worst | None:
    worst = min(track.segments, key=lambda segment: segment.mean, default=None)
    return _Worst(worst.number, worst.mean) if worst else None


def _files(check: MeasureTask, folder: Path) -> dict[str, Path]:
    return {subject.rendition: encoding.output(folder, subject.rendition) for subject in check.subjects}


def _low(floor: Floor, found: list[Measurement], scratch: Path, at_cap: AtCap) -> list[str]:
    """The renditions whose worst segment is below the floor, and may have more bits."""
    renditions = {subject.track: subject.rendition for check in floor.checks for subject in check.subjects}
    low = []
    for track in (track for measurement in found for track in measurement.tracks):
        worst, rendition = _worst(track), renditions[track.track]
        if worst is None or worst.mean >= floor.vmaf:
            continue
        if worst.number not in at_cap(rendition, encoding.output(scratch, rendition)):
            low.append(rendition)
    return low


def _lifted(chunk: int, before: Measurement, after: Measurement) -> dict[str, TrackQuality]:
    """The tracks that look better now, by their ids."""
    were = {track.track: _worst(track) for track in before.tracks}
    lifted = {}
    for track in after.tracks:
        was, now = were[track.track], _worst(track)
        if was is not None and now is not None and now.mean > was.mean:
            lifted[track.track] = replace(track, lifts=(Lift(chunk, was.number, was.mean, now.mean),))
    return lifted
