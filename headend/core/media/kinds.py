"""Enumerations of media properties: content types, codecs, dynamic ranges, efforts, track roles and field orders."""

from enum import StrEnum


class Kind(StrEnum):
    """Content type of a rendition or a task."""

    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"


class Codec(StrEnum):
    """Codecs that headend encodes; the value is the first part of a rendition's id."""

    AVC = "avc"
    HEVC = "hevc"
    AV1 = "av1"
    VP9 = "vp9"
    AAC = "aac"
    OPUS = "opus"
    AC3 = "ac3"
    EAC3 = "eac3"
    VTT = "vtt"
    """WebVTT, one file per segment, for HLS."""
    WVTT = "wvtt"
    """WebVTT in fragmented MP4 (ISO/IEC 14496-30), for DASH."""
    IMSC = "imsc"
    """IMSC 1 text profile in fragmented MP4 (ISO/IEC 14496-30), for DASH."""


class VideoRange(StrEnum):
    """Dynamic range, as in the VIDEO-RANGE attribute of RFC 8216bis, section 4.4.6.2."""

    SDR = "SDR"
    PQ = "PQ"
    HLG = "HLG"


class Effort(StrEnum):
    """How much CPU time the encoders spend to save bits; each encoder maps it to one of its presets."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"


class AudioRole(StrEnum):
    """Purpose of an audio track; the values are those of command-line options."""

    MAIN = "main"
    ALTERNATE = "alternate"
    ORIGINAL = "original"
    DUB = "dub"
    COMMENTARY = "commentary"
    DESCRIPTION = "description"
    HEARING_IMPAIRED = "hearing-impaired"


class TextRole(StrEnum):
    """Purpose of a text track; the values are those of command-line options."""

    SUBTITLES = "subtitles"
    SDH = "sdh"
    """For the deaf and hard of hearing: also describes sounds and names speakers."""
    FORCED = "forced"
    """Translations that every viewer needs, such as those of signs; shown even if subtitles are off."""


class FieldOrder(StrEnum):
    """Which field of a frame comes first in time, according to the container and the codec."""

    PROGRESSIVE = "progressive"
    TOP_FIRST = "tff"
    BOTTOM_FIRST = "bff"
    UNKNOWN = "unknown"
