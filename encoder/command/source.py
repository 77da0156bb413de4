"""The master as the input of a command: its picture, and the options that open it and seek in it."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import av

from encoder import seeking, timestamps
from encoder.conforming import Conformed
from encoder.probing import CONTAINERS, input_options
from headend.core.media import Colour, Light, Master, VideoTrack
from headend.core.timing import Chunk

REQUEST_BYTES = 4 << 20
"""Number of bytes in each request for a master in S3. A task reads less than this beyond the part that it needs."""


@dataclass(frozen=True, slots=True)
class SourcePicture:
    """The picture of a master, from which every rendition is made.

    Attributes:
        conformed: Its frames on the grid.
        colour: Its colour with every unknown filled in.
    """

    conformed: Conformed
    colour: Colour

    @property
    def track(self) -> VideoTrack:
        """The master's video stream."""
        return self.conformed.track

    @property
    def light(self) -> Light:
        """What the master's sample values mean."""
        return Light(self.colour, self.track.mastering_display, self.track.content_light)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the frames on the grid, cropped and rotated; their pixels may not be square yet."""
        cropped = self.conformed.kept
        if self.track.rotation_deg in (90, 270):
            return cropped.height_px, cropped.width_px
        return cropped.width_px, cropped.height_px

    @property
    def working_format(self) -> str:
        """Pixel format of the cascade: 4:2:0 like all renditions, with 10 bits if the master has more than 8."""
        return "yuv420p10le" if self.track.bit_depth > 8 else "yuv420p"

    @property
    def is_rgb(self) -> bool:
        """Whether the master's samples are RGB or XYZ, which have no matrix and always have full range."""
        name = self.track.pixel_format
        return av.VideoFormat(name).is_rgb or name.startswith(("pal", "xyz"))


def source_options(master: Master, containers: str = CONTAINERS) -> dict[str, Any]:
    """The options with which a task's command opens the master; other formats than ``containers`` are rejected."""
    remote = "://" in master.url
    options: dict[str, Any] = {
        **input_options("https://" if remote else master.url, containers),
        # Keep the master's times: frames are selected by them.
        "copyts": None,
        # Other chunks are encoded at the same time.
        "threads": 1,
    }
    if remote:
        # A chunk is read from start to end, so requests are fewer and longer than a probe's.
        options["request_size"] = REQUEST_BYTES
    return options


def seek_options(picture: SourcePicture, chunk: Chunk) -> dict[str, Any]:
    """The options that start reading at the last keyframe from which the chunk's first frame can be decoded."""
    position, track = seeking.keyframe_position(picture.conformed, chunk), picture.track
    options: dict[str, Any] = {
        # The plan decides about rotation and cropping, not FFmpeg.
        "noautorotate": None,
        "apply_cropping": "codec",
    }
    if track.codec == "hevc":
        # Some encoders write a checksum of each picture.
        options["err_detect"] = "crccheck"
    # If FFmpeg made a new filter graph, that would count frames from 0 again. If the plan knows of changes, all frames
    # are passed to the filter that scales them. If not, FFmpeg drops frames that differ and warns: see
    # `encoding.reports_damage`.
    options |= {"reinit_filter": 0} if track.changes else {"drop_changed": 1}
    if position == 0:
        return options
    start = track.frames.seek_ticks[position] * track.time_base
    micros = ceil(start * 1_000_000)  # rounded up, or the keyframe before would be found
    return options | {
        # Start at this keyframe. Frames before the chunk are not dropped here, but later, by their times.
        "ss": timestamps.seconds(micros),
        "noaccurate_seek": None,
        # The time is on the master's timeline, even if that does not start at 0.
        "seek_timestamp": 1,
    }
