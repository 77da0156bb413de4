"""From receipts to one presentation: every track complete, in order and exactly on the grid.

Nothing is published that has not passed through here.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from headend import layout
from headend.errors import PackagingError
from headend.media import (
    AudioRendition,
    Codec,
    EncodedTrack,
    EncodePlan,
    EncodeTask,
    Presentation,
    Receipt,
    Rendition,
    Segment,
    Sheet,
    TextRendition,
    Track,
    VideoRendition,
    merged,
)
from headend.timing import Grid, timescale
from packager import boxes
from packager.codec_strings import codec_of, codec_string

AnyTrack = Track[VideoRendition] | Track[AudioRendition] | Track[TextRendition]


def assemble(plan: EncodePlan, receipts: Iterable[Receipt], init_of: Callable[[str], bytes]) -> Presentation:
    """Join what the tasks made into the tracks that players see, and check that nothing is missing or off.

    Args:
        plan: What was to be made.
        receipts: What has been made, in any order; those of other tasks are ignored.
        init_of: Gives a rendition's init segment by the rendition's id.

    Returns:
        The presentation, its tracks in the plan's order.

    Raises:
        PackagingError: A task has no receipt, the chunks of a rendition disagree about its init segment, or a track has
            a gap, or more or fewer frames than the grid. The message says where; ``task``, ``rendition`` and
            ``segment``, as far as they apply, are in the facts.
    """
    by_task = _by_task(plan, receipts)
    parts = _parts(plan, by_task)
    pictures = (*plan.video, *plan.trick)
    shapes = {divisor: _video_shape(plan.grid, divisor) for divisor in {r.rate_divisor for r in pictures}}
    seen, audio = [], []
    for picture in pictures:
        track = _join(picture, parts, init_of)
        _check_video(track, plan.grid, shapes[picture.rate_divisor])
        seen.append(track)
    for sound in plan.audio:
        heard = _join(sound, parts, init_of)
        _check_audio(heard, plan.grid)
        audio.append(heard)
    text = [_join(rendition, parts, init_of) for rendition in plan.text]
    for written in text:
        _check_text(written, plan.grid)
    # Captions may be empty to the end, which only reading them tells: nobody should find them in a menu.
    said = {
        t.rendition.programme for t in text if t.rendition.codec is Codec.VTT and any(s.samples for s in t.segments)
    }
    told = tuple(track for track in text if track.rendition.programme in said)
    concealed = (one for task in plan.tasks for one in by_task[task.id].damage)
    return Presentation(
        plan.title,
        plan.release,
        plan.grid,
        video=tuple(seen[: len(plan.video)]),
        audio=tuple(audio),
        trick=tuple(seen[len(plan.video) :]),
        thumbnails=plan.thumbnails,
        sheets=_sheets(plan, by_task),
        text=told,
        damage=merged((*plan.damage, *concealed)),
    )


def all_tracks(presentation: Presentation) -> tuple[AnyTrack, ...]:
    """Video first, then that for trick play, then audio, then text."""
    return (*presentation.video, *presentation.trick, *presentation.audio, *presentation.text)


def presented_ticks(track: AnyTrack) -> tuple[int, ...]:
    """When each segment starts for the viewer and, last, when the track ends, in the track's timescale.

    Decode times count from the first coded sample. The edit list drops the priming at the front of sound, so all that
    follows is presented that much earlier, and the first segment starts at 0 with that much less in it.

    Source:
        ISO/IEC 14496-12, section 8.6.6; ISO/IEC 23009-1, section 7.2.1: presentation time is after the edit list.
    """
    last = track.segments[-1]
    starts = [max(0, segment.start_ticks - track.priming_samples) for segment in track.segments]
    return (*starts, last.start_ticks + last.duration_ticks - track.priming_samples)


def _by_task(plan: EncodePlan, receipts: Iterable[Receipt]) -> dict[str, Receipt]:
    by_task = {receipt.task: receipt for receipt in receipts}
    missing = [task for task in plan.tasks if task.id not in by_task]
    if missing:
        raise PackagingError(
            f"{len(missing)} of {len(plan.tasks)} tasks have no receipt, such as {missing[0].id}; "
            "submit the master again to have them done",
            task=missing[0].id,
        )
    return by_task


def _parts(plan: EncodePlan, by_task: Mapping[str, Receipt]) -> dict[str, list[tuple[EncodeTask, EncodedTrack]]]:
    """What was made of each rendition, in the order of the chunks."""
    parts: dict[str, list[tuple[EncodeTask, EncodedTrack]]] = {}
    for task in sorted(plan.tasks, key=lambda task: task.chunk.number):
        made = {track.rendition: track for track in by_task[task.id].tracks}
        if made.keys() != set(task.renditions):
            raise PackagingError(f"the receipt of task {task.id} is not for the renditions of that task", task=task.id)
        for rendition in task.renditions:
            parts.setdefault(rendition, []).append((task, made[rendition]))
    return parts


def _sheets(plan: EncodePlan, by_task: Mapping[str, Receipt]) -> tuple[Sheet, ...]:
    """All sheets of thumbnails, in order: each made by one task, and none missing."""
    if plan.thumbnails is None:
        return ()
    for task in plan.tasks:
        if tuple(sheet.number for sheet in by_task[task.id].sheets) != task.sheets:
            raise PackagingError(f"the receipt of task {task.id} is not for its sheets of thumbnails", task=task.id)
    found = sorted((s for task in plan.tasks for s in by_task[task.id].sheets), key=lambda sheet: sheet.number)
    wanted = plan.thumbnails.sheet_numbers(0, plan.grid.frame_count)
    if tuple(sheet.number for sheet in found) != wanted:
        raise PackagingError(
            f"the plan's tasks make {len(found)} sheets of thumbnails, not {len(wanted)}", rendition=layout.THUMBNAILS
        )
    return tuple(found)


def _join(
    rendition: Rendition, parts: dict[str, list[tuple[EncodeTask, EncodedTrack]]], init_of: Callable[[str], bytes]
) -> Track[Rendition]:
    if rendition.id not in parts:
        raise PackagingError(f"{rendition.id}: no task of the plan makes it", rendition=rendition.id)
    (first_task, first), *others = parts[rendition.id]
    for task, track in others:
        if _init_facts(track) != _init_facts(first):
            raise PackagingError(
                f"{rendition.id}: chunk {task.chunk.number} was made for another init segment than chunk "
                f"{first_task.chunk.number}; delete its receipt and submit again",
                rendition=rendition.id,
                task=task.id,
            )
    init = init_of(rendition.id) if first.init_bytes else b""
    if (hashlib.sha256(init).hexdigest(), len(init)) != (first.init_sha256, first.init_bytes):
        raise PackagingError(f"{rendition.id}: its init segment is not the one in the receipts", rendition=rendition.id)
    said = (
        f"{codec_of(init)} at {boxes.timescale(init)} ticks/s" if init else f"{Codec.VTT} at {first.timescale} ticks/s"
    )
    wanted = f"{rendition.codec} at {first.timescale} ticks/s"
    if isinstance(rendition, VideoRendition):
        said += " in {}x{}".format(*_picture_size(init))
        wanted += f" in {rendition.width_px}x{rendition.height_px}"
    if said != wanted:
        raise PackagingError(f"{rendition.id}: its init segment is for {said}, not {wanted}", rendition=rendition.id)
    return Track(
        rendition=rendition,
        # Files of WebVTT have no sample entry; this is what its samples are called.
        codec_string=codec_string(init) if init else "wvtt",
        init_bytes=first.init_bytes,
        timescale=first.timescale,
        priming_samples=first.priming_samples,
        segments=tuple(segment for _, track in parts[rendition.id] for segment in track.segments),
        loudness=first.loudness,
    )


def _picture_size(init: bytes) -> tuple[int, int]:
    """Width and height of VisualSampleEntry (ISO/IEC 14496-12, section 12.1.3)."""
    width_px, height_px = struct.unpack_from(">HH", init, boxes.sample_entry(init).body + 24)
    return width_px, height_px


def _init_facts(track: EncodedTrack) -> tuple[str, int, int, int]:
    return track.init_sha256, track.init_bytes, track.timescale, track.priming_samples


_SHAPE = ("number", "start_ticks", "duration_ticks", "samples", "sync frames")


def _video_shape(grid: Grid, rate_divisor: int) -> tuple[tuple[int, ...], ...]:
    """What the grid wants of each segment, in the order of `_SHAPE`."""
    frame_ticks = timescale(grid.frame_rate).frame_ticks
    shape = []
    for number, (first, end) in enumerate(pairwise(grid.segment_bounds()), start=1):
        frames = -(-(end - first) // rate_divisor)
        shown = end - first if rate_divisor == grid.gop_frames else frames * rate_divisor
        gops = -(-(end - first) // grid.gop_frames)
        shape.append((number, first * frame_ticks, shown * frame_ticks, frames, gops))
    return tuple(shape)


def _check_video(track: Track[VideoRendition], grid: Grid, shape: Sequence[tuple[int, ...]]) -> None:
    _check_timescale(track, timescale(grid.frame_rate).ticks_per_second)
    for segment, wanted in zip(track.segments, shape, strict=False):  # the first that is off tells more than a count
        made = (segment.number, segment.start_ticks, segment.duration_ticks, segment.samples, len(segment.sync))
        if made != wanted:
            wrong = (f"{n} is {m}, not {w}" for n, m, w in zip(_SHAPE, made, wanted, strict=True) if m != w)
            raise _off(track, segment, "; ".join(wrong))
    _check_count(track, grid)


def _check_audio(track: Track[AudioRendition], grid: Grid) -> None:
    _check_timescale(track, track.rendition.sample_rate_hz)
    at = 0
    for number, segment in enumerate(track.segments, start=1):
        if (segment.number, segment.start_ticks) != (number, at):
            raise _off(track, segment, f"it should be number {number} and start at {at}, not {segment.start_ticks}")
        at += segment.duration_ticks
    _check_count(track, grid)
    wanted = round(grid.duration_s * track.timescale) + track.priming_samples
    if at != wanted:
        raise _off(track, track.segments[-1], f"the sound ends at {at}, but the picture at {wanted}")


def _check_text(track: Track[TextRendition], grid: Grid) -> None:
    frame_ticks = timescale(grid.frame_rate).frame_ticks
    _check_timescale(track, timescale(grid.frame_rate).ticks_per_second)
    for number, ((first, end), segment) in enumerate(
        zip(pairwise(grid.segment_bounds()), track.segments, strict=False), 1
    ):
        wanted = (number, first * frame_ticks, (end - first) * frame_ticks)
        if (segment.number, segment.start_ticks, segment.duration_ticks) != wanted:
            raise _off(track, segment, "it should be number {}, start at {} and last {}".format(*wanted))
    _check_count(track, grid)


def _check_timescale(track: AnyTrack, wanted: int) -> None:
    if track.timescale != wanted:
        raise PackagingError(
            f"{track.rendition.id}: {track.timescale} ticks/s, not {wanted}", rendition=track.rendition.id
        )


def _check_count(track: AnyTrack, grid: Grid) -> None:
    if len(track.segments) != grid.segment_count:
        raise PackagingError(
            f"{track.rendition.id}: {len(track.segments)} segments, not {grid.segment_count}",
            rendition=track.rendition.id,
        )


def _off(track: AnyTrack, segment: Segment, what: str) -> PackagingError:
    return PackagingError(
        f"{track.rendition.id}: segment {segment.number} is not on the grid: {what}",
        rendition=track.rendition.id,
        segment=segment.number,
    )
