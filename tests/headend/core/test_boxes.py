import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.core import boxes
from headend.core.boxes import box, children, find, until_damage, walk
from headend.core.errors import PackagingError

KINDS = st.sampled_from([b"moov", b"free", b"trak", b"\xa9nam", b"\0\0\0\0"])
BODIES = st.lists(st.tuples(KINDS, st.binary(max_size=40)), max_size=20)


def long_box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body


@given(BODIES)
def test_a_document_round_trips(written: list[tuple[bytes, bytes]]) -> None:
    data = b"".join(box(kind, body) for kind, body in written)
    read = [(one.kind.encode("latin-1"), data[one.body : one.end]) for one in children(data)]
    assert read == written


@given(st.binary(max_size=400))
def test_any_bytes_are_parsed_to_their_end_or_refused(data: bytes) -> None:
    seen = 0
    for one in until_damage(children(data)):
        assert one.start == seen and one.start < one.body <= one.end <= len(data)
        seen = one.end


def test_a_64_bit_size_and_a_box_to_the_end_are_read() -> None:
    data = long_box(b"mdat", b"12345") + struct.pack(">I4s", 0, b"free") + b"rest"
    assert [(one.kind, data[one.body : one.end]) for one in children(data)] == [("mdat", b"12345"), ("free", b"rest")]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"\0\0\0", "found 3 bytes where an MP4 box was expected"),
        (struct.pack(">I4s", 1, b"mdat"), "the header of an MP4 box is cut short"),
        (struct.pack(">I4sQ", 1, b"mdat", 15), "does not fit"),
        (struct.pack(">I4sQ", 1, b"mdat", (1 << 64) - 1), "does not fit"),
        (struct.pack(">I4s", 7, b"mdat"), "does not fit"),
        (struct.pack(">I4s", 1 << 31, b"mdat"), "does not fit"),
    ],
    ids=["stray bytes", "cut header", "size below its header", "size of 2^64", "size below 8", "size beyond the end"],
)
def test_damage_is_refused_and_the_boxes_before_it_can_be_kept(damage: bytes, message: str) -> None:
    data = box(b"free", b"x") + damage
    with pytest.raises(PackagingError, match=message):
        list(children(data))
    assert [one.kind for one in until_damage(children(data))] == ["free"]
    with pytest.raises(PackagingError, match=message):
        find(data, "moov")


def test_only_headers_of_a_file_are_read() -> None:
    data = box(b"ftyp", bytes(100)) + long_box(b"mdat", bytes(10_000)) + box(b"moov", b"m")
    read: list[tuple[int, int]] = []

    def part(at: int, count: int) -> bytes:
        read.append((at, count))
        return data[at : at + count]

    assert [one.kind for one in walk(part, 0, len(data))] == ["ftyp", "mdat", "moov"]
    assert sum(count for _, count in read) <= 3 * boxes.LONG_HEADER_BYTES


def test_deep_nesting_takes_no_recursion() -> None:
    data = b""
    for _ in range(5000):
        data = box(b"moov", data)
    assert find(data, "moov/moov/moov").end == len(data)


@pytest.mark.parametrize("path", ["moov", "moov/trak", "moov/trak/mdia/mdhd"])
def test_a_missing_box_is_named(path: str) -> None:
    with pytest.raises(PackagingError, match=f"the required box {path} is missing"):
        find(box(b"free", b""), path)


def test_time_is_linear_in_the_number_of_boxes() -> None:
    def headers(count: int) -> int:
        data, read = box(b"free", b"") * count, 0

        def part(at: int, size: int) -> bytes:
            nonlocal read
            read += size
            return data[at : at + size]

        found: Iterator[boxes.Box] = walk(part, 0, len(data))
        assert sum(1 for _ in found) == count
        return read

    assert headers(20_000) <= 2 * headers(10_000) + boxes.LONG_HEADER_BYTES
