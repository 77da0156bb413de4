"""What a request may look like, before any application sees it."""

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11

from headend.core.http import responses
from headend.core.http.conditions import Headers
from headend.core.http.responses import Response

HOST_CHARACTERS = 262
"""Longest Host: a name of 255 characters, a colon and a port."""

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)


@dataclass(slots=True)
class Request:
    """A valid request without a body.

    Attributes:
        method: ``GET`` or ``HEAD``.
        target: Path and query as they were sent, undecoded; starts with a slash.
        headers: All headers.
        client: Address that the connection comes from.
        local: Address and port that it came to.
    """

    method: str
    target: str
    headers: Headers
    client: str
    local: tuple[str, int]

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """The target's query, without the question mark."""
        return self.target.partition("?")[2]


def origin_form(target: str) -> str | None:
    """Path and query of a request target in origin-form or absolute-form; None for anything else.

    The host of an absolute-form target is checked and dropped, since no response depends on it.

    Source:
        RFC 9112, section 3.2.
    """
    if target.startswith("/"):
        return target
    found = _ABSOLUTE.fullmatch(target)
    if found is None or not found[1] or not is_host(found[1]):
        return None
    return found[2] if found[2].startswith("/") else f"/{found[2]}"


@lru_cache(maxsize=1024)
def is_host(value: str) -> bool:
    """Whether a value is a host with an optional port, or empty (RFC 9112, section 3.2; RFC 3986, section 3.2.2)."""
    return len(value) <= HOST_CHARACTERS and _HOST.fullmatch(value) is not None


def check(http: web.BaseRequest, client: str, local: tuple[str, int]) -> tuple[Request, Response | None]:
    """Check a request before an application sees it.

    Refused are other versions than HTTP/1.0 and 1.1, a missing or malformed Host, bodies, methods other than GET and
    HEAD, and targets that are neither in origin-form nor absolute-form. OPTIONS gets its preflight response here.

    Args:
        http: aiohttp's request.
        client: Address that it comes from.
        local: Address and port that it came to.

    Returns:
        The request, and the response if it was refused; None for a valid one.
    """
    headers, version, method = http.headers, http.version, http.method
    target = origin_form(http.raw_path)
    request = Request(method, target or "/", headers, client, local)
    if version != HttpVersion11 and version != HttpVersion10:
        return request, _MALFORMED if version < HttpVersion10 else _NO_VERSION
    host = headers.get(hdrs.HOST)  # aiohttp refuses a second one
    if (host is None and version == HttpVersion11) or (host is not None and not is_host(host)):
        return request, _MALFORMED
    if method not in _METHODS:
        return request, _PREFLIGHT if method == hdrs.METH_OPTIONS and not http.body_exists else _NO_METHOD
    if target is None or http.body_exists:
        # No honest client sends a body with GET, and a cache in front may disagree on where it ends.
        return request, _MALFORMED
    return request, None


_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_PREFLIGHT = responses.preflight()
_NO_METHOD = responses.error(HTTPStatus.METHOD_NOT_ALLOWED, closes=True)
_NO_VERSION = responses.error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, closes=True)
_MALFORMED = responses.MALFORMED
