"""Renditions: what will be made from a master."""

from dataclasses import dataclass
from fractions import Fraction

from headend.core.media.kinds import Codec, TextRole, VideoRange
from headend.core.timing import ceil_div


@dataclass(frozen=True, slots=True)
class VideoRendition:
    """A rung of a ladder applied to a title's picture.

    Attributes:
        id: Such as ``avc-1080p-6000k``; unique in a release, safe as a path segment.
        codec: A video codec.
        width_px: Width, even; pixels are square.
        height_px: Height, even.
        frame_rate: Frames per second.
        rate_divisor: It keeps one frame of the grid in this many: 1, 2, or for trick play a GOP's number of frames.
        average_bps: The ladder's target rate.
        cap_bps: The encoder's maximum rate.
        buffer_bits: Size of the rate model's buffer.
        crf: Constant rate factor, on the codec's own scale.
        profile: The encoder's name of the profile, such as ``high`` or ``main10``.
        level: The level as in the standard, such as ``4.0``.
        pixel_format: ``yuv420p`` or ``yuv420p10le``.
        video_range: SDR, or the master's own range.
        default: Whether players should start with it; true for exactly one rendition of a release.
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
    """A step of an audio ladder, independent of any title.

    Attributes:
        codec: An audio codec.
        layout: ``2.0`` or ``5.1``.
        bit_rate_kbps: Target rate.
        every_programme: Whether programmes other than the first get this rung, too.
        default: Whether every programme gets this rung and players start with it.
    """

    codec: Codec
    layout: str
    bit_rate_kbps: int
    every_programme: bool = False
    default: bool = False

    @property
    def id(self) -> str:
        """Such as ``aac-2.0-128k``; without the language."""
        return f"{self.codec}-{self.layout}-{self.bit_rate_kbps}k"


@dataclass(frozen=True, slots=True)
class AudioLadder:
    """How the sound of a title is encoded. Releases store it, so that sound added later is encoded the same way.

    Attributes:
        rungs: The rungs that a programme may get.
        loudness_lufs: Target of every programme's integrated loudness; None leaves it unchanged.
        compressed: Whether AC-3 and E-AC-3 sources are decoded with their dynamic range compression applied.
    """

    rungs: tuple[AudioRung, ...]
    loudness_lufs: int | None
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class AudioRendition:
    """A rung of a ladder applied to one sound programme of a title.

    Attributes:
        id: Such as ``aac-2.0-128k-en``; unique in a release, safe as a path segment.
        codec: An audio codec.
        layout: ``2.0`` or ``5.1``.
        channels: Number of channels, including the LFE.
        bit_rate_bps: Target rate.
        sample_rate_hz: Samples per second and channel.
        track_index: Stream number of the programme in the master.
        language: BCP 47 tag, or ``und``.
        name: Its name in players, unique among the programmes of a release.
        roles: As in `AudioTrack`.
        default: Whether its programme plays by default.
        coded_language: Language in the init segment, if it differs: labels can be changed, tracks can't.
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
    """Small pictures of a title at even intervals, row by row on sheets. Each shows a sync frame, for exact seeking.

    Attributes:
        tile_width_px: Width of each, even; pixels are square.
        tile_height_px: Height, even.
        columns: Thumbnails per row of a sheet.
        rows: Rows per sheet.
        interval_frames: Distance of thumbnails, in frames of the grid; whole GOPs.
    """

    tile_width_px: int
    tile_height_px: int
    columns: int
    rows: int
    interval_frames: int

    @property
    def id(self) -> str:
        """Id of the thumbnails, which are a single track of a title."""
        return "thumbnails"

    @property
    def sheet_tiles(self) -> int:
        """Thumbnails per sheet; the last sheet of a title may have fewer, and is black in the rest."""
        return self.columns * self.rows

    @property
    def sheet_frames(self) -> int:
        """Frames of the grid that a sheet covers; chunks begin at sheet boundaries."""
        return self.sheet_tiles * self.interval_frames

    def sheet_numbers(self, first_frame: int, end_frame: int) -> tuple[int, ...]:
        """Numbers, from 1, of the sheets for a half-open range of frames that begins at a sheet boundary."""
        return tuple(range(first_frame // self.sheet_frames + 1, ceil_div(end_frame, self.sheet_frames) + 1))


@dataclass(frozen=True, slots=True)
class Poster:
    """Candidates for a title's poster; the most detailed one is chosen.

    Attributes:
        width_px: Width, even; pixels are square.
        height_px: Height, even.
        frames: The candidates' frames on the grid, ascending.
    """

    width_px: int
    height_px: int
    frames: tuple[int, ...]

    @property
    def id(self) -> str:
        """Id of the candidates, which are a single track of a title."""
        return "poster"

    def numbers(self, first_frame: int, end_frame: int) -> tuple[int, ...]:
        """Numbers, from 1, of the candidates in a half-open range of frames."""
        return tuple(n for n, frame in enumerate(self.frames, start=1) if first_frame <= frame < end_frame)


@dataclass(frozen=True, slots=True)
class TextRendition:
    """A text programme of a title in one of the formats that players support.

    Attributes:
        id: Such as ``vtt-en-sdh``; unique in a release, safe as a path segment.
        codec: WebVTT as files or in MP4, or IMSC in MP4.
        programme: The number of its `TextTrack`.
        language: BCP 47 tag, or ``und``.
        name: Its name in players, unique among the text programmes of a release.
        role: Its purpose.
    """

    id: str
    codec: Codec
    programme: int
    language: str
    name: str
    role: TextRole
