"""Plan the encoding of sound: the track of each rendition, and the tasks that make the missing ones."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby

from encoder.costs import Costs
from encoder.identities import after_input, task_id, track_id
from encoder.probing import CONTAINERS
from encoder.sound.command import audio_command, loudness_target
from headend.core import documents, layout
from headend.core.media import (
    AudioRendition,
    AudioTrack,
    EncodePlan,
    EncodeTask,
    Kind,
    LoudnessTarget,
    Master,
    Part,
    ReadRange,
)
from headend.core.timing import Grid


@dataclass(frozen=True, slots=True)
class SoundPlanner:
    """Plans the encoding of one file's programmes of sound.

    Attributes:
        master: The file.
        programmes: The programmes, by their numbers in the title.
        grid: The title's grid.
        start_s: When the picture starts, on the file's timeline.
        loudness_lufs: Target for the integrated loudness; None to keep the file's loudness.
        costs: Cost coefficients.
        tool_digest: SHA-256 of FFmpeg's executable.
        conceal: Whether to replace sound that can't be decoded with silence.
        compressed: Whether to apply the dynamic range compression of AC-3 and E-AC-3.
        containers: FFmpeg's names of the containers that the file may have.
    """

    master: Master
    programmes: Mapping[int, AudioTrack]
    grid: Grid
    start_s: Fraction
    loudness_lufs: float | None
    costs: Costs
    tool_digest: str
    conceal: bool = False
    compressed: bool = False
    containers: str = CONTAINERS

    def track_id(self, rendition: AudioRendition) -> str:
        """The id of a rendition's track: a digest of everything that determines its bytes."""
        argv, levels = self._commands((rendition,))
        inputs = {
            "format": layout.SEGMENT_FORMAT,
            "tool": self.tool_digest,
            "grid": documents.as_plain(self.grid),
            # Ids of tracks are digests, so a key keeps its name.
            "mended": self.conceal,
            "master": self.master.digest,
            "encoder": after_input(argv),
            "levels": documents.as_plain(replace(levels, argv=after_input(levels.argv))),
        }
        return track_id(rendition.id, inputs)

    def tasks(self, plan: EncodePlan, wanted: Collection[Part]) -> Iterator[EncodeTask]:
        """Plan the tasks that make the wanted parts: one for each programme, with all its missing renditions.

        Args:
            plan: The title's plan; its sound is that of this file.
            wanted: The parts to make.
        """
        for index, programme in groupby(plan.audio, key=lambda rendition: rendition.track_index):
            members = tuple(rendition for rendition in programme if (rendition.id, 0) in wanted)
            if members:
                argv, levels = self._commands(members)
                yield EncodeTask(
                    id=task_id(plan, plan.whole, [rendition.id for rendition in members]),
                    kind=Kind.AUDIO,
                    chunk=plan.whole,
                    renditions=tuple(rendition.id for rendition in members),
                    argv=argv,
                    cost=self.costs.audio_s(members, float(plan.grid.duration_s)),
                    memory_bytes=self.costs.audio_bytes(),
                    loudness_target=levels,
                    reads=self._reads(self.programmes[index]),
                )

    def _commands(self, members: Sequence[AudioRendition]) -> tuple[tuple[str, ...], LoudnessTarget]:
        """The commands that encode and measure some renditions of one programme."""
        programme = self.programmes[members[0].track_index]
        common = (self.master, programme, self.grid, self.start_s, members)
        return (
            audio_command(*common, conceal=self.conceal, compressed=self.compressed, containers=self.containers),
            loudness_target(
                *common,
                self.loudness_lufs,
                conceal=self.conceal,
                compressed=self.compressed,
                containers=self.containers,
            ),
        )

    def _reads(self, programme: AudioTrack) -> tuple[ReadRange, ...]:
        """The parts of the file that a task reads: all its streams, for the duration of the picture."""
        streams = [part.index for part in programme.parts] or [programme.index]
        end_s = self.start_s + self.grid.duration_s
        return tuple(ReadRange(n, self.start_s, Fraction(0), None, self.start_s, end_s) for n in streams)
