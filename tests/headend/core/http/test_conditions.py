from datetime import UTC, datetime
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from headend.core.http.conditions import Selection, select

ETAG = '"aa"'
MODIFIED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW, EARLIER, LATER = (f"Fri, 02 Jan 2026 03:04:0{second} GMT" for second in (5, 4, 6))
WHOLE = Selection(HTTPStatus.OK, 0, 100)
SAME = Selection(HTTPStatus.NOT_MODIFIED)
FAILED = Selection(HTTPStatus.PRECONDITION_FAILED)
OUTSIDE = Selection(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


def part(start: int, stop: int) -> Selection:
    return Selection(HTTPStatus.PARTIAL_CONTENT, start, stop)


def selected(headers: dict[str, str] | CIMultiDict[str], *, method: str = "GET", size_bytes: int = 100) -> Selection:
    return select(method, CIMultiDict(headers), etag=ETAG, modified=MODIFIED, size_bytes=size_bytes)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", part(0, 1)),
        ("bytes=0-", part(0, 100)),
        ("bytes=10-19", part(10, 20)),
        ("BYTES=10-19", part(10, 20)),
        ("bytes= 10-19 ", part(10, 20)),
        ("bytes=99-99", part(99, 100)),
        ("bytes=90-1000", part(90, 100)),
        ("bytes=-1", part(99, 100)),
        ("bytes=-1000", part(0, 100)),
        ("bytes=100-", OUTSIDE),
        ("bytes=100-200", OUTSIDE),
        ("bytes=-0", OUTSIDE),
        ("bytes=" + "9" * 200 + "-", OUTSIDE),
        ("bytes=20-10", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=0x1-2", WHOLE),
        ("bytes=+1-2", WHOLE),
        ("bytes=1-2x", WHOLE),
        ("bytes=٣-٤", WHOLE),
        ("bytes 1-2", WHOLE),
        ("bytes=0-1,5-6", WHOLE),
        ("bytes=0-1,", WHOLE),
        ("items=0-1", WHOLE),
        ("bytes=" + "9" * 5000 + "-", WHOLE),
    ],
)
def test_range_headers_are_evaluated(value: str, expected: Selection) -> None:
    assert selected({"Range": value}) == expected


def test_every_range_of_an_empty_file_is_unsatisfiable() -> None:
    for value in ("bytes=0-", "bytes=-5", "bytes=0-0"):
        assert selected({"Range": value}, size_bytes=0) == OUTSIDE


def test_two_range_headers_count_as_many_ranges() -> None:
    assert selected(CIMultiDict([("Range", "bytes=0-1"), ("Range", "bytes=2-3")])) == WHOLE


def test_range_headers_are_ignored_for_methods_other_than_get() -> None:
    assert selected({"Range": "bytes=0-1"}, method="HEAD") == WHOLE


@given(size=st.integers(1, 1000), first=st.integers(0, 1200), length=st.integers(1, 1200))
def test_a_range_lies_inside_the_file_and_is_the_requested_one(size: int, first: int, length: int) -> None:
    found = selected({"Range": f"bytes={first}-{first + length - 1}"}, size_bytes=size)
    assert found == (part(first, min(first + length, size)) if first < size else OUTSIDE)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"If-None-Match": ETAG}, SAME),
        ({"If-None-Match": f"W/{ETAG}"}, SAME),
        ({"If-None-Match": '"x", "aa"'}, SAME),
        ({"If-None-Match": '"x,y","aa"'}, SAME),
        ({"If-None-Match": "*"}, SAME),
        ({"If-None-Match": '"x"'}, WHOLE),
        ({"If-None-Match": "aa"}, WHOLE),
        ({"If-None-Match": ""}, WHOLE),
        ({"If-None-Match": '"x"', "If-Modified-Since": NOW}, WHOLE),
        ({"If-None-Match": ETAG, "If-Modified-Since": EARLIER}, SAME),
        ({"If-Modified-Since": NOW}, SAME),
        ({"If-Modified-Since": LATER}, SAME),
        ({"If-Modified-Since": EARLIER}, WHOLE),
        ({"If-Modified-Since": "Friday, 02-Jan-26 03:04:05 GMT"}, SAME),
        ({"If-Modified-Since": "Fri Jan  2 03:04:05 2026"}, SAME),
        ({"If-Modified-Since": "yesterday"}, WHOLE),
        ({"If-Modified-Since": "Fri, 99 Jan 2026 03:04:05 GMT"}, WHOLE),
        ({"If-Match": ETAG}, WHOLE),
        ({"If-Match": "*"}, WHOLE),
        ({"If-Match": '"x"'}, FAILED),
        ({"If-Match": f"W/{ETAG}"}, FAILED),
        ({"If-Match": ETAG, "If-None-Match": ETAG}, SAME),
        ({"If-Match": ETAG, "If-Unmodified-Since": EARLIER}, WHOLE),
        ({"If-Unmodified-Since": NOW}, WHOLE),
        ({"If-Unmodified-Since": EARLIER}, FAILED),
        ({"If-Unmodified-Since": "soon"}, WHOLE),
    ],
)
def test_preconditions_are_evaluated(headers: dict[str, str], expected: Selection) -> None:
    assert selected(headers) == expected
    assert selected(headers, method="HEAD") == expected


@pytest.mark.parametrize("wanted", ["bytes=0-1", "bytes=500-"])
def test_preconditions_come_before_the_range(wanted: str) -> None:
    assert selected({"If-None-Match": ETAG, "Range": wanted}) == SAME
    assert selected({"If-Match": '"x"', "Range": wanted}) == FAILED


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ETAG, part(0, 2)),
        ('"x"', WHOLE),
        (f"W/{ETAG}", WHOLE),
        (NOW, part(0, 2)),
        (EARLIER, WHOLE),
        (LATER, WHOLE),
        ("nonsense", WHOLE),
        ("", WHOLE),
    ],
)
def test_a_range_is_given_only_of_the_file_that_the_client_knows(condition: str, expected: Selection) -> None:
    assert selected({"If-Range": condition, "Range": "bytes=0-1"}) == expected


def test_if_range_turns_an_unsatisfiable_range_into_the_whole_of_another_file() -> None:
    assert selected({"If-Range": '"x"', "Range": "bytes=500-"}) == WHOLE


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_header_breaks_the_evaluation(first: str, second: str, third: str) -> None:
    headers = {"Range": f"bytes={first}", "If-None-Match": second, "If-Range": third, "If-Modified-Since": first}
    assert selected(headers).stop <= 100
