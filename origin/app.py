"""The origin's routes, all in one table, and how it answers a request.

Paths are matched without decoding, and paths that match no route get a 404. No route matches plans, receipts or
attempts, or a path with ``%``, ``..``, ``//`` or a backslash. Queries are ignored unless a route reads them, so that a
client can't fill the cache with copies of a file.
"""

import asyncio
import logging
import re
from functools import partial
from http import HTTPStatus
from pathlib import Path

from aiohttp import hdrs

from headend.core import layout
from headend.core.access.grants import Denied, GrantChecker, split_token
from headend.core.access.leases import Leases
from headend.core.access.tokens import Keyring
from headend.core.caching import disk_cache
from headend.core.caching.disk_cache import DiskCache
from headend.core.errors import ConfigError, HeadendError, ObjectMissing
from headend.core.http import cmcd, responses
from headend.core.http.access_log import AccessLog
from headend.core.http.blobs import Blob
from headend.core.http.connections import NO_ROUTE
from headend.core.http.requests import Request
from headend.core.http.responses import File, Response
from headend.core.http.server import client_key
from headend.core.manifests.selection import may_select
from headend.core.metrics.workers import SINGLE, WorkerIndex, merged
from headend.core.storage import Store
from headend.core.storage.local import LocalStore
from origin.access import Access
from origin.handlers import UNLIMITED, Handler, Handlers, TokenLimits
from origin.library import BLOBS, Library
from origin.metrics import Metrics

log = logging.getLogger("headend.origin")

TITLE = r"/(?P<title>[a-z0-9-]{1,64})"
RELEASE = TITLE + r"/releases/(?P<release>[A-Za-z0-9-]{1,64})"
ID = r"[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64}){0,3}"
TRACK = TITLE + rf"/tracks/(?P<track>{ID})"
PLAYLIST = rf"/(?P<name>(?P<track>{ID}?)(?:\.identity)?(?:\.iframes)?\.m3u8)"
THUMBNAILS = r"/(?P<name>thumbnails\.vtt)"
TOP = r"/(?P<name>multivariant(?:-identity|-cbcs|-cenc|-aes-128)?\.m3u8|manifest(?:-cbcs|-cenc)?\.mpd)"
POSTER = r"/(?P<name>poster\.jpg)"
KEY = r"/keys/(?P<kid>[0-9a-f]{32})"
ASSET = r"/(?P<digest>[0-9a-f]{16})/(?P<name>[a-z-]+(?:\.min)?\.(?:js|css|svg))"

ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
    ("segment", re.compile(TRACK + r"/(?P<name>[1-9][0-9]{0,6}\.(?:m4s|vtt))"), Handlers.track_file),
    ("init", re.compile(TRACK + rf"/(?P<name>{layout.INIT_PATTERN})"), Handlers.track_file),
    ("sheet", re.compile(TRACK + r"/(?P<name>[1-9][0-9]{0,6}\.jpg)"), Handlers.track_file),
    ("index", re.compile(TRACK + r"/(?P<name>index)"), Handlers.track_file),
    ("thumbnails", re.compile(RELEASE + THUMBNAILS), Handlers.release_file),
    ("manifest", re.compile(RELEASE + TOP), Handlers.manifest),
    ("playlist", re.compile(RELEASE + PLAYLIST), Handlers.release_file),
    ("poster", re.compile(RELEASE + POSTER), Handlers.release_file),
    ("entry", re.compile(TITLE + TOP), Handlers.entry_point),
    ("entry", re.compile(TITLE + POSTER), Handlers.entry_point),
    ("entry", re.compile(TITLE + THUMBNAILS), Handlers.entry_point),
    ("key", re.compile(TITLE + KEY), Handlers.key),
    ("page", re.compile("/watch" + TITLE), Handlers.watch),
    ("asset", re.compile("/watch/assets" + ASSET), Handlers.asset),
    ("catalogue", re.compile("/"), Handlers.catalogue),
    ("health", re.compile("/(?:healthz|livez)"), Handlers.alive),
    ("health", re.compile("/readyz"), Handlers.ready),
    ("metrics", re.compile("/metrics"), Handlers.metrics),
)
"""Each route's name in metrics and logs, its path pattern and its handler."""
PUBLIC = frozenset({"asset", "health", "metrics"})
"""Routes that need no token."""
SHARED = frozenset({"segment", "init", "index", "playlist", "poster", "sheet", "thumbnails"})
"""Routes whose responses don't depend on the token. An edge that checks tokens may share them between clients.

Each is also the `File.kind` of the files that it serves.
"""
_SHARED_ROUTES = {name: pattern for name, pattern, _ in ROUTES if name in SHARED}
_MAX_PATH_CHARACTERS = 512
"""Maximum length of a path without its token; longer paths get a 404."""


class Origin:
    """Answers requests from a store.

    Args:
        store: Store with the releases.
        cache_bytes: Memory for cached files.
        access_log: Log of requests; None for no log.
        keys: Keys that sign tokens; None to serve everyone without tokens.
        state_dir: Folder for leases; required with ``keys``.
        disk: Folder of the disk cache for media; None for no disk cache.
        disk_bytes: Size of the disk cache, for all workers together.
        max_blobs: Maximum number of open files.
        licence_url: Address of the licence service; None if there is none.
        steering: Address of the steering server, which manifests at entry points name; empty for none.
        worker: Index of this worker process.

    Attributes:
        metrics: Counters of this worker.
        library: The cached store.
        handlers: Handlers of the routes.

    Raises:
        ConfigError: The folder for leases or the disk cache can't be used.
    """

    def __init__(
        self,
        store: Store,
        *,
        cache_bytes: int,
        access_log: AccessLog | None = None,
        keys: Keyring | None = None,
        state_dir: Path | None = None,
        disk: Path | None = None,
        disk_bytes: int = disk_cache.BYTES,
        max_blobs: int = BLOBS,
        licence_url: str | None = None,
        steering: str = "",
        worker: WorkerIndex = SINGLE,
    ) -> None:
        self.metrics = Metrics()
        disk_cache = None
        if disk is not None:
            if isinstance(store, LocalStore):
                raise ConfigError("a store in a folder is on a disk already: leave out --disk-cache")
            disk_cache = DiskCache(
                disk,
                disk_bytes,
                worker=worker.number,
                workers=worker.count,
                count=partial(asyncio.get_running_loop().call_soon_threadsafe, self.metrics.disk.inc),
            )
        self.library = Library(store, self.metrics, cache_bytes=cache_bytes, max_blobs=max_blobs, disk=disk_cache)
        self.handlers = Handlers(
            self.library,
            lambda: merged(worker, self.metrics.registry),
            licence_url=licence_url,
            steering=steering,
        )
        self._access_log = access_log
        self._leases: Leases | None = None
        self._access: Access | None = None
        if keys is not None:
            if state_dir is None:
                raise ConfigError("tokens need a folder for leases")
            self._leases = Leases(state_dir, on_fault=self.metrics.lease_faults.inc)
            self._access = Access(GrantChecker(keys, self._leases), self.library)

    def use_keys(self, keys: Keyring) -> None:
        """Check tokens with new keys from now on; no effect if the origin serves everyone."""
        if self._access is not None:
            self._access.checker.keys = keys

    async def close(self) -> None:
        """Close threads and files."""
        await self.library.close()
        if self._leases is not None:
            self._leases.close()

    def respond_at_once(self, request: Request) -> tuple[str, Response] | None:
        """The response of `respond` if it can be made without waiting, from a small cached file; otherwise None."""
        token, path = (None, request.path) if self._access is None else split_token(request.path)
        file = self.library.peek(layout.TITLES + path)
        if file is None or file.kind == "segment":  # segments are large
            return None
        response = self._cached_response(request, token, path, file)
        if response is None or not response.head or isinstance(response.body, Blob):
            return None
        self.library.count_hit()
        return file.kind, response

    async def respond(self, request: Request) -> tuple[str, Response]:
        """Return the name of the request's route, and the response."""
        token, path = (None, request.path) if self._access is None else split_token(request.path)
        # The file was cached for a request with this path, so its kind is the name of the path's route.
        file = self.library.cached(layout.TITLES + path)
        if file is not None and (response := self._cached_response(request, token, path, file)) is not None:
            return file.kind, response
        if len(path) <= _MAX_PATH_CHARACTERS:
            for name, pattern, handler in ROUTES:
                if (match := pattern.fullmatch(path)) is not None:
                    return name, await self._handle(name, handler, request, token, match)
        return NO_ROUTE, responses.NOT_FOUND

    def _cached_response(self, request: Request, token: str | None, path: str, file: File) -> Response | None:
        """The response with a cached file, or None if it takes a read of the store or a new lease.

        This is the fast path, which serves most requests.
        """
        if self._access is None:
            if file.kind == "manifest" and "?" in request.target and may_select(request.query):
                return None
            return responses.for_file(request.method, request.headers, file)
        route = _SHARED_ROUTES.get(file.kind)
        match = route.fullmatch(path) if route is not None else None
        if match is None:
            return None
        territory = self._access.checker.territory(request.headers)
        try:
            grant = self._access.check_cached(token, territory, match, is_segment=file.kind == "segment")
        except Denied as denied:
            return self._refused(denied)
        if grant is None:
            return None
        return responses.for_file(request.method, request.headers, file, _shared_caching(territory))

    def _refused(self, denied: Denied) -> Response:
        self.metrics.denied.inc(denied.reason.name.lower())
        return responses.forbidden(denied.reason, denied.retry_s)

    def completed(self, request: Request | None, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Count the player's CMCD report, and log the request."""
        if request is None:
            return
        if cmcd.MARK in request.target or cmcd.REQUEST in request.headers:
            self.metrics.count_cmcd(cmcd.read(request.target, request.headers))
        if self._access_log is not None:
            self._access_log.add(request.client, request.method, request.target, route, status, sent_bytes, seconds)

    async def _handle(
        self, route: str, handler: Handler, request: Request, token: str | None, match: re.Match[str]
    ) -> Response:
        """Check access, call the handler, and turn errors into responses."""
        try:
            if self._access is None or route in PUBLIC:
                return await handler(self.handlers, request, match, UNLIMITED)
            return await self._handle_with_token(self._access, route, handler, request, token, match)
        except Denied as denied:
            return self._refused(denied)
        except ObjectMissing:
            return responses.NOT_FOUND
        except HeadendError as error:
            return responses.BUSY if error.retryable else _BAD_GATEWAY
        except Exception:
            log.exception("a request failed")
            return responses.FAILED

    async def _handle_with_token(
        self, access: Access, route: str, handler: Handler, request: Request, token: str | None, match: re.Match[str]
    ) -> Response:
        territory = access.checker.territory(request.headers)
        grant = await access.check(
            token, territory, match, is_segment=route == "segment", client=client_key(request.client)
        )
        caching = _shared_caching(territory) if route in SHARED else responses.NO_STORE
        response = await handler(self.handlers, request, match, TokenLimits(grant.max_height_px, caching))
        if response.status >= HTTPStatus.BAD_REQUEST or response.headers.get(hdrs.CACHE_CONTROL) == caching:
            return response
        return responses.with_cache_control(response, caching)


def _shared_caching(territory: str | None) -> str:
    """Cache-Control of a shared route's file if tokens are checked.

    A territory comes from an edge, which checks tokens itself, so it may share the file between clients.
    """
    return responses.IMMUTABLE if territory is not None else responses.PRIVATE_IMMUTABLE


_BAD_GATEWAY = responses.error(HTTPStatus.BAD_GATEWAY)
