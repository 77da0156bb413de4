"""From what was probed and fitted to everything that will be done: pure, so that a plan can be looked at first."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import groupby

from encoder import seeking
from encoder import text as programmes_of_text
from encoder.command import Look, VideoCommands
from encoder.conforming import Conformed
from encoder.costs import Costs, Pricing, measured
from encoder.grouping import Group, arrange
from encoder.sound.command import audio_command, levelling
from encoder.trick_play import lay_thumbnails, tell, trick_renditions
from headend import documents
from headend.errors import ConfigError, MasterError
from headend.media import (
    AudioRendition,
    AudioTrack,
    Codec,
    Colour,
    Damage,
    EncodePlan,
    EncodeTask,
    Kind,
    Levelling,
    Master,
    Probe,
    Reading,
    TextRendition,
    TextTrack,
    Thumbnails,
    VideoRendition,
    VideoTrack,
)
from headend.settings import EncodeSettings
from headend.timing import Chunk, Grid, lay_grid

DIGEST_CHARACTERS = 20
"""80 bits: no two tasks of a store collide."""
EARLY = frozenset({Codec.AVC, Codec.AAC})
"""What every player takes: enough for a first release."""


def plan(
    title: str,
    probe: Probe,
    conformed: Conformed,
    *,
    ladder: str,
    video: tuple[VideoRendition, ...],
    audio: tuple[AudioRendition, ...],
    decisions: tuple[str, ...],
    settings: EncodeSettings,
    tool: str,
    workers: int,
    slot_bytes: int | None = None,
    early: bool = False,
    costs: Costs | None = None,
    text: tuple[TextTrack, ...] = (),
    missing: tuple[Damage, ...] = (),
) -> EncodePlan:
    """Plan a title.

    Args:
        title: Catalogue entry.
        probe: The master.
        conformed: Its picture on the grid.
        ladder: Name of the ladder that was fitted.
        video: Its video renditions for this master.
        audio: Its audio renditions for this master.
        decisions: Why they are what they are.
        settings: What a person may choose.
        tool: FFmpeg's version line.
        workers: How many tasks run at once. This and all that follows decides only how a chunk's renditions are
            grouped, and which go first.
        slot_bytes: Memory for each task; None for no limit.
        early: Whether H.264 and AAC are tasks of their own, before all others.
        costs: What encoding costs; None for what came with the installation.
        text: The programmes of text.
        missing: Frames that the master's index misses, and that are made up for.

    Returns:
        The plan; its release id depends on everything down to ``tool``.

    Raises:
        MasterError: A programme of sound has channels that can't be mixed.
        ConfigError: The segment or chunk length is out of range.
    """
    track = conformed.track
    grid = lay_grid(
        conformed.frame_rate,
        conformed.frame_count,
        segment_s=settings.segment_s,
        chunk_s=settings.chunk_s,
        gop_multiple=conformed.gop_multiple,
    )
    colour, _ = complete_colour(track)
    look = Look(conformed, colour)
    commands = VideoCommands(probe.master, look, grid, settings.effort)
    chunks = seeking.joined(grid.chunks(), conformed)
    trick: tuple[VideoRendition, ...] = ()
    thumbnails = None
    if settings.thumbnails:
        trick, thumbnails = trick_renditions(video, grid), lay_thumbnails(video[0], grid)
        decisions = (*decisions, *tell(trick, thumbnails, grid))
    by_index = {programme.index: programme for programme in probe.audio}
    mended, compressed = conformed.mended, settings.compressed
    sound = {
        members: (
            audio_command(*place, mended=mended, compressed=compressed),
            levelling(*place, settings.loudness_lufs, mended=mended, compressed=compressed),
        )
        for index, members in _programmes(audio)
        for place in [(probe.master, by_index[index], grid, track.start_s, members)]
    }
    written = programmes_of_text.renditions(text)
    read_together = {
        members: programmes_of_text.command(probe.master, members) for members in programmes_of_text.grouped(text)
    }
    release = _digest(
        {
            "master": probe.master.digest,
            "renditions": [documents.as_plain(rendition) for rendition in (*video, *audio)],
            "grid": documents.as_plain(grid),
            "tool": tool,
            # All that the encoders are told, whatever the grouping: other options are another release.
            "commands": [
                commands.of(chunks[0], (*video, *trick), thumbnails),
                *documents.as_plain(tuple(sound.values())),
            ],
            # Sidecars are known by their bytes, wherever they lie.
            "text": [
                documents.as_plain(written),
                *(
                    [argv, *(f"{t.sidecar.digest} {t.start_s}" for t in members if t.sidecar)]
                    for members, argv in read_together.items()
                ),
            ],
        }
    )
    costs = costs or measured()
    pricing = Pricing(costs, conformed, settings.effort)
    whole = Chunk(0, 0, grid.frame_count, 1)
    tasks = [
        _task(
            probe.master,
            tool,
            Kind.AUDIO,
            whole,
            tuple(rendition.id for rendition in members),
            command,
            costs.audio_s(members, float(grid.duration_s)),
            costs.audio_bytes(),
            _heard(by_index[members[0].track_index], grid, track),
            levels,
        )
        for members, (command, levels) in sound.items()
    ]
    tasks += [
        _text_task(probe.master, tool, whole, members, argv, written, track.start_s, pricing)
        for members, argv in read_together.items()
    ]

    def video_task(chunk: Chunk, members: Group, sheets: Thumbnails | None = None) -> EncodeTask:
        return _task(
            probe.master,
            tool,
            Kind.VIDEO,
            chunk,
            tuple(rendition.id for rendition in members),
            commands.of(chunk, members, sheets),
            pricing.video_s(members, chunk.frame_count),
            pricing.video_bytes(members),
            (_seen(conformed, chunk),),
            sheets=sheets.sheet_numbers(chunk.first_frame, chunk.end_frame) if sheets else (),
        )

    for number, wave in enumerate(_waves(video) if early else (video,)):
        arranged = arrange(
            wave, chunks, pricing, workers=workers, slot_bytes=slot_bytes, beside_s=[task.cost for task in tasks]
        )
        for chunk, groups in zip(chunks, arranged, strict=True):
            # Beside the least of each wave, which decodes the chunk's frames anyway; thumbnails go first.
            *others, least = sorted(groups, key=lambda group: -pricing.video_s(group, chunk.frame_count))
            winding = tuple(r for r in trick if any(r.codec is kin.codec for kin in wave))
            tasks += [video_task(chunk, members) for members in others]
            tasks.append(video_task(chunk, (*least, *winding), thumbnails if number == 0 else None))
    urgent = early_renditions((*video, *trick), audio) | {r.id for r in written} if early else frozenset()
    return EncodePlan(
        title=title,
        release=release,
        master=probe.master,
        ladder=ladder,
        effort=settings.effort,
        tool=tool,
        grid=grid,
        decisions=(*told(conformed), *filter(None, [seeking.tell(chunks, grid, conformed)]), *decisions),
        video=video,
        audio=audio,
        tasks=tuple(sorted(tasks, key=lambda task: (urgent.isdisjoint(task.renditions), -task.cost))),
        trick=trick,
        thumbnails=thumbnails,
        text=written,
        light=look.light,
        allow_damaged=conformed.mended,
        damage=missing,
    )


def told(conformed: Conformed) -> tuple[str, ...]:
    """What is decided of a master's picture before a ladder is fitted to it, one line each."""
    return *conformed.decisions, *complete_colour(conformed.track)[1]


def early_renditions(video: Iterable[VideoRendition], audio: Iterable[AudioRendition]) -> frozenset[str]:
    """Ids of the renditions that make a first release."""
    return frozenset(r.id for group in (video, audio) for r in group if r.codec in EARLY)


def first_release(plan: EncodePlan) -> EncodePlan | None:
    """The part of a plan that can be published before the rest.

    Returns:
        The tasks that make its H.264, AAC and text, and these renditions, as a release of its own; None if they are
        not there before all is, since they share their tasks with the rest or are all there is.

    Raises:
        ConfigError: The plan has no H.264, or sound but no AAC.
    """
    wanted = early_renditions((*plan.video, *plan.trick), plan.audio)
    video = tuple(rendition for rendition in plan.video if rendition.id in wanted)
    audio = tuple(rendition for rendition in plan.audio if rendition.id in wanted)
    if not video or (plan.audio and not audio):
        raise ConfigError(
            f"an early release is made of H.264 and AAC, but ladder {plan.ladder!r} has no "
            f"{'AAC' if video else 'H.264'}: choose another ladder, or publish all at once"
        )
    trick = tuple(rendition for rendition in plan.trick if rendition.id in wanted)
    wanted |= {rendition.id for rendition in plan.text}
    tasks = tuple(task for task in plan.tasks if not wanted.isdisjoint(task.renditions))
    if len(tasks) == len(plan.tasks):
        return None
    return replace(
        plan,
        release=_digest({"release": plan.release, "renditions": sorted(wanted)}),
        video=video,
        audio=audio,
        tasks=tasks,
        trick=trick,
    )


def usable(probe: Probe) -> VideoTrack:
    """Return the master's picture.

    Raises:
        MasterError: There is none.
    """
    if probe.video is None or not probe.video.frame_count:
        raise MasterError(f"{probe.master.url} has no video stream: headend encodes films")
    return probe.video


def complete_colour(track: VideoTrack) -> tuple[Colour, tuple[str, ...]]:
    """Fill in what the master does not say of its colour.

    Returns:
        The colour, and one line for what had to be assumed.

    Source:
        The usual reading of untagged material: BT.709 from 720 lines up, else BT.601 of 525 or 625 lines.
    """
    lines = min(track.width_px, track.height_px)
    primaries = "bt709" if lines >= 720 else "bt470bg" if lines == 576 else "smpte170m"
    said = track.colour
    assumed = Colour(
        primaries=primaries,
        transfer="bt709" if primaries == "bt709" else "smpte170m",
        matrix="bt2020nc" if said.primaries == "bt2020" else primaries,
        range="tv",
        chroma_location="left",
    )
    # RGB has no matrix of its own, but its renditions need one.
    unknown = ("unknown", "unspecified", "reserved", "", "gbr")
    names = ("primaries", "transfer", "matrix", "range", "chroma_location")
    full = Colour(*(getattr(assumed if getattr(said, name) in unknown else said, name) for name in names))
    open_names = [name for name in names[:3] if getattr(said, name) in unknown]
    if not open_names:
        return full, ()
    if open_names == ["matrix"]:
        return full, (f"colour matrix not stated → taken as {full.matrix}",)
    return full, (f"colour {', '.join(open_names)} not stated → taken as {primaries}",)


def _waves(video: Sequence[VideoRendition]) -> Iterator[tuple[VideoRendition, ...]]:
    """What goes first, and the rest, as far as there is either."""
    for first in (True, False):
        if wave := tuple(rendition for rendition in video if (rendition.codec in EARLY) is first):
            yield wave


def _programmes(audio: Sequence[AudioRendition]) -> Iterator[tuple[int, tuple[AudioRendition, ...]]]:
    """The renditions of each programme of the master, by its stream number."""
    for index, members in groupby(audio, key=lambda rendition: rendition.track_index):
        yield index, tuple(members)


def _task(
    master: Master,
    tool: str,
    kind: Kind,
    chunk: Chunk,
    renditions: tuple[str, ...],
    argv: tuple[str, ...],
    cost: float,
    memory_bytes: int,
    reads: tuple[Reading, ...],
    levels: Levelling | None = None,
    *,
    sheets: tuple[int, ...] = (),
) -> EncodeTask:
    deciding = {"master": master.digest, "tool": tool, "argv": argv, "chunk": documents.as_plain(chunk)}
    if levels is not None:
        deciding["levelling"] = documents.as_plain(levels)
    return EncodeTask(_digest(deciding), kind, chunk, renditions, argv, cost, memory_bytes, levels, sheets, reads=reads)


def _seen(conformed: Conformed, chunk: Chunk) -> Reading:
    """What a task reads of the picture, apart from what it must decode before."""
    track, index = conformed.track, conformed.track.frames
    first, end = conformed.source_range(chunk.first_frame, chunk.end_frame)
    place = seeking.keyframe_place(conformed, chunk)
    return Reading(
        stream=track.index,
        zero_s=track.start_s,
        frame_s=1 / track.frame_rate,
        seek_s=index.seek_ticks[place] * track.time_base if place else None,
        start_s=index.pts_ticks[first] * track.time_base,
        end_s=index.pts_ticks[end - 1] * track.time_base + 1 / track.frame_rate,
    )


def _heard(programme: AudioTrack, grid: Grid, track: VideoTrack) -> tuple[Reading, ...]:
    """What a task reads of sound: all of it, as long as there is picture."""
    start_s = track.start_s
    streams = [part.index for part in programme.parts] or [programme.index]
    return tuple(Reading(n, start_s, Fraction(0), None, start_s, start_s + grid.duration_s) for n in streams)


def _text_task(
    master: Master,
    tool: str,
    whole: Chunk,
    programmes: tuple[TextTrack, ...],
    argv: tuple[str, ...],
    written: Iterable[TextRendition],
    start_s: Fraction,
    pricing: Pricing,
) -> EncodeTask:
    """The task that reads some programmes of text."""
    numbers = {track.number for track in programmes}
    decodes = any(track.codec == programmes_of_text.PICTURE_CAPTIONS for track in programmes)
    from_s = programmes[0].start_s if programmes[0].sidecar else start_s
    ids = tuple(rendition.id for rendition in written if rendition.programme in numbers)
    deciding = {
        "master": master.digest,
        "tool": tool,
        "argv": argv,
        "start": str(from_s),
        "sidecars": [track.sidecar.digest for track in programmes if track.sidecar],
        "renditions": ids,
        "chunk": documents.as_plain(whole),
    }
    return EncodeTask(
        id=_digest(deciding),
        kind=Kind.TEXT,
        chunk=whole,
        renditions=ids,
        argv=argv,
        cost=pricing.video_s((), whole.frame_count if decodes else 0),
        memory_bytes=pricing.video_bytes(()) if decodes else pricing.costs.audio_bytes(),
        text=programmes,
        start_s=from_s,
    )


def _digest(content: object) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()[:DIGEST_CHARACTERS]
