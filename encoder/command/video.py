"""The commands that encode a title's chunks: one decode, one scaling cascade, many encoders."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import ffmpeg

from encoder import filter_graphs
from encoder.command import survey
from encoder.command.base import CONCEALMENT, GLOBAL, MASTER, PROGRAM, SCRATCH
from encoder.command.cascade import cascade, is_narrowed
from encoder.command.frames import chunk_frames
from encoder.command.outputs import FRAGMENTS, LOSSLESS, REFERENCE_FILE, pass_log
from encoder.command.source import SourcePicture, seek_options, source_options
from encoder.command.stills import NO_STILLS, POSTERS, SHEET, SHEETS, STILL, SideOutputs, sheets, stills
from encoder.families import VIDEO, Options, Style
from encoder.picture.colour import bit_depth_of, light_of
from headend.core.media import Effort, Master, VideoRendition
from headend.core.timing import Chunk, Grid, timescale


class VideoCommands:
    """The commands that encode the chunks of a title.

    A command has two parts. The first opens the master and puts a chunk's frames on the grid; the second encodes these
    frames into a group of renditions. Each part is cached, because ffmpeg-python takes tens of milliseconds to build it
    and a long film has thousands of tasks.

    Args:
        master: The file; only its location is used.
        picture: The picture of the master.
        grid: The title's grid.
        effort: How much work the encoders do.
    """

    def __init__(self, master: Master, picture: SourcePicture, grid: Grid, effort: Effort) -> None:
        self._master = master
        self._picture = picture
        self._grid = grid
        self._effort = effort
        self._cached_frames_part = cache(self._frames_part)
        self._cached_encode_part = cache(self._encode_part)

    def encode(
        self, chunk: Chunk, renditions: Sequence[VideoRendition], side: SideOutputs = NO_STILLS
    ) -> tuple[str, ...]:
        """Build the command that encodes one chunk into a group of renditions.

        Args:
            chunk: The frames to encode.
            renditions: The renditions to encode them into; may be empty only if ``side`` is not.
            side: Still pictures to make of the same frames.

        Returns:
            Arguments with placeholders. Outputs: one for each rendition, named by its id, then the still pictures.
        """
        return self._join(chunk, *self._cached_encode_part(tuple(renditions), side))

    def trial(self, frames: Chunk, renditions: Sequence[VideoRendition], reference: VideoRendition) -> tuple[str, ...]:
        """Build the command of trial encodes.

        Args:
            frames: The frames to encode.
            renditions: The renditions to encode them into, all at one frame rate.
            reference: Size and pixel format of the reference: a lossless copy of the master's frames, with which the
                trial encodes are compared.

        Returns:
            Arguments as from `encode`; the reference is written to `REFERENCE_FILE`, at the full frame rate.
        """
        return self._join(frames, *self._encode_part(tuple(renditions), SideOutputs(), reference))

    def reference_format(self, rendition: VideoRendition) -> str:
        """Pixel format of the reference for trial encodes of a rendition.

        It is the working format of the cascade, so that no bits are lost. Only a rendition that is converted from a
        wide gamut to BT.709 is compared in its own format.
        """
        return rendition.pixel_format if is_narrowed(rendition, self._picture) else self._picture.working_format

    def survey(self, chunk: Chunk) -> tuple[str, ...]:
        """Build the command of a survey, which finds out how hard each GOP of a chunk is to encode.

        It lists the packets of a quick encode in `SURVEY_FILE`. Detectors report black pictures, frozen pictures and
        cuts on standard error.
        """
        _, graph = self._cached_frames_part(chunk)
        last = filter_graphs.last_label(graph)
        graph = f"{graph};{last}{survey.filters(self._picture)}[seen]"
        return self._command(chunk, graph, survey.output("[seen]", self._grid.gop_frames), survey.LOG_LEVEL)

    def frames(self, chunk: Chunk) -> str:
        """The graph that puts a chunk's frames on the grid; part of the identity of every track made from them."""
        return self._cached_frames_part(chunk)[1]

    def frames_part(self, chunk: Chunk) -> tuple[tuple[str, ...], str]:
        """The options that open the master for a chunk, and the graph that puts the chunk's frames on the grid."""
        return self._cached_frames_part(chunk)

    def alone(self, rendition: VideoRendition | None, side: SideOutputs = NO_STILLS) -> tuple[str, ...]:
        """The graph and the options that encode only this rendition or these stills; part of a track's identity."""
        graph, outputs = self._cached_encode_part((rendition,) if rendition else (), side)
        return graph, *outputs

    def _join(self, chunk: Chunk, encoding: str, outputs: tuple[str, ...]) -> tuple[str, ...]:
        _, frames = self._cached_frames_part(chunk)
        return self._command(chunk, filter_graphs.joined(frames, encoding), outputs)

    def _command(
        self, chunk: Chunk, graph: str, outputs: tuple[str, ...], logging: tuple[str, ...] = ()
    ) -> tuple[str, ...]:
        opening, _ = self._cached_frames_part(chunk)
        concealment = CONCEALMENT if self._picture.conformed.conceal else ()
        return PROGRAM, *GLOBAL, *logging, *concealment, *opening, "-filter_complex", graph, *outputs

    def _frames_part(self, chunk: Chunk) -> tuple[tuple[str, ...], str]:
        picture = self._picture
        source = ffmpeg.input(MASTER, **source_options(self._master), **seek_options(picture, chunk))
        frames = chunk_frames(source[str(picture.track.index)], picture, chunk)
        command = filter_graphs.command(ffmpeg.output(frames, "-"))
        # The encoding graph is appended to this one, so this one's labels must be different.
        return command.inputs, filter_graphs.relabelled(command.graph, "chunk")

    def _encode_part(
        self, renditions: tuple[VideoRendition, ...], side: SideOutputs, reference: VideoRendition | None = None
    ) -> tuple[str, tuple[str, ...]]:
        """The graph that scales a chunk's frames for each output, and the options of the outputs."""
        picture = self._picture
        uses = [bool(renditions), side.thumbnails is not None, bool(side.poster_frames)]
        branches = iter(filter_graphs.copies(ffmpeg.input("frames").video, sum(uses), "split"))
        scaled = (*renditions, reference) if reference else renditions
        streams = cascade(next(branches), picture, scaled) if scaled else {}
        options = {rendition.id: self._options(rendition) for rendition in renditions}
        # Outputs of two-pass encoders come first: see `pass_log`.
        outputs: list[Any] = [
            ffmpeg.output(streams[id], f"{SCRATCH}/{id}.mp4", **options[id])
            for id in sorted(options, key=lambda id: "pass" not in options[id])
        ]
        if reference is not None:
            outputs.append(ffmpeg.output(streams[reference.id], REFERENCE_FILE, **LOSSLESS))
        if side.thumbnails is not None:
            outputs.append(ffmpeg.output(sheets(next(branches), picture, side.thumbnails), SHEETS, **SHEET))
        if side.poster is not None:
            kept = stills(next(branches), picture, side.poster, side.poster_frames)
            outputs.append(ffmpeg.output(kept, POSTERS, **STILL))
        command = filter_graphs.command(ffmpeg.merge_outputs(*outputs))
        return command.graph, command.outputs

    def _options(self, rendition: VideoRendition) -> Options:
        """The output options of a rendition."""
        light = light_of(rendition.video_range, self._picture.light, bit_depth=bit_depth_of(rendition))
        style = Style(
            effort=self._effort,
            gop_frames=self._grid.gop_frames // rendition.rate_divisor,
            colour=light.colour,
            mastering_display=light.mastering_display,
            content_light=light.content_light,
        )
        options: Options = {
            **VIDEO[rendition.codec](rendition, style),
            **FRAGMENTS,
            "flags:v": "+bitexact",
            # The grid's timescale, and times from 0: the start time of a chunk is written into its segments later.
            "video_track_timescale": timescale(self._grid.frame_rate).ticks_per_second,
            "use_editlist": 0,
            # The graph makes the exact number of frames; FFmpeg must not repeat or drop any.
            "fps_mode": "passthrough",
        }
        return options | pass_log(rendition.id, options)
