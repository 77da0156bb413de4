"""The master as the input of a command: its picture, and the options that open it and seek in it."""

from dataclasses import dataclass
from typing import Any

import av

from encoder import seeking, timestamps
from encoder.conforming import Conformed
from encoder.probing import CONTAINERS, input_options
from headend.core.media import Colour, Light, Master, VideoTrack
from headend.core.timing import Chunk

REQUEST_BYTES = 4 << 20
"""Bytes that are requested at a time from a master in S3; a task reads less than this beyond its own part."""


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
        """Width and height of the frames on the grid: cropped and upright; their pixels may not be square yet."""
        kept = self.conformed.kept
        if self.track.rotation_deg in (90, 270):
            return kept.height_px, kept.width_px
        return kept.width_px, kept.height_px

    @property
    def working_format(self) -> str:
        """Pixel format of the cascade: 4:2:0 like all renditions, with 10 bits if the master has more than 8."""
        return "yuv420p10le" if self.track.bit_depth > 8 else "yuv420p"

    @property
    def is_rgb(self) -> bool:
        """Whether the master's samples are RGB or XYZ, which have no matrix yet and always full range."""
        name = self.track.pixel_format
        return av.VideoFormat(name).is_rgb or name.startswith(("pal", "xyz"))


def source_options(master: Master, containers: str = CONTAINERS) -> dict[str, Any]:
    """The options with which a task's command opens the master, which must be in one of these containers."""
    remote = "://" in master.url
    options: dict[str, Any] = {
        **input_options("https://" if remote else master.url, containers),
        # Keep the master's own times: frames are cut by them.
        "copyts": None,
        # Chunks run side by side.
        "threads": 1,
    }
    if remote:
        # A chunk is read from start to end, so requests are fewer and longer than a probe's.
        options["request_size"] = REQUEST_BYTES
    return options


def seek_options(picture: SourcePicture, chunk: Chunk) -> dict[str, Any]:
    """Start reading at the last keyframe that the chunk's first frame can need."""
    place, track = seeking.keyframe_place(picture.conformed, chunk), picture.track
    options: dict[str, Any] = {
        # Rotation and cropping are decided by the plan, not by the tool.
        "noautorotate": None,
        "apply_cropping": "codec",
    }
    if track.codec == "hevc":
        # Some encoders write a checksum of each picture.
        options["err_detect"] = "crccheck"
    # A new filter graph would count frames from 0 again. Where the plan knows of changes, all frames reach the filter
    # that scales them. Where it doesn't, FFmpeg drops the frames that differ and warns: see `encoding.tells_of_damage`.
    options |= {"reinit_filter": 0} if track.changes else {"drop_changed": 1}
    if place == 0:
        return options
    start = track.frames.seek_ticks[place] * track.time_base
    micros = -(-start.numerator * 1_000_000 // start.denominator)  # up, or the keyframe before would be taken
    return options | {
        # This keyframe and no later one; frames before the chunk are dropped by their own times, not by this.
        "ss": timestamps.seconds(micros),
        "noaccurate_seek": None,
        # Seconds of the master's own clock, wherever it starts.
        "seek_timestamp": 1,
    }
