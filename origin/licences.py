"""The licence service: ClearKey licences and single keys, for holders of playback tokens.

An application of its own, so that the origin, which faces every player, holds no content key. Only the licence route
takes a body. A key that a token does not cover and a key that does not exist get the same response.

Sources: W3C Encrypted Media Extensions, section 9.1.3 and 9.1.4 (ClearKey licence request and licence); RFC 8216,
section 4.3.2.4 (a key's address gives its 16 bytes).
"""

import asyncio
import base64
import binascii
import logging
import re
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
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
from headend.core.caching.segmented_lru import SegmentedLRU
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
from headend.core.media.protection import KeyClass, KeyName, check_kid, find_names
from headend.core.metrics import Registry

log = logging.getLogger("headend.licences")

Named = Mapping[str, str]
"""The parts of a path, by their names."""

LARGEST_REQUEST = 4096
"""Bytes of a licence request; one with 64 keys has 2,000."""
MOST_KIDS = 64
"""Keys of one licence; a title has one per class and period."""
HEAD_S = 30.0
"""How long a client may take for the head of a request."""
BODY_S = 10.0
"""How long a client may take to send a request's body."""
MOST_EPOCHS = 8
"""How many epochs of a title's keys are tried for a given id."""
REMEMBERED = 20_000
"""Keys that are looked up only once in `FRESH_S`."""
FRESH_S = 60.0
SCREEN_S = 10.0
"""A licence takes a screen for as long as three segments of this length would."""
FINISH_S = 5.0
"""How long requests may take to finish when the service stops."""

NO_KEY = "no such key for this token"
"""Said of keys that don't exist, too, so that nobody learns which do."""

SD_LINES, HD_LINES = 576, 1080
"""A plan that stops at these has no use for the keys of larger pictures."""

TAKEN = methods(hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_POST, headers=hdrs.CONTENT_TYPE)
"""What clients may do; dash.js says of what type its requests are."""

_TOKEN = r"/t/(?P<token>[A-Za-z0-9._-]{1,900})"
_TITLE = r"/(?P<title>[a-z0-9-]{1,64})(?:/[A-Za-z0-9-]{1,64})?"
_LICENCE = _TITLE + "/licence"
_KEY = _TITLE + r"/keys/(?P<kid>[0-9A-Fa-f-]{32,36})"


class LicenceRequest(msgspec.Struct):
    """What a player asks for.

    Attributes:
        kids: Key ids, base64url without padding.
        type: Kind of session; only ``temporary`` is given.
    """

    kids: list[str]
    type: str = "temporary"


@dataclass(frozen=True, slots=True)
class Licensing:
    """How the licence service runs.

    Attributes:
        source: Where content keys come from.
        tokens: What playback tokens are signed with; None gives no player a key, unless it ``is_open``.
        reload_tokens: Reads them again, on SIGHUP; None if they never change.
        state_dir: Where leases of screens are kept; None counts none.
        access_log: Where requests are logged; None for nowhere.
        is_open: Whether players get licences without tokens.
        speke: Answers SPEKE requests of packagers; None where there is no such route.
    """

    source: KeyStore
    tokens: Keyring | None
    reload_tokens: Callable[[], Keyring] | None = None
    state_dir: Path | None = None
    access_log: AccessLog | None = None
    is_open: bool = False
    speke: Callable[[bytes], bytes] | None = None


class KeyCache:
    """Finds a title's keys by their ids, and remembers for a while what the source has and what it lacks.

    Args:
        source: Where they come from.
        clock: Seconds that only go forward.
    """

    def __init__(self, source: KeyStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._names: SegmentedLRU[tuple[str, str], tuple[KeyName | None]] = SegmentedLRU(REMEMBERED)
        self._secrets: SegmentedLRU[str, tuple[float, bytes | None]] = SegmentedLRU(REMEMBERED)

    def names(self, title: str, kids: Iterable[str]) -> Mapping[str, KeyName]:
        """The title's keys with these ids; ids of other titles' keys are left out.

        Ids are derived from what a key is for, so the title's own are tried.
        """
        known = {kid: self._names.get((title, kid)) for kid in kids}
        unknown = {kid for kid, found in known.items() if found is None}
        names = {kid: found[0] for kid, found in known.items() if found is not None and found[0] is not None}
        if unknown:
            found = find_names(title, unknown, epochs=MOST_EPOCHS)
            names |= found
            for kid in unknown:
                self._names.put((title, kid), (found.get(kid),))
        return names

    async def secrets(self, title: str, names: Sequence[KeyName]) -> Mapping[str, bytes]:
        """The secrets of these keys, by id; those that the source lacks are left out.

        Raises:
            StorageError: The source can't be reached.
        """
        now_s = self._clock()
        known = {name.kid: self._secrets.get(name.kid) for name in names}
        unknown = [name for name in names if (entry := known[name.kid]) is None or entry[0] <= now_s]
        if unknown:
            for kid, secret in (await asyncio.to_thread(self._read, title, unknown)).items():
                known[kid] = (now_s + FRESH_S, secret)
                self._secrets.put(kid, (now_s + FRESH_S, secret))
        return {kid: entry[1] for kid, entry in known.items() if entry is not None and entry[1] is not None}

    def forget(self) -> None:
        """Read all keys again when they are next wanted."""
        self._secrets = SegmentedLRU(REMEMBERED)

    def _read(self, title: str, names: Sequence[KeyName]) -> dict[str, bytes | None]:
        try:
            return {kid: key.secret for kid, key in self._source.keys(title, names).items()}
        except ConfigError as error:
            if len(names) == 1:
                log.warning("a key can't be given: %s", error)
                return {names[0].kid: None}
            # One of them is missing, and takes the others along.
            return {kid: secret for name in names for kid, secret in self._read(title, [name]).items()}


class LicenceService:
    """Answers requests for keys; belongs to one event loop.

    Args:
        licensing: How it runs.

    Attributes:
        keys: What it gives.
        registry: Its metrics.

    Raises:
        ConfigError: Leases can't be kept.
    """

    def __init__(self, licensing: Licensing) -> None:
        self.keys = KeyCache(licensing.source)
        self.registry = Registry("headend_licences")
        self._given = self.registry.counter("keys_given", "Keys given, by class.", "key_class")
        self._licensing = licensing
        self._leases = Leases(licensing.state_dir) if licensing.state_dir is not None else None
        self._checker = None
        if licensing.tokens is not None:
            self._checker = GrantChecker(licensing.tokens, self._leases) if self._leases else None
            if self._checker is None:
                raise ConfigError("licences for holders of tokens need a folder for leases")
        self._routes = tuple(self._routed())

    def close(self) -> None:
        """Let go of the leases' file."""
        if self._leases is not None:
            self._leases.close()

    def reload(self) -> None:
        """Read token keys and content keys again; token keys that can't be read leave the old ones in place."""
        self.keys.forget()
        if self._checker is not None and self._licensing.reload_tokens is not None:
            try:
                self._checker.keys = self._licensing.reload_tokens()
            except ConfigError as error:
                log.error("the token keys stay as they were: %s", error)

    def server(self) -> HttpServer:
        """A server of its routes, which takes requests once it is started."""
        body_bytes = LARGEST_REQUEST if self._licensing.speke is None else cpix_xml.LARGEST
        limits = Limits(head_s=HEAD_S, body_bytes=body_bytes, body_s=BODY_S, finish_s=FINISH_S)
        return HttpServer(self, self.registry, limits, TAKEN)

    async def respond(self, request: Request) -> tuple[str, Response]:
        """The name of the request's route, and the response; see `headend.core.http.server.Application`."""
        path = request.path
        for route in self._routes:
            if (found := route.pattern.fullmatch(path)) is None:
                continue
            if request.method not in route.methods:
                return route.name, TAKEN.refusal
            return route.name, await _guarded(route.answer(request, found.groupdict()))
        return NO_ROUTE, responses.NOT_FOUND

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Put a response into the access log."""
        if self._licensing.access_log is not None:
            client, method, target = ("", "", "") if request is None else (request.client, request.method, request.path)
            self._licensing.access_log.add(client, method, target, route, status, sent_bytes, seconds)

    def _routed(self) -> Iterator["_Route"]:
        """The routes; where tokens are checked, those for players begin with one."""
        yield _Route("health", (hdrs.METH_GET, hdrs.METH_HEAD), re.compile("/healthz"), _alive)
        yield _Route("metrics", (hdrs.METH_GET, hdrs.METH_HEAD), re.compile("/metrics"), self._metrics)
        if self._licensing.speke is not None:
            yield _Route("speke", (hdrs.METH_POST,), re.compile("/speke"), self._speke)
        if self._checker is not None or self._licensing.is_open:
            base = _TOKEN if self._checker is not None else ""
            yield _Route("licence", (hdrs.METH_POST,), re.compile(base + _LICENCE), self._licence)
            yield _Route("key", (hdrs.METH_GET,), re.compile(base + _KEY), self._key)

    async def _licence(self, request: Request, named: Named) -> Response:
        """A ClearKey licence with those of the wanted keys that the token covers."""
        asked = _asked(request.body)
        grant = await self._grant(request, named)
        kids = [_kid(text) for text in asked.kids]
        given = await self._keys(named["title"], kids, grant)
        body = {
            "keys": [{"kty": "oct", "kid": _base64url(bytes.fromhex(kid)), "k": _base64url(k)} for kid, k in given],
            "type": "temporary",
        }
        return responses.document(msgspec.json.encode(body), responses.JSON_TYPE, responses.NO_STORE)

    async def _key(self, request: Request, named: Named) -> Response:
        """The 16 bytes of one key."""
        grant = await self._grant(request, named)
        try:
            kid = check_kid(named["kid"])
        except ValueError:
            raise _Refused(HTTPStatus.FORBIDDEN, NO_KEY) from None
        [(_, secret)] = await self._keys(named["title"], [kid], grant)
        return responses.document(secret, "application/octet-stream", responses.NO_STORE)

    async def _speke(self, request: Request, _: Named) -> Response:
        """The keys that a packager asks for, with the signalling of DRM systems."""
        assert self._licensing.speke is not None
        try:
            found = await asyncio.to_thread(self._licensing.speke, request.body)
        except ConfigError as error:
            return _error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        response = responses.document(found, "application/xml", responses.NO_STORE)
        return replace(response, headers={**response.headers, "X-Speke-Version": "2.0"})

    async def _grant(self, request: Request, named: Named) -> Grant | None:
        """What the token allows, which takes a screen; None where everyone gets keys."""
        if self._checker is None:
            return None
        territory = self._checker.territory(request.headers)
        grant = self._checker.grant(named["token"], named["title"], territory)
        await self._checker.take_screen(grant, segment_s=SCREEN_S)
        return grant

    async def _keys(self, title: str, kids: Iterable[str], grant: Grant | None) -> list[tuple[str, bytes]]:
        """The wanted keys that are the title's and within the plan; raises `_Refused` if none is."""
        limit = grant.max_height_px if grant is not None else None
        wanted = list(dict.fromkeys(kids))
        names = self.keys.names(title, wanted)
        allowed = [names[kid] for kid in wanted if kid in names and covers(names[kid].key_class, limit)]
        secrets = await self.keys.secrets(title, allowed) if allowed else {}
        if not secrets:
            raise _Refused(HTTPStatus.FORBIDDEN, NO_KEY)
        for name in allowed:
            if name.kid in secrets:
                self._given.inc(name.key_class)
        return [(name.kid, secrets[name.kid]) for name in allowed if name.kid in secrets]

    async def _metrics(self, request: Request, _: Named) -> Response:
        """The metrics, for clients on this machine."""
        if not is_loopback(request.client.removeprefix("::ffff:")):
            return responses.NOT_FOUND
        return responses.document(self.registry.exposition(), CONTENT_TYPE_LATEST, responses.NO_STORE)


@dataclass(frozen=True, slots=True)
class _Route:
    """A route: what it is called, and what answers it."""

    name: str
    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    answer: Callable[[Request, Named], Awaitable[Response]]


def covers(key_class: KeyClass, max_height_px: int | None) -> bool:
    """Whether a plan covers a class of keys: whether any picture of the class is within its highest resolution."""
    match key_class:
        case KeyClass.HD:
            return max_height_px is None or max_height_px > SD_LINES
        case KeyClass.UHD:
            return max_height_px is None or max_height_px > HD_LINES
        case _:
            return True


class _Refused(Exception):
    """A request that gets no key."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


async def _guarded(answer: Awaitable[Response]) -> Response:
    """Turn each refusal and fault into a response with a constant body."""
    try:
        return await answer
    except _Refused as refused:
        return _error(refused.status, refused.reason)
    except Denied as denied:
        return _error(HTTPStatus.FORBIDDEN, denied.reason)
    except HeadendError as error:
        log.warning("the source of keys does not answer: %s", error)
        return responses.BUSY
    except Exception:
        log.exception("a request could not be answered")
        return responses.FAILED


def _asked(body: bytes) -> LicenceRequest:
    if len(body) > LARGEST_REQUEST:
        raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")
    try:
        asked = msgspec.json.decode(body, type=LicenceRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Refused(HTTPStatus.BAD_REQUEST, "not a ClearKey licence request") from None
    if not 1 <= len(asked.kids) <= MOST_KIDS:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"a licence is for 1 to {MOST_KIDS} keys")
    if asked.type != "temporary":
        raise _Refused(HTTPStatus.BAD_REQUEST, "only temporary licences are given")
    return asked


def _kid(text: str) -> str:
    """A key id as JSON has it: 16 bytes in base64url without padding."""
    try:
        kid = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        kid = b""
    if len(kid) != 16:
        raise _Refused(HTTPStatus.BAD_REQUEST, "a key id is not 16 bytes in base64url")
    return kid.hex()


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _error(status: HTTPStatus, reason: str) -> Response:
    body = msgspec.json.encode({"error": reason})
    return replace(responses.document(body, responses.JSON_TYPE, responses.NO_STORE), status=status)


async def _alive(_request: Request, _named: Named) -> Response:
    return responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)


def serve(host: str, port: int, licensing: Licensing, on_ready: Callable[[str], None]) -> None:
    """Give keys until SIGTERM or SIGINT; requests under way are finished first. SIGHUP reads all keys again.

    Args:
        host: Address or name to listen on.
        port: To listen on; 0 for a free one.
        licensing: How it runs.
        on_ready: Called with the base URL, without a slash at its end, once connections are accepted.

    Raises:
        ConfigError: It can't listen there, or leases can't be kept.
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
