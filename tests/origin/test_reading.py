import asyncio
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise

import pytest
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from hypothesis import given
from hypothesis import strategies as st

from origin.reading import KNOWN, KNOWN_BYTES, Reader

READ_BYTES = 1 << 16
FIRST = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
SECOND = b'GET /b HTTP/1.1\r\nHost: a\r\nIf-None-Match: "c"\r\n\r\n'
WITH_BODY = b"GET /c HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n" + FIRST


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with closing(asyncio.new_event_loop()) as opened:
        yield opened


def read(subject: Reader, *pieces: bytes) -> list[tuple[str, bool]]:
    found = []
    for piece in pieces:
        for message, payload in subject.feed(piece)[0]:
            subject.consumed()
            found.append((message.path, payload is EMPTY_PAYLOAD))
    return found


def test_the_same_bytes_on_another_connection_are_not_parsed_again(loop: asyncio.AbstractEventLoop) -> None:
    known: dict[bytes, RawRequestMessage] = {}
    ((message, _),) = Reader(loop, READ_BYTES, known).feed(FIRST)[0]
    ((again, payload),) = Reader(loop, READ_BYTES, known).feed(FIRST)[0]
    assert again is message
    assert payload is EMPTY_PAYLOAD


def test_known_bytes_in_the_middle_of_a_request_are_a_part_of_it(loop: asyncio.AbstractEventLoop) -> None:
    known: dict[bytes, RawRequestMessage] = {}
    read(Reader(loop, READ_BYTES, known), FIRST)
    assert FIRST in known
    assert read(Reader(loop, READ_BYTES, known), b"GET /d HTTP/1.1\r\nX: ", FIRST) == [("/d", True)]
    assert read(Reader(loop, READ_BYTES, known), WITH_BODY[: -len(FIRST)], FIRST) == [("/c", False)]


def test_only_short_requests_are_remembered_and_only_so_many(loop: asyncio.AbstractEventLoop) -> None:
    known: dict[bytes, RawRequestMessage] = {}
    subject = Reader(loop, READ_BYTES, known)
    read(subject, b"GET /" + b"a" * KNOWN_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert known == {}
    read(subject, *(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(KNOWN + 1)))
    assert len(known) == KNOWN
    assert [message.path for message in known.values()][-1] == f"/{KNOWN}"


@given(
    requests=st.lists(st.sampled_from([FIRST, SECOND, b"\r\n" + FIRST, WITH_BODY]), max_size=8),
    cuts=st.lists(st.integers(0, 300), max_size=12),
)
def test_however_a_stream_is_cut_it_reads_as_without_memory(
    loop: asyncio.AbstractEventLoop, requests: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(requests)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:stop] for start, stop in pairwise(places)]
    known: dict[bytes, RawRequestMessage] = {}
    read(Reader(loop, READ_BYTES, known), FIRST)
    read(Reader(loop, READ_BYTES, known), SECOND)
    wanted = {FIRST: ("/a", True), SECOND: ("/b", True), b"\r\n" + FIRST: ("/a", True), WITH_BODY: ("/c", False)}
    assert read(Reader(loop, READ_BYTES, known), *pieces) == [wanted[request] for request in requests]
