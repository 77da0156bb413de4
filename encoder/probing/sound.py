"""What a master says of its sound and text."""

from dataclasses import replace

from av.audio.stream import AudioStream
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from langcodes import standardize_tag
from langcodes.tag_parser import LanguageTagError

from encoder.probing.opening import time_base_of
from encoder.timelines import spans
from encoder.timelines.spans import PacketTimes
from headend.media import AudioTrack, SubtitleTrack


def audio_track(stream: AudioStream, end_ticks: int | None = None) -> AudioTrack:
    """Tell of a programme of sound what its header says.

    Args:
        stream: The programme.
        end_ticks: Where it ends, if that is known better than from the header.
    """
    context, time_base = stream.codec_context, time_base_of(stream)
    start = stream.start_time or 0
    duration = end_ticks - start if end_ticks is not None else stream.duration or 0
    return AudioTrack(
        index=stream.index,
        codec=context.codec.canonical_name,
        profile=stream.profile or "",
        sample_rate_hz=context.sample_rate,
        channels=context.channels,
        layout=context.layout.name,
        language=_language(stream),
        title=stream.metadata.get("title", ""),
        roles=_roles(stream),
        default=bool(stream.disposition & Disposition.default),
        start_s=start * time_base,
        duration_s=duration * time_base,
        bit_rate_bps=stream.bit_rate or 0,
    )


def heard_track(stream: AudioStream, packets: PacketTimes | None, origin: str) -> AudioTrack:
    """Describe a programme of sound by its header and its packets.

    Args:
        stream: The programme.
        packets: When they are heard; None where they were not read.
        origin: What told of them: ``packets``, or ``container index``, which knows no end that its header doesn't.
    """
    if packets is None or not packets.pts_ticks:
        return audio_track(stream)
    ends = map(sum, zip(packets.pts_ticks, packets.duration_ticks, strict=True))
    track = audio_track(stream, max(ends) if origin == "packets" else None)
    samples, rate_hz = stream.codec_context.frame_size, track.sample_rate_hz
    frame = spans.frame_bytes(track.codec, track.channels)
    found = spans.timeline(packets, time_base_of(stream), rate_hz=rate_hz, packet_samples=samples, sample_bytes=frame)
    return replace(track, timeline=found)


def subtitle_track(stream: SubtitleStream) -> SubtitleTrack:
    """Describe a text track by its header."""
    return SubtitleTrack(
        index=stream.index,
        codec=stream.codec_context.codec.canonical_name if stream.codec_context else "unknown",
        language=_language(stream),
        title=stream.metadata.get("title", ""),
        roles=_roles(stream),
        default=bool(stream.disposition & Disposition.default),
    )


def _language(stream: Stream) -> str:
    try:
        return standardize_tag(stream.metadata.get("language") or "und")
    except LanguageTagError:
        return "und"


def _roles(stream: Stream) -> tuple[str, ...]:
    return tuple(
        sorted(d.name for d in Disposition if d.name and d in stream.disposition and d is not Disposition.default)
    )
