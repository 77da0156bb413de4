"""Bit readers.

Sources: ITU-T H.264 and H.265, sections 7.2 and 9 (``u``, ``ue``, ``se``); AV1 Bitstream & Decoding Process
Specification, section 4.10 (``ns``, ``su``, ``leb128``).
"""

from headend.core.errors import PackagingError

Buffer = bytes | memoryview
Ranges = list[tuple[int, int]]
"""Half-open byte ranges of a sample."""


class Truncated(PackagingError):
    """The data ends before the requested bits."""


class Bits:
    """Reads bits, most significant first.

    Attributes:
        left: Number of bits left.
    """

    __slots__ = ("_size", "_value", "left")

    def __init__(self, data: Buffer) -> None:
        self._value = int.from_bytes(data, "big")
        self._size = self.left = 8 * len(data)

    @property
    def position(self) -> int:
        """Number of bits read."""
        return self._size - self.left

    def u(self, count: int) -> int:
        """Read an unsigned number of ``count`` bits."""
        left = self.left - count
        if left < 0:
            raise Truncated("a header of a coded picture is cut short")
        self.left = left
        return self._value >> left & (1 << count) - 1

    def flag(self) -> int:
        """Read one bit."""
        left = self.left - 1
        if left < 0:
            raise Truncated("a header of a coded picture is cut short")
        self.left = left
        return self._value >> left & 1

    def skip(self, count: int) -> None:
        """Skip bits."""
        if count > self.left:
            raise Truncated("a header of a coded picture is cut short")
        self.left -= count

    def ue(self) -> int:
        """Read an unsigned Exp-Golomb code; also ``uvlc`` of AV1, for values below 2^32 - 1."""
        rest = self._value & (1 << self.left) - 1
        zeros = self.left - rest.bit_length()
        left = self.left - 2 * zeros - 1
        if left < 0:
            raise Truncated("a header of a coded picture is cut short")
        self.left = left
        return (rest >> left) - 1

    def se(self) -> int:
        """Read a signed Exp-Golomb code."""
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)

    def su(self, count: int) -> int:
        """Read a signed number of ``count`` bits in two's complement."""
        value = self.u(count)
        return value - (1 << count) if value >> (count - 1) else value

    def ns(self, values: int) -> int:
        """Read a number below ``values`` in AV1's non-symmetric code."""
        width = values.bit_length()
        short = (1 << width) - values
        value = self.u(width - 1)
        return value if value < short else (value << 1) - short + self.flag()


def leb128(data: Buffer, offset: int) -> tuple[int, int]:
    """Read a number with seven bits per byte; returns it and the offset after it."""
    value = 0
    for index in range(8):
        if offset + index >= len(data):
            raise Truncated("an AV1 unit is cut short")
        byte = data[offset + index]
        value |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return value, offset + index + 1
    raise PackagingError("the size of an AV1 unit takes more than eight bytes")


class Unescaped:
    """The start of a NAL unit without its emulation prevention bytes.

    Source: ITU-T H.264, section 7.4.1.1; H.265, section 7.4.2.

    Attributes:
        bits: Reader of the remaining bytes.
    """

    __slots__ = ("_removed", "bits")

    def __init__(self, data: bytes) -> None:
        self._removed: list[int] = []
        if b"\0\0\3" in data:
            data = self._without(data)
        self.bits = Bits(data)

    def _without(self, data: bytes) -> bytes:
        parts, offset = [], 0
        while (escape := data.find(b"\0\0\3", offset)) >= 0:
            parts.append(data[offset : escape + 2])
            self._removed.append(sum(map(len, parts)))
            offset = escape + 3
        return b"".join((*parts, data[offset:]))

    def escaped_bytes(self) -> int:
        """Length of the parsed part in the escaped unit, rounded up to whole bytes."""
        used = (self.bits.position + 7) // 8
        return used + sum(1 for removed in self._removed if removed < used)
