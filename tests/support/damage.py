"""Damage to masters: flipped bytes, lost packets, blank samples."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path

import av

TS_PACKET_BYTES = 188
_NULL_PACKET = bytes([0x47, 0x1F, 0xFF, 0x10]) + bytes(184)
_NOT_CODED = bytes.fromhex("000001b6504f")
_LEFT_BYTES = 24
"""Bytes at the start of a packet that stay intact, so that decoders start to read it."""


def garble(path: Path, packets: Iterable[int], *, stream: int = 0) -> Path:
    """Flip bytes within packets of a stream, counted in the order of the file."""
    return _damage(path, packets, stream, lambda data: random.Random(len(data)).randbytes(len(data)))


def flip(path: Path, packets: Iterable[int], *, stream: int = 0) -> Path:
    """Flip three bytes in the middle of packets, which most decoders don't notice."""

    def hurt(data: bytes) -> bytes:
        middle = len(data) // 2
        return data[:middle] + bytes(byte ^ 0x55 for byte in data[middle : middle + 3]) + data[middle + 3 :]

    return _damage(path, packets, stream, hurt)


def blank(path: Path, packets: Iterable[int], *, stream: int = 0) -> Path:
    """Zero packets of a stream, as an interrupted copy or a disk with bad sectors does."""
    return _damage(path, packets, stream, lambda data: bytes(len(data)), left_bytes=0)


def lose(path: Path, packets: Iterable[int], *, stream: int = 0) -> Path:
    """Remove all transport packets, of any stream, between the start and the end of some packets of a stream."""
    data = bytearray(path.read_bytes())
    for start, size in _places(path, packets, stream):
        for at in range(start, start + size, TS_PACKET_BYTES):
            data[at : at + TS_PACKET_BYTES] = _NULL_PACKET
    path.write_bytes(data)
    return path


def _damage(
    path: Path, packets: Iterable[int], stream: int, how: Callable[[bytes], bytes], left_bytes: int = _LEFT_BYTES
) -> Path:
    data = bytearray(path.read_bytes())
    for start, size in _places(path, packets, stream):
        data[start + left_bytes : start + size] = how(bytes(data[start + left_bytes : start + size]))
    path.write_bytes(data)
    return path


def _places(path: Path, packets: Iterable[int], stream: int) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        met = [(packet.pos, packet.size) for packet in container.demux(container.streams[stream])]
    # Frames of sound that share a transport packet have no position of their own.
    places = [(at, size) for at, size in met if at is not None and size]
    return [places[number] for number in packets]


def skip_frames(path: Path, packets: Iterable[int]) -> Path:
    """Put uncoded VOPs into an MPEG-4 film at 25 frames/s: packets that yield no frame.

    Source: ISO/IEC 14496-2, section 6.2.5: a start code, type P, no modulo time, a time increment of five bits and
    ``vop_coded`` 0.
    """
    return _damage(path, packets, 0, lambda data: _NOT_CODED + bytes(len(data) - len(_NOT_CODED)), left_bytes=0)
