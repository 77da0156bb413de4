"""Planning: from a probe and a fitted ladder to a plan with every task. Pure, so that a plan can be inspected first.

A `Draft` knows what a title is to have: its renditions, and the track that each is in the store. From it follow the
tasks for whatever is missing, grouped as suits the workers that are there.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from encoder import seeking
from encoder import text as programmes_of_text
from encoder.command import SideOutputs, SourcePicture, VideoCommands, side_outputs
from encoder.conforming import Conformed
from encoder.costs import Costs, Pricing, measured
from encoder.grouping import Group, arrange
from encoder.identities import behind_input, digest, task_id, track_id
from encoder.measure_tasks import Measuring
from encoder.picture.colour import check, complete_colour
from encoder.picture.colour import describe as describe_colour
from encoder.sound.work import SoundWork
from encoder.trick_play import describe, lay_poster, lay_thumbnails, trick_renditions
from headend.core import documents, layout
from headend.core.codecs import VIDEO, media_codecs
from headend.core.errors import ConfigError, MasterError
from headend.core.media import (
    AudioLadder,
    AudioRendition,
    AudioRung,
    Codec,
    Damage,
    EncodePlan,
    EncodeTask,
    Kind,
    Master,
    Part,
    Probe,
    TextRendition,
    TextTrack,
    VideoRendition,
    VideoTrack,
)
from headend.core.media.quality import Floor, floored
from headend.core.settings import EncodeSettings
from headend.core.timing import Chunk, Grid, lay_grid


def describe_floor(vmaf: float, codecs: Collection[Codec]) -> str:
    """What a floor does to renditions of some codecs, in a line.

    Args:
        vmaf: The floor.
        codecs: Those that have SDR renditions.
    """
    if not codecs:
        return "floor → no effect: the title has no SDR rendition"
    return (
        f"floor → in the largest size of each codec, a chunk with a segment below a VMAF of {vmaf:g} is encoded once "
        f"more, with a constant rate factor that is lower by {floor_steps(codecs)}, unless that segment is at its cap"
    )


def floor_steps(codecs: Collection[Codec]) -> str:
    """How much a floor lowers the constant rate factor of codecs, of which there is at least one.

    Returns:
        Such as ``4 (AV1 and VP9: 8)``: codecs that are not named have the first step.
    """
    names: dict[float, list[str]] = {}
    for one in VIDEO:
        if one.codec in codecs:
            names.setdefault(one.floor_step_crf, []).append(one.label)
    first, *others = names
    exceptions = "; ".join(f"{' and '.join(names[step])}: {step:g}" for step in others)
    return f"{first:g} ({exceptions})" if exceptions else f"{first:g}"


EARLY = frozenset(one.codec for one in media_codecs() if one.in_first_release)
"""Codecs that every player decodes: enough for a first release."""


class Draft:
    """What a title is to have, and how any part of it is made.

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
        tool_digest: SHA-256 of FFmpeg's program.
        costs: What encoding costs; None for what came with the installation.
        text: The programmes of text.
        missing: Frames that the master's index misses, and that are made up for.
        rungs: The ladder's rungs of sound, which the release keeps for sound that is added later.

    Attributes:
        plan: All of it but the tasks.
        conformed: The master's picture on the grid.
        commands: What makes its chunks.

    Raises:
        MasterError: A programme of sound has channels that can't be mixed.
        ConfigError: The segment or chunk length is out of range.
    """

    def __init__(
        self,
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
        tool_digest: str,
        costs: Costs | None = None,
        text: tuple[TextTrack, ...] = (),
        missing: tuple[Damage, ...] = (),
        rungs: tuple[AudioRung, ...] = (),
    ) -> None:
        track = conformed.track
        grid = lay_grid(
            conformed.frame_rate,
            conformed.frame_count,
            segment_s=settings.segment_s,
            chunk_s=settings.chunk_s,
            gop_multiple=conformed.gop_multiple,
        )
        source = SourcePicture(conformed, complete_colour(track)[0])
        self._probe, self.conformed, self._text, self._tool_digest = probe, conformed, text, tool_digest
        self._source = source
        self.commands = VideoCommands(probe.master, source, grid, settings.effort)
        self._chunks = seeking.joined(grid.chunks(), conformed)
        self._costs = costs or measured()
        self._pricing = Pricing(self._costs, conformed, settings.effort)
        self._sound = SoundWork(
            master=probe.master,
            programmes={programme.index: programme for programme in probe.audio},
            grid=grid,
            start_s=track.start_s,
            loudness_lufs=settings.loudness_lufs,
            costs=self._costs,
            tool_digest=tool_digest,
            mended=conformed.mended,
            compressed=settings.compressed,
        )
        trick: tuple[VideoRendition, ...] = ()
        thumbnails = poster = None
        if settings.thumbnails and video:
            trick, thumbnails = trick_renditions(video, grid), lay_thumbnails(video[0], grid)
            poster = lay_poster(video[0], grid, self._chunks)
            decisions = (*decisions, *describe(trick, thumbnails, grid))
        self._floor_vmaf = settings.floor_vmaf
        if settings.floor_vmaf is not None:
            decisions = (
                *decisions,
                describe_floor(settings.floor_vmaf, {rendition.codec for rendition in floored(video)}),
            )
        written = programmes_of_text.renditions(text)
        self.plan = EncodePlan(
            title=title,
            master=probe.master,
            ladder=ladder,
            effort=settings.effort,
            tool=tool,
            tool_digest=tool_digest,
            grid=grid,
            decisions=(
                *describe_picture(conformed),
                *filter(None, [seeking.describe(self._chunks, grid, conformed)]),
                *decisions,
            ),
            video=video,
            audio=audio,
            tasks=(),
            trick=trick,
            thumbnails=thumbnails,
            poster=poster,
            text=written,
            light=source.light,
            picture_stream=track.index,
            allow_damaged=conformed.mended,
            damage=missing,
            chunks=self._chunks,
            sound=AudioLadder(rungs, settings.loudness_lufs, settings.compressed),
        )
        self.plan = replace(self.plan, tracks=self._tracks())

    def with_tasks(
        self,
        missing: Collection[Part] | None = None,
        *,
        workers: int,
        slot_bytes: int | None = None,
        early: bool = False,
    ) -> EncodePlan:
        """The plan with the tasks that make what is missing.

        Args:
            missing: The parts to make; None for all.
            workers: How many tasks run at once. This and all that follows decides only how a chunk's renditions are
                grouped, and which go first.
            slot_bytes: Memory for each task; None for no limit.
            early: Whether H.264 and AAC are tasks of their own, before all others.
        """
        parts = self.plan.parts if missing is None else missing
        wanted = frozenset((self.plan.encoded_for(name), chunk) for name, chunk in parts)
        tasks = [*self._sound.tasks(self.plan, wanted), *self._text_tasks(wanted)]
        tasks += self._video_tasks(wanted, [task.cost for task in tasks], workers, slot_bytes, early=early)
        urgent = _early_ids(self.plan) if early else frozenset()
        tasks.sort(key=lambda task: (urgent.isdisjoint(rendition for rendition, _ in task.parts), -task.cost))
        return replace(self.plan, tasks=tuple(tasks))

    def measuring(self) -> Measuring:
        """How the renditions are measured once they are made."""
        plan = self.plan
        return Measuring(plan.title, self._source, plan.grid, self.commands, plan.video, plan.tracks, plan.track_keys)

    # --- identities -----------------------------------------------------------------------------------------------

    def _tracks(self) -> dict[str, str]:
        """The track that each rendition is in the store: named by all that decides its bytes.

        Source:
            The store's reference, docs/reference/store.md.
        """
        plan = self.plan
        shared = {
            "format": layout.SEGMENT_FORMAT,
            "tool": self._tool_digest,
            "grid": documents.as_plain(plan.grid),
            "mended": self.conformed.mended,
        }
        pictures = {
            **shared,
            "master": plan.master.digest,
            "chunks": [[documents.as_plain(chunk), self.commands.frames(chunk)] for chunk in plan.chunks],
        }
        seen = digest(pictures)
        tracks = {
            r.id: track_id(r.id, {"frames": seen, "encoder": self.commands.alone(r), "level": r.level})
            for r in plan.trick
        }
        for r in plan.video:
            deciding = {"frames": seen, "encoder": self.commands.alone(r), "level": r.level, **self._floor_of(r)}
            tracks[r.id] = track_id(r.id, deciding)
        for sound in plan.audio:
            tracks[sound.id] = self._sound.track_id(sound)
        by_number = {programme.number: programme for programme in self._text}
        for text in plan.text:
            tracks[text.id] = text_track_id(
                text,
                by_number[text.programme],
                plan.grid,
                plan.master,
                self.conformed.track.start_s,
                self._tool_digest,
            )
        if plan.thumbnails is not None:
            deciding = {"frames": seen, "encoder": self.commands.alone(None, SideOutputs(plan.thumbnails))}
            tracks[plan.thumbnails.id] = track_id(plan.thumbnails.id, deciding)
        if plan.poster is not None:
            whole = SideOutputs(None, plan.poster, 0, plan.grid.frame_count)
            deciding = {"frames": seen, "encoder": self.commands.alone(None, whole)}
            tracks[plan.poster.id] = track_id(plan.poster.id, deciding)
        return tracks

    def _floor_of(self, rendition: VideoRendition) -> dict[str, object]:
        """What decides about chunks that are encoded again for the floor; nothing where there is none."""
        if self._floor_vmaf is None or rendition not in floored(self.plan.video):
            return {}
        screen = Measuring(self.plan.title, self._source, self.plan.grid, self.commands, (), {})
        return {"floor": [self._floor_vmaf, documents.as_plain(screen.viewing), screen.every]}

    # --- tasks ----------------------------------------------------------------------------------------------------

    def _text_tasks(self, wanted: frozenset[Part]) -> Iterator[EncodeTask]:
        """Tasks that read programmes of text."""
        plan, pricing = self.plan, self._pricing
        lacking = {rendition.programme for rendition in plan.text if (rendition.id, 0) in wanted}
        for programmes in programmes_of_text.grouped([track for track in self._text if track.number in lacking]):
            numbers = {track.number for track in programmes}
            ids = tuple(r.id for r in plan.text if r.programme in numbers and (r.id, 0) in wanted)
            yield EncodeTask(
                id=task_id(plan, plan.whole, ids),
                kind=Kind.TEXT,
                chunk=plan.whole,
                renditions=ids,
                argv=programmes_of_text.command(plan.master, programmes),
                cost=pricing.video_s((), 0),
                memory_bytes=self._costs.audio_bytes(),
                text=programmes,
                start_s=programmes[0].start_s if programmes[0].sidecar else self.conformed.track.start_s,
            )

    def _video_tasks(
        self,
        wanted: frozenset[Part],
        beside_s: Sequence[float],
        workers: int,
        slot_bytes: int | None,
        *,
        early: bool,
    ) -> Iterator[EncodeTask]:
        plan, pricing = self.plan, self._pricing
        measuring = None if self._floor_vmaf is None else self.measuring()
        told_s = list(beside_s)
        laid: set[int] = set()
        for wave in _waves(plan.video) if early else (plan.video,):
            lacking = {
                chunk: tuple(rendition for rendition in wave if (rendition.id, chunk.number) in wanted)
                for chunk in plan.chunks
            }
            # Chunks that lack the same renditions are grouped alike: all of them, but where an earlier run was killed.
            arranged: dict[Chunk, tuple[Group, ...]] = {}
            for members in dict.fromkeys(lacking.values()):
                chunks = [chunk for chunk in plan.chunks if lacking[chunk] == members]
                if members:
                    groups = arrange(members, chunks, pricing, workers=workers, slot_bytes=slot_bytes, beside_s=told_s)
                    arranged |= zip(chunks, groups, strict=True)
            for chunk in plan.chunks:
                trick = tuple(
                    r for r in plan.trick if (r.id, chunk.number) in wanted and any(r.codec is k.codec for k in wave)
                )
                side = SideOutputs() if chunk.number in laid else self._beside(chunk, wanted)
                laid.add(chunk.number)
                if chunk not in arranged and not trick and side == SideOutputs():
                    continue
                # Beside the least of each wave, which decodes the chunk's frames anyway; pictures go first.
                groups_here = arranged.get(chunk, ((),))
                *others, least = sorted(groups_here, key=lambda g: -pricing.video_s(g, chunk.frame_count))
                for members in others:
                    yield self._video_task(
                        chunk, members, SideOutputs(), self._floor(measuring, chunk, members, slot_bytes)
                    )
                floor = self._floor(measuring, chunk, least, slot_bytes)
                yield self._video_task(chunk, (*least, *trick), side, floor)
            told_s += [pricing.video_s(g, chunk.frame_count) for chunk, gs in arranged.items() for g in gs]

    def _beside(self, chunk: Chunk, wanted: frozenset[Part]) -> SideOutputs:
        """The pictures that a chunk lacks."""
        plan = self.plan
        laid, poster = plan.thumbnails, plan.poster
        return side_outputs(
            chunk,
            laid if laid and (laid.id, chunk.number) in wanted else None,
            poster if poster and (poster.id, chunk.number) in wanted else None,
        )

    def _floor(self, measuring: Measuring | None, chunk: Chunk, members: Group, slot_bytes: int | None) -> Floor | None:
        """How a task's renditions are held above the floor."""
        if measuring is None or self._floor_vmaf is None:
            return None
        tracks = {self.plan.tracks[rendition.id] for rendition in floored(self.plan.video) if rendition in members}
        count = len(self.plan.grid.bounds_of(chunk)) - 1
        checks = measuring.tasks(
            range(chunk.first_segment, chunk.first_segment + count),
            (chunk,),
            lambda track, _segment, _toned: track not in tracks,
            toned_segments=(),
            slot_bytes=slot_bytes,
        )
        made = tuple(checks)
        return Floor(self._floor_vmaf, made) if made else None

    def _video_task(self, chunk: Chunk, members: Group, side: SideOutputs, floor: Floor | None = None) -> EncodeTask:
        sheets = side.thumbnails.sheet_numbers(chunk.first_frame, chunk.end_frame) if side.thumbnails else ()
        posters = side.poster.numbers(chunk.first_frame, chunk.end_frame) if side.poster else ()
        pictures = [one.id for one in (side.thumbnails, side.poster) if one]
        checks = floor.checks if floor else ()
        return EncodeTask(
            id=task_id(self.plan, chunk, [*(rendition.id for rendition in members), *pictures]),
            kind=Kind.VIDEO,
            chunk=chunk,
            renditions=tuple(rendition.id for rendition in members),
            argv=self.commands.of(chunk, members, side),
            cost=self._pricing.video_s(members, chunk.frame_count) + sum(check.cost for check in checks),
            memory_bytes=max(self._pricing.video_bytes(members), *(check.memory_bytes for check in checks), 0),
            floor=floor,
            sheets=sheets,
            posters=posters,
            reads=(seeking.read_range(self.conformed, chunk),),
        )


def text_track_id(
    rendition: TextRendition, programme: TextTrack, grid: Grid, master: Master, start_s: Fraction, tool_digest: str
) -> str:
    """Name the track of a form of a programme of text; a sidecar is known by its bytes, wherever it lies."""
    plain = replace(programme, number=0, name="")
    return track_id(
        rendition.id,
        {
            "format": layout.SEGMENT_FORMAT,
            "tool": tool_digest,
            "grid": documents.as_plain(grid),
            "source": programme.sidecar.digest if programme.sidecar else master.digest,
            "start": str(programme.start_s if programme.sidecar else start_s),
            "stream": programme.index,
            "encoder": behind_input(programmes_of_text.command(master, (plain,))),
            "codecs": [programme.codec, rendition.codec],
            # Init segments of text state it.
            "language": rendition.language,
        },
    )


def describe_picture(conformed: Conformed) -> tuple[str, ...]:
    """What is decided of a master's picture before a ladder is fitted to it, one line each."""
    changes = tuple(
        f"picture changes at {float(change.at_s - conformed.track.start_s):.3f} s from {change.before} to "
        f"{change.after} → brought to what most of it is"
        for change in conformed.track.changes
    )
    colour, assumed = complete_colour(conformed.track)
    return *changes, *conformed.decisions, *assumed, *describe_colour(conformed.track, colour)


def first_release(plan: EncodePlan) -> EncodePlan | None:
    """The part of a title that can be published before the rest.

    Returns:
        Its H.264, AAC and text, with what is made beside them; None if that is all there is.

    Raises:
        ConfigError: The plan has no H.264, or sound but no AAC.
    """
    video = tuple(rendition for rendition in plan.video if rendition.codec in EARLY)
    audio = tuple(rendition for rendition in plan.audio if rendition.codec in EARLY)
    if not video or (plan.audio and not audio):
        raise ConfigError(
            f"an early release is made of H.264 and AAC, but ladder {plan.ladder!r} has no "
            f"{'AAC' if video else 'H.264'}: choose another ladder, or publish all at once"
        )
    wanted = _early_ids(plan)
    if wanted == plan.tracks.keys():
        return None
    return replace(
        plan,
        video=video,
        audio=audio,
        trick=tuple(rendition for rendition in plan.trick if rendition.id in wanted),
        tracks={name: track for name, track in plan.tracks.items() if name in wanted},
        sealings={name: sealing for name, sealing in plan.sealings.items() if name in wanted},
    )


def _early_ids(plan: EncodePlan) -> frozenset[str]:
    """Ids of what makes a first release."""
    coded: tuple[VideoRendition | AudioRendition, ...] = (*plan.video, *plan.trick, *plan.audio)
    side = [one.id for one in (plan.thumbnails, plan.poster) if one is not None]
    first = {*(r.id for r in coded if r.codec in EARLY), *(text.id for text in plan.text), *side}
    return frozenset({*first, *(name for name, sealing in plan.sealings.items() if sealing.rendition in first)})


def usable(probe: Probe) -> VideoTrack:
    """Return the master's picture.

    Raises:
        MasterError: There is none, or none that can be shown.
    """
    if probe.video is None or not probe.video.frame_count:
        raise MasterError(f"{probe.master.url} has no video stream: headend encodes films")
    check(probe.master, probe.video)
    return probe.video


def _waves(video: Sequence[VideoRendition]) -> Iterator[tuple[VideoRendition, ...]]:
    """What goes first, and the rest, as far as there is either."""
    for first in (True, False):
        if wave := tuple(rendition for rendition in video if (rendition.codec in EARLY) is first):
            yield wave
