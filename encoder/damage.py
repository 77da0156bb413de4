"""Damage: scan a master for frames and sound that can't be decoded, and report when they occur.

Decoders skip or conceal damage, and log it without a time. If an encode has logged damage, this module decodes the same
part of the master again, packet by packet, to find the time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from encoder.probing import SOUND_CONTAINERS, avoid_custom_layout, opened
from encoder.timelines import policy
from encoder.timelines.stated import StatedFormats
from headend.core.errors import DamagedMaster, MasterError
from headend.core.media import Damage, EncodeTask, Master, Probe, ReadRange, VideoTrack, merged

BROADCAST_CONTAINERS = ("mpegts", "mpeg")
"""Containers that may lose packets when they are sent. In others, missing frames are intended."""
_LASTING_FRAMES = 3
"""Shorter runs of frames in another format are damage."""
MAX_LISTED = 12
"""Maximum number of damaged stretches that an error lists."""
_NEAR = Fraction(3, 4)
"""Tolerance in frames: the two fields of a frame may be separate packets with separate times."""


def scan(master: Master, input_url: str, read_ranges: Iterable[ReadRange]) -> tuple[Damage, ...]:
    """Decode parts of a master and find damaged and missing frames and sound.

    Args:
        master: The file; named in errors.
        input_url: Where to read it: a path, or an ``http(s)`` URL.
        read_ranges: The parts of its streams to decode.

    Returns:
        The damage, merged into stretches long enough for a person to review.

    Raises:
        MasterError: The file can't be opened, its sound changes channels or sample rate, or its picture changes size or
            format and the plan knows of no change.
    """
    found: list[Damage] = []
    for read_range in read_ranges:
        with opened(master, input_url, SOUND_CONTAINERS) as container:
            stream = container.streams[read_range.stream]
            if read_range.seek_s is not None and stream.time_base:
                container.seek(int(read_range.seek_s / stream.time_base), stream=stream)
            if isinstance(stream, VideoStream):
                found += _picture_damage(container, stream, read_range, master)
            elif isinstance(stream, AudioStream):
                found += _sound_damage(container, stream, read_range, master)
    return merged(found)


def find_missing_frames(probe: Probe, track: VideoTrack) -> tuple[Damage, ...]:
    """Find the frames that are missing from a stream of constant rate, using only its index.

    Returns:
        The missing frames; nothing for containers in which missing frames are intended, and for variable rates.
    """
    if track.constant_rate or not probe.container.startswith(BROADCAST_CONTAINERS):
        return ()
    pts = track.frames.pts_ticks
    step = 1 / (track.frame_rate * track.time_base)
    steps = [(here, after, round((after - here) / step)) for here, after in pairwise(pts)]
    if any(frames < 1 or abs((after - here) / step - frames) > Fraction(1, 4) for here, after, frames in steps):
        return ()
    start = pts[0]
    return merged(
        Damage(track.index, (here - start + step) * track.time_base, (after - start) * track.time_base, frames - 1)
        for here, after, frames in steps
        if frames > 1
    )


def fill_missing_frames(track: VideoTrack) -> VideoTrack:
    """Add the frames that `find_missing_frames` finds to the index of a track, which then has a constant rate."""
    index, step = track.frames, 1 / (track.frame_rate * track.time_base)
    numbers = [round((pts - index.pts_ticks[0]) / step) for pts in index.pts_ticks]
    full = tuple(index.pts_ticks[0] + round(number * step) for number in range(numbers[-1] + 1))
    return replace(
        track,
        constant_rate=True,
        frames=replace(index, pts_ticks=full, keyframes=tuple(numbers[keyframe] for keyframe in index.keyframes)),
    )


def merged_reads(tasks: Iterable[EncodeTask]) -> tuple[ReadRange, ...]:
    """Merge the parts of a master that tasks read into one range for each stream."""
    by_stream: dict[int, ReadRange] = {}
    for read_range in (read_range for task in tasks for read_range in task.reads):
        known = by_stream.setdefault(read_range.stream, read_range)
        start_s, end_s = min(known.start_s, read_range.start_s), max(known.end_s, read_range.end_s)
        by_stream[read_range.stream] = replace(known, seek_s=None, start_s=start_s, end_s=end_s)
    return tuple(by_stream[stream] for stream in sorted(by_stream))


def damage_error(title: str, master: Master, found: Sequence[Damage], *, allowed: bool = False) -> DamagedMaster:
    """Return the error that lists all damage; ``allowed`` means that concealing it was allowed, but has failed."""
    advice = " and can't be concealed there: deliver it again"
    if not allowed:
        advice = "; deliver it again, or conceal and record the damage with --allow-damaged"
    return DamagedMaster(
        f"{title}: {master.url} is damaged at {_listed(found)}{advice}",
        damage=[str(place) for place in found],
    )


def describe(missing: Sequence[Damage], *, allowed: bool) -> tuple[str, ...]:
    """Describe the decisions about damage, a line each; ``allowed`` means that it may be concealed."""
    if not allowed:
        return ()
    line = "what can't be decoded → frames repeated, silence inserted, recorded"
    return (line, f"frames missing at {_listed(missing)} → repeated") if missing else (line,)


def _listed(found: Sequence[Damage]) -> str:
    more = f" and {len(found) - MAX_LISTED} more stretches" if len(found) > MAX_LISTED else ""
    return ", ".join(map(str, found[:MAX_LISTED])) + more


def _picture_damage(
    container: InputContainer, stream: VideoStream, read_range: ReadRange, master: Master
) -> Iterator[Damage]:
    is_checked = stream.codec_context.name == "hevc"
    # Threads that decode several frames at once report errors with later packets.
    stream.thread_type = "SLICE" if is_checked else "AUTO"
    # Otherwise the HEVC decoder outputs incomplete pictures, and those with a wrong checksum.
    stream.codec_context.options = {"err_detect": "explode+crccheck"} if is_checked else {}
    damaged: set[Fraction] = set()
    expected: set[Fraction] = set()
    decoded: list[Fraction] = []
    formats = _Formats(read_range.picture_format)
    for packet, frames, failed in _decoded(container, stream, read_range):
        at_s = _time_s(packet, stream)
        if at_s is not None and packet.size and not packet.is_discard:
            expected |= {at_s} if packet.pts is not None else set()
            # The decoder outputs a picture with a wrong checksum nevertheless. If packets have no presentation time,
            # use the decoding time of the one that fails.
            damaged |= {at_s} if packet.is_corrupt or (failed and (is_checked or packet.pts is None)) else set()
        for frame in frames:
            frame_s = _time_s(frame, stream)
            if frame_s is not None:
                formats.add(frame, frame_s - read_range.zero_s, master)
                decoded.append(frame_s)
                damaged |= {frame_s} if frame.is_corrupt else set()
    decoded.sort()
    damaged |= {at_s for at_s in expected if not _is_near(decoded, at_s, read_range.frame_s * _NEAR)}
    for at_s in sorted(damaged):
        if read_range.start_s <= at_s < read_range.end_s:
            yield _damage(read_range, at_s, at_s + read_range.frame_s)


@dataclass(slots=True)
class _Formats:
    """Detects changes of size, pixel format, matrix or range of frames that the plan does not know.

    Attributes:
        planned: Required size and pixel format of frames; empty if they may change.
        before: The format of the frames so far: size and pixel format, then matrix and range.
        since_s: When frames started to have another format; None if they have the same.
        count: Number of frames in another format since then.
    """

    planned: str
    before: tuple[str, object] = ("", None)
    since_s: Fraction | None = None
    count: int = 0

    def add(self, frame: VideoFrame, at_s: Fraction, master: Master) -> None:
        """Check a frame.

        Raises:
            MasterError: Several frames in a row have differed; fewer are damage.
        """
        picture_format = f"{frame.width}x{frame.height} {frame.format.name}"
        here = (picture_format, (frame.colorspace, frame.color_range))
        if not self.before[0]:
            self.before = (self.planned, here[1])
        if not self.planned or here == self.before:
            self.since_s, self.count = None, 0
            return
        self.since_s, self.count = at_s if self.since_s is None else self.since_s, self.count + 1
        if self.count >= _LASTING_FRAMES:
            only_colour = picture_format == self.before[0]
            before = f"{picture_format} with another matrix or range" if only_colour else self.before[0]
            raise MasterError(
                f"{master.url}: the picture changes from {before} to {picture_format} at {float(self.since_s):.3f} s, "
                "which was not seen when the master was read; deliver it in one format throughout",
                at_s=float(self.since_s),
            )


def _sound_damage(
    container: InputContainer, stream: AudioStream, read_range: ReadRange, master: Master
) -> Iterator[Damage]:
    avoid_custom_layout(stream)
    if stream.codec_context.name in ("ac3", "eac3"):
        stream.codec_context.options = {"err_detect": "explode+crccheck"}
    expected_s: Fraction | None = None
    stated = StatedFormats()
    for packet, frames, failed in _decoded(container, stream, read_range):
        at_s = _time_s(packet, stream)
        for frame in frames if packet.pts is not None else ():
            stated.record(packet.pts or 0, f"{len(frame.layout.channels)} channels, {frame.sample_rate} Hz")
        for change in stated.changes(packet.time_base) if len(stated.runs) > 1 else ():
            raise policy.format_change_error(master, stream.index, change, read_range.zero_s)
        if at_s is None or not packet.duration:
            continue
        length_s = packet.duration * packet.time_base
        if expected_s is not None and at_s - expected_s > length_s / 2:
            missing = max(1, round((at_s - expected_s) / length_s))
            if read_range.start_s <= expected_s < read_range.end_s:
                yield _damage(read_range, expected_s, at_s, missing)
        if (failed or packet.is_corrupt) and read_range.start_s <= at_s < read_range.end_s:
            yield _damage(read_range, at_s, at_s + length_s)
        expected_s = at_s + length_s


def _decoded(
    container: InputContainer, stream: VideoStream | AudioStream, read_range: ReadRange
) -> "Iterator[tuple[Packet[Any], Sequence[Any], bool]]":
    """Packets up to the end of a range, the frames decoded from each, and whether the decoder failed."""
    for packet in container.demux(stream):
        if packet.dts is not None and packet.dts * packet.time_base >= read_range.end_s:
            break
        try:
            yield packet, packet.decode(), False
        except av.FFmpegError:
            yield packet, (), True
    last: Packet[Any] = Packet()
    last.stream = stream
    with suppress(av.FFmpegError):  # the decoder has been flushed already
        yield last, stream.codec_context.decode(None), False


def _time_s(item: "Packet[Any] | Frame", stream: Stream) -> Fraction | None:
    at = item.pts if item.pts is not None else item.dts
    # Frames from flushing a decoder have no time base.
    return None if at is None or stream.time_base is None else at * stream.time_base


def _is_near(times_s: Sequence[Fraction], at_s: Fraction, within_s: Fraction) -> bool:
    index = bisect_left(times_s, at_s)
    return any(abs(time_s - at_s) < within_s for time_s in times_s[max(0, index - 1) : index + 1])


def _damage(read_range: ReadRange, start_s: Fraction, end_s: Fraction, errors: int = 1) -> Damage:
    return Damage(read_range.stream, max(Fraction(0), start_s - read_range.zero_s), end_s - read_range.zero_s, errors)
