"""The nouns that cross rooms: what a master is, what it becomes, and what has been made.

All are frozen; collections are tuples; names end in their unit. ``*_ticks`` count in the timescale that stands beside
them, ``*_px`` are pixels of the picture as stored unless said otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Generic, TypeVar

from headend.timing import Chunk, Grid


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


# --- the master ---------------------------------------------------------------------------------------------------


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
    """

    pts_ticks: tuple[int, ...]
    keyframes: tuple[int, ...]
    seek_ticks: tuple[int, ...]
    origin: str


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

    @property
    def frame_count(self) -> int:
        """Frames in the stream."""
        return len(self.frames.pts_ticks)

    @property
    def start_s(self) -> Fraction:
        """When the first frame is shown, in seconds."""
        return self.frames.pts_ticks[0] * self.time_base

    @property
    def video_range(self) -> VideoRange:
        """Dynamic range, read from the transfer characteristic (ITU-T H.273: 16 is PQ, 18 is HLG)."""
        return {"smpte2084": VideoRange.PQ, "arib-std-b67": VideoRange.HLG}.get(self.colour.transfer, VideoRange.SDR)


@dataclass(frozen=True, slots=True)
class AudioPart:
    """A stream of a master that is joined with others to one programme; fields as in `AudioTrack`."""

    index: int
    channels: int
    start_s: Fraction


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One programme of sound in a master.

    Attributes:
        index: Stream number in the container.
        codec: FFmpeg's name of the codec.
        profile: The codec's profile, or an empty string.
        sample_rate_hz: Samples per second and channel.
        channels: Number of channels.
        layout: FFmpeg's name of the channel layout, such as ``stereo``, ``5.1``, ``5.1(side)``.
        language: BCP 47 tag; ``und`` where the master does not say.
        title: What the master calls it, or an empty string.
        roles: FFmpeg's dispositions, such as ``comment`` or ``visual_impaired``; sorted.
        default: Whether the master marks it as the one to play.
        start_s: When its first sample is heard.
        duration_s: From its first sample to its last; 0 when unknown.
        bit_rate_bps: The stream's rate, or 0 when the container does not say.
        parts: The streams that were joined to this programme, channel after channel in the order of ``layout``; empty
            when it is one stream.
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


@dataclass(frozen=True, slots=True)
class SubtitleTrack:
    """Text or pictures of text in a master; fields as in `AudioTrack`."""

    index: int
    codec: str
    language: str
    title: str
    roles: tuple[str, ...]
    default: bool


@dataclass(frozen=True, slots=True)
class TextTrack:
    """One programme of text, and where its cues are read.

    Attributes:
        number: From 1, in the order in which players list programmes.
        codec: FFmpeg's name of a stream's codec; ``cea-608`` of captions in the picture; ``srt``, ``webvtt``, ``ass``
            or ``ttml`` of a sidecar.
        index: Stream number in the master, for captions that of the picture; None for a sidecar.
        sidecar: A file beside the master, whose times count from the first frame; its digest is that of its bytes.
        language: BCP 47 tag, or ``und``.
        name: What players show, unique among the programmes of text.
        role: What it is for.
    """

    number: int
    codec: str
    index: int | None
    sidecar: Master | None
    language: str
    name: str
    role: TextRole


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
        audio: Programmes of sound, in the container's order.
        subtitles: Text tracks, in the container's order.
    """

    master: Master
    container: str
    duration_s: Fraction
    video: VideoTrack | None
    audio: tuple[AudioTrack, ...]
    subtitles: tuple[SubtitleTrack, ...]


@dataclass(frozen=True, slots=True)
class Reading:
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


# --- what it becomes ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VideoRendition:
    """A rung of a ladder applied to a title's picture.

    Attributes:
        id: Such as ``avc-1080p-6000k``; unique in a release, safe as a path segment.
        codec: One of the video codecs.
        width_px: Width, even; pixels are square.
        height_px: Height, even.
        frame_rate: Frames per second.
        rate_divisor: Of how many frames of the grid one is taken: 1, 2, or for trick play as many as a GOP has.
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


# --- how it is made -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Levelling:
    """How a worker brings a programme of sound to its loudness: measured first, then encoded with one static gain.

    Attributes:
        argv: The command that measures; it tells a summary for each layout on standard error.
        layouts: Layout of each rendition of the task, in their order.
        mixed: Layouts whose channels are sums of the master's, so that they may exceed full scale.
        target_lufs: Where the programme's integrated loudness goes; None keeps the master's.
        ceiling_dbtp: Highest true peak of a result.
        reduction_db: By how much the limiter may lower the highest peak; beyond that, the gain is lowered.
        limiter: The filters that hold peaks at the ceiling; used only where they would exceed it.
    """

    argv: tuple[str, ...]
    layouts: tuple[str, ...]
    mixed: tuple[str, ...]
    target_lufs: float | None
    ceiling_dbtp: float
    reduction_db: float
    limiter: str


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """One child process: a chunk × a group of renditions, a programme × its audio renditions, or programmes of text.

    Attributes:
        id: Digest of all that decides the result: master, frames, arguments, tool.
        kind: What the renditions carry; tasks of sound and text cover the whole title.
        chunk: The frames; of a task of sound or text, all of them.
        renditions: Their ids, in the order of the outputs.
        argv: The command. ``{master}`` stands for the input and ``{scratch}`` for the folder of the outputs, which are
            named ``{scratch}/{rendition}.mp4``. Of sound, ``{level-…}`` and ``{dialnorm-…}`` stand for what
            follows from the measured loudness of a layout. Of text, the outputs are ``{scratch}/text-{number}.mkv`` for
            each programme, and ``{sidecar}`` and ``{master-in-graph}`` stand for further inputs.
        cost: CPU seconds that it is expected to take.
        memory_bytes: Memory that is to be set aside for it.
        levelling: Sound only: how its loudness is measured and set.
        sheets: Numbers of the sheets of thumbnails that are made beside.
        text: Text only: the programmes that it reads.
        start_s: Text only: the time in its source at which the picture starts.
        reads: What it reads of the master, to be looked through where decoding goes wrong.
    """

    id: str
    kind: Kind
    chunk: Chunk
    renditions: tuple[str, ...]
    argv: tuple[str, ...]
    cost: float
    memory_bytes: int = 0
    levelling: Levelling | None = None
    sheets: tuple[int, ...] = ()
    text: tuple[TextTrack, ...] = ()
    start_s: Fraction = Fraction(0)
    reads: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class EncodePlan:
    """Everything that will be done to a master, decided before anything is done.

    Attributes:
        title: Catalogue entry.
        release: Digest of the master, the renditions, the grid, the effort and the tool.
        master: The file.
        ladder: Name of the ladder.
        effort: How much work the encoders do.
        tool: Version line of the encoder.
        grid: Where sync frames, segments and chunks lie.
        decisions: One line per decision that was taken from the probe.
        video: Video renditions, best first within a codec.
        audio: Audio renditions.
        tasks: What workers do, the most urgent first: longest first among equals.
        trick: Renditions of one picture for each GOP, to wind through a title; one for a codec, at most.
        thumbnails: How they are laid; None where none are made.
        text: Text renditions, programme by programme.
        light: The master's, which HDR renditions keep; None in plans that were made before it was kept there.
        allow_damaged: Whether damage is concealed and put on record; otherwise the job fails of it.
        damage: Frames that the master's own index misses.
    """

    title: str
    release: str
    master: Master
    ladder: str
    effort: Effort
    tool: str
    grid: Grid
    decisions: tuple[str, ...]
    video: tuple[VideoRendition, ...]
    audio: tuple[AudioRendition, ...]
    tasks: tuple[EncodeTask, ...]
    trick: tuple[VideoRendition, ...] = ()
    thumbnails: Thumbnails | None = None
    text: tuple[TextRendition, ...] = ()
    light: Light | None = None
    allow_damaged: bool = False
    damage: tuple[Damage, ...] = ()


# --- what has been made -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loudness:
    """How loud a programme is in one layout, and what was made of it; of the whole programme, before coding.

    Attributes:
        layout: ``2.0`` or ``5.1``.
        integrated_lufs: Integrated loudness, ITU-R BS.1770-4; None when nothing is above the gate of -70 LUFS.
        range_lu: Loudness range, EBU Tech 3342.
        true_peak_dbtp: Highest true peak of any channel, ITU-R BS.1770-4, annex 2; None for digital silence.
        gain_db: The static gain that was applied.
        limited: Whether peaks were held at the ceiling by a limiter.
        result_lufs: Integrated loudness after the gain; None as above.
        result_dbtp: True peak after gain and limiter; None as above.
        dialnorm_db: What AC-3 and E-AC-3 streams say of their loudness: -31 to -1.
    """

    layout: str
    integrated_lufs: float | None
    range_lu: float
    true_peak_dbtp: float | None
    gain_db: float
    limited: bool
    result_lufs: float | None
    result_dbtp: float | None
    dialnorm_db: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A media segment in the store.

    Attributes:
        number: From 1.
        start_ticks: Decode time of its first sample (``tfdt``), in the track's timescale.
        duration_ticks: Sum of its samples' durations.
        samples: Frames of video, codec frames of sound, samples of text, or cues of a WebVTT file.
        size_bytes: Size of the object.
        sha256: Hex digest of the object.
        sync: Video only: for each sync frame, the offset of its ``moof`` in the segment and the length in bytes up to
            the end of that frame. One range holds all that a trick-play client needs.
    """

    number: int
    start_ticks: int
    duration_ticks: int
    samples: int
    size_bytes: int
    sha256: str
    sync: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet of thumbnails in the store: a JPEG.

    Attributes:
        number: From 1.
        size_bytes: Size of the object.
        sha256: Hex digest of the object.
    """

    number: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class EncodedTrack:
    """What one task made of one rendition.

    Attributes:
        rendition: Its id.
        init_sha256: Hex digest of the init segment; the same in every chunk of a rendition.
        init_bytes: Size of the init segment; 0 where a form has none.
        timescale: Ticks per second.
        priming_samples: Audio: samples before the programme's first, which the init segment tells players to drop.
        average_bps: Over the task's segments.
        peak_bps: Of the segment with the highest rate.
        segments: In order.
        loudness: Audio: as measured and set.
    """

    rendition: str
    init_sha256: str
    init_bytes: int
    timescale: int
    priming_samples: int
    average_bps: int
    peak_bps: int
    segments: tuple[Segment, ...]
    loudness: Loudness | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof that a task is done; written after everything that it names.

    Attributes:
        task: The task's id.
        tracks: One per rendition of the task.
        attempt: Which attempt succeeded, from 1.
        worker: Where it ran.
        cpu_s: CPU seconds of the child process.
        wall_s: Seconds from start to end.
        peak_memory_bytes: Peak resident memory of the child process.
        sheets: The thumbnails that were made beside.
        decode_errors: How often the decoders complained, also of what lies before the chunk and is not used.
        damage: What was concealed.
    """

    task: str
    tracks: tuple[EncodedTrack, ...]
    attempt: int
    worker: str
    cpu_s: float
    wall_s: float
    peak_memory_bytes: int
    sheets: tuple[Sheet, ...] = ()
    decode_errors: int = 0
    damage: tuple[Damage, ...] = ()


Rendition = TypeVar("Rendition", VideoRendition, AudioRendition, TextRendition)


@dataclass(frozen=True, slots=True)
class Track(Generic[Rendition]):
    """A rendition as it stands in the store, complete: all that a manifest says of it.

    Attributes:
        rendition: What was asked for.
        codec_string: RFC 6381, from the init segment's sample entry.
        init_bytes: Size of the init segment; 0 where a form has none.
        timescale: Ticks per second of the segments.
        priming_samples: Audio: samples before the programme's first, dropped by the init segment's edit list.
        segments: All of them, in order.
        loudness: Audio: as measured and set.
    """

    rendition: Rendition
    codec_string: str
    init_bytes: int
    timescale: int
    priming_samples: int
    segments: tuple[Segment, ...]
    loudness: Loudness | None = None

    def segment_bps(self) -> tuple[float, ...]:
        """Rate of each segment, in bits per second over its own duration."""
        return tuple(8 * s.size_bytes * self.timescale / s.duration_ticks for s in self.segments)

    @property
    def average_bps(self) -> int:
        """Bits of all segments over their duration, rounded up."""
        bits = 8 * sum(s.size_bytes for s in self.segments)
        return -(-bits * self.timescale // sum(s.duration_ticks for s in self.segments))

    @property
    def peak_bps(self) -> int:
        """Rate of the segment with the highest, rounded up (RFC 8216, section 4.3.4.2)."""
        return max(-(-8 * s.size_bytes * self.timescale // s.duration_ticks) for s in self.segments)


@dataclass(frozen=True, slots=True)
class Presentation:
    """A release as players see it.

    Attributes:
        title: Catalogue entry.
        release: Its id.
        grid: Where segments lie.
        video: Video tracks, best first within a codec.
        audio: Audio tracks.
        trick: Tracks of one picture for each GOP.
        thumbnails: How they are laid; None where there are none.
        sheets: All of them, in order.
        text: Tracks of text; programmes without a cue are left out.
        damage: What was damaged or missing in the master, and is concealed here.
    """

    title: str
    release: str
    grid: Grid
    video: tuple[Track[VideoRendition], ...]
    audio: tuple[Track[AudioRendition], ...]
    trick: tuple[Track[VideoRendition], ...] = ()
    thumbnails: Thumbnails | None = None
    sheets: tuple[Sheet, ...] = ()
    text: tuple[Track[TextRendition], ...] = ()
    damage: tuple[Damage, ...] = ()


@dataclass(frozen=True, slots=True)
class Current:
    """The pointer at a title's current release.

    Attributes:
        release: Its id.
        published_at: UTC, ISO 8601.
    """

    release: str
    published_at: str
