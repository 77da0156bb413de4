"""The licence service: serves ClearKey licences and single keys to clients with playback tokens.

It is a separate application, so that the origin, which is open to every player, holds no content keys. A key that the
token doesn't cover gets the same response as a key that doesn't exist.

Sources: W3C Encrypted Media Extensions, sections 9.1.3 and 9.1.4 (ClearKey licence request and licence); RFC 8216,
section 4.3.2.4 (the URI of a key returns its 16 bytes).
"""

import asyncio
import logging
import re
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
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

PathGroups = Mapping[str, str]
"""PathGroups groups of the match of a path."""

HEAD_S = 30.0
"""Timeout for receiving the head of a request."""
BODY_S = 10.0
"""Timeout for receiving the body of a request."""
LEASE_SEGMENT_S = 10.0
"""A licence takes one of the account's screens like a segment of this length; see `headend.core.access.leases`."""
FINISH_S = 5.0
"""Timeout for pending requests when the service stops."""

NO_KEY = "no such key for this token"
"""Also the response for keys that don't exist, so that clients can't tell which keys exist."""

MAX_SD_PX = 576
"""Plans up to this height get no keys for HD."""
MAX_HD_PX = 1080
"""Plans up to this height get no keys for UHD."""

METHODS = methods(hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST, headers=hdrs.CONTENT_TYPE)
"""Allowed methods and headers; dash.js sends a Content-Type."""

_TOKEN = r"/t/(?P<token>[A-Za-z0-9._-]{1,900})"
_TITLE = r"/(?P<title>[a-z0-9-]{1,64})(?:/[A-Za-z0-9-]{1,64})?"
_LICENCE = _TITLE + "/licence"
_KEY = _TITLE + r"/keys/(?P<kid>[0-9A-Fa-f-]{32,36})"


@dataclass(frozen=True, slots=True)
class LicenceSettings:
    """Settings of the licence service.

    Attributes:
        source: Store of the content keys.
        tokens: Keys that sign playback tokens. If None, players get licences without tokens if ``is_open`` is set, and
            otherwise none.
        reload_tokens: Reads the token keys again, on SIGHUP; None if they never change.
        state_dir: Folder for leases of screens; required with ``tokens``.
        access_log: Log of requests; None for no log.
        is_open: Whether players get licences without tokens; no effect with ``tokens``.
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
        settings: Settings.

    Attributes:
        keys: Cache of the content keys.
        registry: Metrics.

    Raises:
        ConfigError: Leases can't be stored.
    """

    def __init__(self, settings: LicenceSettings) -> None:
        self.keys = KeyCache(settings.source)
        self.registry = Registry("headend_licences")
        self._served = self.registry.counter("keys_given", "Keys served, by class.", "key_class")
        self._settings = settings
        self._leases = Leases(settings.state_dir) if settings.state_dir is not None else None
        self._checker: GrantChecker | None = None
        if settings.tokens is not None:
            if self._leases is None:
                raise ConfigError("licences with tokens need a folder for leases")
            self._checker = GrantChecker(settings.tokens, self._leases)
        self._routes = tuple(self._make_routes())

    def close(self) -> None:
        """Close the file of leases."""
        if self._leases is not None:
            self._leases.close()

    def reload(self) -> None:
        """Read token keys and content keys again; if the token keys can't be read, the old ones stay in use."""
        self.keys.clear()
        if self._checker is not None and self._settings.reload_tokens is not None:
            try:
                self._checker.keys = self._settings.reload_tokens()
            except ConfigError as error:
                log.error("can't reload the token keys, so the old ones stay in use: %s", error)

    def server(self) -> HttpServer:
        """Make the HTTP server; the caller starts it."""
        body_bytes = clearkey.MAX_REQUEST_BYTES if self._settings.speke is None else cpix_xml.MAX_BYTES
        limits = Limits(head_s=HEAD_S, body_bytes=body_bytes, body_s=BODY_S, finish_s=FINISH_S)
        return HttpServer(self, self.registry, limits, METHODS)

    async def respond(self, request: Request) -> tuple[str, Response]:
        """Return the name of the request's route, and the response."""
        path = request.path
        for route in self._routes:
            if (match := route.pattern.fullmatch(path)) is None:
                continue
            if request.method not in route.methods:
                return route.name, METHODS.refusal
            return route.name, await _handle_errors(route.handler(request, match.groupdict()))
        return NO_ROUTE, responses.NOT_FOUND

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Write a response to the access log."""
        if self._settings.access_log is not None:
            client, method, target = ("", "", "") if request is None else (request.client, request.method, request.path)
            self._settings.access_log.add(client, method, target, route, status, sent_bytes, seconds)

    def _make_routes(self) -> Iterator["_Route"]:
        """The routes. Players' paths start with the token if tokens are checked."""
        yield _Route("health", (hdrs.METH_GET, hdrs.METH_HEAD), re.compile("/healthz"), _alive)
        yield _Route("metrics", (hdrs.METH_GET, hdrs.METH_HEAD), re.compile("/metrics"), self._metrics)
        if self._settings.speke is not None:
            yield _Route("speke", (hdrs.METH_POST,), re.compile("/speke"), self._speke)
        if self._checker is not None or self._settings.is_open:
            base = _TOKEN if self._checker is not None else ""
            yield _Route("licence", (hdrs.METH_POST,), re.compile(base + _LICENCE), self._licence)
            yield _Route("key", (hdrs.METH_GET,), re.compile(base + _KEY), self._key)

    async def _licence(self, request: Request, groups: PathGroups) -> Response:
        """A ClearKey licence with those of the requested keys that the token covers."""
        kids = clearkey.parse_request(request.body)
        grant = await self._grant(request, groups)
        keys = await self._keys(groups["title"], kids, grant)
        return responses.document(clearkey.render_licence(keys), responses.JSON_TYPE, responses.NO_STORE)

    async def _key(self, request: Request, groups: PathGroups) -> Response:
        """The 16 bytes of one key."""
        grant = await self._grant(request, groups)
        try:
            kid = check_kid(groups["kid"])
        except ValueError:
            raise Refused(HTTPStatus.FORBIDDEN, NO_KEY) from None
        [(_, secret)] = await self._keys(groups["title"], [kid], grant)
        return responses.document(secret, "application/octet-stream", responses.NO_STORE)

    async def _speke(self, request: Request, _: PathGroups) -> Response:
        """The keys that a packager requests with SPEKE, with the signalling data of DRM systems."""
        assert self._settings.speke is not None
        try:
            document = await asyncio.to_thread(self._settings.speke, request.body)
        except ConfigError as error:
            return _error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        response = responses.document(document, "application/xml", responses.NO_STORE)
        return replace(response, headers={**response.headers, "X-Speke-Version": "2.0"})

    async def _grant(self, request: Request, groups: PathGroups) -> Grant | None:
        """Check the token and take one of the account's screens; None if the service doesn't check tokens."""
        if self._checker is None:
            return None
        territory = self._checker.territory(request.headers)
        grant = self._checker.grant(groups["token"], groups["title"], territory)
        await self._checker.take_screen(grant, segment_s=LEASE_SEGMENT_S)
        return grant

    async def _keys(self, title: str, kids: Iterable[str], grant: Grant | None) -> list[tuple[str, bytes]]:
        """Those of the requested keys that belong to the title and that the plan covers.

        Raises:
            Refused: There are none.
        """
        max_height_px = grant.max_height_px if grant is not None else None
        requested = list(dict.fromkeys(kids))
        names = self.keys.names(title, requested)
        covered = [names[kid] for kid in requested if kid in names and covers(names[kid].key_class, max_height_px)]
        secrets = await self.keys.secrets(title, covered) if covered else {}
        served = [name for name in covered if name.kid in secrets]
        if not served:
            raise Refused(HTTPStatus.FORBIDDEN, NO_KEY)
        for name in served:
            self._served.inc(name.key_class)
        return [(name.kid, secrets[name.kid]) for name in served]

    async def _metrics(self, request: Request, _: PathGroups) -> Response:
        """The metrics; only for clients on this machine."""
        if not is_loopback(request.client.removeprefix("::ffff:")):
            return responses.NOT_FOUND
        return responses.document(self.registry.exposition(), CONTENT_TYPE_LATEST, responses.NO_STORE)


@dataclass(frozen=True, slots=True)
class _Route:
    """A route: its name in metrics, its methods and path, and its handler."""

    name: str
    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    handler: Callable[[Request, PathGroups], Awaitable[Response]]


def covers(key_class: KeyClass, max_height_px: int | None) -> bool:
    """Whether a plan covers a key class, so whether its height limit allows any picture of the class.

    Args:
        key_class: The class.
        max_height_px: The plan's limit; None for no limit.
    """
    match key_class:
        case KeyClass.HD:
            return max_height_px is None or max_height_px > MAX_SD_PX
        case KeyClass.UHD:
            return max_height_px is None or max_height_px > MAX_HD_PX
        case _:
            return True


async def _handle_errors(response: Awaitable[Response]) -> Response:
    """Turn refusals and errors into responses; those for errors name no reason."""
    try:
        return await response
    except Refused as refused:
        return _error(refused.status, refused.reason)
    except Denied as denied:
        return _error(HTTPStatus.FORBIDDEN, denied.reason)
    except HeadendError as error:
        log.warning("can't read a key: %s", error)
        return responses.BUSY
    except Exception:
        log.exception("a request failed")
        return responses.FAILED


def _error(status: HTTPStatus, reason: str) -> Response:
    body = msgspec.json.encode({"error": reason})
    return replace(responses.document(body, responses.JSON_TYPE, responses.NO_STORE), status=status)


async def _alive(_request: Request, _groups: PathGroups) -> Response:
    return responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)


def serve(host: str, port: int, settings: LicenceSettings, on_ready: Callable[[str], None]) -> None:
    """Serve keys until SIGTERM or SIGINT, then finish pending requests. SIGHUP reads all keys again.

    Args:
        host: Address or name to listen on.
        port: Port to listen on; 0 for any free port.
        settings: Settings.
        on_ready: Called with the base URL, without a trailing slash, once connections are accepted.

    Raises:
        ConfigError: It is not possible to listen on the address, or to store leases.
    """
    listener = listen(host, port)[0]
    with closing(listener):
        asyncio.run(_serve(listener, host, settings, on_ready))


async def _serve(
    listener: socket.socket, host: str, settings: LicenceSettings, on_ready: Callable[[str], None]
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    with closing(LicenceService(settings)) as service:
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
                _write_log(settings.access_log)
        finally:
            await server.stop()
            _write_log(settings.access_log)


def _write_log(access_log: AccessLog | None) -> None:
    if access_log is not None:
        access_log.write(access_log.take())
