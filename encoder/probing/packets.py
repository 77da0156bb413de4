"""Read packets of sound: presentation time, number of samples, channels and sample rate of each."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from encoder.probing.opening import input_options, time_base_of
from encoder.probing.parts import is_local, read_samples, spread
from encoder.sample_tables import read_movie
from encoder.timelines import opus, parameters, samples
from encoder.timelines.spans import PacketTimes
from headend.core.errors import MasterError
from headend.core.media import Master

HEAD_BYTES = 16
"""Number of bytes that are read of each packet, for most codecs."""
_MAX_OPUS_BYTES = 1 << 20
"""Larger than any packet of Opus."""
_MAX_HEADS, _MAX_REMOTE_HEADS = 20_000, 100
"""Maximum number of packets of a stream whose first bytes are read: in a local file, and in S3."""


def note_sound(sound: dict[int, PacketTimes], packet: "Packet[Any]", codec: str) -> None:
    """Record the times of a packet of sound, and the channels and sample rate that it states.

    Args:
        sound: The records, by stream number.
        packet: The packet.
        codec: FFmpeg's name of its codec; empty if unknown.
    """
    if packet.pts is None or not packet.size:
        return
    if packet.is_discard:
        if packet.stream_index in sound:
            sound[packet.stream_index].discarded_ticks.append(packet.pts)
        return
    header = bytes(packet.get_sidedata("new_extradata")) if packet.has_sidedata("new_extradata") else b""
    if packet.stream_index not in sound:
        context = packet.stream.codec_context
        header = header or (context.extradata if context is not None else None) or b""
        sound[packet.stream_index] = PacketTimes(
            skipped_samples=_skipped_samples(packet), count=samples.make_counter(codec, header)
        )
    times = sound[packet.stream_index]
    if header:
        times.header = header
    head = bytes(memoryview(packet)[: _head_bytes(codec)])
    sample_count = times.count(head) if times.count else 0
    times.add(packet.pts, packet.duration or 0, packet.size, sample_count, -1 if packet.pos is None else packet.pos)
    _note_parameters(times, codec, packet.pts, head)


def _head_bytes(codec: str) -> int:
    """Maximum number of bytes to read of a packet."""
    return _MAX_OPUS_BYTES if codec == "opus" else HEAD_BYTES


def _note_parameters(times: PacketTimes, codec: str, pts_ticks: int, head: bytes) -> None:
    if codec == "opus":
        times.content_formats.lasting_packets = opus.LASTING_PACKETS
        times.content_formats.record(pts_ticks, opus.describe_streams(head, times.header))
        return
    stated = parameters.sound_parameters(codec, head) or parameters.header_parameters(codec, times.header)
    times.header_formats.record(pts_ticks, stated)
    times.content_formats.record(pts_ticks, parameters.first_element(codec, head, times.header))


def check_hidden(container: InputContainer, master: Master, hidden_ticks: Mapping[int, Sequence[int]]) -> None:
    """Reject a fragmented master of which FFmpeg would leave out samples because others have the same time.

    In other masters, hidden packets are those that an edit list cuts off, between two stretches that it shows.

    Args:
        container: The open master.
        master: Named in the error.
        hidden_ticks: By stream number, the times of packets that are not shown although some before and after are.

    Raises:
        MasterError: There are such packets.
    """
    if not any(hidden_ticks.values()):
        return
    if not read_movie(container.name, container.size, input_options(container.name)).is_fragmented:
        return
    for number, ticks in hidden_ticks.items():
        if ticks:
            at_s = float(min(ticks) * time_base_of(container.streams[number]))
            raise MasterError(
                f"{master.url}: {len(ticks)} samples of stream {number} have the same time as another, the first at "
                f"{at_s:.3f} s, so players leave them out; deliver it again, with longer fragments if it was recorded "
                "live",
                stream=number,
            )


def times_from_index(container: InputContainer, stream: AudioStream) -> PacketTimes:
    """Read the times of a stream's packets from the container's index; each packet lasts until the next one.

    Args:
        container: A master with an index. The first bytes of some packets are read as well.
        stream: A stream of sound.
    """
    entries = [entry for entry in stream.index_entries if not entry.is_discard]
    times = PacketTimes(header=stream.codec_context.extradata or b"")
    for entry, after in pairwise(entries):
        times.add(entry.timestamp, max(0, after.timestamp - entry.timestamp), entry.size, position=entry.pos)
    if entries:
        times.add(entries[-1].timestamp, 0, entries[-1].size, position=entries[-1].pos)
    codec = stream.codec_context.codec.canonical_name
    if codec == "opus" or parameters.is_stated_in_packets(codec):
        count = _MAX_HEADS if is_local(container) else _MAX_REMOTE_HEADS
        sampled = [entries[number] for number in spread(len(entries), count)]
        for entry, head in zip(sampled, read_samples(container, sampled, _head_bytes(codec)), strict=True):
            _note_parameters(times, codec, entry.timestamp, head)
    return times


def _skipped_samples(packet: "Packet[Any]") -> int:
    """Number of samples that a decoder drops at the start of a packet: the encoder's priming.

    Source: the first number of FFmpeg's ``AV_PKT_DATA_SKIP_SAMPLES``.
    """
    if not packet.has_sidedata("skip_samples"):
        return 0
    return int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little")
