"""The size that a file states is read from its first bytes, whatever they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.probing.stated_size import min_file_bytes

EBML = bytes.fromhex("1a45dfa3")
SEGMENT = bytes.fromhex("18538067")
W64 = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")
PARTITION = bytes.fromhex("060e2b34020501010d010201010204 00")


@pytest.mark.parametrize(
    ("head", "size_bytes"),
    [
        pytest.param(EBML + b"\x81x" + SEGMENT + b"\x85", 4 + 2 + 4 + 1 + 5, id="matroska"),
        pytest.param(EBML + b"\x40\x01x" + SEGMENT + b"\x01" + bytes(6) + b"\x05", 4 + 3 + 4 + 8 + 5, id="long sizes"),
        pytest.param(EBML + b"\x81x" + SEGMENT + b"\xff", 0, id="unknown size"),
        pytest.param(EBML + b"\x81x" + SEGMENT + b"\x01" + b"\xff" * 7, 0, id="unknown long size"),
        pytest.param(EBML + b"\x81x" + SEGMENT, 0, id="no size"),
        pytest.param(PARTITION + b"\x83\0\0\x58" + bytes(24) + bytes(6) + b"\x01\0", 257, id="mxf"),
        pytest.param(PARTITION + b"\x58" + bytes(24) + bytes(6) + b"\x01\0", 257, id="mxf, short length"),
        pytest.param(PARTITION + b"\x83\0\0\x58" + bytes(32), 0, id="mxf without a known footer"),
        pytest.param(PARTITION, 0, id="short mxf"),
        pytest.param(b"RIFF\x64\0\0\0AVI LIST", 108, id="avi, wav"),
        pytest.param(b"RIFF\0\0\0\0AVI LIST", 0, id="unfinished avi"),
        pytest.param(b"RIFF\xff\xff\xff\xffWAVEfmt ", 0, id="wav from a pipe"),
        pytest.param(b"RF64" + b"\xff" * 4 + b"WAVEds64\x1c\0\0\0" + b"\x64" + bytes(7), 108, id="rf64"),
        pytest.param(b"RF64" + b"\xff" * 4 + b"WAVEds64\x1c\0\0\0" + bytes(8), 0, id="unfinished rf64"),
        pytest.param(b"FORM\0\0\0\x64AIFFCOMM", 108, id="aiff"),
        pytest.param(b"RIFF", 0, id="short riff"),
        pytest.param(W64 + b"\x64" + bytes(7), 100, id="w64"),
        pytest.param(b"", 0, id="empty"),
    ],
)
def test_the_least_size_is_read_from_the_header(head: bytes, size_bytes: int) -> None:
    assert min_file_bytes(head) == size_bytes


@given(st.sampled_from([b"", EBML, EBML + b"\x80" + SEGMENT, PARTITION, b"RIFF", b"RF64", W64]), st.binary(max_size=64))
def test_no_header_breaks_it(start: bytes, rest: bytes) -> None:
    assert min_file_bytes(start + rest) >= 0
