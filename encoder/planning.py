"""Turn a probe and a fitted ladder into a plan with all tasks. Pure, so a plan can be inspected before it runs.

A `Draft` has a title's renditions and the store track of each. It makes the tasks for the missing parts, grouped to
suit the workers.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from encoder import early_release, floors, seeking
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
from headend.core.media.quality import Floor, with_floor
from headend.core.settings import EncodeSettings
from headend.core.timing import Chunk, Grid, plan_grid


class Draft:
    """A plan without tasks, which makes the tasks for any of its parts.

    Args:
        title: Catalogue entry.
        probe: The probed master.
        conformed: Its picture on the grid.
        ladder: Name of the fitted ladder.
        video: The ladder's video renditions for this master.
        audio: The ladder's audio renditions for this master.
        decisions: Decisions made so far, a line each.
        settings: The user's settings.
        tool: FFmpeg's version line.
        tool_digest: SHA-256 of FFmpeg's executable.
        costs: Cost coefficients; None for the installed ones.
        text: The programmes of text.
        missing: Frames that are missing in the master's index and will be replaced.
        rungs: The ladder's rungs of sound; the release stores them for sound that is added later.

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
        grid = plan_grid(
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
        self._chunks = seeking.merged(grid.chunks(), conformed)
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
                floors.describe(settings.floor_vmaf, {rendition.codec for rendition in with_floor(video)}),
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
        """Return the plan with the tasks that make the missing parts.

        Args:
            missing: The parts to make; None for all.
            workers: Number of tasks that run at once. This and the arguments below only affect grouping and order.
            slot_bytes: Memory for each task; None for no limit.
            early: Whether to put H.264 and AAC into tasks of their own, before all others.
        """
        parts = self.plan.parts if missing is None else missing
        wanted = frozenset((self.plan.encoded_for(name), chunk) for name, chunk in parts)
        tasks = [*self._sound.tasks(self.plan, wanted), *self._text_tasks(wanted)]
        tasks += self._video_tasks(wanted, [task.cost for task in tasks], workers, slot_bytes, early=early)
        urgent = early_release.ids(self.plan) if early else frozenset()
        tasks.sort(key=lambda task: (urgent.isdisjoint(rendition for rendition, _ in task.parts), -task.cost))
        return replace(self.plan, tasks=tuple(tasks))

    def measuring(self) -> Measuring:
        """The measurement of the encoded renditions."""
        plan = self.plan
        return Measuring(plan.title, self._source, plan.grid, self.commands, plan.video, plan.tracks, plan.track_keys)

    # --- identities -----------------------------------------------------------------------------------------------

    def _tracks(self) -> dict[str, str]:
        """The id of each rendition's track in the store: a digest of everything that determines its bytes.

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
        frames = digest(pictures)
        tracks = {
            r.id: track_id(r.id, {"frames": frames, "encoder": self.commands.alone(r), "level": r.level})
            for r in plan.trick
        }
        for r in plan.video:
            deciding = {"frames": frames, "encoder": self.commands.alone(r), "level": r.level, **self._floor_of(r)}
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
            deciding = {"frames": frames, "encoder": self.commands.alone(None, SideOutputs(plan.thumbnails))}
            tracks[plan.thumbnails.id] = track_id(plan.thumbnails.id, deciding)
        if plan.poster is not None:
            whole = SideOutputs(None, plan.poster, 0, plan.grid.frame_count)
            deciding = {"frames": frames, "encoder": self.commands.alone(None, whole)}
            tracks[plan.poster.id] = track_id(plan.poster.id, deciding)
        return tracks

    def _floor_of(self, rendition: VideoRendition) -> dict[str, object]:
        """What the floor adds to a rendition's identity; nothing if it has none."""
        if self._floor_vmaf is None or rendition not in with_floor(self.plan.video):
            return {}
        screen = Measuring(self.plan.title, self._source, self.plan.grid, self.commands, (), {})
        return {"floor": [self._floor_vmaf, documents.as_plain(screen.viewing), screen.every]}

    # --- tasks ----------------------------------------------------------------------------------------------------

    def _text_tasks(self, wanted: frozenset[Part]) -> Iterator[EncodeTask]:
        """Tasks that read programmes of text."""
        plan, pricing = self.plan, self._pricing
        missing = {rendition.programme for rendition in plan.text if (rendition.id, 0) in wanted}
        for programmes in programmes_of_text.grouped([track for track in self._text if track.number in missing]):
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
        other_costs_s = list(beside_s)
        laid: set[int] = set()
        for wave in early_release.waves(plan.video) if early else (plan.video,):
            missing = {
                chunk: tuple(rendition for rendition in wave if (rendition.id, chunk.number) in wanted)
                for chunk in plan.chunks
            }
            # Chunks that miss the same renditions are grouped alike; they only differ if an earlier run was killed.
            arranged: dict[Chunk, tuple[Group, ...]] = {}
            for members in dict.fromkeys(missing.values()):
                chunks = [chunk for chunk in plan.chunks if missing[chunk] == members]
                if members:
                    groups = arrange(
                        members, chunks, pricing, workers=workers, slot_bytes=slot_bytes, beside_s=other_costs_s
                    )
                    arranged |= zip(chunks, groups, strict=True)
            for chunk in plan.chunks:
                trick = tuple(
                    r for r in plan.trick if (r.id, chunk.number) in wanted and any(r.codec is k.codec for k in wave)
                )
                side = SideOutputs() if chunk.number in laid else self._beside(chunk, wanted)
                laid.add(chunk.number)
                if chunk not in arranged and not trick and side == SideOutputs():
                    continue
                # Trick play and stills go with the cheapest group of the wave, which decodes the frames anyway.
                groups_here = arranged.get(chunk, ((),))
                *others, least = sorted(groups_here, key=lambda g: -pricing.video_s(g, chunk.frame_count))
                for members in others:
                    yield self._video_task(
                        chunk, members, SideOutputs(), self._floor(measuring, chunk, members, slot_bytes)
                    )
                floor = self._floor(measuring, chunk, least, slot_bytes)
                yield self._video_task(chunk, (*least, *trick), side, floor)
            other_costs_s += [pricing.video_s(g, chunk.frame_count) for chunk, gs in arranged.items() for g in gs]

    def _beside(self, chunk: Chunk, wanted: frozenset[Part]) -> SideOutputs:
        """The missing still pictures of a chunk."""
        plan = self.plan
        laid, poster = plan.thumbnails, plan.poster
        return side_outputs(
            chunk,
            laid if laid and (laid.id, chunk.number) in wanted else None,
            poster if poster and (poster.id, chunk.number) in wanted else None,
        )

    def _floor(self, measuring: Measuring | None, chunk: Chunk, members: Group, slot_bytes: int | None) -> Floor | None:
        """The floor's measurements of a task's renditions."""
        if measuring is None or self._floor_vmaf is None:
            return None
        tracks = {self.plan.tracks[rendition.id] for rendition in with_floor(self.plan.video) if rendition in members}
        count = len(self.plan.grid.bounds_of(chunk)) - 1
        checks = measuring.tasks(
            range(chunk.first_segment, chunk.first_segment + count),
            (chunk,),
            lambda track, _segment, _toned: track not in tracks,
            toned_segments=(),
            slot_bytes=slot_bytes,
        )
        measured_segments = tuple(checks)
        return Floor(self._floor_vmaf, measured_segments) if measured_segments else None

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
    """The id of the track of a text rendition; a sidecar counts by its bytes, not by its location."""
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
            # Init segments of text contain it.
            "language": rendition.language,
        },
    )


def describe_picture(conformed: Conformed) -> tuple[str, ...]:
    """Decisions about a master's picture before a ladder is fitted to it, a line each."""
    changes = tuple(
        f"picture changes at {float(change.at_s - conformed.track.start_s):.3f} s from {change.before} to "
        f"{change.after} → converted to the format of most frames"
        for change in conformed.track.changes
    )
    colour, assumed = complete_colour(conformed.track)
    return *changes, *conformed.decisions, *assumed, *describe_colour(conformed.track, colour)


def usable(probe: Probe) -> VideoTrack:
    """Return the master's picture.

    Raises:
        MasterError: There is none, or its colours can't be converted.
    """
    if probe.video is None or not probe.video.frame_count:
        raise MasterError(f"{probe.master.url} has no video stream; deliver a file with picture")
    check(probe.master, probe.video)
    return probe.video
