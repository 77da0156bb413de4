"""The nouns that cross rooms: what a master is, what it becomes, and what has been made.

All are frozen; collections are tuples; names end in their unit. ``*_ticks`` count in the timescale that stands beside
them, ``*_px`` are pixels of the picture as stored unless said otherwise.
"""

from headend.media.kinds import AudioRole, Codec, Effort, FieldOrder, Kind, TextRole, VideoRange
from headend.media.masters import (
    AudioPart,
    AudioTrack,
    Colour,
    ContentLight,
    Crop,
    Cue,
    Damage,
    FrameIndex,
    Light,
    Master,
    MasteringDisplay,
    Probe,
    Reading,
    SubtitleTrack,
    TextTrack,
    VideoTrack,
    merged,
)
from headend.media.plans import EncodePlan, EncodeTask, Levelling
from headend.media.releases import (
    Current,
    EncodedTrack,
    Loudness,
    Presentation,
    Receipt,
    Rendition,
    Segment,
    Sheet,
    Track,
)
from headend.media.renditions import AudioRendition, TextRendition, Thumbnails, VideoRendition
from headend.media.timelines import Span, Timeline

__all__ = [
    "AudioPart",
    "AudioRendition",
    "AudioRole",
    "AudioTrack",
    "Codec",
    "Colour",
    "ContentLight",
    "Crop",
    "Cue",
    "Current",
    "Damage",
    "Effort",
    "EncodePlan",
    "EncodeTask",
    "EncodedTrack",
    "FieldOrder",
    "FrameIndex",
    "Kind",
    "Levelling",
    "Light",
    "Loudness",
    "Master",
    "MasteringDisplay",
    "Presentation",
    "Probe",
    "Reading",
    "Receipt",
    "Rendition",
    "Segment",
    "Sheet",
    "Span",
    "SubtitleTrack",
    "TextRendition",
    "TextRole",
    "TextTrack",
    "Thumbnails",
    "Timeline",
    "Track",
    "VideoRange",
    "VideoRendition",
    "VideoTrack",
    "merged",
]
