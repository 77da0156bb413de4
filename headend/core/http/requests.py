"""Check requests before any application sees them."""

import asyncio
import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import EMPTY_PAYLOAD, StreamReader, hdrs
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion10, HttpVersion11, RawRequestMessage

from headend.core.http import responses
from headend.core.http.conditions import Headers
from headend.core.http.responses import Response

if TYPE_CHECKING:
    from headend.core.http.connections import Connection

HOST_CHARACTERS = 262
"""Longest Host: a name of 255 characters, a colon and a port."""

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]{0,5})?")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)


@dataclass(slots=True)
class Request:
    """A valid request.

    Attributes:
        method: One of those that the server takes: by default ``GET`` or ``HEAD``.
        target: Path and query as they were sent, undecoded; starts with a slash.
        headers: All headers.
        client: Address that the connection comes from.
        local: Address and port that it came to.
        body: What it carries; empty where the server takes no bodies.
    """

    method: str
    target: str
    headers: Headers
    client: str
    local: tuple[str, int]
    body: bytes

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


class ReceivedRequest(Request):
    """A request as aiohttp's server passes it on, in place of aiohttp's own class.

    It holds what this package needs and no more, at a third of the cost. `_task`, `_cancel` and `_finish` are what
    `web.RequestHandler` uses of its requests; ``tests/headend/core/http/test_aiohttp.py`` fails when that changes.

    Args:
        message: What the parser found.
        payload: The request's body.
        connection: That it came on.
        writer: Waits until the kernel has taken what was written.
        task: Serves the connection.

    Attributes:
        connection: That it came on.
        writer: Of that connection.
        version: Of HTTP.
        keep_alive: Whether the client wants to go on after this request.
        has_body: Whether a body follows.
        payload: The body as it arrives.
    """

    __slots__ = ("_task", "connection", "has_body", "keep_alive", "payload", "version", "writer")

    def __init__(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        connection: "Connection",
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> None:
        self.method = message.method
        self.target = message.path
        self.headers = message.headers
        self.client = connection.client
        self.local = connection.local
        self.connection = connection
        self.writer = writer
        self.version = message.version
        self.keep_alive = not message.should_close
        self.has_body = payload is not EMPTY_PAYLOAD
        self.payload = payload
        self.body = b""
        self._task = task

    async def receive(self, most_bytes: int, within_s: float) -> Response | None:
        """Wait for the body.

        Args:
            most_bytes: Of it.
            within_s: How long it may take.

        Returns:
            The response if it is refused; None if `body` holds all of it.
        """
        body = bytearray()
        if self.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and self.connection.transport is not None:
            self.connection.transport.write(_CONTINUE)
        try:
            async with asyncio.timeout(within_s):
                async for piece in self.payload.iter_any():
                    body += piece
                    if len(body) > most_bytes:
                        return _TOO_LARGE
        except TimeoutError:
            return _TOO_SLOW
        except Exception:  # aiohttp has several for a body that is not HTTP, and for a client that left
            return _MALFORMED
        self.body = bytes(body)
        return None

    def _cancel(self, error: BaseException) -> None:
        """Let whoever waits for the body know that no more of it will come."""
        self.payload.set_exception(error)

    def _finish(self) -> None:
        """Do nothing: there are no forms with files."""


@dataclass(frozen=True, slots=True)
class Methods:
    """What clients may do beside asking by OPTIONS what they may do.

    Attributes:
        names: Methods; a ``POST`` may have a body.
        preflight: The response to OPTIONS.
        refusal: The response to other methods.
    """

    names: frozenset[str]
    preflight: Response
    refusal: Response


def methods(*names: str, headers: str = responses.READING_HEADERS) -> Methods:
    """Take these methods.

    Args:
        names: Their names.
        headers: What pages of other origins may send, as Access-Control-Allow-Headers lists it.
    """
    allowed = ", ".join((*names, hdrs.METH_OPTIONS))
    refusal = responses.error(HTTPStatus.METHOD_NOT_ALLOWED, {hdrs.ALLOW: allowed}, closes=True)
    return Methods(frozenset(names), responses.preflight(allowed, headers), refusal)


READING = methods(hdrs.METH_GET, hdrs.METH_HEAD)


def check(request: ReceivedRequest, taken: Methods = READING) -> Response | None:
    """Check a request before an application sees it, and bring its target into origin-form.

    Refused are other versions than HTTP/1.0 and 1.1, a missing or malformed Host, bodies of anything but POST, methods
    that are not taken, and targets that are neither in origin-form nor absolute-form. OPTIONS gets its preflight
    response here.

    Returns:
        The response if it is refused; None for a valid one.
    """
    version = request.version
    if version != HttpVersion11 and version != HttpVersion10:
        return _MALFORMED if version < HttpVersion10 else _NO_VERSION
    host = request.headers.get(hdrs.HOST)  # aiohttp refuses a second one
    if not is_host(host) if host is not None else version == HttpVersion11:
        return _MALFORMED
    if request.method not in taken.names:
        is_preflight = request.method == hdrs.METH_OPTIONS and not request.has_body
        return taken.preflight if is_preflight else taken.refusal
    if request.has_body and request.method != hdrs.METH_POST:
        # No honest client sends a body with GET, and a cache in front may disagree on where it ends.
        return _MALFORMED
    if not request.target.startswith("/"):
        target = origin_form(request.target)
        if target is None:
            return _MALFORMED
        request.target = target
    return None


_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TOO_LARGE = responses.error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, closes=True)
_TOO_SLOW = responses.error(HTTPStatus.REQUEST_TIMEOUT, closes=True)
_NO_VERSION = responses.error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, closes=True)
_MALFORMED = responses.MALFORMED
