"""Turn a probe and a fitted ladder into a plan with all tasks. Pure, so a plan can be inspected before it runs.

A `Draft` decides everything but the tasks, such as the id of each rendition's track in the store. Once it is known
which parts the store lacks, it makes the tasks for them and groups them to suit the workers.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from encoder import early_release, floors, seeking
from encoder import text as text_programmes
from encoder.command import SideOutputs, SourcePicture, VideoCommands, side_outputs
from encoder.conforming import Conformed
from encoder.costs import Costs, Pricing, measured
from encoder.grouping import Group, arrange
from encoder.identities import after_input, digest, task_id, track_id
from encoder.measure_tasks import Measuring
from encoder.picture.colour import check, complete_colour
from encoder.picture.colour import describe as describe_colour
from encoder.sound.work import SoundPlanner
from encoder.trick_play import choose_poster, choose_thumbnails, trick_renditions
from encoder.trick_play import describe as describe_trick_play
from headend.core import documents, layout
from headend.core.errors import MasterError
from headend.core.media import (
    AudioLadder,
    AudioRendition,
    AudioRung,
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
from headend.core.media.quality import Floor
from headend.core.media.quality_reports import with_floor
from headend.core.settings import EncodeSettings
from headend.core.timing import Chunk, Grid, plan_grid


@dataclass(frozen=True, slots=True)
class Renditions:
    """What a master is encoded into.

    Attributes:
        ladder: Name of the fitted ladder.
        video: The ladder's video renditions for this master.
        audio: The ladder's audio renditions for this master.
        text: The programmes of text.
        rungs: The ladder's rungs of sound; the release stores them, so that sound can be added to it later.
    """

    ladder: str
    video: tuple[VideoRendition, ...]
    audio: tuple[AudioRendition, ...] = ()
    text: tuple[TextTrack, ...] = ()
    rungs: tuple[AudioRung, ...] = ()


class Draft:
    """A plan without tasks, and a method that adds the tasks for missing parts.

    Args:
        title: Catalogue entry.
        probe: The probed master.
        conformed: The master's picture on the grid.
        renditions: What it is encoded into.
        settings: The user's settings.
        tool: FFmpeg's version line.
        tool_digest: SHA-256 of FFmpeg's executable.
        decisions: Decisions made so far, a line each.
        costs: Cost coefficients; None for the installed ones.
        missing: Frames that are missing in the master's index and will be replaced.

    Attributes:
        plan: The plan, without tasks.
        conformed: The master's picture on the grid.
        commands: Builds the commands that encode its chunks.

    Raises:
        MasterError: A programme of sound has channels that can't be mixed.
        ConfigError: The segment or chunk length is out of range.
    """

    def __init__(
        self,
        title: str,
        probe: Probe,
        conformed: Conformed,
        renditions: Renditions,
        *,
        settings: EncodeSettings,
        tool: str,
        tool_digest: str,
        decisions: tuple[str, ...] = (),
        costs: Costs | None = None,
        missing: tuple[Damage, ...] = (),
    ) -> None:
        grid = plan_grid(
            conformed.frame_rate,
            conformed.frame_count,
            segment_s=settings.segment_s,
            chunk_s=settings.chunk_s,
            gop_multiple=conformed.gop_multiple,
        )
        self.conformed = conformed
        self._probe, self._text, self._tool_digest = probe, renditions.text, tool_digest
        self._source = SourcePicture(conformed, complete_colour(conformed.track)[0])
        self.commands = VideoCommands(probe.master, self._source, grid, settings.effort)
        self._costs = costs or measured()
        self._pricing = Pricing(self._costs, conformed, settings.effort)
        self._sound = self._plan_sound(grid, settings)
        self._floor_vmaf = settings.floor_vmaf
        chunks = seeking.merged(grid.chunks(), conformed)
        plan = EncodePlan(
            title=title,
            master=probe.master,
            ladder=renditions.ladder,
            effort=settings.effort,
            tool=tool,
            tool_digest=tool_digest,
            grid=grid,
            decisions=(
                *describe_picture(conformed),
                *filter(None, [seeking.describe(chunks, grid, conformed)]),
                *decisions,
            ),
            video=renditions.video,
            audio=renditions.audio,
            tasks=(),
            text=text_programmes.renditions(renditions.text),
            light=self._source.light,
            picture_stream=conformed.track.index,
            allow_damaged=conformed.conceal,
            damage=missing,
            chunks=chunks,
            sound=AudioLadder(renditions.rungs, settings.loudness_lufs, settings.compressed),
        )
        if settings.thumbnails and renditions.video:
            plan = _with_pictures(plan)
        if settings.floor_vmaf is not None:
            codecs = {rendition.codec for rendition in with_floor(renditions.video)}
            plan = replace(plan, decisions=(*plan.decisions, floors.describe(settings.floor_vmaf, codecs)))
        self.plan = plan
        self.plan = replace(plan, tracks=self._tracks())

    def with_tasks(
        self,
        missing: Collection[Part] | None = None,
        *,
        workers: int,
        slot_bytes: int | None = None,
        early: bool = False,
    ) -> EncodePlan:
        """Return the plan with the tasks that make the missing parts.

        Args:
            missing: The parts to make; None for all.
            workers: Number of tasks that run at once. Like the next two arguments, it only affects how tasks are
                grouped and ordered.
            slot_bytes: Memory for each task; None for no limit.
            early: Whether H.264 and AAC get tasks of their own, which run before all others.
        """
        parts = self.plan.parts if missing is None else missing
        wanted = frozenset((self.plan.encoded_for(name), chunk) for name, chunk in parts)
        tasks = [*self._sound.tasks(self.plan, wanted), *self._text_tasks(wanted)]
        tasks += self._video_tasks(wanted, [task.cost for task in tasks], workers, slot_bytes, early=early)
        urgent = early_release.early_ids(self.plan) if early else frozenset()
        tasks.sort(key=lambda task: (urgent.isdisjoint(rendition for rendition, _ in task.parts), -task.cost))
        return replace(self.plan, tasks=tuple(tasks))

    def measuring(self) -> Measuring:
        """Return the planner of the tasks that measure the encoded renditions."""
        plan = self.plan
        return Measuring(plan.title, self._source, plan.grid, self.commands, plan.video, plan.tracks, plan.track_keys)

    def _plan_sound(self, grid: Grid, settings: EncodeSettings) -> SoundPlanner:
        return SoundPlanner(
            master=self._probe.master,
            programmes={programme.index: programme for programme in self._probe.audio},
            grid=grid,
            start_s=self.conformed.track.start_s,
            loudness_lufs=settings.loudness_lufs,
            costs=self._costs,
            tool_digest=self._tool_digest,
            conceal=self.conformed.conceal,
            compressed=settings.compressed,
        )

    # --- identities -----------------------------------------------------------------------------------------------

    def _tracks(self) -> dict[str, str]:
        """The id of each rendition's track in the store, with a digest of everything that determines the track's bytes.

        Source:
            The store's reference, docs/reference/store.md.
        """
        plan = self.plan
        shared = {
            "format": layout.SEGMENT_FORMAT,
            "tool": self._tool_digest,
            "grid": documents.as_plain(plan.grid),
            # Ids of tracks are digests, so a key keeps its name.
            "mended": self.conformed.conceal,
        }
        pictures = {
            **shared,
            "master": plan.master.digest,
            "chunks": [[documents.as_plain(chunk), self.commands.frames(chunk)] for chunk in plan.chunks],
        }
        frames = digest(pictures)
        tracks = {
            r.id: track_id(r.id, {"frames": frames, "encoder": self.commands.alone(r), "level": r.level})
            for r in plan.trick
        }
        for r in plan.video:
            inputs = {"frames": frames, "encoder": self.commands.alone(r), "level": r.level, **self._floor_of(r)}
            tracks[r.id] = track_id(r.id, inputs)
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
            inputs = {"frames": frames, "encoder": self.commands.alone(None, SideOutputs(plan.thumbnails))}
            tracks[plan.thumbnails.id] = track_id(plan.thumbnails.id, inputs)
        if plan.poster is not None:
            all_posters = SideOutputs(None, plan.poster, 0, plan.grid.frame_count)
            inputs = {"frames": frames, "encoder": self.commands.alone(None, all_posters)}
            tracks[plan.poster.id] = track_id(plan.poster.id, inputs)
        return tracks

    def _floor_of(self, rendition: VideoRendition) -> dict[str, object]:
        """What the quality floor adds to the inputs of a rendition's track id; empty without a floor."""
        if self._floor_vmaf is None or rendition not in with_floor(self.plan.video):
            return {}
        measuring = Measuring(self.plan.title, self._source, self.plan.grid, self.commands, (), {})
        return {"floor": [self._floor_vmaf, documents.as_plain(measuring.viewing), measuring.every]}

    # --- tasks ----------------------------------------------------------------------------------------------------

    def _text_tasks(self, wanted: frozenset[Part]) -> Iterator[EncodeTask]:
        """Tasks that read programmes of text."""
        plan, pricing = self.plan, self._pricing
        missing = {rendition.programme for rendition in plan.text if (rendition.id, 0) in wanted}
        for programmes in text_programmes.group_by_input([track for track in self._text if track.number in missing]):
            numbers = {track.number for track in programmes}
            ids = tuple(r.id for r in plan.text if r.programme in numbers and (r.id, 0) in wanted)
            yield EncodeTask(
                id=task_id(plan, plan.whole, ids),
                kind=Kind.TEXT,
                chunk=plan.whole,
                renditions=ids,
                argv=text_programmes.command(plan.master, programmes),
                cost=pricing.video_s((), 0),
                memory_bytes=self._costs.audio_bytes(),
                text=programmes,
                start_s=programmes[0].start_s if programmes[0].sidecar else self.conformed.track.start_s,
            )

    def _video_tasks(
        self,
        wanted: frozenset[Part],
        other_costs_s: Sequence[float],
        workers: int,
        slot_bytes: int | None,
        *,
        early: bool,
    ) -> Iterator[EncodeTask]:
        """Tasks that encode pictures, wave by wave; ``other_costs_s`` are the costs of the title's other tasks."""
        plan, pricing = self.plan, self._pricing
        measuring = None if self._floor_vmaf is None else self.measuring()
        planned_costs_s = list(other_costs_s)
        chunks_with_stills: set[int] = set()
        for wave in early_release.waves(plan.video) if early else (plan.video,):
            groups_of = self._groups(wave, wanted, planned_costs_s, workers, slot_bytes)
            for chunk in plan.chunks:
                trick = tuple(
                    r for r in plan.trick if (r.id, chunk.number) in wanted and any(r.codec is k.codec for k in wave)
                )
                stills = SideOutputs() if chunk.number in chunks_with_stills else self._missing_stills(chunk, wanted)
                chunks_with_stills.add(chunk.number)
                if chunk not in groups_of and not trick and stills == SideOutputs():
                    continue
                groups = groups_of.get(chunk, ((),))
                # Trick play and stills go with the cheapest group of the wave, which decodes the frames anyway.
                *others, cheapest = sorted(groups, key=lambda group: -pricing.video_s(group, chunk.frame_count))
                for members in others:
                    floor = self._floor(measuring, chunk, members, slot_bytes)
                    yield self._video_task(chunk, members, SideOutputs(), floor)
                floor = self._floor(measuring, chunk, cheapest, slot_bytes)
                yield self._video_task(chunk, (*cheapest, *trick), stills, floor)
            planned_costs_s += [
                pricing.video_s(group, chunk.frame_count) for chunk, groups in groups_of.items() for group in groups
            ]

    def _groups(
        self,
        renditions: Sequence[VideoRendition],
        wanted: frozenset[Part],
        other_costs_s: Sequence[float],
        workers: int,
        slot_bytes: int | None,
    ) -> dict[Chunk, tuple[Group, ...]]:
        """Group the missing renditions of each chunk; chunks that lack none are left out."""
        missing = {
            chunk: tuple(rendition for rendition in renditions if (rendition.id, chunk.number) in wanted)
            for chunk in self.plan.chunks
        }
        groups_of: dict[Chunk, tuple[Group, ...]] = {}
        # Chunks that lack the same renditions are grouped together: all chunks, unless an earlier run was stopped.
        for members in filter(None, dict.fromkeys(missing.values())):
            chunks = [chunk for chunk in self.plan.chunks if missing[chunk] == members]
            groups = arrange(
                members, chunks, self._pricing, workers=workers, slot_bytes=slot_bytes, other_costs_s=other_costs_s
            )
            groups_of |= zip(chunks, groups, strict=True)
        return groups_of

    def _missing_stills(self, chunk: Chunk, wanted: frozenset[Part]) -> SideOutputs:
        """The still pictures of a chunk that the store lacks."""
        thumbnails, poster = self.plan.thumbnails, self.plan.poster
        return side_outputs(
            chunk,
            thumbnails if thumbnails and (thumbnails.id, chunk.number) in wanted else None,
            poster if poster and (poster.id, chunk.number) in wanted else None,
        )

    def _floor(self, measuring: Measuring | None, chunk: Chunk, members: Group, slot_bytes: int | None) -> Floor | None:
        """The measurements that check the quality floor in a task; None if its renditions have no floor."""
        if measuring is None or self._floor_vmaf is None:
            return None
        tracks = {self.plan.tracks[rendition.id] for rendition in with_floor(self.plan.video) if rendition in members}
        count = len(self.plan.grid.bounds_of(chunk)) - 1
        checks = tuple(
            measuring.tasks(
                range(chunk.first_segment, chunk.first_segment + count),
                (chunk,),
                lambda track, _segment, _toned: track not in tracks,
                toned_segments=(),
                slot_bytes=slot_bytes,
            )
        )
        return Floor(self._floor_vmaf, checks) if checks else None

    def _video_task(self, chunk: Chunk, members: Group, stills: SideOutputs, floor: Floor | None) -> EncodeTask:
        thumbnails, poster = stills.thumbnails, stills.poster
        sheets = thumbnails.sheet_numbers(chunk.first_frame, chunk.end_frame) if thumbnails else ()
        posters = poster.numbers(chunk.first_frame, chunk.end_frame) if poster else ()
        still_ids = [track.id for track in (thumbnails, poster) if track]
        checks = floor.checks if floor else ()
        return EncodeTask(
            id=task_id(self.plan, chunk, [*(rendition.id for rendition in members), *still_ids]),
            kind=Kind.VIDEO,
            chunk=chunk,
            renditions=tuple(rendition.id for rendition in members),
            argv=self.commands.encode(chunk, members, stills),
            cost=self._pricing.video_s(members, chunk.frame_count) + sum(check.cost for check in checks),
            memory_bytes=max(self._pricing.video_bytes(members), *(check.memory_bytes for check in checks), 0),
            floor=floor,
            sheets=sheets,
            posters=posters,
            reads=(seeking.read_range(self.conformed, chunk),),
        )


def _with_pictures(plan: EncodePlan) -> EncodePlan:
    """Add thumbnails, candidates for the poster, and renditions for trick play."""
    trick, thumbnails = trick_renditions(plan.video, plan.grid), choose_thumbnails(plan.video[0], plan.grid)
    return replace(
        plan,
        trick=trick,
        thumbnails=thumbnails,
        poster=choose_poster(plan.video[0], plan.grid, plan.chunks),
        decisions=(*plan.decisions, *describe_trick_play(trick, thumbnails, plan.grid)),
    )


def text_track_id(
    rendition: TextRendition, programme: TextTrack, grid: Grid, master: Master, start_s: Fraction, tool_digest: str
) -> str:
    """The id of a text rendition's track; for a sidecar, it depends on the file's bytes, not on its location."""
    unnamed = replace(programme, number=0, name="")
    return track_id(
        rendition.id,
        {
            "format": layout.SEGMENT_FORMAT,
            "tool": tool_digest,
            "grid": documents.as_plain(grid),
            "source": programme.sidecar.digest if programme.sidecar else master.digest,
            "start": str(programme.start_s if programme.sidecar else start_s),
            "stream": programme.index,
            "encoder": after_input(text_programmes.command(master, (unnamed,))),
            "codecs": [programme.codec, rendition.codec],
            # It is in the init segments of text.
            "language": rendition.language,
        },
    )


def describe_picture(conformed: Conformed) -> tuple[str, ...]:
    """Describe the decisions about a master's picture that don't depend on the ladder, a line each."""
    changes = tuple(
        f"picture changes at {float(change.at_s - conformed.track.start_s):.3f} s from {change.before} to "
        f"{change.after} → converted to the format of most frames"
        for change in conformed.track.changes
    )
    colour, assumed = complete_colour(conformed.track)
    return *changes, *conformed.decisions, *assumed, *describe_colour(conformed.track, colour)


def checked_picture(probe: Probe) -> VideoTrack:
    """Return the master's picture if it can be encoded.

    Raises:
        MasterError: There is no picture, or its colours can't be converted.
    """
    if probe.video is None or not probe.video.frame_count:
        raise MasterError(f"{probe.master.url} has no video stream; deliver a file with picture")
    check(probe.master, probe.video)
    return probe.video
