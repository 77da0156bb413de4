"""The origin's routes, all on this screen, and the way of every request.

Paths are matched as they arrive, undecoded, and only what is listed here exists: neither plans, receipts and attempts
nor anything with ``%``, ``..``, ``//`` or a backslash can be spelled. A query is ignored: it can't split a cache.
"""

import logging
import re
import time
from http import HTTPStatus
from pathlib import Path

from aiohttp import hdrs, web

from headend.errors import HeadendError, ObjectMissing
from headend.storage import Store
from origin import answers
from origin.access import Access, Denied, split_token
from origin.access_log import AccessLog
from origin.answers import Answer
from origin.connections import Burden, send
from origin.handlers import MAX_HEIGHT_PX, Handler, Handlers
from origin.leases import Leases
from origin.library import Library
from origin.metrics import Metrics
from origin.tokens import Keyring

log = logging.getLogger("headend.origin")

TITLE = r"/(?P<title>[a-z0-9-]{1,64})"
RELEASE = TITLE + r"/(?P<release>[A-Za-z0-9-]{1,64})"
RENDITION = RELEASE + r"/(?P<rendition>[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64}){0,3})"
TOP = r"/(?P<name>multivariant\.m3u8|manifest\.mpd)"
POSTER = r"/(?P<name>poster\.jpg)"
ASSET = r"/(?P<digest>[0-9a-f]{16})/(?P<name>[a-z-]+(?:\.min)?\.(?:js|css|svg))"

ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
    ("segment", re.compile(RENDITION + r"/(?P<name>[1-9][0-9]{0,6}\.m4s)"), Handlers.file),
    ("init", re.compile(RENDITION + r"/(?P<name>init\.mp4)"), Handlers.file),
    ("playlist", re.compile(RENDITION + r"/(?P<name>(?:media|iframes)\.m3u8)"), Handlers.file),
    ("manifest", re.compile(RELEASE + TOP), Handlers.manifest),
    ("poster", re.compile(RELEASE + POSTER), Handlers.file),
    ("entry", re.compile(TITLE + TOP), Handlers.entry_point),
    ("entry", re.compile(TITLE + POSTER), Handlers.entry_point),
    ("page", re.compile("/watch" + TITLE), Handlers.watch),
    ("asset", re.compile("/watch/assets" + ASSET), Handlers.asset),
    ("catalogue", re.compile("/"), Handlers.catalogue),
    ("health", re.compile("/(?:healthz|livez)"), Handlers.alive),
    ("health", re.compile("/readyz"), Handlers.ready),
    ("metrics", re.compile("/metrics"), Handlers.figures),
)
"""The name of a route in metrics and logs, the paths it takes, and who answers."""
NO_ROUTE = "other"
PUBLIC = frozenset({"asset", "health", "metrics"})
"""Routes that need no token."""
SHARED = frozenset({"segment", "init", "playlist", "poster"})
"""Routes whose answers are the same for all who may have them. An edge, which checks tokens itself, may share them."""


class Origin:
    """Answers requests from a store.

    Args:
        store: Where releases are.
        cache_bytes: Memory for files.
        sending_bytes: Memory for bodies under way; beyond, clients are asked to come back.
        access_log: Where requests are written down; None for nowhere.
        keys: What tokens are signed with; None if everything is open to everyone.
        state_dir: Where leases are kept; needed with keys.

    Raises:
        ConfigError: Leases can't be kept there.
    """

    def __init__(
        self,
        store: Store,
        *,
        cache_bytes: int,
        sending_bytes: int,
        access_log: AccessLog | None = None,
        keys: Keyring | None = None,
        state_dir: Path | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.library = Library(store, self.metrics, cache_bytes=cache_bytes)
        self.handlers = Handlers(self.library, self.metrics)
        self._burden = Burden(sending_bytes)
        self._access_log = access_log
        self._leases: Leases | None = None
        self._access: Access | None = None
        if keys is not None and state_dir is not None:
            self._leases = Leases(state_dir, on_fault=self.metrics.lease_faults.inc)
            self._access = Access(keys, self._leases, self.library)
        self.metrics.watch("sending_bytes", "Memory that bodies under way take.", lambda: self._burden.size_bytes)

    def close(self) -> None:
        """Let go of threads and files."""
        self.library.close()
        if self._leases is not None:
            self._leases.close()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request, count it and write it down."""
        started_s = time.perf_counter()
        route, answer = await self._answer(request)
        closes = answer.closes or self.handlers.draining
        with self._burden.of(answer.body) as bearable:
            if not bearable:
                answer = answers.refusal(HTTPStatus.SERVICE_UNAVAILABLE)
            response, sent_bytes = await send(request, answer, self.metrics, closes=closes)
        seconds = time.perf_counter() - started_s
        self.metrics.answered(route, answer.status, sent_bytes, seconds)
        if self._access_log is not None:
            self._access_log.add(request, route, answer.status, sent_bytes, seconds)
        return response

    async def _answer(self, request: web.BaseRequest) -> tuple[str, Answer]:
        if request.method == hdrs.METH_OPTIONS:
            return NO_ROUTE, answers.preflight()
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return NO_ROUTE, answers.refusal(HTTPStatus.METHOD_NOT_ALLOWED, closes=True)
        if request.body_exists:
            # No honest client sends one, and a cache in front may disagree on where it ends.
            return NO_ROUTE, answers.refusal(HTTPStatus.BAD_REQUEST, closes=True)
        path = request.raw_path.partition("?")[0]
        token, path = (None, path) if self._access is None else split_token(path)
        for name, pattern, handler in ROUTES:
            if (found := pattern.fullmatch(path)) is not None:
                return name, await self._guarded(name, handler, request, token, found)
        return NO_ROUTE, answers.refusal(HTTPStatus.NOT_FOUND)

    async def _guarded(
        self, name: str, handler: Handler, request: web.BaseRequest, token: str | None, path: re.Match[str]
    ) -> Answer:
        try:
            if self._access is None or name in PUBLIC:
                return await handler(self.handlers, request, path)
            return await self._permitted(self._access, name, handler, request, token, path)
        except Denied as denied:
            self.metrics.denied(denied.reason.name.lower())
            return answers.denial(denied.reason, denied.retry_s)
        except ObjectMissing:
            return answers.refusal(HTTPStatus.NOT_FOUND)
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
        request: web.BaseRequest,
        token: str | None,
        path: re.Match[str],
    ) -> Answer:
        territory = access.territory(request.headers)
        grant = await access.check(token, territory, path, is_segment=name == "segment")
        if grant.max_height_px is not None:
            request[MAX_HEIGHT_PX] = grant.max_height_px
        answer = await handler(self.handlers, request, path)
        if answer.status < HTTPStatus.BAD_REQUEST:
            if name not in SHARED:
                answer.headers[hdrs.CACHE_CONTROL] = answers.NEVER
            elif territory is None:
                answer.headers[hdrs.CACHE_CONTROL] = answers.PERSONAL
        return answer
