"""Enumerations: kinds, codecs, dynamic ranges, efforts, roles and field orders."""

from enum import StrEnum


class Kind(StrEnum):
    """Type of a rendition's content."""

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
    """WebVTT, a file for each segment: for HLS."""
    WVTT = "wvtt"
    """WebVTT in fragmented MP4, ISO/IEC 14496-30: for DASH."""
    IMSC = "imsc"
    """IMSC 1 text profile in fragmented MP4, ISO/IEC 14496-30: for DASH."""


class VideoRange(StrEnum):
    """Dynamic range, as in the VIDEO-RANGE attribute of RFC 8216bis, section 4.4.6.2."""

    SDR = "SDR"
    PQ = "PQ"
    HLG = "HLG"


class Effort(StrEnum):
    """How much work the encoders put into a picture."""

    DRAFT = "draft"
    STANDARD = "standard"
    HIGH = "high"


class AudioRole(StrEnum):
    """Purpose of a sound programme, as in command-line options."""

    MAIN = "main"
    ALTERNATE = "alternate"
    ORIGINAL = "original"
    DUB = "dub"
    COMMENTARY = "commentary"
    DESCRIPTION = "description"
    HEARING_IMPAIRED = "hearing-impaired"


class TextRole(StrEnum):
    """Purpose of a text programme, as in command-line options."""

    SUBTITLES = "subtitles"
    SDH = "sdh"
    """For the deaf and hard of hearing: includes sounds and speakers."""
    FORCED = "forced"
    """Only what every viewer needs, such as signs and foreign speech; shown even if subtitles are off."""


class FieldOrder(StrEnum):
    """Temporal order of a picture's lines, as stated by the container and the codec."""

    PROGRESSIVE = "progressive"
    TOP_FIRST = "tff"
    BOTTOM_FIRST = "bff"
    UNKNOWN = "unknown"
