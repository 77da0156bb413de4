"""The licence service: serves ClearKey licences and single keys to clients with playback tokens.

It is a separate application, so that the origin, which every player reaches, holds no content keys. The response is the
same for a key that the token doesn't cover and for a key that doesn't exist.

Sources: W3C Encrypted Media Extensions, section 9.1.3 and 9.1.4 (ClearKey licence request and licence); RFC 8216,
section 4.3.2.4 (a key's address gives its 16 bytes).
"""

import asyncio
import logging
import re
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path

import msgspec
from aiohttp import hdrs
from prometheus_client import CONTENT_TYPE_LATEST

from headend.core.access.grants import Denied, GrantChecker
from headend.core.access.leases import Leases
from headend.core.access.tokens import Grant, Keyring
from headend.core.errors import ConfigError, HeadendError
from headend.core.hosts import is_loopback
from headend.core.http import responses
from headend.core.http.access_log import FLUSH_S, AccessLog
from headend.core.http.connections import NO_ROUTE
from headend.core.http.listening import listen, url_of
from headend.core.http.requests import Request, methods
from headend.core.http.responses import Response
from headend.core.http.server import HttpServer, Limits
from headend.core.keys import KeyStore, cpix_xml
from headend.core.media.protection import KeyClass, check_kid
from headend.core.metrics import Registry
from origin import clearkey
from origin.clearkey import Refused
from origin.key_cache import KeyCache

log = logging.getLogger("headend.licences")

Named = Mapping[str, str]
"""Named groups of a path."""

HEAD_S = 30.0
"""Timeout for the head of a request."""
BODY_S = 10.0
"""Timeout for the body of a request."""
SCREEN_S = 10.0
"""A licence occupies a screen for as long as three segments of this length."""
FINISH_S = 5.0
"""Timeout for pending requests when the service stops."""

NO_KEY = "no such key for this token"
"""Also the response for keys that don't exist, so that clients can't tell which keys exist."""

SD_LINES, HD_LINES = 576, 1080
"""Plans limited to these heights get no keys of larger pictures."""

METHODS = methods(hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST, headers=hdrs.CONTENT_TYPE)
"""Allowed methods and headers; dash.js sends the content type of its requests."""

_TOKEN = r"/t/(?P<token>[A-Za-z0-9._-]{1,900})"
_TITLE = r"/(?P<title>[a-z0-9-]{1,64})(?:/[A-Za-z0-9-]{1,64})?"
_LICENCE = _TITLE + "/licence"
_KEY = _TITLE + r"/keys/(?P<kid>[0-9A-Fa-f-]{32,36})"


@dataclass(frozen=True, slots=True)
class Licensing:
    """Settings of the licence service.

    Attributes:
        source: Store of the content keys.
        tokens: Keys that sign playback tokens; None gives no player a key, unless ``is_open`` is set.
        reload_tokens: Reads the token keys again, on SIGHUP; None if they never change.
        state_dir: Folder for leases of screens; required with ``tokens``.
        access_log: Log of requests; None for no log.
        is_open: Whether players get licences without tokens.
        speke: Answers SPEKE requests of packagers; None for no SPEKE route.
    """

    source: KeyStore
    tokens: Keyring | None
    reload_tokens: Callable[[], Keyring] | None = None
    state_dir: Path | None = None
    access_log: AccessLog | None = None
    is_open: bool = False
    speke: Callable[[bytes], bytes] | None = None


class LicenceService:
    """Answers requests for keys; belongs to one event loop.

    Args:
        licensing: Settings.

    Attributes:
        keys: Cache of the content keys.
        registry: Metrics.

    Raises:
        ConfigError: Leases can't be stored.
    """

    def __init__(self, licensing: Licensing) -> None:
        self.keys = KeyCache(licensing.source)
        self.registry = Registry("headend_licences")
        self._served = self.registry.counter("keys_given", "Keys served, by class.", "key_class")
        self._licensing = licensing
        self._leases = Leases(licensing.state_dir) if licensing.state_dir is not None else None
        self._checker = None
        if licensing.tokens is not None:
            self._checker = GrantChecker(licensing.tokens, self._leases) if self._leases else None
            if self._checker is None:
                raise ConfigError("licences with tokens need a folder for leases")
        self._routes = tuple(self._make_routes())

    def close(self) -> None:
        """Close the leases' file."""
        if self._leases is not None:
            self._leases.close()

    def reload(self) -> None:
        """Read token keys and content keys again; if the token keys can't be read, the old ones stay in use."""
        self.keys.clear()
        if self._checker is not None and self._licensing.reload_tokens is not None:
            try:
                self._checker.keys = self._licensing.reload_tokens()
            except ConfigError as error:
                log.error("can't reload the token keys, so the old ones stay in use: %s", error)

    def server(self) -> HttpServer:
        """Make the HTTP server; the caller starts it."""
        body_bytes = clearkey.LARGEST_REQUEST if self._licensing.speke is None else cpix_xml.LARGEST
        limits = Limits(head_s=HEAD_S, body_bytes=body_bytes, body_s=BODY_S, finish_s=FINISH_S)
        return HttpServer(self, self.registry, limits, METHODS)

    async def respond(self, request: Request) -> tuple[str, Response]:
        """Return the name of the request's route, and the response; see `headend.core.http.server.Application`."""
        path = request.path
        for route in self._routes:
            if (match := route.pattern.fullmatch(path)) is None:
                continue
            if request.method not in route.methods:
                return route.name, METHODS.refusal
            return route.name, await _guarded(route.answer(request, match.groupdict()))
        return NO_ROUTE, responses.NOT_FOUND

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Write a response to the access log."""
        if self._licensing.access_log is not None:
            client, method, target = ("", "", "") if request is None else (request.client, request.method, request.path)
            self._licensing.access_log.add(client, method, target, route, status, sent_bytes, seconds)

    def _make_routes(self) -> Iterator["_Route"]:
        """The routes; paths for players start with a token if tokens are checked."""
        yield _Route("health", (hdrs.METH_GET, hdrs.METH_HEAD), re.compile("/healthz"), _alive)
        yield _Route("metrics", (hdrs.METH_GET, hdrs.METH_HEAD), re.compile("/metrics"), self._metrics)
        if self._licensing.speke is not None:
            yield _Route("speke", (hdrs.METH_POST,), re.compile("/speke"), self._speke)
        if self._checker is not None or self._licensing.is_open:
            base = _TOKEN if self._checker is not None else ""
            yield _Route("licence", (hdrs.METH_POST,), re.compile(base + _LICENCE), self._licence)
            yield _Route("key", (hdrs.METH_GET,), re.compile(base + _KEY), self._key)

    async def _licence(self, request: Request, named: Named) -> Response:
        """A ClearKey licence with the requested keys that the token covers."""
        kids = clearkey.parse_request(request.body)
        grant = await self._grant(request, named)
        keys = await self._keys(named["title"], kids, grant)
        return responses.document(clearkey.licence(keys), responses.JSON_TYPE, responses.NO_STORE)

    async def _key(self, request: Request, named: Named) -> Response:
        """The 16 bytes of one key."""
        grant = await self._grant(request, named)
        try:
            kid = check_kid(named["kid"])
        except ValueError:
            raise Refused(HTTPStatus.FORBIDDEN, NO_KEY) from None
        [(_, secret)] = await self._keys(named["title"], [kid], grant)
        return responses.document(secret, "application/octet-stream", responses.NO_STORE)

    async def _speke(self, request: Request, _: Named) -> Response:
        """The keys that a packager requests, with the signalling of DRM systems."""
        assert self._licensing.speke is not None
        try:
            document = await asyncio.to_thread(self._licensing.speke, request.body)
        except ConfigError as error:
            return _error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        response = responses.document(document, "application/xml", responses.NO_STORE)
        return replace(response, headers={**response.headers, "X-Speke-Version": "2.0"})

    async def _grant(self, request: Request, named: Named) -> Grant | None:
        """Check the token and occupy a screen; None if the service doesn't check tokens."""
        if self._checker is None:
            return None
        territory = self._checker.territory(request.headers)
        grant = self._checker.grant(named["token"], named["title"], territory)
        await self._checker.take_screen(grant, segment_s=SCREEN_S)
        return grant

    async def _keys(self, title: str, kids: Iterable[str], grant: Grant | None) -> list[tuple[str, bytes]]:
        """The requested keys that belong to the title and the plan covers; raises `Refused` if there are none."""
        limit = grant.max_height_px if grant is not None else None
        requested = list(dict.fromkeys(kids))
        names = self.keys.names(title, requested)
        allowed = [names[kid] for kid in requested if kid in names and covers(names[kid].key_class, limit)]
        secrets = await self.keys.secrets(title, allowed) if allowed else {}
        if not secrets:
            raise Refused(HTTPStatus.FORBIDDEN, NO_KEY)
        for name in allowed:
            if name.kid in secrets:
                self._served.inc(name.key_class)
        return [(name.kid, secrets[name.kid]) for name in allowed if name.kid in secrets]

    async def _metrics(self, request: Request, _: Named) -> Response:
        """The metrics, for clients on this machine."""
        if not is_loopback(request.client.removeprefix("::ffff:")):
            return responses.NOT_FOUND
        return responses.document(self.registry.exposition(), CONTENT_TYPE_LATEST, responses.NO_STORE)


@dataclass(frozen=True, slots=True)
class _Route:
    """A route: its name in metrics, its methods and path, and its handler."""

    name: str
    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    answer: Callable[[Request, Named], Awaitable[Response]]


def covers(key_class: KeyClass, max_height_px: int | None) -> bool:
    """Whether a plan covers a key class: whether its height limit allows any picture of the class."""
    match key_class:
        case KeyClass.HD:
            return max_height_px is None or max_height_px > SD_LINES
        case KeyClass.UHD:
            return max_height_px is None or max_height_px > HD_LINES
        case _:
            return True


async def _guarded(answer: Awaitable[Response]) -> Response:
    """Turn refusals and errors into responses that reveal nothing else."""
    try:
        return await answer
    except Refused as refused:
        return _error(refused.status, refused.reason)
    except Denied as denied:
        return _error(HTTPStatus.FORBIDDEN, denied.reason)
    except HeadendError as error:
        log.warning("can't reach the key store: %s", error)
        return responses.BUSY
    except Exception:
        log.exception("a request failed")
        return responses.FAILED


def _error(status: HTTPStatus, reason: str) -> Response:
    body = msgspec.json.encode({"error": reason})
    return replace(responses.document(body, responses.JSON_TYPE, responses.NO_STORE), status=status)


async def _alive(_request: Request, _named: Named) -> Response:
    return responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)


def serve(host: str, port: int, licensing: Licensing, on_ready: Callable[[str], None]) -> None:
    """Serve keys until SIGTERM or SIGINT, then finish pending requests. SIGHUP reads all keys again.

    Args:
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free port.
        licensing: Settings.
        on_ready: Called with the base URL, without a trailing slash, once connections are accepted.

    Raises:
        ConfigError: The address can't be listened on, or leases can't be stored.
    """
    listener = listen(host, port)[0]
    with closing(listener):
        asyncio.run(_serve(listener, host, licensing, on_ready))


async def _serve(listener: socket.socket, host: str, licensing: Licensing, on_ready: Callable[[str], None]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    with ExitStack() as held:
        service = LicenceService(licensing)
        held.callback(service.close)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, service.reload)
        server = service.server()
        await server.start([listener])
        try:
            on_ready(url_of(host, listener))
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), FLUSH_S)
                _write(licensing.access_log)
        finally:
            await server.stop()
            _write(licensing.access_log)


def _write(access_log: AccessLog | None) -> None:
    if access_log is not None:
        access_log.write(access_log.take())
