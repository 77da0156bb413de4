"""The time to parse a header is linear in its length."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from headend.core.access.grants import EDGE, split_token
from headend.core.access.tokens import Key, Keyring, Use, decode_token, signed_territory
from headend.core.http import cmcd
from headend.core.http.conditions import select
from headend.core.http.requests import is_host, origin_form
from headend.core.http.responses import preferred_coding

KEYS = Keyring([Key(Use.PLAYBACK, "a", b"a" * 32), Key(Use.EDGE, "b", b"b" * 32)])
LONG, SHORT = 8190, 1024
MAX_S_PER_BYTE = 20e-6
"""Fifty times the expected time; a quadratic parser takes thousands of times as long for a header of 8 KB."""


def conditions(name: str) -> Callable[[str], object]:
    def evaluate(value: str) -> object:
        headers = CIMultiDict({"If-None-Match": "x"} if name != "If-None-Match" else {})
        headers[name] = value
        if name == "If-Range":
            headers["Range"] = "bytes=0-1"
        return select("GET", headers, etag='"a"', modified=datetime(2026, 1, 1, tzinfo=UTC), size_bytes=10)

    return evaluate


PARSERS: dict[str, Callable[[str], object]] = {
    **{
        name: conditions(name)
        for name in (
            "Range",
            "If-Range",
            "If-Match",
            "If-None-Match",
            "If-Modified-Since",
            "If-Unmodified-Since",
        )
    },
    "Accept-Encoding": preferred_coding.__wrapped__,
    "Host": is_host.__wrapped__,
    "target": origin_form,
    "token": lambda value: decode_token(value, KEYS),
    "path with a token": lambda value: split_token(f"/t/{value}"),
    EDGE: lambda value: signed_territory(value, KEYS, 0),
    "CMCD query": lambda value: cmcd.read(f"/a?CMCD={value}", CIMultiDict()),
    "CMCD header": lambda value: cmcd.read("/a", CIMultiDict({"CMCD-Request": value})),
}

PIECES = ['"', '"a', "W/", ",", ";", "q=", "=", " ", "  ", "\t", "a", "aaaa", "0", "99", "-", "bytes=", "/", "/t/", "."]
PIECES += ["\\", '\\"', "%2C", "%", "gzip", "http://", "[", ":", "nor=", 'a="', "*", "\xff"]


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4), st.sampled_from(PIECES), st.sampled_from(PIECES))
def test_time_is_linear(name: str, repeated: list[str], start: str, end: str) -> None:
    unit = "".join(repeated)
    value = (start + unit * (LONG // len(unit)))[: LONG - len(end)] + end
    started_s = time.process_time()
    PARSERS[name](value)
    assert time.process_time() - started_s < LONG * MAX_S_PER_BYTE


def test_sixty_headers_of_spaces_cost_nothing() -> None:
    value = ",".join([" " * 8000] * 60)
    started_s = time.process_time()
    assert preferred_coding.__wrapped__(value) == ""
    assert time.process_time() - started_s < 0.1
