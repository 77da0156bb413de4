"""Replaces GOPs in an encoder's file by other encodes of them."""

import struct
from typing import BinaryIO

from headend.core import boxes
from headend.core.errors import ChunkRejected
from packager.fragments import read_fragments


@boxes.damage_as_packaging_error()
def splice(data: memoryview, first_gop: int, other: memoryview, out: BinaryIO) -> None:
    """Replace some GOPs of an encoder's file by other encodes of them.

    Args:
        data: The encoder's complete file.
        first_gop: Index of the first GOP to replace.
        other: The encoder's file of the replacements, as many as GOPs to replace; its times begin at 0.
        out: Receives the new file.

    Raises:
        ChunkRejected: The files have different init segments.
        PackagingError: A file is damaged.
    """
    old, new = list(read_fragments(data)), list(read_fragments(other))
    if not old or not new or data[: old[0].start] != other[: new[0].start]:
        raise ChunkRejected("GOPs that were encoded again have another init segment than the others")
    out.write(data[: old[first_gop].start])
    for fragment in new:
        body = bytearray(other[fragment.start : fragment.end])
        tfdt = boxes.find(memoryview(body), "moof/traf/tfdt").body
        ticks = fragment.decode_ticks + old[first_gop].decode_ticks
        struct.pack_into(">Q" if body[tfdt] == 1 else ">I", body, tfdt + 4, ticks)
        out.write(body)
    rest = first_gop + len(new)
    out.write(data[old[rest].start if rest < len(old) else old[-1].end :])
