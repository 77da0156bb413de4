"""A master, and what was found in it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction

from headend.core.media.kinds import FieldOrder, TextRole, VideoRange
from headend.core.media.speakers import ASSUMED, LAYOUTS, named_speakers
from headend.core.media.timelines import Change, Timeline


@dataclass(frozen=True, slots=True)
class Master:
    """The delivered file: where it is, and what it is.

    Attributes:
        url: Absolute path, or ``s3://bucket/key``. Never holds a secret.
        size_bytes: Its size.
        digest: ``sha256:…`` of the bytes of a local file; ``etag:…`` of an object in S3, which is never read whole.
        version: What tells at no cost that the file has changed since: modification time in ns, or the ETag.
    """

    url: str
    size_bytes: int
    digest: str
    version: str


@dataclass(frozen=True, slots=True)
class Colour:
    """How numbers become light; FFmpeg's names, ``unknown`` where the master does not say."""

    primaries: str = "unknown"
    transfer: str = "unknown"
    matrix: str = "unknown"
    range: str = "unknown"
    chroma_location: str = "unknown"


@dataclass(frozen=True, slots=True)
class MasteringDisplay:
    """The mastering display, SMPTE ST 2086, as exact rationals.

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
    """Content light levels, CTA-861.3: maximum of a pixel, and of a frame's average, in cd/m²."""

    max_cll_nits: int
    max_fall_nits: int


@dataclass(frozen=True, slots=True)
class Light:
    """What the numbers of a picture mean.

    Attributes:
        colour: How they become light; nothing in it is unknown.
        mastering_display: What it was graded on; None where the master does not say.
        content_light: How bright it gets; None as above.
    """

    colour: Colour
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLight | None = None


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """When each frame of the master is shown, and where decoding can start.

    Attributes:
        pts_ticks: Presentation time of every frame, ascending, in the stream's time base.
        keyframes: Frame numbers at which decoding can start, ascending: from there on, each frame can be decoded.
        seek_ticks: For each keyframe, the time that makes FFmpeg's command line begin to read at it or a little before,
            never behind it; in the stream's time base.
        origin: ``container index`` or ``packets``.
        end_ticks: When the last frame ends; None where the master does not say.
    """

    pts_ticks: tuple[int, ...]
    keyframes: tuple[int, ...]
    seek_ticks: tuple[int, ...]
    origin: str
    end_ticks: int | None = None


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a picture that is kept, in pixels as stored: before they are made square and turned.

    Attributes:
        width_px: Its width.
        height_px: Its height.
        left_px: What is left out on its left.
        top_px: What is left out above it.
    """

    width_px: int
    height_px: int
    left_px: int = 0
    top_px: int = 0


@dataclass(frozen=True, slots=True)
class DolbyVision:
    """What a master says of its Dolby Vision.

    Attributes:
        profile: The profile, such as 5 or 8; 0 where the master does not say.
        compatibility: What its base layer is, by Dolby's number: 0 for nothing that anything else can show, 1 for
            HDR10, 2 for SDR, 4 for HLG, 6 for HDR10 of a disc.
    """

    profile: int
    compatibility: int

    def __str__(self) -> str:
        if not self.profile:
            return "unknown"
        return f"{self.profile}.{self.compatibility}" if self.profile in (8, 10) else str(self.profile)


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The picture of a master.

    Attributes:
        index: Stream number in the container.
        codec: FFmpeg's name of the codec.
        profile: The codec's profile, or an empty string.
        width_px: Coded width.
        height_px: Coded height.
        sample_aspect_ratio: Width of a pixel over its height.
        rotation_deg: Clockwise turn that shows the picture upright: 0, 90, 180 or 270.
        pixel_format: FFmpeg's name.
        bit_depth: Bits of a sample.
        colour: How numbers become light.
        mastering_display: ST 2086 metadata, if any.
        content_light: MaxCLL and MaxFALL, if any.
        field_order: As flagged.
        time_base: Seconds of one tick of ``index``.
        frame_rate: Frames (of interlaced material: pairs of fields) per second, exact.
        constant_rate: Whether every frame lies within half a frame of the constant grid.
        intra_only: Whether every frame is a keyframe.
        bit_rate_bps: The stream's rate, or 0 when the container does not say.
        frames: The frame index.
        captions: Whether CEA-608 captions were seen beside the first frames (ATSC A/53, part 4, ``cc_data``).
        clean_aperture: The part that is meant to be seen, where the container says that it is not all.
        changes: Where size, shape of pixels, pixel format or colour change; what is said here of them holds for most of
            the film.
        mirrored: Whether left and right change places before it is turned.
        dolby_vision: What it says of Dolby Vision; None where it is none.
        decoder_delay_s: By how much the decoder makes frames late, in AVI, which does not say when they are shown; the
            start of sound is given as much later.
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

    @property
    def frame_count(self) -> int:
        """Frames in the stream."""
        return len(self.frames.pts_ticks)

    @property
    def start_s(self) -> Fraction:
        """When the first frame is shown, in seconds."""
        return self.frames.pts_ticks[0] * self.time_base

    @property
    def end_s(self) -> Fraction:
        """When the last frame ends, in seconds; a frame after its start where the master does not say."""
        if self.frames.end_ticks is None:
            return self.frames.pts_ticks[-1] * self.time_base + 1 / self.frame_rate
        return self.frames.end_ticks * self.time_base

    @property
    def video_range(self) -> VideoRange:
        """Dynamic range, read from the transfer characteristic (ITU-T H.273: 16 is PQ, 18 is HLG)."""
        return {"smpte2084": VideoRange.PQ, "arib-std-b67": VideoRange.HLG}.get(self.colour.transfer, VideoRange.SDR)


@dataclass(frozen=True, slots=True)
class AudioPart:
    """A stream of a master, or a channel of one, that makes a programme with others; fields as in `AudioTrack`.

    Attributes:
        channel: The channel that is taken, from 0; None for all.
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
    """One programme of sound in a master.

    Attributes:
        index: Stream number in the container. It is unique among programmes: the second one that is made from a stream
            has a number that no stream has.
        codec: FFmpeg's name of the codec.
        profile: The codec's profile, or an empty string.
        sample_rate_hz: Samples per second and channel.
        channels: Number of channels; 0 if the stream never carries sound.
        layout: FFmpeg's name of the channel layout, such as ``stereo``, ``5.1``, ``5.1(side)``; a list such as ``6
            channels (FL+FC+FR+BL+BR+LFE)`` for an order without a name, ``8 channels`` for channels without names.
        language: BCP 47 tag; ``und`` where the master does not say.
        title: What the master calls it, or an empty string.
        roles: FFmpeg's dispositions, such as ``comment`` or ``visual_impaired``; sorted.
        default: Whether the master marks it as the one to play.
        start_s: When its first sample is heard.
        duration_s: From its first sample to its last; 0 when unknown.
        bit_rate_bps: The stream's rate, or 0 when the container does not say.
        parts: The streams and channels that were joined to this programme, channel after channel in the order of
            ``layout``; empty when it is one stream.
        timeline: How its time runs; None where that is not known, and of a programme that was joined, whose parts have
            theirs.
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
        """Where it comes from: a stream number, or the numbers of streams and channels that are joined."""
        return "+".join(map(str, self.parts)) or str(self.index)

    @property
    def speakers(self) -> tuple[str, ...]:
        """The speakers that its channels are for, in their order; nothing if that is not known.

        Channels without names are taken for what most programmes of that many channels are: see `speakers_stated`.
        """
        named = named_speakers(self.layout)
        if named:
            return named if len(named) == self.channels else ()
        return LAYOUTS[ASSUMED[self.channels]] if self.channels in ASSUMED else ()

    @property
    def speakers_stated(self) -> bool:
        """Whether its layout says which speakers its channels are for."""
        return bool(named_speakers(self.layout))


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """Text or pictures of text in a master; fields as in `AudioTrack`.

    Attributes:
        times_ms: When each cue starts and ends, in the master's time, as far as that was read.
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
    """One programme of text, and where its cues are read.

    Attributes:
        number: From 1, in the order in which players list programmes.
        codec: FFmpeg's name of a stream's codec; ``cea-608`` of captions in the picture; ``srt``, ``webvtt``, ``ass``
            or ``ttml`` of a sidecar.
        index: Stream number in the master, for captions that of the picture; None for a sidecar.
        sidecar: A file beside the master; its digest is that of its bytes.
        language: BCP 47 tag, or ``und``.
        name: What players show, unique among the programmes of text.
        role: What it is for.
        start_s: When the film's first frame is shown, in a sidecar's time; 0 for text in the master.
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
    """A piece of text and when it is shown.

    Attributes:
        start_ms: From the title's start.
        end_ms: Above ``start_ms``.
        text: The payload in WebVTT's syntax, lines without blank ones between them.
        settings: WebVTT's cue settings, such as ``line:0 align:start``; usually empty.
        identifier: Of the cue; usually empty.
    """

    start_ms: int
    end_ms: int
    text: str
    settings: str = ""
    identifier: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What looking at a master tells.

    Attributes:
        master: The file that was looked at.
        container: FFmpeg's name of the format.
        duration_s: As the container says; 0 when unknown.
        video: The picture; None when there is none.
        audio: Programmes of sound, in the container's order; of a transport stream those of the picture's program.
        subtitles: Text tracks, likewise.
        program: Number of the picture's program; None where the container has none.
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
    """A stretch of one of a master's streams, in seconds of the master's own clock.

    Attributes:
        stream: Stream number in the container.
        zero_s: When the title begins.
        frame_s: Distance of frames of picture; 0 for sound.
        seek_s: Where reading begins, at or before what must be decoded first; None for the file's beginning.
        start_s: Start of the stretch.
        end_s: Its end, exclusive.
    """

    stream: int
    zero_s: Fraction
    frame_s: Fraction
    seek_s: Fraction | None
    start_s: Fraction
    end_s: Fraction


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of a master with frames, or packets of sound, that can't be decoded as they were made.

    Attributes:
        stream: Stream number in the container.
        start_s: When the first of them begins, in the title's time.
        end_s: When the last of them ends.
        errors: How many are damaged or missing.
    """

    stream: int
    start_s: Fraction
    end_s: Fraction
    errors: int

    def __str__(self) -> str:
        return f"{_clock(self.start_s)}–{_clock(self.end_s)} ({self.errors} in stream {self.stream})"


def merged(damage: Iterable[Damage]) -> tuple[Damage, ...]:
    """Join damage of one stream that is less than a second apart to stretches that a person can look at.

    Damage that is told twice counts once. The result is ordered by stream and time.
    """
    stretches: list[Damage] = []
    for one in sorted(set(damage), key=lambda one: (one.stream, one.start_s, one.end_s)):
        last = stretches[-1] if stretches else None
        if last and last.stream == one.stream and one.start_s - last.end_s < 1:
            stretches[-1] = replace(last, end_s=max(last.end_s, one.end_s), errors=last.errors + one.errors)
        else:
            stretches.append(one)
    return tuple(stretches)


def _clock(time_s: Fraction) -> str:
    minutes, rest_ms = divmod(round(time_s * 1000), 60_000)
    return f"{minutes:02}:{rest_ms // 1000:02}.{rest_ms % 1000:03}"
