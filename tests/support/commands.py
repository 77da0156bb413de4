"""Parses encode commands: the filters of their graphs, and the options of their inputs and outputs."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np

from encoder.command import VideoCommands
from headend.core.media import (
    Codec,
    ContentLight,
    Effort,
    MasteringDisplay,
    VideoRendition,
    VideoTrack,
)
from headend.core.timing import Chunk, Grid, plan_grid
from tests.support.encodes import picture_of
from tests.support.makers import (
    HDR10,
    make_frame_index,
    make_master,
    make_video_rendition,
    make_video_track,
)
from tests.support.playback import frames

RATE = Fraction(24)
GRID = plan_grid(RATE, 480, segment_s=Fraction(2), chunk_s=Fraction(4))
DISPLAY = MasteringDisplay(
    red_xy=(Fraction(34000, 50000), Fraction(16000, 50000)),
    green_xy=(Fraction(13250, 50000), Fraction(34500, 50000)),
    blue_xy=(Fraction(7500, 50000), Fraction(3000, 50000)),
    white_xy=(Fraction(15635, 50000), Fraction(16450, 50000)),
    min_nits=Fraction(50, 10000),
    max_nits=Fraction(1000),
)
LIGHT = ContentLight(max_cll_nits=1000, max_fall_nits=400)
LADDER = (
    make_video_rendition(),
    make_video_rendition(codec=Codec.HEVC),
    make_video_rendition(codec=Codec.AV1),
    make_video_rendition(id="avc-720p", width_px=1280, height_px=720),
    make_video_rendition(id="avc-720p-low", width_px=1280, height_px=720),
    make_video_rendition(id="hevc-540p", codec=Codec.HEVC, width_px=960, height_px=540),
    make_video_rendition(id="avc-360p", width_px=640, height_px=360),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A filter of a graph: the labels of its inputs, its name and arguments, and the labels of its outputs."""

    inputs: tuple[str, ...]
    name: str
    args: str
    outputs: tuple[str, ...]


def graph_of(argv: Sequence[str]) -> list[Step]:
    steps = []
    for part in argv[argv.index("-filter_complex") + 1].split(";"):
        inputs, body, outputs = re.fullmatch(r"((?:\[[^\]]+\])+)([^\[]+)((?:\[[^\]]+\])+)", part).groups()  # type: ignore[union-attr]
        name, _, args = body.partition("=")
        steps.append(Step(tuple(re.findall(r"\[([^\]]+)\]", inputs)), name, args, tuple(outputs[1:-1].split("]["))))
    return steps


def filters_named(argv: Sequence[str], name: str) -> list[Step]:
    return [step for step in graph_of(argv) if step.name == name]


def filters_before(argv: Sequence[str], rendition: str) -> list[Step]:
    """Return the filters through which a rendition's frames pass, in order from the decoder."""
    output = argv.index(f"{{scratch}}/{rendition}.mp4")
    label = next(argv[at + 1] for at in range(output - 1, 0, -1) if argv[at] == "-map")[1:-1]
    steps, path = graph_of(argv), []
    while step := next((step for step in steps if label in step.outputs), None):
        path.append(step)
        label = step.inputs[0]
    return path[::-1]


def options_of(argv: Sequence[str], rendition: str) -> dict[str, str]:
    output = argv.index(f"{{scratch}}/{rendition}.mp4")
    first = next(at for at in range(output - 1, 0, -1) if argv[at] == "-map")
    return dict(zip(argv[first:output:2], argv[first + 1 : output : 2], strict=True))


def input_options_of(argv: Sequence[str]) -> dict[str, str]:
    head = list(argv[: argv.index("-i")])
    return {word: after for word, after in pairwise(head) if word.startswith("-")}


def long_track(**changes: object) -> VideoTrack:
    frames_ = make_frame_index(480, frame_ticks=512, start_ticks=1000, keyframe_every=40)
    track = make_video_track(frames=frames_, time_base=Fraction(1, 12288), pixel_format="yuv420p", bit_depth=8)
    return replace(track, **changes)  # type: ignore[arg-type]


def command(
    renditions: Sequence[VideoRendition] = LADDER,
    *,
    track: VideoTrack | None = None,
    chunk: Chunk | None = None,
    grid: Grid = GRID,
    url: str = "/masters/film.mov",
) -> tuple[str, ...]:
    track = track or long_track()
    commands = VideoCommands(make_master(url), picture_of(track), grid, Effort.DRAFT)
    return commands.encode(chunk or grid.chunks()[0], renditions)


def hdr_track(colour: object = HDR10) -> VideoTrack:
    return long_track(
        colour=colour, mastering_display=DISPLAY, content_light=LIGHT, pixel_format="yuv420p10le", bit_depth=10
    )


def sizes(steps: Iterable[Step]) -> list[str]:
    return [step.args.split(":filter")[0] for step in steps if ":filter" in step.args]


def mean_luma(data: bytes) -> float:
    return float(np.mean([frame.to_ndarray()[: frame.height].mean() for frame in frames(data)]))
