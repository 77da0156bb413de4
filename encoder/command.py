"""The encode commands as data: one decode, one scaling cascade, many encoders.

The graph of a video task: the master's frames are cut to the chunk by presentation time and put on the grid; they are
scaled as `encoder.scaling` says; each pixel format is made once per size; every encoder then takes its own copy. So
what an encoder gets never depends on what is encoded beside it.

Source: FFmpeg's documentation, sections "Filtergraph description" and "mov, mp4, ismv" (muxer options).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import av
import ffmpeg

from encoder import filter_graphs, seeking, timestamps
from encoder.conforming import Conformed
from encoder.families import VIDEO, Options, Style
from encoder.picture.colour import is_wide, light_of, narrowed, peak_nits, tone_mapped, without_metadata
from encoder.probing import CONTAINERS, input_options
from encoder.scaling import halvings, start_of
from headend.core.media import (
    Colour,
    Effort,
    Light,
    Master,
    Poster,
    Thumbnails,
    VideoRange,
    VideoRendition,
    VideoTrack,
)
from headend.core.timing import Chunk, Grid, timescale

PROGRAM = "ffmpeg"
"""First word of every command; a worker puts its own FFmpeg's path there."""
MASTER = "{master}"
"""Stands for the input; a worker puts a path or an address on its loopback there."""
SCRATCH = "{scratch}"
"""Stands for the folder of the outputs."""
_FRAMES = "[0:v]"
"""What ffmpeg-python calls the picture of the first input."""
SHEETS = f"{SCRATCH}/thumbnails-%d.jpg"
"""Where sheets of thumbnails go, counted from 1 in each task; number 0 is none of them: see `_sheets`."""
POSTERS = f"{SCRATCH}/poster-%d.jpg"
"""Where candidates for the poster go, likewise."""

GLOBAL = (
    "-hide_banner", "-nostdin", "-y",
    # Only what goes wrong: it is kept as evidence. Damage in the master that was concealed is no more than a warning,
    # and counted, so that nothing is put together to "repeated 3 times".
    "-loglevel", "repeat+warning",
    # Frame counts on standard output, twice a second: progress, and the sign that the child lives.
    "-progress", "pipe:1", "-stats_period", "0.5",
    # Chunks run side by side.
    "-filter_complex_threads", "1",
)  # fmt: skip

MENDING = (
    # However much can't be decoded: what is missing is made up for.
    "-max_error_rate", "1",
)  # fmt: skip
FRAGMENTS: Options = {
    "f": "mp4",
    # One fragment per GOP or stretch of sound, addressed from its own moof; the moov waits for the first packets, since
    # it holds what only the encoder knows.
    "movflags": "+cmaf+frag_keyframe+delay_moov+default_base_moof",
    # A rate that was not measured yet would make init segments differ.
    "write_btrt": 0,
    # Nothing of the master's metadata, no dates, no tool names: init segments are equal across chunks and runs.
    "map_metadata": -1,
    "map_chapters": -1,
    "fflags": "+bitexact",
}

MUXING = frozenset({*FRAGMENTS, "use_editlist", "video_track_timescale"})
"""Options of an output that are the container's, not the encoder's."""

SHEET: Options = {
    "f": "image2",
    "start_number": 0,
    "c:v": "mjpeg",
    # The highest at which edges stay clean at twice their size: about 11 kB a thumbnail of 320x180.
    "q:v": 5,
    # Chunks run side by side.
    "threads": 1,
    "fps_mode": "passthrough",
    "flags:v": "+bitexact",
}
STILL: Options = {
    **SHEET,
    # A page shows it as large as it is; at this quality no block shows.
    "q:v": 4,
}

REFERENCE = "reference"
"""Id of the master's own picture, as trial encodes are compared with it."""
REFERENCE_FILE = f"{SCRATCH}/{REFERENCE}.nut"
LOSSLESS: Options = {
    "f": "nut",
    # Lossless and quick at 8 and 10 bits; half of what raw frames take.
    "c:v": "ffvhuff",
    "threads": 1,
    "fps_mode": "passthrough",
}
SURVEY_LINES = 360
"""Shorter side of the picture of a survey."""
SURVEY_FILE = f"{SCRATCH}/survey.txt"
"""Where a survey lists the packets of its quick encode."""
DETECTORS = "blackdetect=d=0.08:pix_th=0.1,freezedetect=n=0.001:d=0.5,scdet=t=10"
"""What a survey looks for: pictures that are black or stand still, and cuts."""
SURVEY: Options = {
    "f": "framecrc",
    "c:v": "libx264",
    # Bytes of a GOP tell how hard it is next to others; that takes no more than this.
    "preset": "superfast",
    "crf": 27,
    "sc_threshold": 0,
    "threads": 1,
    "fps_mode": "passthrough",
    "flags:v": "+bitexact",
}

REQUEST_BYTES = 4 << 20
"""How much of a master in S3 is asked for at a time; what a task reads beyond its part is less than this."""


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """The picture of a master as every rendition starts from it.

    Attributes:
        conformed: Its frames on the grid.
        colour: Its colour with nothing left unknown.
    """

    conformed: Conformed
    colour: Colour

    @property
    def track(self) -> VideoTrack:
        """The master's video stream."""
        return self.conformed.track

    @property
    def light(self) -> Light:
        """What the master's numbers mean."""
        return Light(self.colour, self.track.mastering_display, self.track.content_light)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames on the grid: cropped and upright; their pixels may not be square yet."""
        kept = self.conformed.kept
        if self.track.rotation_deg in (90, 270):
            return kept.height_px, kept.width_px
        return kept.width_px, kept.height_px

    @property
    def working_format(self) -> str:
        """Pixel format of the scaling cascade: 4:2:0 as all renditions are, deep where the master is."""
        return "yuv420p10le" if self.track.bit_depth > 8 else "yuv420p"


@dataclass(frozen=True, slots=True)
class SideOutputs:
    """What a task makes beside renditions, from the same frames.

    Attributes:
        thumbnails: How sheets of thumbnails are laid; None for none.
        poster: The candidates for the poster; None for none.
        first_frame: The frame of the grid with which the task's chunk begins, if there is a poster.
        end_frame: The first one behind the chunk, likewise.
    """

    thumbnails: Thumbnails | None = None
    poster: Poster | None = None
    first_frame: int = 0
    end_frame: int = 0

    @property
    def poster_frames(self) -> tuple[int, ...]:
        """The candidates in the chunk, counted from its first frame."""
        frames = self.poster.frames if self.poster else ()
        return tuple(frame - self.first_frame for frame in frames if self.first_frame <= frame < self.end_frame)


def side_outputs(chunk: Chunk, thumbnails: Thumbnails | None, poster: Poster | None) -> SideOutputs:
    """What the task of a chunk makes beside its renditions, if it is to make these."""
    if poster is None or not poster.numbers(chunk.first_frame, chunk.end_frame):
        return SideOutputs(thumbnails)
    return SideOutputs(thumbnails, poster, chunk.first_frame, chunk.end_frame)


class VideoCommands:
    """The commands that encode the chunks of a title.

    All chunks' frames go the same way once they are on the grid. That way is written once for each group of renditions,
    and a chunk's frames once for all of its tasks: it takes ffmpeg-python tens of milliseconds, and long films have
    thousands of tasks.

    Args:
        master: The file; only where it lies matters here.
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

    def of(
        self, chunk: Chunk, renditions: Sequence[VideoRendition], side: SideOutputs = SideOutputs()
    ) -> tuple[str, ...]:
        """Build the command that encodes one chunk into a group of renditions.

        Args:
            chunk: The frames to encode.
            renditions: Those to make of it; none only if something is made beside.
            side: What to make of the chunk beside.

        Returns:
            Arguments with placeholders; one output per rendition, named by its id, then the pictures.
        """
        opening, graph = self._opening(chunk)
        encoding, outputs = self._encoding(tuple(renditions), side)
        graph = filter_graphs.joined(graph, encoding, _FRAMES)
        mending = MENDING if self._picture.conformed.mended else ()
        return PROGRAM, *GLOBAL, *mending, *opening, "-filter_complex", graph, *outputs

    def trial(self, frames: Chunk, renditions: Sequence[VideoRendition], reference: VideoRendition) -> tuple[str, ...]:
        """Build the command of trial encodes.

        Args:
            frames: A stretch of the grid.
            renditions: Those to make of it, of one frame rate.
            reference: The size and pixel format in which the master's own picture is kept beside them.

        Returns:
            As of `of`; the reference is written to `REFERENCE_FILE`, at the full frame rate.
        """
        opening, graph = self._opening(frames)
        encoding, outputs = self._encode(tuple(renditions), SideOutputs(), reference)
        mending = MENDING if self._picture.conformed.mended else ()
        whole = filter_graphs.joined(graph, encoding, _FRAMES)
        return PROGRAM, *GLOBAL, *mending, *opening, "-filter_complex", whole, *outputs

    def reference_format(self, rendition: VideoRendition) -> str:
        """Pixel format in which the master's own picture is kept beside trials of a rendition.

        It is the cascade's, so that nothing is lost; where a rendition's gamut is narrowed with its depth, its own.
        """
        return rendition.pixel_format if is_narrowed(rendition, self._picture) else self._picture.working_format

    def survey(self, chunk: Chunk) -> tuple[str, ...]:
        """Build the command of a survey.

        The packets of a quick encode are listed in `SURVEY_FILE`; black and frozen pictures and cuts are told on
        standard error.
        """
        opening, graph = self._opening(chunk)
        label = filter_graphs.last_label(graph)
        width_px, height_px = self._picture.size
        wide = (
            width_px * self._picture.track.sample_aspect_ratio
            if self._picture.track.rotation_deg in (0, 180)
            else width_px
        )
        high = (
            height_px
            if self._picture.track.rotation_deg in (0, 180)
            else height_px * self._picture.track.sample_aspect_ratio
        )
        share = min(Fraction(1), SURVEY_LINES / min(Fraction(wide), Fraction(high)))
        size = [max(16, 2 * round(side * share / 2)) for side in (wide, high)]
        picture = f"scale={size[0]}:{size[1]}:flags=bilinear,setsar=1,format=yuv420p,{DETECTORS}"
        mending = MENDING if self._picture.conformed.mended else ()
        options = {**SURVEY, "g": self._grid.gop_frames, "keyint_min": self._grid.gop_frames}
        return (
            PROGRAM, *GLOBAL,
            # Detectors speak at this level.
            "-loglevel", "repeat+info",
            *mending, *opening, "-filter_complex", f"{graph};{label}{picture}[seen]", "-map", "[seen]",
            *(word for name, value in options.items() for word in (f"-{name}", str(value))), SURVEY_FILE,
        )  # fmt: skip

    def frames(self, chunk: Chunk) -> str:
        """The graph that puts a chunk's frames on the grid: part of the identity of all that is made of them."""
        return self._opening(chunk)[1]

    def opening(self, chunk: Chunk) -> tuple[tuple[str, ...], str]:
        """The options that open the master for a chunk, and the graph that puts its frames on the grid."""
        return self._opening(chunk)

    def alone(self, rendition: VideoRendition | None, side: SideOutputs = SideOutputs()) -> tuple[str, ...]:
        """What is done to frames for one rendition, or for what is made beside: part of its identity."""
        graph, outputs = self._encoding((rendition,) if rendition else (), side)
        return graph, *outputs

    def _open(self, chunk: Chunk) -> tuple[tuple[str, ...], str]:
        """The options that open the master, and the graph of the chunk's frames."""
        picture = self._picture
        source = ffmpeg.input(MASTER, **source_options(self._master), **_seek_options(picture, chunk))
        frames = _frames_of(source[str(picture.track.index)], picture, chunk)
        made = filter_graphs.command(ffmpeg.output(frames, "-"))
        # Frames come from a graph whose labels are its own, and go into one that takes them for an input.
        return made.inputs, filter_graphs.relabelled(made.graph, "chunk")

    def _encode(
        self, renditions: tuple[VideoRendition, ...], side: SideOutputs, reference: VideoRendition | None = None
    ) -> tuple[str, tuple[str, ...]]:
        """The graph behind a chunk's frames, and the outputs."""
        picture, grid = self._picture, self._grid
        users = [bool(renditions), side.thumbnails is not None, bool(side.poster_frames)]
        branches = iter(filter_graphs.copies(ffmpeg.input("frames").video, sum(users), "split"))
        scaled = (*renditions, reference) if reference else renditions
        taps = _cascade(next(branches), picture, scaled) if scaled else {}
        outputs: list[Any] = []
        others: list[Any] = []
        for rendition in renditions:
            light = light_of(rendition.video_range, picture.light, bit_depth=bit_depth_of(rendition))
            style = Style(
                effort=self._effort,
                gop_frames=grid.gop_frames // rendition.rate_divisor,
                colour=light.colour,
                mastering_display=light.mastering_display,
                content_light=light.content_light,
            )
            options: Options = {
                **VIDEO[rendition.codec](rendition, style),
                **FRAGMENTS,
                "flags:v": "+bitexact",
                # The grid's own ticks, and times that start at 0: a chunk's place is stamped afterwards.
                "video_track_timescale": timescale(grid.frame_rate).ticks_per_second,
                "use_editlist": 0,
                # Frames are counted already; nothing may be repeated or dropped to please a muxer.
                "fps_mode": "passthrough",
            }
            options |= logged(rendition.id, options)
            output = ffmpeg.output(taps[rendition.id], f"{SCRATCH}/{rendition.id}.mp4", **options)
            (outputs if "pass" in options else others).append(output)
        outputs += others
        if reference is not None:
            outputs.append(ffmpeg.output(taps[reference.id], REFERENCE_FILE, **LOSSLESS))
        if side.thumbnails is not None:
            outputs.append(ffmpeg.output(_sheets(next(branches), picture, side.thumbnails), SHEETS, **SHEET))
        if side.poster is not None:
            stills = _stills(next(branches), picture, side.poster, side.poster_frames)
            outputs.append(ffmpeg.output(stills, POSTERS, **STILL))
        made = filter_graphs.command(ffmpeg.merge_outputs(*outputs))
        return made.graph, made.outputs


def logged(rendition: str, options: Mapping[str, str | int | float]) -> Options:
    """Where an encoder of two passes keeps what it has learned in the first one; nothing for others.

    FFmpeg appends the output's place in its command. So that this is the same in both passes, of which the first has no
    other outputs, these come first.
    """
    return {"passlogfile": f"{SCRATCH}/{rendition}"} if "pass" in options else {}


def source_options(master: Master, containers: str = CONTAINERS) -> dict[str, Any]:
    """The options with which a task's command opens the master, which may be in these containers."""
    remote = "://" in master.url
    options: dict[str, Any] = {
        **input_options("https://" if remote else master.url, containers),
        # Times as the master has them: cutting goes by them.
        "copyts": None,
        # Chunks run side by side.
        "threads": 1,
    }
    if remote:
        # A chunk is read from its start to its end: fewer and longer requests than a probe's.
        options["request_size"] = REQUEST_BYTES
    return options


def _seek_options(picture: SourcePicture, chunk: Chunk) -> dict[str, Any]:
    """Start reading at the last keyframe that the chunk's first frame can need."""
    place, track = seeking.keyframe_place(picture.conformed, chunk), picture.track
    options: dict[str, Any] = {
        # Upright is a decision of the plan, not of the tool; so is what is cut off.
        "noautorotate": None,
        "apply_cropping": "codec",
    }
    if picture.track.changes:
        # Frames of another size reach the filter that scales them; a new graph would count from 0 again.
        options["reinit_filter"] = 0
    if place == 0:
        return options
    start = track.frames.seek_ticks[place] * track.time_base
    micros = -(-start.numerator * 1_000_000 // start.denominator)  # up, or the keyframe before would be taken
    return options | {
        # The keyframe and no later one; frames before the chunk are dropped by their own times, not by this.
        "ss": timestamps.seconds(micros),
        "noaccurate_seek": None,
        # Seconds of the master's own clock, wherever it starts.
        "seek_timestamp": 1,
    }


def _frames_of(stream: Any, picture: SourcePicture, chunk: Chunk) -> Any:
    """The chunk's frames, upright, in the grid's time from 0, with nothing about their colour left open."""
    pts = picture.track.frames.pts_ticks
    bounds: dict[str, int] = {}
    first, end = picture.conformed.source_range(chunk.first_frame, chunk.end_frame)
    # What is missing at a chunk's start is made up for by the last frame before it.
    if first > 0 and not picture.conformed.mended:
        # Half-way to the frame before: a tool that rounds a time differently still keeps the same frames.
        bounds["start_pts"] = (pts[first - 1] + pts[first]) // 2 + 1
    if end < len(pts):
        bounds["end_pts"] = (pts[end - 1] + pts[end]) // 2 + 1
    if bounds:
        stream = stream.filter("trim", **bounds)
    if picture.track.changes:
        stream = _unified(stream, picture)
    if picture.track.captions:
        # They are delivered as text; in the picture, players would offer them a second time.
        stream = stream.filter("sidedata", mode="delete", type="A53_CC")
    stream = picture.conformed.apply(stream, chunk.first_frame, chunk.end_frame)
    if picture.track.mirrored:
        stream = stream.filter("hflip")
    turns = {90: ("clock",), 180: ("clock", "clock"), 270: ("cclock",)}
    for direction in turns.get(picture.track.rotation_deg, ()):
        stream = stream.filter("transpose", direction)
    if picture.track.rotation_deg or picture.track.mirrored:
        # Said again in a rendition's header, it would have players turn the picture once more.
        stream = stream.filter("sidedata", mode="delete", type="DISPLAYMATRIX")
    if picture.track.pixel_format.startswith("xyz"):
        # Digital cinema's XYZ is nothing that zimg knows.
        stream = stream.filter("format", "gbrp12le")
    # RGB has no matrix yet, and always all of its range.
    known = (
        {"range": "pc"} if _is_rgb(picture) else {"colorspace": picture.colour.matrix, "range": picture.colour.range}
    )
    return stream.filter(
        "setparams",
        # Frames are whole by now; flags that say otherwise would have them scaled field by field.
        field_mode="prog",
        color_primaries=picture.colour.primaries,
        color_trc=picture.colour.transfer,
        **known,
    )


def _unified(stream: Any, picture: SourcePicture) -> Any:
    """Bring frames of other formats to the title's own; those of another shape get bars."""
    track, colour = picture.track, picture.colour
    width, height, shape = track.width_px, track.height_px, timestamps.fraction(track.sample_aspect_ratio)
    # How much larger or smaller than the title's the shape of a frame is; up to 3 % is what rounding of sizes makes.
    relative = f"(dar/({width}/{height}*{shape}))"
    alike = f"lt(abs({relative}-1),0.03)"
    known = {} if _is_rgb(picture) else {"out_color_matrix": colour.matrix, "out_range": colour.range}
    return (
        stream.filter(
            "scale",
            f"if({alike}+gte({relative},1),{width},2*round({width}*{relative}/2))",
            f"if({alike}+lte({relative},1),{height},2*round({height}/{relative}/2))",
            eval="frame",
            flags="bicubic",
            **known,
        )
        .filter("pad", width, height, "(ow-iw)/2", "(oh-ih)/2", eval="frame")
        .filter("format", track.pixel_format)
        .filter("setsar", shape)
    )


def _cascade(frames: Any, picture: SourcePicture, renditions: Sequence[VideoRendition]) -> dict[str, Any]:
    """Give every rendition its stream; each size is scaled once, from a half of the master."""
    taps: dict[str, Any] = {}
    divisors = sorted({r.rate_divisor for r in renditions})
    for divisor, stream in zip(divisors, filter_graphs.copies(frames, len(divisors), "split"), strict=True):
        members = [r for r in renditions if r.rate_divisor == divisor]
        if divisor > 1:
            # The last picture counts however soon the chunk ends behind it.
            rate = timestamps.fraction(members[0].frame_rate)
            stream = stream.filter("framestep", divisor).filter("fps", rate, eof_action="pass")
        starts = [start_of(picture.size, _size(rendition)) for rendition in members]
        steps = halvings(picture.size)[: 1 + max(halvings(picture.size).index(start) for start in starts)]
        for number, half in enumerate(steps):
            if number:
                stream = scaled(stream, half, picture)
            here = [r for r, start in zip(members, starts, strict=True) if start == half]
            kind_of = {r.id: (_is_sdr(r), is_narrowed(r, picture)) for r in here}
            kinds = [[r for r in here if kind_of[r.id] == kind] for kind in sorted({*kind_of.values()})]
            last = number == len(steps) - 1
            branches = filter_graphs.copies(stream, len(kinds) + (not last), "split")
            for kind, copy in zip(kinds, branches, strict=False):
                taps |= _sizes_from(copy, half, picture, kind, is_master=number == 0)
            stream = branches[-1]
    return taps


def _sizes_from(
    stream: Any, half: tuple[int, int], picture: SourcePicture, members: Sequence[VideoRendition], *, is_master: bool
) -> dict[str, Any]:
    """Scale one half of the master to the sizes of renditions that are all of one range and gamut."""
    taps: dict[str, Any] = {}
    sdr = _is_sdr(members[0])
    if sdr and picture.track.video_range is not VideoRange.SDR:
        # Once for all sizes: this costs more than scaling.
        stream = scaled(stream, half, picture) if is_master else stream
        stream = tone_mapped(stream, picture.track.video_range, peak_nits(picture.light))
        stream, is_master = without_metadata(stream), False
    elif picture.track.mastering_display or picture.track.content_light:
        # Encoders of HDR are told by their own options. A decoder says it with some frames and not with others, and
        # FFmpeg would then write it into the header of one chunk and not into that of the next.
        stream = without_metadata(stream)
    if is_narrowed(members[0], picture):
        stream = narrowed(scaled(stream, half, picture) if is_master else stream, picture.working_format)
        is_master = False
    sizes = sorted({_size(r) for r in members}, reverse=True)
    for size, copy in zip(sizes, filter_graphs.copies(stream, len(sizes), "split"), strict=True):
        # A master may be of any format and range; its halves are what renditions are.
        sized = copy if size == half and not is_master else scaled(copy, size, picture)
        here = [r for r in members if _size(r) == size]
        formats = sorted({r.pixel_format for r in here})
        for pixel_format, kept in zip(formats, filter_graphs.copies(sized, len(formats), "split"), strict=True):
            users = [r for r in here if r.pixel_format == pixel_format]
            made = _as_format(kept, pixel_format, picture)
            taps |= zip((r.id for r in users), filter_graphs.copies(made, len(users), "split"), strict=True)
    return taps


def _size(rendition: VideoRendition) -> tuple[int, int]:
    return rendition.width_px, rendition.height_px


def _is_sdr(rendition: VideoRendition) -> bool:
    return rendition.video_range is VideoRange.SDR


def bit_depth_of(rendition: VideoRendition) -> int:
    """Bits of a rendition's samples."""
    return max(component.bits for component in av.VideoFormat(rendition.pixel_format).components)


def is_narrowed(rendition: VideoRendition, picture: SourcePicture) -> bool:
    """Whether a rendition is brought from a wide gamut to BT.709."""
    return is_wide(picture.colour) and bit_depth_of(rendition) == 8


def scaled(stream: Any, size: tuple[int, int], picture: SourcePicture) -> Any:
    """Frames of another size, of limited range and square pixels, in the working format."""
    options: dict[str, Any] = {
        # Bicubic steps blur a little each; on the one clip that was tried, Lanczos ones leave 360 lines 5 VMAF better.
        # zimg does them at about half of swscale's cost, and minds where chroma samples lie.
        "filter": "lanczos",
        # Renditions are limited range, whatever the master is.
        "range": "limited",
    }
    if _is_rgb(picture):
        options["matrix"] = picture.colour.matrix
    # The pixels are square from here on, said explicitly.
    return stream.filter("zscale", *size, **options).filter("format", picture.working_format).filter("setsar", 1)


def _sheets(frames: Any, picture: SourcePicture, thumbnails: Thumbnails) -> Any:
    """Every so many frames one, small, in rows on sheets; what is left of the last sheet is black."""
    # Only those few are scaled, from the master's own size.
    stream = frames.filter("framestep", thumbnails.interval_frames)
    stream = scaled(stream, (thumbnails.tile_width_px, thumbnails.tile_height_px), picture)
    if picture.track.video_range is not VideoRange.SDR:
        stream = tone_mapped(stream, picture.track.video_range, peak_nits(picture.light))
    elif is_wide(picture.colour):
        stream = narrowed(stream, picture.working_format)
    # JFIF knows only the matrix of BT.601, in full range.
    stream = stream.filter("zscale", matrix="470bg", range="full", dither="ordered").filter("format", "yuvj420p")
    # FFmpeg tells of no progress before all its outputs have begun, and a sheet is complete when the chunk nearly is: a
    # task that is silent for so long would be taken for dead. So a sheet of the first thumbnail alone goes before.
    first, rest = filter_graphs.copies(stream, 2, "split")
    shape = f"{thumbnails.columns}x{thumbnails.rows}"
    sheets = ffmpeg.concat(first.filter("trim", end_frame=1).filter("tile", shape), rest.filter("tile", shape))
    # Both begin at the same time, and the encoder may count in sheets, of minutes each: an hour is later for sure. What
    # is joined would be taken for limited range.
    return timestamps.spread_sheets(sheets).filter("format", "yuvj420p")


def _stills(frames: Any, picture: SourcePicture, poster: Poster, places: Sequence[int]) -> Any:
    """Some frames of a chunk as pictures of their own; before them one that is not kept, as for `_sheets`."""
    chosen = "+".join(f"eq(n,{place})" for place in places)
    first, rest = filter_graphs.copies(frames, 2, "split")
    stills = ffmpeg.concat(first.filter("trim", end_frame=1), rest.filter("select", chosen))
    stream = scaled(timestamps.spread_sheets(stills), (poster.width_px, poster.height_px), picture)
    if picture.track.video_range is not VideoRange.SDR:
        stream = tone_mapped(stream, picture.track.video_range, peak_nits(picture.light))
    elif is_wide(picture.colour):
        stream = narrowed(stream, picture.working_format)
    stream = stream.filter("zscale", matrix="470bg", range="full", dither="ordered").filter("format", "yuvj420p")
    return timestamps.spread_sheets(stream)


def _as_format(stream: Any, pixel_format: str, picture: SourcePicture) -> Any:
    """Bring the cascade's frames to what an encoder takes; shallower samples are dithered, against banding."""
    if pixel_format != picture.working_format:
        stream = stream.filter("zscale", dither="ordered")
    return stream.filter("format", pixel_format)


def _is_rgb(picture: SourcePicture) -> bool:
    name = picture.track.pixel_format
    return av.VideoFormat(name).is_rgb or name.startswith(("pal", "xyz"))
