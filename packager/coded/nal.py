"""Samples of NAL units: what AVC and HEVC have in common.

Source: ISO/IEC 14496-15, sections 5.3.3 and 8.3.3.
"""

from collections.abc import Callable, Iterator

from headend.core.errors import PackagingError
from packager.coded.bits import Buffer, Truncated, Unescaped

FIRST_BYTES = 64
"""Nearly every slice header is shorter; longer ones are read again in full."""


def units(sample: Buffer, length_bytes: int) -> Iterator[tuple[int, int]]:
    """Walk the NAL units of a sample: offset of the first byte behind the length, and the offset behind the unit.

    Raises:
        PackagingError: A unit reaches past the end of the sample.
    """
    at, end = 0, len(sample)
    while at < end:
        start = at + length_bytes
        at = start + int.from_bytes(sample[at:start], "big")
        if at > end or start >= at:
            raise PackagingError("a NAL unit does not fit into its sample")
        yield start, at


def header_bytes(sample: Buffer, start: int, end: int, read: Callable[[Unescaped], None]) -> int:
    """How many bytes of a unit its header takes.

    Args:
        sample: The sample.
        start: Where what is read begins.
        end: Where the unit ends.
        read: Reads the header to its last bit.

    Raises:
        PackagingError: The unit is shorter than its header.
    """
    try:
        head = Unescaped(bytes(sample[start : min(end, start + FIRST_BYTES)]))
        read(head)
    except Truncated:
        if end - start <= FIRST_BYTES:
            raise
        head = Unescaped(bytes(sample[start:end]))
        read(head)
    return head.escaped_bytes()
