"""Renditions: what is to be made of a master."""

from dataclasses import dataclass
from fractions import Fraction

from headend.core.media.kinds import Codec, TextRole, VideoRange


@dataclass(frozen=True, slots=True)
class VideoRendition:
    """A rung of a ladder applied to a title's picture.

    Attributes:
        id: Such as ``avc-1080p-6000k``; unique in a release, safe as a path segment.
        codec: One of the video codecs.
        width_px: Width, even; pixels are square.
        height_px: Height, even.
        frame_rate: Frames per second.
        rate_divisor: It keeps one frame of the grid in this many: 1, 2, or for trick play a GOP's frames.
        average_bps: Rate that the ladder aims at.
        cap_bps: The encoder's maximal rate.
        buffer_bits: Size of the rate model's buffer.
        crf: Constant rate factor, in the codec's own scale.
        profile: The encoder's name of the profile, such as ``high`` or ``main10``.
        level: The level as the standard writes it, such as ``4.0``.
        pixel_format: ``yuv420p`` or ``yuv420p10le``.
        video_range: SDR, or the master's own range.
        default: Whether players should start here; true for exactly one rendition of a release.
    """

    id: str
    codec: Codec
    width_px: int
    height_px: int
    frame_rate: Fraction
    rate_divisor: int
    average_bps: int
    cap_bps: int
    buffer_bits: int
    crf: float
    profile: str
    level: str
    pixel_format: str
    video_range: VideoRange = VideoRange.SDR
    default: bool = False


@dataclass(frozen=True, slots=True)
class AudioRung:
    """A step of a ladder's sound, of no particular title.

    Attributes:
        codec: One of the audio codecs.
        layout: ``2.0`` or ``5.1``.
        bit_rate_kbps: Rate asked of the encoder.
        every_programme: Whether programmes beside the first get this rung too.
        default: The rung that every programme has and that players start with.
    """

    codec: Codec
    layout: str
    bit_rate_kbps: int
    every_programme: bool = False
    default: bool = False

    @property
    def id(self) -> str:
        """Such as ``aac-2.0-128k``, before the language is known."""
        return f"{self.codec}-{self.layout}-{self.bit_rate_kbps}k"


@dataclass(frozen=True, slots=True)
class AudioLadder:
    """How the sound of a title is encoded. A release keeps it, so that sound that is added later gets the same.

    Attributes:
        rungs: The rungs that a programme may get.
        loudness_lufs: Integrated loudness that every programme is brought to; None leaves it as it is.
        compressed: Whether AC-3 and E-AC-3 sources are decoded with the dynamic range compression that they carry.
    """

    rungs: tuple[AudioRung, ...]
    loudness_lufs: int | None
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class AudioRendition:
    """A rung of a ladder applied to one programme of a title's sound.

    Attributes:
        id: Such as ``aac-2.0-128k-en``; unique in a release, safe as a path segment.
        codec: One of the audio codecs.
        layout: ``2.0`` or ``5.1``.
        channels: Number of channels, the LFE included.
        bit_rate_bps: Rate asked of the encoder.
        sample_rate_hz: Samples per second and channel.
        track_index: Stream number of the programme in the master.
        language: BCP 47 tag, or ``und``.
        name: What players show, unique among the programmes of a release.
        roles: As in `AudioTrack`.
        default: Whether this rung's programme is the one to play unasked.
        coded_language: What the init segment states, if that is another language: labels can be changed, tracks can't.
    """

    id: str
    codec: Codec
    layout: str
    channels: int
    bit_rate_bps: int
    sample_rate_hz: int
    track_index: int
    language: str
    name: str
    roles: tuple[str, ...] = ()
    default: bool = False
    coded_language: str = ""


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Small pictures of a title at even distances, row by row on sheets; each is a sync frame, as players can seek to.

    Attributes:
        tile_width_px: Width of each, even; pixels are square.
        tile_height_px: Height, even.
        columns: Side by side on a sheet.
        rows: One below another.
        interval_frames: From one to the next, in frames of the grid; whole GOPs.
    """

    tile_width_px: int
    tile_height_px: int
    columns: int
    rows: int
    interval_frames: int

    @property
    def id(self) -> str:
        """Thumbnails are one track of a title."""
        return "thumbnails"

    @property
    def sheet_tiles(self) -> int:
        """Thumbnails on a sheet; the last one of a title may have fewer, and black for the rest."""
        return self.columns * self.rows

    @property
    def sheet_frames(self) -> int:
        """Frames of the grid that a sheet stands for; a chunk begins with a sheet."""
        return self.sheet_tiles * self.interval_frames

    def sheet_numbers(self, first_frame: int, end_frame: int) -> tuple[int, ...]:
        """Numbers, from 1, of the sheets for the frames of the grid from a sheet's first one, half-open."""
        return tuple(range(first_frame // self.sheet_frames + 1, -(-end_frame // self.sheet_frames) + 1))


@dataclass(frozen=True, slots=True)
class Poster:
    """Pictures of a title, of which the one that shows most stands for it.

    Attributes:
        width_px: Width, even; pixels are square.
        height_px: Height, even.
        frames: The frames of the grid that are candidates, ascending.
    """

    width_px: int
    height_px: int
    frames: tuple[int, ...]

    @property
    def id(self) -> str:
        """The candidates are one track of a title."""
        return "poster"

    def numbers(self, first_frame: int, end_frame: int) -> tuple[int, ...]:
        """Numbers, from 1, of the candidates among the frames of the grid, half-open."""
        return tuple(n for n, frame in enumerate(self.frames, start=1) if first_frame <= frame < end_frame)


@dataclass(frozen=True, slots=True)
class TextRendition:
    """One programme of a title's text in one of the forms that players take.

    Attributes:
        id: Such as ``vtt-en-sdh``; unique in a release, safe as a path segment.
        codec: WebVTT as files or in MP4, or IMSC in MP4.
        programme: The number of its `TextTrack`.
        language: BCP 47 tag, or ``und``.
        name: What players show, unique among the programmes of text of a release.
        role: What it is for.
    """

    id: str
    codec: Codec
    programme: int
    language: str
    name: str
    role: TextRole
