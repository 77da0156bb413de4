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
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import msgspec
from aiohttp import hdrs, web
from prometheus_client import CONTENT_TYPE_LATEST

from headend.core.access.grants import Denied, GrantChecker
from headend.core.access.leases import Leases
from headend.core.access.tokens import Grant, Keyring
from headend.core.caching.segmented_lru import SegmentedLRU
from headend.core.errors import ConfigError, HeadendError
from headend.core.http.access_log import FLUSH_S, AccessLog
from headend.core.http.listening import listen, url_of
from headend.core.http.responses import EVERYWHERE
from headend.core.keys import KeyStore, cpix
from headend.core.media.protection import KeyClass, KeyName, check_kid, find_names
from headend.core.metrics import Registry

log = logging.getLogger("headend.licences")

LARGEST_REQUEST = 4096
"""Bytes of a licence request; one with 64 keys has 2,000."""
MOST_KIDS = 64
"""Keys of one licence; a title has one per class and period."""
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

TOKEN = r"/t/{token:[A-Za-z0-9._-]{1,900}}"
TITLE = r"/{title:[a-z0-9-]{1,64}}"
RELEASE = r"/{release:[A-Za-z0-9-]{1,64}}"
KID = r"/keys/{kid:[0-9A-Fa-f-]{32,36}}"


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
        self._requests = self.registry.counter("requests", "Requests by route and status.", "route", "status")
        self._given = self.registry.counter("keys_given", "Keys given, by class.", "key_class")
        self._seconds = self.registry.histogram(
            "request_seconds", "From the request to its response.", (0.001, 0.002, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0)
        )
        self._licensing = licensing
        self._leases = Leases(licensing.state_dir) if licensing.state_dir is not None else None
        self._checker = None
        if licensing.tokens is not None:
            self._checker = GrantChecker(licensing.tokens, self._leases) if self._leases else None
            if self._checker is None:
                raise ConfigError("licences for holders of tokens need a folder for leases")

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

    def application(self) -> web.Application:
        """The routes; where tokens are checked, those for players begin with one."""
        app = web.Application(middlewares=[self._counted])
        app.router.add_get("/healthz", _alive, name="health")
        app.router.add_get("/metrics", self._metrics, name="metrics")
        if self._licensing.speke is not None:
            app.router.add_post("/speke", self.speke, name="speke")
        if self._checker is None and not self._licensing.is_open:
            return app
        base = TOKEN if self._checker is not None else ""
        for path in (base + TITLE + RELEASE + "/licence", base + TITLE + "/licence"):
            app.router.add_post(path, self.licence, name="licence" if RELEASE in path else "title-licence")
            app.router.add_route(hdrs.METH_OPTIONS, path, _preflight)
        for path in (base + TITLE + RELEASE + KID, base + TITLE + KID):
            app.router.add_get(path, self.key, name="key" if RELEASE in path else "title-key", allow_head=False)
            app.router.add_route(hdrs.METH_OPTIONS, path, _preflight)
        return app

    async def licence(self, request: web.Request) -> web.Response:
        """A ClearKey licence with those of the wanted keys that the token covers."""
        asked = await _asked(request)
        grant = await self._grant(request)
        kids = [_kid(text) for text in asked.kids]
        given = await self._keys(request.match_info["title"], kids, grant)
        body = {
            "keys": [{"kty": "oct", "kid": _base64url(bytes.fromhex(kid)), "k": _base64url(k)} for kid, k in given],
            "type": "temporary",
        }
        return _response(HTTPStatus.OK, msgspec.json.encode(body), "application/json")

    async def key(self, request: web.Request) -> web.Response:
        """The 16 bytes of one key."""
        grant = await self._grant(request)
        try:
            kid = check_kid(request.match_info["kid"])
        except ValueError:
            raise _Refused(HTTPStatus.FORBIDDEN, NO_KEY) from None
        [(_, secret)] = await self._keys(request.match_info["title"], [kid], grant)
        return _response(HTTPStatus.OK, secret, "application/octet-stream")

    async def speke(self, request: web.Request) -> web.Response:
        """The keys that a packager asks for, with the signalling of DRM systems."""
        assert self._licensing.speke is not None
        body = await _body(request, cpix.LARGEST)
        try:
            found = await asyncio.to_thread(self._licensing.speke, body)
        except ConfigError as error:
            return _error(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        response = _response(HTTPStatus.OK, found, "application/xml")
        response.headers["X-Speke-Version"] = "2.0"
        return response

    async def _grant(self, request: web.Request) -> Grant | None:
        """What the token allows, which takes a screen; None where everyone gets keys."""
        if self._checker is None:
            return None
        territory = self._checker.territory(request.headers)
        grant = self._checker.grant(request.match_info["token"], request.match_info["title"], territory)
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

    async def _metrics(self, request: web.Request) -> web.Response:
        """The metrics, for clients on this machine."""
        if request.remote not in ("127.0.0.1", "::1"):
            return _error(HTTPStatus.NOT_FOUND)
        return _response(HTTPStatus.OK, self.registry.exposition(), CONTENT_TYPE_LATEST)

    @property
    def _counted(self) -> Callable[..., Awaitable[web.StreamResponse]]:
        @web.middleware
        async def counted(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            began_s = time.perf_counter()
            route = (request.match_info.route.name or "other").removeprefix("title-")
            response = await _guarded(request, handler)
            seconds = time.perf_counter() - began_s
            self._requests.inc(route, f"{response.status // 100}xx")
            self._seconds.labels().observe(seconds)
            if self._licensing.access_log is not None:
                sent = response.body.__len__() if isinstance(response.body, bytes) else 0
                self._licensing.access_log.add(
                    request.remote or "",
                    request.method,
                    request.rel_url.raw_path,
                    route,
                    response.status,
                    sent,
                    seconds,
                )
            return response

        return counted


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


async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.Response:
    """Turn each refusal and fault into a response with a constant body."""
    try:
        response = await handler(request)
    except _Refused as refused:
        return _error(refused.status, refused.reason)
    except Denied as denied:
        return _error(HTTPStatus.FORBIDDEN, denied.reason)
    except TimeoutError:
        return _error(HTTPStatus.REQUEST_TIMEOUT)
    except web.HTTPException as error:
        return _error(HTTPStatus(error.status))
    except HeadendError as error:
        log.warning("the source of keys does not answer: %s", error)
        return _error(HTTPStatus.SERVICE_UNAVAILABLE)
    except Exception:
        log.exception("a request could not be answered")
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR)
    assert isinstance(response, web.Response)
    return response


async def _body(request: web.Request, most_bytes: int) -> bytes:
    """A request's body; raises `_Refused` if it is larger, and `TimeoutError` if it does not arrive."""
    body = bytearray()
    async with asyncio.timeout(BODY_S):
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > most_bytes:
                raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the request is too large")
    return bytes(body)


async def _asked(request: web.Request) -> LicenceRequest:
    body = await _body(request, LARGEST_REQUEST)
    try:
        asked = msgspec.json.decode(body, type=LicenceRequest)
    except (msgspec.DecodeError, UnicodeDecodeError):
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


def _response(status: HTTPStatus, body: bytes, content_type: str) -> web.Response:
    headers = {**EVERYWHERE, hdrs.CACHE_CONTROL: "no-store", hdrs.CONTENT_TYPE: content_type}
    return web.Response(status=status, body=body, headers=headers)


def _error(status: HTTPStatus, reason: str | None = None) -> web.Response:
    return _response(status, msgspec.json.encode({"error": reason or status.phrase.lower()}), "application/json")


async def _preflight(_: web.Request) -> web.Response:
    allowed = {
        **EVERYWHERE,
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST, OPTIONS",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: "Content-Type",
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=allowed)


async def _alive(_: web.Request) -> web.Response:
    return _response(HTTPStatus.OK, b"ok\n", "text/plain; charset=utf-8")


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
        runner = web.AppRunner(service.application(), access_log=None, shutdown_timeout=FINISH_S)
        await runner.setup()
        try:
            await web.SockSite(runner, listener).start()
            on_ready(url_of(host, listener))
            while not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), FLUSH_S)
                if licensing.access_log is not None:
                    licensing.access_log.write(licensing.access_log.take())
        finally:
            await runner.cleanup()
