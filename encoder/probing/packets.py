"""What packets of sound say: when each is heard, how many samples it holds, its channels and its sample rate."""

from itertools import pairwise
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from encoder.probing.parts import is_local, read_samples, spread
from encoder.timelines import opus, parameters, samples
from encoder.timelines.spans import PacketTimes

HEAD_BYTES = 16
"""How much of a packet is looked at, of most codecs."""
_LARGEST_BYTES = 1 << 20
"""Larger than any packet of Opus."""
_MOST_HEADS, _MOST_REMOTE_HEADS = 20_000, 100
"""Of how many packets of a stream the beginning is read, in a local file and in one in a store."""


def note_sound(sound: dict[int, PacketTimes], packet: "Packet[Any]", codec: str) -> None:
    """Note when a packet of sound is heard, and what it says of itself.

    Args:
        sound: By stream number.
        packet: The packet.
        codec: FFmpeg's name of its codec; empty where that is not known.
    """
    if packet.pts is None or not packet.size or packet.is_discard:
        return
    header = bytes(packet.get_sidedata("new_extradata")) if packet.has_sidedata("new_extradata") else b""
    if packet.stream_index not in sound:
        context = packet.stream.codec_context
        header = header or (context.extradata if context is not None else None) or b""
        sound[packet.stream_index] = PacketTimes(
            skipped_samples=_skipped_samples(packet), count=samples.counter(codec, header)
        )
    times = sound[packet.stream_index]
    if header:
        times.header = header
    beginning = bytes(memoryview(packet)[: _looked_at(codec)])
    samples_held = times.count(beginning) if times.count else 0
    times.add(packet.pts, packet.duration or 0, packet.size, samples_held, -1 if packet.pos is None else packet.pos)
    _hear(times, codec, packet.pts, beginning)


def _looked_at(codec: str) -> int:
    """How many bytes of a packet are looked at, at most."""
    return _LARGEST_BYTES if codec == "opus" else HEAD_BYTES


def _hear(times: PacketTimes, codec: str, pts_ticks: int, beginning: bytes) -> None:
    if codec == "opus":
        times.elements.lasting_packets = opus.LASTING_PACKETS
        times.elements.say(pts_ticks, opus.streams(beginning, times.header))
        return
    stated = parameters.of_sound(codec, beginning) or parameters.of_sound_header(codec, times.header)
    times.kinds.say(pts_ticks, stated)
    times.elements.say(pts_ticks, parameters.first_element(codec, beginning, times.header))


def by_index(container: InputContainer, stream: AudioStream) -> PacketTimes:
    """What a container's index tells of the packets of sound: each lasts until the next one begins.

    Args:
        container: A master with an index. The beginnings of some packets are read, too.
        stream: A stream of it.
    """
    entries = [entry for entry in stream.index_entries if not entry.is_discard]
    times = PacketTimes(header=stream.codec_context.extradata or b"")
    for entry, after in pairwise(entries):
        times.add(entry.timestamp, max(0, after.timestamp - entry.timestamp), entry.size, place=entry.pos)
    if entries:
        times.add(entries[-1].timestamp, 0, entries[-1].size, place=entries[-1].pos)
    codec = stream.codec_context.codec.canonical_name
    if codec == "opus" or parameters.states_itself(codec):
        most = _MOST_HEADS if is_local(container) else _MOST_REMOTE_HEADS
        heard = [entries[number] for number in spread(len(entries), most)]
        for entry, beginning in zip(heard, read_samples(container, heard, _looked_at(codec)), strict=True):
            _hear(times, codec, entry.timestamp, beginning)
    return times


def _skipped_samples(packet: "Packet[Any]") -> int:
    """How many samples a decoder drops of a packet: what the encoder put before the first one.

    Source: FFmpeg's ``AV_PKT_DATA_SKIP_SAMPLES``, whose first number it is.
    """
    if not packet.has_sidedata("skip_samples"):
        return 0
    return int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little")
