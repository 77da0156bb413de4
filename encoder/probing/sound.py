"""What a master says of its sound and text."""

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
from langcodes import standardize_tag
from langcodes.tag_parser import LanguageTagError

from encoder.probing import describing
from encoder.probing.opening import time_base_of
from encoder.timelines import spans
from encoder.timelines.spans import PacketTimes
from headend.core.media import AudioTrack, SubtitleTrack
from headend.core.media.speakers import LAYOUTS, channel_count

_COMING_LATE = ("mpegts", "mpeg")
"""Containers whose header promises streams that may begin at any time; what it says of their start is made up."""
_LATE_PACKETS = 500
"""How many packets of sound are decoded to learn what it is."""


def audio_track(stream: AudioStream, end_ticks: int | None = None, start_ticks: int | None = None) -> AudioTrack:
    """Tell of a programme of sound what its header says.

    Args:
        stream: The programme.
        end_ticks: Where it ends, if that is known better than from the header.
        start_ticks: Where it starts, likewise.
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
        packets: When they are heard; None where they were not read.
        origin: What told of them: ``packets``, or ``container index``, which knows no end that its header doesn't.
    """
    comes_late = stream.container.format.name in _COMING_LATE
    if packets is None or not packets.pts_ticks:
        track = audio_track(stream)
        return replace(track, channels=0, start_s=Fraction(0), duration_s=Fraction(0)) if comes_late else track
    ends = map(sum, zip(packets.pts_ticks, packets.duration_ticks, strict=True))
    start = None
    if origin == "packets":
        # What lies far behind the file's start is taken to start with it, by FFmpeg's guess.
        skipped_s = Fraction(packets.skipped_samples, stream.codec_context.sample_rate or 1)
        start = min(packets.pts_ticks) + round(skipped_s / time_base_of(stream))
    track = audio_track(stream, max(ends) if origin == "packets" else None, start)
    context = stream.codec_context
    found = spans.timeline(
        packets,
        time_base_of(stream),
        rate_hz=track.sample_rate_hz,
        packet_samples=spans.packet_samples(track.codec, context.frame_size, context.extradata or b""),
        sample_bytes=spans.frame_bytes(track.codec, track.channels),
        codec=track.codec,
    )
    return replace(track, timeline=found)


def decoded_sound(container: InputContainer, index: int) -> tuple[int, str]:
    """What decoding shows of sound of which the container says nothing: samples per second, and channels by their name.

    Args:
        container: A container that was just opened.
        index: Stream number.

    Returns:
        As `describing.sound`.
    """
    stream = container.streams[index]
    for packet in islice(container.demux(stream), _LATE_PACKETS):
        with suppress(av.FFmpegError):
            for frame in packet.decode():
                if isinstance(frame, AudioFrame):
                    return frame.sample_rate, frame.layout.name
    return 0, ""


def forget_order(stream: AudioStream) -> None:
    """Make a stream safe to decode with PyAV, whatever the order of its channels; they keep their order.

    PyAV frees what belongs to FFmpeg where channels stand in an order of their own, and the process crashes.
    """
    _, layout = describing.sound(stream.container, stream.index)
    if channel_count(layout) and layout not in LAYOUTS:
        stream.codec_context.layout = f"{channel_count(layout)}C"


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
    try:
        return standardize_tag(stream.metadata.get("language") or "und")
    except LanguageTagError:
        return "und"


def _roles(stream: Stream) -> tuple[str, ...]:
    return tuple(
        sorted(d.name for d in Disposition if d.name and d in stream.disposition and d is not Disposition.default)
    )
