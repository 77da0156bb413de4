"""Evaluates preconditions and ranges (RFC 9110), without I/O.

aiohttp's own helpers are not used because they accept only dates in If-Range, and reject headers that the RFC tells
servers to ignore.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from aiohttp import hdrs
from multidict import CIMultiDict, CIMultiDictProxy

Headers = CIMultiDictProxy[str] | CIMultiDict[str]

CONDITIONS = (
    hdrs.IF_NONE_MATCH,
    hdrs.RANGE,
    hdrs.IF_MODIFIED_SINCE,
    hdrs.IF_MATCH,
    hdrs.IF_UNMODIFIED_SINCE,
)
"""A request without any of these headers gets the whole representation."""
RANGE_CHARACTERS = 256
"""A longer Range header is ignored."""
DATE_CHARACTERS = 64
"""Longer values are not dates; the longest of the three forms has 33 characters."""

_RANGE = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
_ENTITY_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True, slots=True)
class Selection:
    """The status, and the part of the representation to send.

    Attributes:
        status: 200, 206, 304, 412 or 416.
        start: First byte, for 200 and 206.
        stop: The byte after the last one.
    """

    status: HTTPStatus
    start: int = 0
    stop: int = 0


def select(method: str, headers: Headers, *, etag: str, modified: datetime, size_bytes: int) -> Selection:
    """Evaluate preconditions in the order of the RFC, then the range.

    Args:
        method: ``GET`` or ``HEAD``.
        headers: The request's headers.
        etag: The representation's strong entity tag, with its quotes.
        modified: When it was last modified, in whole seconds. Representations never change, so the date is a strong
            validator.
        size_bytes: Its size.

    Returns:
        One range, or the whole representation. Unknown units and malformed headers are ignored. Multiple ranges are
        ignored, too, as the RFC permits: clients could abuse them to make a server send far more than the file.

    Source:
        RFC 9110, sections 13.2.2 (precedence), 13.1.5 (If-Range) and 14.2 (Range).
    """
    if (wanted := _joined(headers, hdrs.IF_MATCH)) is not None:
        if not _matches(wanted, etag, weakly=False):
            return Selection(HTTPStatus.PRECONDITION_FAILED)
    elif (date := _date(headers.get(hdrs.IF_UNMODIFIED_SINCE))) is not None and modified > date:
        return Selection(HTTPStatus.PRECONDITION_FAILED)

    if (known := _joined(headers, hdrs.IF_NONE_MATCH)) is not None:
        if _matches(known, etag, weakly=True):
            return Selection(HTTPStatus.NOT_MODIFIED)
    elif (date := _date(headers.get(hdrs.IF_MODIFIED_SINCE))) is not None and modified <= date:
        return Selection(HTTPStatus.NOT_MODIFIED)

    wanted = _joined(headers, hdrs.RANGE)
    if method == hdrs.METH_GET and wanted is not None and _is_unchanged(headers.get(hdrs.IF_RANGE), etag, modified):
        return _range(wanted, size_bytes)
    return Selection(HTTPStatus.OK, 0, size_bytes)


def _range(wanted: str, size_bytes: int) -> Selection:
    match = _RANGE.fullmatch(wanted) if len(wanted) <= RANGE_CHARACTERS else None
    first, last = match.groups() if match else ("", "")
    if not (first or last) or (first and last and int(last) < int(first)):
        return Selection(HTTPStatus.OK, 0, size_bytes)
    start = int(first) if first else max(size_bytes - int(last), 0)
    stop = min(int(last) + 1, size_bytes) if first and last else size_bytes
    if start >= size_bytes:
        return Selection(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
    return Selection(HTTPStatus.PARTIAL_CONTENT, start, stop)


def _is_unchanged(if_range: str | None, etag: str, modified: datetime) -> bool:
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == etag  # strong comparison: a weak tag never matches
    return _date(if_range) == modified


def _matches(value: str, etag: str, *, weakly: bool) -> bool:
    if value.strip() == "*":
        return True
    return any(tag == etag and (weakly or not weak) for weak, tag in _ENTITY_TAG.findall(value))


def _joined(headers: Headers, name: str) -> str | None:
    values = headers.getall(name, None)
    return None if values is None else ", ".join(values)


def _date(value: str | None) -> datetime | None:
    """Parse an HTTP date in any of its three forms; None if it is malformed (RFC 9110, section 5.6.7)."""
    if value is None or len(value) > DATE_CHARACTERS:
        return None
    try:
        date = parsedate_to_datetime(value)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
