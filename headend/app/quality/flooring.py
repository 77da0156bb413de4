"""Keeping segments above a quality floor: a chunk below it is encoded once more, with a lower constant rate factor.

A worker measures its output before it stores anything, so nothing in the store has to be replaced, and a killed task
gives the same bytes when it is repeated. The outcome depends on the rendition and chunk alone, so that every grouping
of renditions gives the same bytes.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import encoding, reencoding
from headend.core.media import EncodeTask
from headend.core.media.quality import Floor, Lift, Measurement, MeasureTask, TrackQuality

AT_CAP = 0.9
"""A segment at or above this share of its cap can't be given more bits."""

Encode = Callable[[EncodeTask, Path], None]
"""Carries out a task in a scratch folder, and keeps its output below the caps."""
Measure = Callable[[MeasureTask, Mapping[str, Path]], Measurement]
"""Measures encoded files, given by rendition id."""
AtCap = Callable[[str, Path], Collection[int]]
"""Returns the numbers of the segments in a rendition's file that are at their cap."""


def lift(task: EncodeTask, scratch: Path, *, encode: Encode, measure: Measure, at_cap: AtCap) -> list[Measurement]:
    """Encode renditions of a finished task again that are below its floor.

    A rendition is encoded again if its worst segment is below the floor and not at its cap. The new file replaces the
    first one if its worst segment has a better score. Nothing is encoded a third time.

    Args:
        task: A finished video task.
        scratch: The folder with its outputs.
        encode: Carries out a task that is derived from this one.
        measure: Measures encoded files.
        at_cap: Returns the segments that can't be given more bits.

    Returns:
        The final measurements of the task's SDR renditions; empty without a floor.

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
        results = []
        for check, before in zip(floor.checks, found, strict=True):
            again = tuple(subject for subject in check.subjects if subject.rendition in low)
            if not again:
                results.append(before)
                continue
            narrowed = replace(check, subjects=again)
            after = measure(narrowed, _files(narrowed, folder))
            lifted = _lifted(task.chunk.number, before, after)
            for subject in again:
                if subject.track in lifted:
                    encoding.output(folder, subject.rendition).replace(encoding.output(scratch, subject.rendition))
            results.append(
                replace(
                    before,
                    tracks=tuple(lifted.get(track.track, track) for track in before.tracks),
                    cpu_s=before.cpu_s + after.cpu_s,
                    wall_s=before.wall_s + after.wall_s,
                )
            )
    return results


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
    """Return the renditions whose worst segment is below the floor and can be given more bits."""
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
    """Return the new quality of tracks whose worst segment has improved, by their ids."""
    were = {track.track: _worst(track) for track in before.tracks}
    lifted = {}
    for track in after.tracks:
        was, now = were[track.track], _worst(track)
        if was is not None and now is not None and now.mean > was.mean:
            lifted[track.track] = replace(track, lifts=(Lift(chunk, was.number, was.mean, now.mean),))
    return lifted
