"""Find out how long a file says that it is, in containers whose index FFmpeg can do without.

FFmpeg reads the part of such a file that is there, and reports nothing if the rest is missing.
"""

import struct

_SEGMENT = bytes.fromhex("18538067")
_PARTITION = bytes.fromhex("060e2b34020501010d01020101")
_FOOTER_OFFSET = 24
"""Position of ``FooterPartition`` in the value of a partition pack."""
_UNKNOWN_RIFF = 0x7FFF_0000
"""Larger sizes are written by programs that don't know the size yet, or can't state it in 32 bits."""
_W64 = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


def min_file_bytes(head: bytes) -> int:
    """The number of bytes that a complete file has at least; 0 if it does not say.

    Args:
        head: The file's first bytes, about a thousand.

    Source: RFC 8794, section 4 (Matroska's sizes), RFC 9559, section 5.1; SMPTE ST 377-1, section 7.1; Multimedia
    Programming Interface and Data Specifications 1.0 (RIFF); EBU Tech 3306 (RF64); AIFF 1.3.
    """
    try:
        if head.startswith(b"\x1a\x45\xdf\xa3"):
            return _matroska(head)
        if head.startswith(_W64):
            return int(struct.unpack_from("<Q", head, len(_W64))[0])
        if head[:4] in (b"RIFF", b"FORM", b"RF64"):
            return _riff(head)
        return _mxf(head) if head.startswith(_PARTITION) else 0
    except (IndexError, struct.error):
        return 0


def _matroska(head: bytes) -> int:
    size, offset = _ebml_size(head, 4)
    offset += size
    if head[offset : offset + 4] != _SEGMENT:
        return 0
    size, offset = _ebml_size(head, offset + 4)
    return offset + size if size else 0


def _ebml_size(head: bytes, offset: int) -> tuple[int, int]:
    """A size, 0 if it is unknown, and the position after it."""
    length = 9 - head[offset].bit_length()
    if length > 8:
        raise IndexError
    unknown = (1 << 7 * length) - 1
    size = int.from_bytes(head[offset : offset + length]) & unknown
    return (0 if size == unknown else size), offset + length


def _riff(head: bytes) -> int:
    """The end of an AVI's first part, or of a WAV or AIFF."""
    if head.startswith(b"RF64"):
        size = struct.unpack_from("<Q", head, 20)[0] if head[12:16] == b"ds64" else 0
        return size + 8 if size else 0
    (size,) = struct.unpack_from(">I" if head.startswith(b"FORM") else "<I", head, 4)
    return size + 8 if 0 < size < _UNKNOWN_RIFF else 0


def _mxf(head: bytes) -> int:
    length = head[16]
    value = 17 + (length & 0x7F if length & 0x80 else 0)
    (footer,) = struct.unpack_from(">Q", head, value + _FOOTER_OFFSET)
    return int(footer) + 1 if footer else 0
