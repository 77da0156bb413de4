"""The origin's routes, all on this screen, and the way of every request.

Paths are matched as they arrive, undecoded, and only what is listed here exists: neither plans, receipts and attempts
nor anything with ``%``, ``..``, ``//`` or a backslash can be spelled. A query is ignored: it can't split a cache.
"""

import asyncio
import logging
import re
from functools import partial
from http import HTTPStatus
from pathlib import Path

from aiohttp import hdrs

from headend import layout
from headend.errors import ConfigError, HeadendError, ObjectMissing
from headend.storage import Store
from headend.storage.local import LocalStore
from origin import answers, cmcd, disk_cache
from origin.access import Access, Denied, split_token
from origin.access_log import AccessLog
from origin.answers import Answer
from origin.connections import NO_ROUTE, Asked
from origin.disk_cache import DiskCache
from origin.figures import ALONE, Post, gathered
from origin.freshness import Headers
from origin.handlers import Handler, Handlers
from origin.leases import Leases
from origin.library import BLOBS, Library
from origin.metrics import Metrics
from origin.request import Request
from origin.tokens import Keyring

log = logging.getLogger("headend.origin")

TITLE = r"/(?P<title>[a-z0-9-]{1,64})"
RELEASE = TITLE + r"/(?P<release>[A-Za-z0-9-]{1,64})"
RENDITION = RELEASE + r"/(?P<rendition>[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64}){0,3})"
THUMBNAILS = r"/(?P<name>thumbnails\.vtt)"
TOP = r"/(?P<name>multivariant\.m3u8|manifest\.mpd)"
POSTER = r"/(?P<name>poster\.jpg)"
ASSET = r"/(?P<digest>[0-9a-f]{16})/(?P<name>[a-z-]+(?:\.min)?\.(?:js|css|svg))"

ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
    ("segment", re.compile(RENDITION + r"/(?P<name>[1-9][0-9]{0,6}\.(?:m4s|vtt))"), Handlers.file),
    ("init", re.compile(RENDITION + r"/(?P<name>init\.mp4)"), Handlers.file),
    ("playlist", re.compile(RENDITION + r"/(?P<name>(?:media|iframes|images)\.m3u8)"), Handlers.file),
    ("sheet", re.compile(RENDITION + r"/(?P<name>[1-9][0-9]{0,6}\.jpg)"), Handlers.file),
    ("thumbnails", re.compile(RELEASE + THUMBNAILS), Handlers.file),
    ("manifest", re.compile(RELEASE + TOP), Handlers.manifest),
    ("poster", re.compile(RELEASE + POSTER), Handlers.file),
    ("entry", re.compile(TITLE + TOP), Handlers.entry_point),
    ("entry", re.compile(TITLE + POSTER), Handlers.entry_point),
    ("entry", re.compile(TITLE + THUMBNAILS), Handlers.entry_point),
    ("page", re.compile("/watch" + TITLE), Handlers.watch),
    ("asset", re.compile("/watch/assets" + ASSET), Handlers.asset),
    ("catalogue", re.compile("/"), Handlers.catalogue),
    ("health", re.compile("/(?:healthz|livez)"), Handlers.alive),
    ("health", re.compile("/readyz"), Handlers.ready),
    ("metrics", re.compile("/metrics"), Handlers.figures),
)
"""The name of a route in metrics and logs, the paths it takes, and who answers."""
PUBLIC = frozenset({"asset", "health", "metrics"})
"""Routes that need no token."""
SHARED = frozenset({"segment", "init", "playlist", "poster", "sheet", "thumbnails"})
"""Routes whose answers are the same for all who may have them. An edge, which checks tokens itself, may share them."""


class Origin:
    """Answers requests from a store.

    Args:
        store: Where releases are.
        cache_bytes: Memory for files.
        access_log: Where requests are written down; None for nowhere.
        keys: What tokens are signed with; None if everything is open to everyone.
        state_dir: Where leases are kept; needed with keys.
        disk: Where media is kept as well; None for nowhere.
        disk_bytes: Room for it, for all processes together.
        most_blobs: How many files may be held open.
        post: Which of the processes this is.

    Raises:
        ConfigError: Leases or media can't be kept there.
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
        most_blobs: int = BLOBS,
        post: Post = ALONE,
    ) -> None:
        self.metrics = Metrics()
        kept = None
        if disk is not None:
            if isinstance(store, LocalStore):
                raise ConfigError("a store in a folder is on a disk already: leave --disk-cache away")
            kept = DiskCache(
                disk,
                disk_bytes,
                place=post.place,
                places=post.places,
                count=partial(asyncio.get_running_loop().call_soon_threadsafe, self.metrics.disk.inc),
            )
        self.library = Library(store, self.metrics, cache_bytes=cache_bytes, most_blobs=most_blobs, disk=kept)
        self.handlers = Handlers(self.library, lambda: gathered(post, self.metrics))
        self._access_log = access_log
        self._leases: Leases | None = None
        self._access: Access | None = None
        if keys is not None and state_dir is not None:
            self._leases = Leases(state_dir, on_fault=self.metrics.lease_faults.inc)
            self._access = Access(keys, self._leases, self.library)

    async def close(self) -> None:
        """Let go of threads and files."""
        await self.library.close()
        if self._leases is not None:
            self._leases.close()

    def at_once(self, method: str, target: str, headers: Headers, *, has_body: bool) -> tuple[str, Answer] | None:
        """The route and answer for what is in memory and everybody's, and for what is none for files."""
        if method not in _METHODS:
            return NO_ROUTE, _PREFLIGHT if method == hdrs.METH_OPTIONS else _NO_METHOD
        if has_body:
            # No honest client sends one, and a cache in front may disagree on where it ends.
            return NO_ROUTE, _NO_BODY
        if self._access is not None:
            return None
        # What is remembered was asked for by this path before, so that it needs no matching.
        file = self.library.remembered(layout.TITLES + target.partition("?")[0])
        return None if file is None else (file.kind, answers.for_file(method, headers, file))

    async def in_time(self, request: Request) -> tuple[str, Answer]:
        """The route and answer for all that may have to be looked up."""
        path = request.path
        token, path = (None, path) if self._access is None else split_token(path)
        for name, pattern, handler in ROUTES:
            if (found := pattern.fullmatch(path)) is not None:
                return name, await self._guarded(name, handler, request, token, found)
        return NO_ROUTE, _NOT_FOUND

    def answered(self, asked: Asked, route: str, status: int, sent_bytes: int, seconds: float) -> None:
        """Count an answer and write it down."""
        self.metrics.answered(route, status, sent_bytes, seconds)
        message = asked.message
        if message is None:
            return
        if cmcd.MARK in message.path or cmcd.REQUEST in message.headers:
            self.metrics.told(cmcd.read(message.path, message.headers))
        if self._access_log is not None:
            self._access_log.add(asked.client, message.method, message.path, route, status, sent_bytes, seconds)

    async def _guarded(
        self, name: str, handler: Handler, request: Request, token: str | None, path: re.Match[str]
    ) -> Answer:
        try:
            if self._access is None or name in PUBLIC:
                return await handler(self.handlers, request, path)
            return await self._permitted(self._access, name, handler, request, token, path)
        except Denied as denied:
            self.metrics.denied.inc(denied.reason.name.lower())
            return answers.denial(denied.reason, denied.retry_s)
        except ObjectMissing:
            return _NOT_FOUND
        except HeadendError as error:
            return answers.refusal(HTTPStatus.SERVICE_UNAVAILABLE if error.retryable else HTTPStatus.BAD_GATEWAY)
        except Exception:
            log.exception("a request could not be answered")
            return answers.refusal(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _permitted(
        self,
        access: Access,
        name: str,
        handler: Handler,
        request: Request,
        token: str | None,
        path: re.Match[str],
    ) -> Answer:
        territory = access.territory(request.headers)
        grant = await access.check(token, territory, path, is_segment=name == "segment")
        request.max_height_px = grant.max_height_px
        answer = await handler(self.handlers, request, path)
        if answer.status >= HTTPStatus.BAD_REQUEST or (name in SHARED and territory is not None):
            return answer
        return answers.kept(answer, answers.PERSONAL if name in SHARED else answers.NEVER)


_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_PREFLIGHT = answers.preflight()
_NO_METHOD = answers.refusal(HTTPStatus.METHOD_NOT_ALLOWED, closes=True)
_NO_BODY = answers.refusal(HTTPStatus.BAD_REQUEST, closes=True)
_NOT_FOUND = answers.refusal(HTTPStatus.NOT_FOUND)
