"""Verify segments: decode them and compare the result with the plan."""

import io
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore

import av

from encoder import probing
from encoder.picture.colour import bit_depth_of, light_of
from encoder.sound.command import language_code
from headend.core.codecs import VIDEO
from headend.core.errors import MasterError
from headend.core.media import (
    AudioRendition,
    AudioTrack,
    Light,
    Master,
    MasteringDisplay,
    Segment,
    VideoRendition,
    VideoTrack,
)

SLACK_SAMPLES = 4096
"""Maximum number of samples that decoders drop at the start: priming, and frames that only help to decode later
ones."""
CHROMATICITY_TOLERANCE, LUMINANCE_TOLERANCE = Fraction(1, 10_000), Fraction(1, 100)
"""Tolerances for ST 2086, since codecs round it differently: absolute for x and y, relative for cd/m²."""

_CODECS = {codec.codec: codec.decoder for codec in VIDEO}
"""FFmpeg's name of each codec."""
_DECODING = BoundedSemaphore(os.cpu_count() or 1)
"""Limits concurrent decoders: those of large pictures take hundreds of megabytes each."""


def differences(
    rendition: VideoRendition | AudioRendition,
    light: Light | None,
    segment: Segment,
    data: bytes,
    *,
    is_stopped: Callable[[], bool] = lambda: False,
) -> tuple[str, ...]:
    """Decode a segment and compare it with the plan.

    Args:
        rendition: The planned rendition.
        light: The master's light; None if the plan has none.
        segment: The segment's entry in the index.
        data: The init segment, followed by the segment.
        is_stopped: Returns whether to leave it out; called when a decoder is free.

    Returns:
        A line for each difference.
    """
    with _DECODING, TemporaryDirectory(prefix="headend-") as folder:
        if is_stopped():
            return ()
        path = Path(folder) / "segment.mp4"
        path.write_bytes(data)
        try:
            if isinstance(rendition, VideoRendition):
                return tuple(_picture_differences(rendition, light, segment, path))
            return tuple(_sound_differences(rendition, segment, path))
        except (av.FFmpegError, MasterError) as error:
            return (f"it can't be decoded: {error}",)


def decryption_differences(stored: bytes, clear: bytes, secret: bytes) -> tuple[str, ...]:
    """Decrypt a segment with FFmpeg and compare it with the clear one.

    Args:
        stored: The encrypted init segment, followed by the encrypted segment.
        clear: The same without encryption.
        secret: The key. It is not passed on a command line, but as an option of FFmpeg's libraries in this process.

    Returns:
        A line for each difference.
    """
    try:
        decrypted = list(_packets(stored, {"decryption_key": secret.hex()}))
        expected = list(_packets(clear, {}))
    except av.FFmpegError as error:
        return (f"FFmpeg can't decrypt it: {type(error).__name__}",)
    if decrypted != expected:
        wrong = sum(a != b for a, b in zip(decrypted, expected, strict=False))
        return (f"{wrong} samples differ from the clear ones after FFmpeg has decrypted them",)
    return ()


def _packets(data: bytes, options: dict[str, str]) -> Iterator[bytes]:
    with av.open(io.BytesIO(data), mode="r", format="mp4", options=options) as container:
        yield from (bytes(packet) for packet in container.demux() if packet.size)


def _picture_differences(rendition: VideoRendition, light: Light | None, segment: Segment, path: Path) -> Iterator[str]:
    track = probing.probe(_as_master(path), str(path)).video
    if track is None:
        yield "it has no picture"
        return
    yield from _mismatches(
        ("codec", track.codec, _CODECS.get(rendition.codec, rendition.codec)),
        ("size", f"{track.width_px}x{track.height_px}", f"{rendition.width_px}x{rendition.height_px}"),
        ("sample aspect ratio", track.sample_aspect_ratio, Fraction(1)),
        ("rotation in degrees", track.rotation_deg, 0),
        ("mirroring", track.mirrored, False),
        ("pixel format", track.pixel_format, rendition.pixel_format),
        ("field order", track.field_order, "progressive"),
        ("number of decoded frames", _count_frames(path), segment.samples),
    )
    if track.frame_count > 1:  # a single frame has no frame rate
        yield from _mismatches(("frame rate", track.frame_rate, rendition.frame_rate))
    if light is not None:
        yield from _light_differences(track, light_of(rendition.video_range, light, bit_depth=bit_depth_of(rendition)))


def _light_differences(track: VideoTrack, planned: Light) -> Iterator[str]:
    actual, wanted = track.colour, planned.colour
    yield from _mismatches(
        ("colour primaries", actual.primaries, wanted.primaries),
        ("transfer characteristic", actual.transfer, wanted.transfer),
        ("matrix", actual.matrix, wanted.matrix),
        ("range", actual.range, wanted.range),
        ("content light level", track.content_light, planned.content_light),
    )
    if not _same_display(track.mastering_display, planned.mastering_display):
        yield f"its mastering display is {track.mastering_display}, not {planned.mastering_display}"


def _same_display(actual: MasteringDisplay | None, planned: MasteringDisplay | None) -> bool:
    if actual is None or planned is None:
        return actual is planned
    chromaticities = zip(
        (*actual.red_xy, *actual.green_xy, *actual.blue_xy, *actual.white_xy),
        (*planned.red_xy, *planned.green_xy, *planned.blue_xy, *planned.white_xy),
        strict=True,
    )
    luminances = ((actual.min_nits, planned.min_nits), (actual.max_nits, planned.max_nits))
    return all(abs(one - other) <= CHROMATICITY_TOLERANCE for one, other in chromaticities) and all(
        # The smallest step is 0.0001 cd/m², and black is only a few steps.
        abs(one - other) <= max(LUMINANCE_TOLERANCE * other, Fraction(1, 10_000))
        for one, other in luminances
    )


def _count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def _sound_differences(rendition: AudioRendition, segment: Segment, path: Path) -> Iterator[str]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        track: AudioTrack = probing.audio_track(stream)
        sample_count = sum(frame.samples for frame in container.decode(stream))
    yield from _mismatches(
        ("codec", track.codec, _CODECS.get(rendition.codec, rendition.codec)),
        ("sample rate", track.sample_rate_hz, rendition.sample_rate_hz),
        ("number of channels", track.channels, rendition.channels),
        ("language", stream.metadata.get("language", "und"), language_code(rendition.language)),
    )
    if abs(sample_count - segment.duration_ticks) > SLACK_SAMPLES:
        yield f"its number of decoded samples is {sample_count}, not {segment.duration_ticks}"


def _mismatches(*checks: tuple[str, object, object]) -> Iterator[str]:
    return (
        f"its {name} is {actual}, not {planned} as planned" for name, actual, planned in checks if actual != planned
    )


def _as_master(path: Path) -> Master:
    return Master(str(path), path.stat().st_size, "", "")
