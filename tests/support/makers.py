"""Makers of data types with defaults, so that a test states only the values that it is about."""

from fractions import Fraction

from headend.core.media import (
    AudioRendition,
    AudioTrack,
    Codec,
    Colour,
    ContentLight,
    Crop,
    DolbyVision,
    FieldOrder,
    FrameIndex,
    Master,
    MasteringDisplay,
    Probe,
    SubtitleTrack,
    TextRendition,
    TextRole,
    VideoRange,
    VideoRendition,
    VideoTrack,
)

BT709 = Colour("bt709", "bt709", "bt709", "tv", "left")
HDR10 = Colour("bt2020", "smpte2084", "bt2020nc", "tv", "topleft")
HLG = Colour("bt2020", "arib-std-b67", "bt2020nc", "tv", "topleft")
TEXT_CODECS = frozenset({Codec.VTT, Codec.WVTT, Codec.IMSC})
"""Formats that headend writes itself, without an encoder's options or price."""


def make_master(url: str = "/masters/film.mov", *, size_bytes: int = 1_000_000, digest: str = "sha256:00") -> Master:
    return Master(url=url, size_bytes=size_bytes, digest=digest, version="1")


def make_frame_index(
    frame_count: int = 48,
    *,
    frame_ticks: int = 1,
    start_ticks: int = 0,
    keyframe_every: int = 12,
    origin: str = "packets",
) -> FrameIndex:
    return FrameIndex(
        pts_ticks=tuple(start_ticks + n * frame_ticks for n in range(frame_count)),
        keyframes=tuple(range(0, frame_count, keyframe_every)),
        seek_ticks=tuple(start_ticks + n * frame_ticks for n in range(0, frame_count, keyframe_every)),
        origin=origin,
    )


def make_video_track(
    *,
    index: int = 0,
    codec: str = "prores",
    profile: str = "HQ",
    width_px: int = 1920,
    height_px: int = 1080,
    sample_aspect_ratio: Fraction = Fraction(1),
    rotation_deg: int = 0,
    pixel_format: str = "yuv422p10le",
    bit_depth: int = 10,
    colour: Colour = BT709,
    mastering_display: MasteringDisplay | None = None,
    content_light: ContentLight | None = None,
    field_order: FieldOrder = FieldOrder.PROGRESSIVE,
    frame_rate: Fraction = Fraction(24),
    time_base: Fraction | None = None,
    constant_rate: bool = True,
    intra_only: bool = False,
    bit_rate_bps: int = 0,
    frame_count: int = 48,
    frames: FrameIndex | None = None,
    clean_aperture: Crop | None = None,
    mirrored: bool = False,
    dolby_vision: DolbyVision | None = None,
) -> VideoTrack:
    """Make a track whose time base is one frame by default; pass ``frames`` together with ``time_base``."""
    return VideoTrack(
        index=index,
        codec=codec,
        profile=profile,
        width_px=width_px,
        height_px=height_px,
        sample_aspect_ratio=sample_aspect_ratio,
        rotation_deg=rotation_deg,
        pixel_format=pixel_format,
        bit_depth=bit_depth,
        colour=colour,
        mastering_display=mastering_display,
        content_light=content_light,
        field_order=field_order,
        time_base=1 / frame_rate if time_base is None else time_base,
        frame_rate=frame_rate,
        constant_rate=constant_rate,
        intra_only=intra_only,
        bit_rate_bps=bit_rate_bps,
        frames=make_frame_index(frame_count) if frames is None else frames,
        clean_aperture=clean_aperture,
        mirrored=mirrored,
        dolby_vision=dolby_vision,
    )


def make_audio_track(
    *,
    index: int = 1,
    codec: str = "pcm_s24le",
    profile: str = "",
    sample_rate_hz: int = 48_000,
    channels: int = 2,
    layout: str | None = None,
    language: str = "en",
    title: str = "",
    roles: tuple[str, ...] = (),
    default: bool = True,
    start_s: Fraction = Fraction(0),
    duration_s: Fraction = Fraction(2),
    bit_rate_bps: int = 2_304_000,
) -> AudioTrack:
    names = {1: "mono", 2: "stereo", 6: "5.1", 7: "6.1", 8: "7.1"}
    return AudioTrack(
        index=index,
        codec=codec,
        profile=profile,
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        layout=names.get(channels, f"{channels} channels") if layout is None else layout,
        language=language,
        title=title,
        roles=roles,
        default=default,
        start_s=start_s,
        duration_s=duration_s,
        bit_rate_bps=bit_rate_bps,
    )


def make_probe(
    *,
    video: VideoTrack | None = None,
    audio: tuple[AudioTrack, ...] | None = None,
    subtitles: tuple[SubtitleTrack, ...] = (),
    master: Master | None = None,
    container: str = "mov,mp4,m4a,3gp,3g2,mj2",
    width_px: int = 1920,
    height_px: int = 1080,
    frame_rate: Fraction = Fraction(24),
    frame_count: int = 48,
    sample_aspect_ratio: Fraction = Fraction(1),
    rotation_deg: int = 0,
    colour: Colour = BT709,
    channels: int = 2,
) -> Probe:
    """Make a probe; the loose fields describe the picture and the one programme, unless ``video`` or ``audio`` does."""
    if video is None:
        video = make_video_track(
            width_px=width_px,
            height_px=height_px,
            frame_rate=frame_rate,
            frame_count=frame_count,
            sample_aspect_ratio=sample_aspect_ratio,
            rotation_deg=rotation_deg,
            colour=colour,
        )
    return Probe(
        master=make_master() if master is None else master,
        container=container,
        duration_s=video.frame_count / video.frame_rate,
        video=video,
        audio=(make_audio_track(channels=channels),) if audio is None else audio,
        subtitles=subtitles,
    )


_PROFILES = {Codec.AVC: "high", Codec.HEVC: "main10", Codec.AV1: "main", Codec.VP9: "0"}
_TEN_BIT = (Codec.HEVC, Codec.AV1)


def make_video_rendition(
    *,
    id: str | None = None,
    codec: Codec = Codec.AVC,
    width_px: int = 1920,
    height_px: int = 1080,
    frame_rate: Fraction = Fraction(24),
    rate_divisor: int = 1,
    average_bps: int = 6_000_000,
    cap_bps: int | None = None,
    buffer_bits: int | None = None,
    crf: float = 21.0,
    profile: str | None = None,
    level: str = "4.0",
    pixel_format: str | None = None,
    video_range: VideoRange = VideoRange.SDR,
    default: bool = False,
) -> VideoRendition:
    """Make a rendition whose id, cap, buffer, profile and pixel format follow from the rest."""
    suffix = "" if video_range is VideoRange.SDR else "-hdr"
    return VideoRendition(
        id=f"{codec}-{min(width_px, height_px)}p-{average_bps // 1000}k{suffix}" if id is None else id,
        codec=codec,
        width_px=width_px,
        height_px=height_px,
        frame_rate=frame_rate,
        rate_divisor=rate_divisor,
        average_bps=average_bps,
        cap_bps=average_bps * 3 // 2 if cap_bps is None else cap_bps,
        buffer_bits=average_bps * 2 if buffer_bits is None else buffer_bits,
        crf=crf,
        profile=_PROFILES[codec] if profile is None else profile,
        level=level,
        pixel_format=("yuv420p10le" if codec in _TEN_BIT else "yuv420p") if pixel_format is None else pixel_format,
        video_range=video_range,
        default=default,
    )


def make_audio_rendition(
    *,
    id: str | None = None,
    codec: Codec = Codec.AAC,
    layout: str = "2.0",
    bit_rate_bps: int = 128_000,
    sample_rate_hz: int = 48_000,
    track_index: int = 1,
    language: str = "en",
    name: str = "English",
    roles: tuple[str, ...] = (),
    default: bool = True,
) -> AudioRendition:
    return AudioRendition(
        id=f"{codec}-{layout}-{bit_rate_bps // 1000}k-{language}" if id is None else id,
        codec=codec,
        layout=layout,
        channels={"2.0": 2, "5.1": 6}[layout],
        bit_rate_bps=bit_rate_bps,
        sample_rate_hz=sample_rate_hz,
        track_index=track_index,
        language=language,
        name=name,
        roles=roles,
        default=default,
    )


def make_text_rendition(
    *,
    id: str | None = None,
    codec: Codec = Codec.VTT,
    programme: int = 1,
    language: str = "en",
    name: str = "English",
    role: TextRole = TextRole.SUBTITLES,
) -> TextRendition:
    suffix = "" if role is TextRole.SUBTITLES else f"-{role}"
    return TextRendition(f"{codec}-{language}{suffix}" if id is None else id, codec, programme, language, name, role)
