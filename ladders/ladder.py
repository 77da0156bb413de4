"""The data types of a ladder and its rungs, as in TOML files.

Rates of video rungs are for 30 frames per second and a picture that fills the rung's box; `ladders.fitting` converts
them for a given master.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from headend.core.codecs import AUDIO, VIDEO
from headend.core.media import AudioRung, Codec, VideoRange

VIDEO_CODECS = tuple(video.codec for video in VIDEO)
AUDIO_CODECS = tuple(audio.codec for audio in AUDIO)
CRF_LIMITS = {video.codec: video.crf_limit for video in VIDEO}
"""Highest constant rate factor of each video codec's encoder; the lowest is 1."""
WHOLE_CRF = tuple(video.codec for video in VIDEO if video.whole_crf)
"""Codecs whose encoders accept whole numbers only."""


class FramePolicy(StrEnum):
    """Which frames of a master a rung keeps."""

    SOURCE = "source"
    AT_MOST_30 = "at_most_30"


class RungRange(StrEnum):
    """Dynamic range of a rung: HDR rungs have the range of an HDR master, and are left out for other masters."""

    SDR = "sdr"
    HDR = "hdr"


@dataclass(frozen=True, slots=True)
class Family:
    """Common properties of all rungs of a video codec.

    Attributes:
        codec: A video codec.
        profile: The encoder's name of the profile.
        bit_depth: Bits per sample, 8 or 10.
        at_most_25p: Factor for average, cap and buffer at up to 25 frames per second.
        above_30p: Factor for average, cap and buffer above 30 frames per second.
        crf_per_halving: Increase of the constant rate factor that halves the rate.
    """

    codec: Codec
    profile: str
    bit_depth: int
    at_most_25p: float
    above_30p: float
    crf_per_halving: float


@dataclass(frozen=True, slots=True)
class VideoRung:
    """A step of a ladder, independent of any title.

    Attributes:
        codec: A video codec.
        width_px: Width of the box that the picture is fitted into; for portrait pictures, the box is rotated.
        height_px: Height of the box.
        average_kbps: Rate that ``crf`` was chosen for.
        cap_kbps: The encoder's maximum rate.
        buffer_kb: Size of the rate model's buffer, in thousands of bits.
        crf: Constant rate factor, on the codec's own scale.
        frame_rate: Which frames are kept.
        range: Dynamic range.
        default: Whether players should start with it.
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
    """Ordered rungs, independent of any title.

    Attributes:
        name: Name of the preset or the file.
        summary: Description in one line.
        area_exponent: A picture that fills a share ``s`` of its box's area gets ``s ** area_exponent`` of the average.
        families: One per video codec.
        video: Rungs, ascending within a codec and range.
        audio: Rungs.
        measured: Whether averages were measured in trial encodes of one title, so that the model of rates does not
            apply.
    """

    name: str
    summary: str
    area_exponent: float
    families: tuple[Family, ...]
    video: tuple[VideoRung, ...]
    audio: tuple[AudioRung, ...] = ()
    measured: bool = False

    def family(self, codec: Codec) -> Family:
        """The family of a codec; a valid ladder has one for each codec that it uses."""
        return next(family for family in self.families if family.codec is codec)


def video_id(codec: Codec, size: str, average_kbps: int, *, hdr: bool) -> str:
    """The id of a video rung or rendition: ``avc-1080p-6000k``, with ``-hdr`` for HDR."""
    return f"{codec}-{size}-{average_kbps}k{'-hdr' if hdr else ''}"


def modelled_rate(ladder: Ladder, rung: VideoRung) -> float:
    """A rung's rate for a picture that fills its box, without its cap, in a unit shared by its codec's rungs.

    It depends only on size and constant rate factor, not on the rung's average.

    Args:
        ladder: The rung's ladder, with a family for its codec.
        rung: A video rung.
    """
    area_px = rung.width_px * rung.height_px
    halvings = rung.crf / ladder.family(rung.codec).crf_per_halving
    return float(math.pow(area_px, ladder.area_exponent) * math.pow(2, -halvings))


def is_hdr(video_range: VideoRange) -> bool:
    """Whether a master of this range gets HDR rungs."""
    return video_range is not VideoRange.SDR


def rate_factor(family: Family, frames_per_second: float) -> float:
    """Factor for a rung's rates, which are given for 30 frames per second.

    Args:
        family: Family of the rung.
        frames_per_second: Frame rate of the rendition; rounded, so that 29.97 counts as 30.

    Source:
        Apple, HLS Authoring Specification, 1.25: at 24 frames per second HEVC needs about 20 % less.
    """
    nominal = round(frames_per_second)
    if nominal <= 25:
        return family.at_most_25p
    return 1.0 if nominal <= 30 else family.above_30p


def rungs_text(number: int) -> str:
    """Return "1 rung" or "3 rungs"."""
    return f"{number} rung{'' if number == 1 else 's'}"
