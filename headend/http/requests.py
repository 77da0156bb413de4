"""What a request may look like, before any application sees it."""

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11

from headend.http import responses
from headend.http.conditions import Headers
from headend.http.responses import Response

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


def refusal(request: web.BaseRequest) -> Response | None:
    """The response to a request that no application should see; None for a valid one.

    Refused are other versions than HTTP/1.0 and 1.1, a missing or malformed Host, bodies, methods other than GET and
    HEAD, and targets that are neither in origin-form nor absolute-form. OPTIONS gets its preflight response here.
    """
    if request.version not in _VERSIONS:
        return _MALFORMED if request.version < HttpVersion10 else _NO_VERSION
    hosts = request.headers.getall(hdrs.HOST, ())
    if len(hosts) > 1 or (not hosts and request.version >= HttpVersion11) or (hosts and not is_host(hosts[0])):
        return _MALFORMED
    if request.method not in _METHODS:
        return _PREFLIGHT if request.method == hdrs.METH_OPTIONS and not request.body_exists else _NO_METHOD
    if request.body_exists or origin_form(request.raw_path) is None:
        # No honest client sends a body with GET, and a cache in front may disagree on where it ends.
        return _MALFORMED
    return None


_VERSIONS = frozenset({HttpVersion10, HttpVersion11})
_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_PREFLIGHT = responses.preflight()
_NO_METHOD = responses.error(HTTPStatus.METHOD_NOT_ALLOWED, closes=True)
_NO_VERSION = responses.error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, closes=True)
_MALFORMED = responses.MALFORMED
