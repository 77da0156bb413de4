"""Describe the tracks of sound and text of a master."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream

from encoder.probing import describing
from encoder.probing.opening import time_base_of
from encoder.timelines import spans
from encoder.timelines.spans import PacketTimes
from headend.core.media import AudioTrack, SubtitleTrack
from headend.core.media.speakers import channel_count

_LATE_CONTAINERS = ("mpegts", "mpeg")
"""Containers whose streams may start long after the file; FFmpeg only guesses their start times."""
_LATE_PACKETS = 500
"""Maximum number of packets to decode to find the channels and the sample rate."""


def audio_track(stream: AudioStream, end_ticks: int | None = None, start_ticks: int | None = None) -> AudioTrack:
    """Describe a programme of sound by its header.

    Args:
        stream: The programme.
        end_ticks: Its end; None for the end in the header.
        start_ticks: Its start; None for the start in the header.
    """
    context, time_base = stream.codec_context, time_base_of(stream)
    start = (stream.start_time or 0) if start_ticks is None else start_ticks
    duration = end_ticks - start if end_ticks is not None else stream.duration or 0
    sample_rate_hz, layout = describing.sound(stream.container, stream.index)
    return AudioTrack(
        index=stream.index,
        codec=context.codec.canonical_name,
        profile=stream.profile or "",
        sample_rate_hz=sample_rate_hz or context.sample_rate,
        channels=channel_count(layout),
        layout=layout,
        language=_language(stream),
        title=stream.metadata.get("title", ""),
        roles=_roles(stream),
        default=bool(stream.disposition & Disposition.default),
        start_s=start * time_base,
        duration_s=duration * time_base,
        bit_rate_bps=stream.bit_rate or 0,
    )


def sound_track(stream: AudioStream, packets: PacketTimes | None, origin: str) -> AudioTrack:
    """Describe a programme of sound by its header and its packets.

    Args:
        stream: The programme.
        packets: The times of its packets; None if they were not read.
        origin: Source of these times: ``packets`` or ``container index``. An index does not tell the duration of the
            last packet, so the end is then taken from the header.
    """
    may_start_late = stream.container.format.name in _LATE_CONTAINERS
    if packets is None or not packets.pts_ticks:
        track = audio_track(stream)
        return replace(track, channels=0, start_s=Fraction(0), duration_s=Fraction(0)) if may_start_late else track
    ends = map(sum, zip(packets.pts_ticks, packets.duration_ticks, strict=True))
    start = None
    if origin == "packets":
        # Don't use FFmpeg's start time: for sound that starts late, it guesses the start of the file.
        skipped_s = Fraction(packets.skipped_samples, stream.codec_context.sample_rate or 1)
        start = min(packets.pts_ticks) + round(skipped_s / time_base_of(stream))
    track = audio_track(stream, max(ends) if origin == "packets" else None, start)
    context = stream.codec_context
    timeline = spans.timeline(
        packets,
        time_base_of(stream),
        rate_hz=track.sample_rate_hz,
        packet_samples=spans.packet_samples(track.codec, context.frame_size, context.extradata or b""),
        sample_bytes=spans.frame_bytes(track.codec, track.channels),
        codec=track.codec,
    )
    return replace(track, timeline=timeline)


def sound_format_by_decoding(container: InputContainer, index: int) -> tuple[int, str]:
    """Find the sample rate and the channel layout of a stream by decoding, if the container does not state them.

    Args:
        container: A newly opened container.
        index: Stream number.

    Returns:
        As for `describing.sound`.
    """
    stream = container.streams[index]
    for packet in islice(container.demux(stream), _LATE_PACKETS):
        with suppress(av.FFmpegError):
            for frame in packet.decode():
                if isinstance(frame, AudioFrame):
                    return frame.sample_rate, frame.layout.name
    return 0, ""


def subtitle_track(stream: SubtitleStream, times_ms: Sequence[tuple[int, int]] = ()) -> SubtitleTrack:
    """Describe a text track by its header, and by the times of its cues in milliseconds."""
    return SubtitleTrack(
        index=stream.index,
        codec=stream.codec_context.codec.canonical_name if stream.codec_context else "unknown",
        language=_language(stream),
        title=stream.metadata.get("title", ""),
        roles=_roles(stream),
        default=bool(stream.disposition & Disposition.default),
        times_ms=tuple(times_ms),
    )


def _language(stream: Stream) -> str:
    declared = stream.metadata.get("language") or "und"
    if declared == "und":
        return declared
    # Imported here, since its tables take long to load, and scans for damage and most probes don't use them.
    from langcodes import standardize_tag
    from langcodes.tag_parser import LanguageTagError

    try:
        return standardize_tag(declared)
    except LanguageTagError:
        return "und"


def _roles(stream: Stream) -> tuple[str, ...]:
    return tuple(
        sorted(d.name for d in Disposition if d.name and d in stream.disposition and d is not Disposition.default)
    )
