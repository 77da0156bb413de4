"""From what was probed and fitted to everything that will be done: pure, so that a plan can be looked at first."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from encoder.command import Look, audio_command, video_command
from encoder.conforming import Conformed
from encoder.families import COST
from headend import documents
from headend.errors import MasterError
from headend.media import (
    AudioRendition,
    Colour,
    EncodePlan,
    EncodeTask,
    Kind,
    Master,
    Probe,
    VideoRendition,
    VideoTrack,
)
from headend.settings import EncodeSettings
from headend.timing import Chunk, lay_grid

DIGEST_CHARACTERS = 20
"""80 bits: no two tasks of a store collide."""
TASKS_PER_WORKER = 3
"""Tasks that each worker should get at least, so that none idles long at the end."""
DECODE_COST = 0.25
"""Cost of decoding and converting a master's pixel, in units of encoding one to H.264."""
AUDIO_COST_PER_SECOND = 40_000.0
"""Cost of one second of one audio rendition, in the same unit."""


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
        workers: How many tasks run at once: decides only how finely a chunk's renditions are grouped.

    Returns:
        The plan; its release id depends on everything but ``workers``.

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
    colour, assumed = complete_colour(track)
    look = Look(conformed, colour)
    chunks = grid.chunks()
    by_index = {programme.index: programme for programme in probe.audio}
    sound = {
        members: audio_command(probe.master, by_index[index], grid, track.start_s, members)
        for index, members in _programmes(audio)
    }
    release = _digest(
        {
            "master": probe.master.digest,
            "renditions": [documents.as_plain(rendition) for rendition in (*video, *audio)],
            "grid": documents.as_plain(grid),
            "tool": tool,
            # All that the encoders are told, whatever the grouping: other options are another release.
            "commands": [video_command(probe.master, look, grid, chunks[0], video, settings.effort), *sound.values()],
        }
    )
    groups = group(video, -(-TASKS_PER_WORKER * workers // len(chunks)))
    tasks = [
        _task(
            probe.master,
            tool,
            Kind.VIDEO,
            chunk,
            tuple(rendition.id for rendition in members),
            video_command(probe.master, look, grid, chunk, members, settings.effort),
            chunk.frame_count * (sum(map(frame_cost, members)) + DECODE_COST * track.width_px * track.height_px),
        )
        for chunk in chunks
        for members in groups
    ]
    whole = Chunk(0, 0, grid.frame_count, 1)
    tasks += [
        _task(
            probe.master,
            tool,
            Kind.AUDIO,
            whole,
            tuple(rendition.id for rendition in members),
            command,
            AUDIO_COST_PER_SECOND * float(grid.duration_s) * len(members),
        )
        for members, command in sound.items()
    ]
    return EncodePlan(
        title=title,
        release=release,
        master=probe.master,
        ladder=ladder,
        effort=settings.effort,
        tool=tool,
        grid=grid,
        decisions=tuple(line for line in (conformed.decision, *assumed, *decisions) if line),
        video=video,
        audio=audio,
        tasks=tuple(sorted(tasks, key=lambda task: task.cost, reverse=True)),
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


def frame_cost(rendition: VideoRendition) -> float:
    """Relative cost of one frame of the grid in a rendition."""
    return COST[rendition.codec] * rendition.width_px * rendition.height_px / rendition.rate_divisor


def group(renditions: Sequence[VideoRendition], count: int) -> tuple[tuple[VideoRendition, ...], ...]:
    """Share renditions out into groups of about equal cost.

    One group decodes and scales once for all; more groups give idle workers something to do when chunks are few.

    Args:
        renditions: Of one title.
        count: Wanted groups; as many as there are renditions at most.

    Returns:
        The groups, none empty, each with its largest rendition first.
    """
    shares: list[list[VideoRendition]] = [[] for _ in range(max(1, min(count, len(renditions))))]
    loads = [0.0] * len(shares)
    for rendition in sorted(renditions, key=frame_cost, reverse=True):
        lightest = loads.index(min(loads))
        shares[lightest].append(rendition)
        loads[lightest] += frame_cost(rendition)
    return tuple(tuple(share) for share in shares)


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
) -> EncodeTask:
    task = _digest({"master": master.digest, "tool": tool, "argv": argv, "chunk": documents.as_plain(chunk)})
    return EncodeTask(task, kind, chunk, renditions, argv, cost)


def _digest(content: object) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(canonical).hexdigest()[:DIGEST_CHARACTERS]
