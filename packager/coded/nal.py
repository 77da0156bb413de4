"""Samples of NAL units: the common part of AVC and HEVC.

Source: ISO/IEC 14496-15, sections 5.3.3 and 8.3.3.
"""

from collections.abc import Callable, Iterator

from headend.core.errors import PackagingError
from packager.coded.bits import Buffer, Truncated, Unescaped

FIRST_BYTES = 64
"""Almost every slice header is shorter; longer ones are parsed again from the whole unit."""


def units(sample: Buffer, length_bytes: int) -> Iterator[tuple[int, int]]:
    """Iterate over a sample's NAL units: offset of the first byte after the length field, and offset after the unit.

    Raises:
        PackagingError: A unit reaches past the end of the sample.
    """
    offset, end = 0, len(sample)
    while offset < end:
        start = offset + length_bytes
        offset = start + int.from_bytes(sample[offset:start], "big")
        if offset > end or start >= offset:
            raise PackagingError("a NAL unit does not fit into its sample")
        yield start, offset


def header_bytes(sample: Buffer, start: int, end: int, read: Callable[[Unescaped], None]) -> int:
    """The length of a unit's header in bytes.

    Args:
        sample: The sample.
        start: Start of the header.
        end: End of the unit.
        read: Parses the header to its last bit.

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
