"""The data types of a ladder and its rungs, as a TOML file has them.

Rates of video rungs hold for 30 frames per second and for a picture that fills the rung's box; `ladders.fitting` turns
them into those of a given master.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from headend.core.codecs import AUDIO, VIDEO
from headend.core.media import AudioRung, Codec, VideoRange

VIDEO_CODECS = tuple(one.codec for one in VIDEO)
AUDIO_CODECS = tuple(one.codec for one in AUDIO)
CRF_LIMITS = {one.codec: one.crf_limit for one in VIDEO}
"""Highest constant rate factor of each video codec's encoder; the lowest is 1."""
WHOLE_CRF = tuple(one.codec for one in VIDEO if one.whole_crf)
"""Codecs whose encoders take whole numbers only."""


class FramePolicy(StrEnum):
    """Which frames of a master a rung takes."""

    SOURCE = "source"
    AT_MOST_30 = "at_most_30"


class RungRange(StrEnum):
    """Dynamic range of a rung: HDR rungs take the range of an HDR master and are left out for others."""

    SDR = "sdr"
    HDR = "hdr"


@dataclass(frozen=True, slots=True)
class Family:
    """What all rungs of a video codec have in common.

    Attributes:
        codec: One of the video codecs.
        profile: The encoder's name of the profile.
        bit_depth: Bits of a sample, 8 or 10.
        at_most_25p: Factor on average, cap and buffer at 25 frames per second and less.
        above_30p: Factor on average, cap and buffer above 30 frames per second.
        crf_per_halving: Steps of the constant rate factor that halve the rate.
    """

    codec: Codec
    profile: str
    bit_depth: int
    at_most_25p: float
    above_30p: float
    crf_per_halving: float


@dataclass(frozen=True, slots=True)
class VideoRung:
    """A step of a ladder, of no particular title.

    Attributes:
        codec: One of the video codecs.
        width_px: Width of the box that the picture is fitted into; portrait pictures take the box on its side.
        height_px: Height of the box.
        average_kbps: Rate that ``crf`` was chosen for.
        cap_kbps: The encoder's maximal rate.
        buffer_kb: Size of the rate model's buffer, in thousands of bits.
        crf: Constant rate factor, in the codec's own scale.
        frame_rate: Which frames are taken.
        range: Dynamic range.
        default: Whether players should start here.
    """

    codec: Codec
    width_px: int
    height_px: int
    average_kbps: int
    cap_kbps: int
    buffer_kb: int
    crf: float
    frame_rate: FramePolicy = FramePolicy.SOURCE
    range: RungRange = RungRange.SDR
    default: bool = False

    @property
    def id(self) -> str:
        """Such as ``avc-1080p-6000k`` or ``hevc-1080p-7000k-hdr``."""
        return video_id(self.codec, f"{self.height_px}p", self.average_kbps, hdr=self.range is RungRange.HDR)


@dataclass(frozen=True, slots=True)
class Ladder:
    """The ordered steps, of no particular title.

    Attributes:
        name: Of the preset or the file.
        summary: One line for people.
        area_exponent: A picture that fills a share ``s`` of its box's area has ``s ** area_exponent`` of the average.
        families: One per video codec.
        video: Rungs, ascending within a codec and range.
        audio: Rungs.
        measured: Whether averages are what trial encodes of one title came to, so that no model of rates applies.
    """

    name: str
    summary: str
    area_exponent: float
    families: tuple[Family, ...]
    video: tuple[VideoRung, ...]
    audio: tuple[AudioRung, ...] = ()
    measured: bool = False

    def family(self, codec: Codec) -> Family:
        """What the rungs of ``codec`` have in common; a checked ladder has it for each codec that it uses."""
        return next(family for family in self.families if family.codec is codec)


def video_id(codec: Codec, size: str, average_kbps: int, *, hdr: bool) -> str:
    """Spell the id of a video rung or rendition: ``avc-1080p-6000k``, with ``-hdr`` where it is."""
    return f"{codec}-{size}-{average_kbps}k{'-hdr' if hdr else ''}"


def modelled_rate(ladder: Ladder, rung: VideoRung) -> float:
    """What a rung takes of a picture that fills its box, without its cap; in a unit that its codec's rungs share.

    Size and constant rate factor decide that, whatever average the rung was meant to have.

    Args:
        ladder: The rung's; it has a family for the rung's codec.
        rung: Of video.
    """
    area_px = rung.width_px * rung.height_px
    halvings = rung.crf / ladder.family(rung.codec).crf_per_halving
    return float(math.pow(area_px, ladder.area_exponent) * math.pow(2, -halvings))


def is_hdr(video_range: VideoRange) -> bool:
    """Whether a master of this range gets HDR rungs."""
    return video_range is not VideoRange.SDR


def rate_factor(family: Family, frames_per_second: float) -> float:
    """Factor on a rung's rates, which are given for 30 frames per second.

    Args:
        family: Of the rung.
        frames_per_second: Of the rendition; rounded, so that 29.97 is 30 and 25.0001 is 25.

    Source:
        Apple, HLS Authoring Specification, 1.25: at 24 frames per second HEVC needs about 20 % less.
    """
    nominal = round(frames_per_second)
    if nominal <= 25:
        return family.at_most_25p
    return 1.0 if nominal <= 30 else family.above_30p
