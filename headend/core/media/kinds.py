"""Enumerations: kinds, codecs, ranges, efforts, roles and field orders."""

from enum import StrEnum


class Kind(StrEnum):
    """What a rendition carries."""

    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"


class Codec(StrEnum):
    """What headend encodes; the value is the first part of a rendition's id."""

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
    """What a programme of sound is for, in the words that people use."""

    MAIN = "main"
    ALTERNATE = "alternate"
    ORIGINAL = "original"
    DUB = "dub"
    COMMENTARY = "commentary"
    DESCRIPTION = "description"
    HEARING_IMPAIRED = "hearing-impaired"


class TextRole(StrEnum):
    """What a programme of text is for, in the words that people use."""

    SUBTITLES = "subtitles"
    SDH = "sdh"
    """For the deaf and hard of hearing: sounds and speakers are told, too."""
    FORCED = "forced"
    """Only what everybody needs, such as signs and foreign speech; shown to those who have subtitles off."""


class FieldOrder(StrEnum):
    """How the lines of a picture follow each other in time, as the container and the codec say."""

    PROGRESSIVE = "progressive"
    TOP_FIRST = "tff"
    BOTTOM_FIRST = "bff"
    UNKNOWN = "unknown"
