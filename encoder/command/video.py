"""The commands that encode a title's chunks: one decode, one scaling cascade, many encoders."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import ffmpeg

from encoder import filter_graphs
from encoder.command import survey
from encoder.command.base import GLOBAL, MASTER, MENDING, PROGRAM, SCRATCH
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

    A command has two parts: one puts a chunk's frames on the grid, the other makes a group of renditions of them. Each
    part is built once and cached, because ffmpeg-python takes tens of milliseconds for it and a long film has
    thousands of tasks.

    Args:
        master: The file; only its location matters here.
        picture: Its picture.
        grid: The title's grid.
        effort: How much work the encoders do.
    """

    def __init__(self, master: Master, picture: SourcePicture, grid: Grid, effort: Effort) -> None:
        self._master = master
        self._picture = picture
        self._grid = grid
        self._effort = effort
        self._opening = cache(self._open)
        self._encoding = cache(self._encode)

    def of(self, chunk: Chunk, renditions: Sequence[VideoRendition], side: SideOutputs = NO_STILLS) -> tuple[str, ...]:
        """Build the command that encodes one chunk into a group of renditions.

        Args:
            chunk: The frames to encode.
            renditions: What to make of them; may be empty only if ``side`` is not.
            side: Still pictures to make of the chunk as well.

        Returns:
            Arguments with placeholders; one output per rendition, named by its id, then the still pictures.
        """
        return self._whole(chunk, *self._encoding(tuple(renditions), side))

    def trial(self, frames: Chunk, renditions: Sequence[VideoRendition], reference: VideoRendition) -> tuple[str, ...]:
        """Build the command of trial encodes.

        Args:
            frames: A stretch of the grid.
            renditions: What to make of it, all at one frame rate.
            reference: Size and pixel format in which the master's own picture is kept beside them.

        Returns:
            As `of` does; the reference is written to `REFERENCE_FILE`, at the full frame rate.
        """
        return self._whole(frames, *self._encode(tuple(renditions), SideOutputs(), reference))

    def reference_format(self, rendition: VideoRendition) -> str:
        """Pixel format in which the master's own picture is kept beside trials of a rendition.

        It is the cascade's, so that nothing is lost; if a rendition's gamut is narrowed with its depth, it is the
        rendition's.
        """
        return rendition.pixel_format if is_narrowed(rendition, self._picture) else self._picture.working_format

    def survey(self, chunk: Chunk) -> tuple[str, ...]:
        """Build the command of a survey.

        The packets of a quick encode are listed in `SURVEY_FILE`; detectors report black and frozen pictures and cuts
        on standard error.
        """
        _, graph = self._opening(chunk)
        last = filter_graphs.last_label(graph)
        graph = f"{graph};{last}{survey.filters(self._picture)}[seen]"
        return self._command(chunk, graph, survey.output("[seen]", self._grid.gop_frames), survey.LOG_LEVEL)

    def frames(self, chunk: Chunk) -> str:
        """The graph that puts a chunk's frames on the grid: part of the identity of everything made of them."""
        return self._opening(chunk)[1]

    def opening(self, chunk: Chunk) -> tuple[tuple[str, ...], str]:
        """The options that open the master for a chunk, and the graph that puts its frames on the grid."""
        return self._opening(chunk)

    def alone(self, rendition: VideoRendition | None, side: SideOutputs = NO_STILLS) -> tuple[str, ...]:
        """The graph and the options of one rendition, or of the still pictures, by itself: part of its identity."""
        graph, outputs = self._encoding((rendition,) if rendition else (), side)
        return graph, *outputs

    def _whole(self, chunk: Chunk, encoding: str, outputs: tuple[str, ...]) -> tuple[str, ...]:
        _, frames = self._opening(chunk)
        return self._command(chunk, filter_graphs.joined(frames, encoding), outputs)

    def _command(
        self, chunk: Chunk, graph: str, outputs: tuple[str, ...], logging: tuple[str, ...] = ()
    ) -> tuple[str, ...]:
        opening, _ = self._opening(chunk)
        mending = MENDING if self._picture.conformed.mended else ()
        return PROGRAM, *GLOBAL, *logging, *mending, *opening, "-filter_complex", graph, *outputs

    def _open(self, chunk: Chunk) -> tuple[tuple[str, ...], str]:
        """The options that open the master, and the graph of the chunk's frames."""
        picture = self._picture
        source = ffmpeg.input(MASTER, **source_options(self._master), **seek_options(picture, chunk))
        frames = chunk_frames(source[str(picture.track.index)], picture, chunk)
        made = filter_graphs.command(ffmpeg.output(frames, "-"))
        # The encoding graph is appended to this one, so this one's labels must be different.
        return made.inputs, filter_graphs.relabelled(made.graph, "chunk")

    def _encode(
        self, renditions: tuple[VideoRendition, ...], side: SideOutputs, reference: VideoRendition | None = None
    ) -> tuple[str, tuple[str, ...]]:
        """The graph that takes a chunk's frames, and the outputs."""
        picture = self._picture
        users = [bool(renditions), side.thumbnails is not None, bool(side.poster_frames)]
        branches = iter(filter_graphs.copies(ffmpeg.input("frames").video, sum(users), "split"))
        scaled = (*renditions, reference) if reference else renditions
        taps = cascade(next(branches), picture, scaled) if scaled else {}
        options = {rendition.id: self._options(rendition) for rendition in renditions}
        # Outputs of two-pass encoders come first: see `pass_log`.
        outputs: list[Any] = [
            ffmpeg.output(taps[id], f"{SCRATCH}/{id}.mp4", **options[id])
            for id in sorted(options, key=lambda id: "pass" not in options[id])
        ]
        if reference is not None:
            outputs.append(ffmpeg.output(taps[reference.id], REFERENCE_FILE, **LOSSLESS))
        if side.thumbnails is not None:
            outputs.append(ffmpeg.output(sheets(next(branches), picture, side.thumbnails), SHEETS, **SHEET))
        if side.poster is not None:
            kept = stills(next(branches), picture, side.poster, side.poster_frames)
            outputs.append(ffmpeg.output(kept, POSTERS, **STILL))
        made = filter_graphs.command(ffmpeg.merge_outputs(*outputs))
        return made.graph, made.outputs

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
            # The grid's own ticks, and times that start at 0: a chunk's place is stamped afterwards.
            "video_track_timescale": timescale(self._grid.frame_rate).ticks_per_second,
            "use_editlist": 0,
            # Frames are counted already; no muxer may repeat or drop any.
            "fps_mode": "passthrough",
        }
        return options | pass_log(rendition.id, options)
