"""Data types of a master and of the results of probing it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from headend.core.media.kinds import FieldOrder, TextRole, VideoRange
from headend.core.media.speakers import ASSUMED, LAYOUTS, named_speakers
from headend.core.media.timelines import Change, Timeline


@dataclass(frozen=True, slots=True)
class Master:
    """The delivered file.

    Attributes:
        url: Absolute path, or ``s3://bucket/key``. Never contains a secret.
        size_bytes: Its size.
        digest: ``sha256:…`` of the bytes of a local file; ``etag:…`` of an object in S3, which is never read whole.
        version: A cheap way to detect changes: modification time in ns, or the ETag.
    """

    url: str
    size_bytes: int
    digest: str
    version: str


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour description with FFmpeg's names; ``unknown`` if the master does not state it."""

    primaries: str = "unknown"
    transfer: str = "unknown"
    matrix: str = "unknown"
    range: str = "unknown"
    chroma_location: str = "unknown"


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """Metadata of the mastering display (SMPTE ST 2086), as exact fractions.

    Attributes:
        red_xy: CIE 1931 chromaticity of the red primary; green, blue and white likewise.
        min_nits: Black level in cd/m².
        max_nits: Peak in cd/m².
    """

    red_xy: tuple[Fraction, Fraction]
    green_xy: tuple[Fraction, Fraction]
    blue_xy: tuple[Fraction, Fraction]
    white_xy: tuple[Fraction, Fraction]
    min_nits: Fraction
    max_nits: Fraction


@dataclass(frozen=True, slots=True)
class ContentLight:
    """Content light levels (CTA-861.3): the maximum of any pixel and of any frame's average, in cd/m²."""

    max_cll_nits: int
    max_fall_nits: int


@dataclass(frozen=True, slots=True)
class Light:
    """Colour and HDR metadata of a picture: how its sample values map to light.

    Attributes:
        colour: Colour description; nothing in it is unknown.
        mastering_display: Display that it was graded on; None if the master does not state it.
        content_light: Content light levels; None if the master does not state them.
    """

    colour: Colour
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None


COUNTED = "count"
"""Origin of a `FrameIndex` whose times are the frames' numbers at a constant rate."""


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Presentation times of the master's frames, and the points where decoding can start.

    Attributes:
        pts_ticks: Presentation time of every frame, ascending, in the stream's time base.
        keyframes: Numbers of the frames at which decoding can start, ascending.
        seek_ticks: For each keyframe, a seek time from which FFmpeg's command line starts reading at it or shortly
            before, never after; in the stream's time base.
        origin: ``container index`` or ``packets``; or `COUNTED` if FFmpeg's times of some frames are wrong, so that
            frames must be selected by their number, counted from the file's start.
        end_ticks: End of the last frame; None if the master does not state it.
    """

    pts_ticks: tuple[int, ...]
    keyframes: tuple[int, ...]
    seek_ticks: tuple[int, ...]
    origin: str
    end_ticks: int | None = None

    @property
    def is_counted(self) -> bool:
        """Whether frames are selected by their number instead of their time."""
        return self.origin == COUNTED


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a picture that is kept, in stored pixels: before scaling to square pixels and rotation.

    Attributes:
        width_px: Its width.
        height_px: Its height.
        left_px: Pixels cut off on the left.
        top_px: Pixels cut off at the top.
    """

    width_px: int
    height_px: int
    left_px: int = 0
    top_px: int = 0


@dataclass(frozen=True, slots=True)
class DolbyVision:
    """A master's Dolby Vision configuration.

    Attributes:
        profile: The profile, such as 5 or 8; 0 if the master does not state it.
        compatibility: Dolby's compatibility id of the base layer: 0 for none, 1 for HDR10, 2 for SDR, 4 for HLG, 6 for
            Blu-ray's HDR10.
    """

    profile: int
    compatibility: int

    def __str__(self) -> str:
        if not self.profile:
            return "unknown"
        return f"{self.profile}.{self.compatibility}" if self.profile in (8, 10) else str(self.profile)


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The video track of a master.

    Attributes:
        index: Stream number in the container.
        codec: FFmpeg's name of the codec.
        profile: The codec's profile, or an empty string.
        width_px: Coded width.
        height_px: Coded height.
        sample_aspect_ratio: Width of a pixel divided by its height.
        rotation_deg: Clockwise rotation that makes the picture upright: 0, 90, 180 or 270.
        pixel_format: FFmpeg's name.
        bit_depth: Bits per sample.
        colour: Colour description.
        mastering_display: ST 2086 metadata, if any.
        content_light: MaxCLL and MaxFALL, if any.
        field_order: As the container and the codec state it.
        time_base: Seconds per tick of ``frames``.
        frame_rate: Frames per second, exact; for interlaced material, a frame is a pair of fields.
        constant_rate: Whether every frame is within half a frame of its place at a constant rate.
        intra_only: Whether every frame is a keyframe.
        bit_rate_bps: The stream's rate; 0 if the container does not state it.
        frames: The frame index.
        captions: Whether the first frames carry CEA-608 captions (ATSC A/53, part 4, ``cc_data``).
        clean_aperture: The part to show, if the container states one.
        changes: Changes of size, pixel shape, pixel format or colour during the film; the attributes above have the
            values of most of the film.
        mirrored: Whether to swap left and right before rotating.
        dolby_vision: Dolby Vision configuration; None without one.
        decoder_delay_s: Delay that the decoder adds in AVI, which has no presentation times; the sound is shifted by
            the same time.
        stated_colours: If there are ``changes``, the colours that each format states; a property that one format does
            not state is taken from the others.
    """

    index: int
    codec: str
    profile: str
    width_px: int
    height_px: int
    sample_aspect_ratio: Fraction
    rotation_deg: int
    pixel_format: str
    bit_depth: int
    colour: Colour
    mastering_display: MasteringDisplay | None
    content_light: ContentLight | None
    field_order: FieldOrder
    time_base: Fraction
    frame_rate: Fraction
    constant_rate: bool
    intra_only: bool
    bit_rate_bps: int
    frames: FrameIndex
    captions: bool = False
    clean_aperture: Crop | None = None
    changes: tuple[Change, ...] = ()
    mirrored: bool = False
    dolby_vision: DolbyVision | None = None
    decoder_delay_s: Fraction = Fraction(0)
    stated_colours: tuple[Colour, ...] = ()

    @property
    def frame_count(self) -> int:
        """Number of frames in the stream."""
        return len(self.frames.pts_ticks)

    @property
    def start_s(self) -> Fraction:
        """Start of the first frame, in seconds."""
        return self.frames.pts_ticks[0] * self.time_base

    @property
    def end_s(self) -> Fraction:
        """End of the last frame, in seconds; if the master does not state it, one frame after its start."""
        if self.frames.end_ticks is None:
            return self.frames.pts_ticks[-1] * self.time_base + 1 / self.frame_rate
        return self.frames.end_ticks * self.time_base

    @property
    def video_range(self) -> VideoRange:
        """Dynamic range, from the transfer characteristics (ITU-T H.273: 16 is PQ, 18 is HLG)."""
        return {"smpte2084": VideoRange.PQ, "arib-std-b67": VideoRange.HLG}.get(self.colour.transfer, VideoRange.SDR)


@dataclass(frozen=True, slots=True)
class AudioPart:
    """A stream of a master, or one of its channels, that is joined with others; fields as in `AudioTrack`.

    Attributes:
        channel: The channel to use, from 0; None for all.
    """

    index: int
    channels: int
    start_s: Fraction
    timeline: Timeline | None = None
    channel: int | None = None

    def __str__(self) -> str:
        return str(self.index) if self.channel is None else f"{self.index}.{self.channel}"


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """A sound programme of a master: an audio stream, or several streams or channels joined into one.

    Attributes:
        index: Stream number in the container. Unique among programmes: a second programme made from the same stream
            gets a number that no stream has.
        codec: FFmpeg's name of the codec.
        profile: The codec's profile, or an empty string.
        sample_rate_hz: Samples per second and channel.
        channels: Number of channels; 0 if the stream has no sound.
        layout: FFmpeg's name of the channel layout, such as ``stereo``, ``5.1`` or ``5.1(side)``. It is a list such as
            ``6 channels (FL+FC+FR+BL+BR+LFE)`` for an order without a name, and ``8 channels`` for unnamed channels.
        language: BCP 47 tag; ``und`` if the master does not state it.
        title: The master's name for it, or an empty string.
        roles: FFmpeg's dispositions, such as ``comment`` or ``visual_impaired``; sorted.
        default: Whether the master marks it as default.
        start_s: Time of its first sample.
        duration_s: Time from its first sample to its last; 0 if unknown.
        bit_rate_bps: The stream's rate; 0 if the container does not state it.
        parts: The streams and channels joined into this programme, in the order of ``layout``'s channels; empty if it
            is a single stream.
        timeline: Its timeline; None if unknown, and for joined programmes, whose parts have their own.
    """

    index: int
    codec: str
    profile: str
    sample_rate_hz: int
    channels: int
    layout: str
    language: str
    title: str
    roles: tuple[str, ...]
    default: bool
    start_s: Fraction
    duration_s: Fraction
    bit_rate_bps: int
    parts: tuple[AudioPart, ...] = ()
    timeline: Timeline | None = None

    @property
    def label(self) -> str:
        """Its source for display: a stream number, or the joined streams and channels."""
        return "+".join(map(str, self.parts)) or str(self.index)

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers of its channels, in order; empty if unknown.

        Unnamed channels are assumed to be in the usual order for their number; `speakers_stated` is false then.
        """
        named = named_speakers(self.layout)
        if named:
            return named if len(named) == self.channels else ()
        return LAYOUTS[ASSUMED[self.channels]] if self.channels in ASSUMED else ()

    @property
    def speakers_stated(self) -> bool:
        """Whether its layout names the speakers of its channels."""
        return bool(named_speakers(self.layout))


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """Subtitles of a master, as text or as bitmaps; fields as in `AudioTrack`.

    Attributes:
        times_ms: Start and end of each cue that was read, on the master's clock.
    """

    index: int
    codec: str
    language: str
    title: str
    roles: tuple[str, ...]
    default: bool
    times_ms: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class TextTrack:
    """A text programme, such as subtitles, and where its cues come from.

    Attributes:
        number: From 1, in the order in which players list programmes.
        codec: FFmpeg's name of a stream's codec; ``cea-608`` for captions in the picture; ``srt``, ``webvtt``, ``ass``
            or ``ttml`` for a sidecar.
        index: Stream number in the master; for captions, that of the picture; None for a sidecar.
        sidecar: The sidecar file; its digest is that of its bytes.
        language: BCP 47 tag, or ``und``.
        name: Its name in players, unique among the text programmes.
        role: Its purpose.
        start_s: Time of the film's first frame on a sidecar's clock; 0 for text in the master.
    """

    number: int
    codec: str
    index: int | None
    sidecar: Master | None
    language: str
    name: str
    role: TextRole
    start_s: Fraction = Fraction(0)


@dataclass(frozen=True, slots=True)
class Cue:
    """A piece of text and the time during which it is shown.

    Attributes:
        start_ms: From the title's start.
        end_ms: Greater than ``start_ms``.
        text: The payload in WebVTT's syntax, without blank lines.
        settings: WebVTT's cue settings, such as ``line:0 align:start``; usually empty.
        identifier: WebVTT's cue identifier; usually empty.
    """

    start_ms: int
    end_ms: int
    text: str
    settings: str = ""
    identifier: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of probing a master.

    Attributes:
        master: The file.
        container: FFmpeg's name of the format.
        duration_s: As the container states it; 0 if unknown.
        video: The picture; None if there is none.
        audio: Sound programmes in the container's order; of a transport stream, those of the picture's program.
        subtitles: Subtitle tracks, likewise.
        program: Number of the picture's program; None if the container has none.
        programs: Numbers of all programs.
        pictures: Stream numbers of all pictures of the program, or of the master.
    """

    master: Master
    container: str
    duration_s: Fraction
    video: VideoTrack | None
    audio: tuple[AudioTrack, ...]
    subtitles: tuple[SubtitleTrack, ...]
    program: int | None = None
    programs: tuple[int, ...] = ()
    pictures: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadRange:
    """A time range of one of a master's streams, in seconds of the master's own clock.

    Attributes:
        stream: Stream number in the container.
        zero_s: Start of the title.
        frame_s: Distance of the picture's frames; 0 for sound.
        seek_s: Where reading starts, at or before the first packet to decode; None for the start of the file.
        start_s: Start of the range.
        end_s: Its end, exclusive.
        picture_format: Size and pixel format that all frames must have, such as ``1920x1080 yuv420p``; empty if they
            may change, and for sound.
    """

    stream: int
    zero_s: Fraction
    frame_s: Fraction
    seek_s: Fraction | None
    start_s: Fraction
    end_s: Fraction
    picture_format: str = ""


@dataclass(frozen=True, slots=True)
class Damage:
    """A time range of a master in which frames or audio packets are missing or can't be decoded correctly.

    Attributes:
        stream: Stream number in the container.
        start_s: Start of the range, from the title's start.
        end_s: End of the range.
        errors: Number of damaged or missing frames or packets.
    """

    stream: int
    start_s: Fraction
    end_s: Fraction
    errors: int

    def __str__(self) -> str:
        return f"{_clock(self.start_s)}–{_clock(self.end_s)} ({self.errors} in stream {self.stream})"


def merged(damage: Iterable[Damage]) -> tuple[Damage, ...]:
    """Merge damage of the same stream that is less than a second apart, for display.

    Duplicates count once. The result is ordered by stream and time.
    """
    ranges: list[Damage] = []
    for item in sorted(set(damage), key=lambda item: (item.stream, item.start_s, item.end_s)):
        last = ranges[-1] if ranges else None
        if last and last.stream == item.stream and item.start_s - last.end_s < 1:
            ranges[-1] = replace(last, end_s=max(last.end_s, item.end_s), errors=last.errors + item.errors)
        else:
            ranges.append(item)
    return tuple(ranges)


def _clock(time_s: Fraction) -> str:
    minutes, rest_ms = divmod(round(time_s * 1000), 60_000)
    return f"{minutes:02}:{rest_ms // 1000:02}.{rest_ms % 1000:03}"
