"""Checks of requests before they reach an application."""

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
        method: One that the server accepts: by default ``GET`` or ``HEAD``.
        target: Path and query as sent, undecoded; starts with a slash.
        headers: All headers.
        client: Address of the client.
        local: Address and port that the client connected to.
        body: The body; empty if the server accepts none.
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
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not match[1] or not is_host(match[1]):
        return None
    return match[2] if match[2].startswith("/") else f"/{match[2]}"


@lru_cache(maxsize=1024)
def is_host(value: str) -> bool:
    """Whether a value is a host with an optional port, or empty (RFC 9112, section 3.2; RFC 3986, section 3.2.2)."""
    return len(value) <= HOST_CHARACTERS and _HOST.fullmatch(value) is not None


class ReceivedRequest(Request):
    """A request as aiohttp's server creates it, in place of aiohttp's own class.

    It holds only what this package needs, at a third of the cost. `web.RequestHandler` uses `_task`, `_cancel` and
    `_finish` of its requests; ``tests/headend/core/http/test_aiohttp.py`` fails if that changes.

    Args:
        message: The parsed head.
        payload: The request's body.
        connection: Its connection.
        writer: Waits until the kernel has accepted what was written.
        task: Task that serves the connection.

    Attributes:
        connection: Its connection.
        writer: The connection's writer.
        version: HTTP version.
        keep_alive: Whether the client wants to keep the connection open.
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

    async def receive(self, max_bytes: int, within_s: float) -> Response | None:
        """Wait for the body.

        Args:
            max_bytes: Largest accepted size.
            within_s: How long it may take.

        Returns:
            A response if the body is rejected; None if `body` has all of it.
        """
        body = bytearray()
        if self.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and self.connection.transport is not None:
            self.connection.transport.write(_CONTINUE)
        try:
            async with asyncio.timeout(within_s):
                async for piece in self.payload.iter_any():
                    body += piece
                    if len(body) > max_bytes:
                        return _TOO_LARGE
        except TimeoutError:
            return _TOO_SLOW
        except Exception:  # aiohttp raises several types for malformed bodies and disconnected clients
            return _MALFORMED
        self.body = bytes(body)
        return None

    def _cancel(self, error: BaseException) -> None:
        """Tell readers of the body that no more of it will come."""
        self.payload.set_exception(error)

    def _finish(self) -> None:
        """Do nothing: there are no file uploads."""


@dataclass(frozen=True, slots=True)
class Methods:
    """Methods that clients may use, besides OPTIONS.

    Attributes:
        names: Methods; only ``POST`` may have a body.
        preflight: The response to OPTIONS.
        refusal: The response to other methods.
    """

    names: frozenset[str]
    preflight: Response
    refusal: Response


def methods(*names: str, headers: str = responses.ALLOWED_HEADERS) -> Methods:
    """Accept these methods.

    Args:
        names: Their names.
        headers: Request headers that pages of other origins may send, as in Access-Control-Allow-Headers.
    """
    allowed = ", ".join((*names, hdrs.METH_OPTIONS))
    refusal = responses.error(HTTPStatus.METHOD_NOT_ALLOWED, {hdrs.ALLOW: allowed}, closes=True)
    return Methods(frozenset(names), responses.preflight(allowed, headers), refusal)


READING = methods(hdrs.METH_GET, hdrs.METH_HEAD)


def check(request: ReceivedRequest, accepted: Methods = READING) -> Response | None:
    """Check a request before it reaches an application, and convert its target to origin-form.

    Rejected are HTTP versions other than 1.0 and 1.1, a missing or malformed Host, bodies of anything but POST, methods
    that are not accepted, and targets that are neither in origin-form nor absolute-form. OPTIONS gets its preflight
    response here.

    Returns:
        A response if the request is rejected or OPTIONS; None if it is valid.
    """
    version = request.version
    if version != HttpVersion11 and version != HttpVersion10:
        return _MALFORMED if version < HttpVersion10 else _NO_VERSION
    host = request.headers.get(hdrs.HOST)  # aiohttp rejects a second one
    if not is_host(host) if host is not None else version == HttpVersion11:
        return _MALFORMED
    if request.method not in accepted.names:
        is_preflight = request.method == hdrs.METH_OPTIONS and not request.has_body
        return accepted.preflight if is_preflight else accepted.refusal
    if request.has_body and request.method != hdrs.METH_POST:
        # No honest client sends a body with GET, and a cache in front may parse its end differently.
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
