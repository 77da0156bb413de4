"""The origin's routes, all on this screen, and the way of every request.

Paths are matched as they arrive, undecoded, and only what is listed here exists: neither plans, receipts and attempts
nor anything with ``%``, ``..``, ``//`` or a backslash can be spelled. A query is ignored: it can't split a cache.
"""

import logging
import re
import time
from http import HTTPStatus

from aiohttp import hdrs, web

from headend.errors import HeadendError, ObjectMissing
from headend.storage import Store
from origin import answers
from origin.access_log import AccessLog
from origin.answers import Answer
from origin.connections import Burden, send
from origin.handlers import Handler, Handlers
from origin.library import Library
from origin.metrics import Metrics

log = logging.getLogger("headend.origin")

TITLE = r"/(?P<title>[a-z0-9-]{1,64})"
RELEASE = TITLE + r"/(?P<release>[A-Za-z0-9-]{1,64})"
RENDITION = RELEASE + r"/(?P<rendition>[A-Za-z0-9-]{1,64}(?:\.[A-Za-z0-9-]{1,64}){0,3})"
TOP = r"/(?P<name>multivariant\.m3u8|manifest\.mpd)"

ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = (
    ("segment", re.compile(RENDITION + r"/(?P<name>[1-9][0-9]{0,6}\.m4s)"), Handlers.file),
    ("init", re.compile(RENDITION + r"/(?P<name>init\.mp4)"), Handlers.file),
    ("playlist", re.compile(RENDITION + r"/(?P<name>(?:media|iframes)\.m3u8)"), Handlers.file),
    ("manifest", re.compile(RELEASE + TOP), Handlers.file),
    ("entry", re.compile(TITLE + TOP), Handlers.entry_point),
    ("catalogue", re.compile("/"), Handlers.catalogue),
    ("health", re.compile("/(?:healthz|livez)"), Handlers.alive),
    ("health", re.compile("/readyz"), Handlers.ready),
    ("metrics", re.compile("/metrics"), Handlers.figures),
)
"""The name of a route in metrics and logs, the paths it takes, and who answers."""
NO_ROUTE = "other"


class Origin:
    """Answers requests from a store.

    Args:
        store: Where releases are.
        cache_bytes: Memory for files.
        sending_bytes: Memory for bodies under way; beyond, clients are asked to come back.
        access_log: Where requests are written down; None for nowhere.
    """

    def __init__(
        self, store: Store, *, cache_bytes: int, sending_bytes: int, access_log: AccessLog | None = None
    ) -> None:
        self.metrics = Metrics()
        self.library = Library(store, self.metrics, cache_bytes=cache_bytes)
        self.handlers = Handlers(self.library, self.metrics)
        self._burden = Burden(sending_bytes)
        self._access_log = access_log
        self.metrics.watch("sending_bytes", "Memory that bodies under way take.", lambda: self._burden.size_bytes)

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
        for name, pattern, handler in ROUTES:
            if (found := pattern.fullmatch(path)) is not None:
                return name, await self._guarded(handler, request, found)
        return NO_ROUTE, answers.refusal(HTTPStatus.NOT_FOUND)

    async def _guarded(self, handler: Handler, request: web.BaseRequest, path: re.Match[str]) -> Answer:
        try:
            return await handler(self.handlers, request, path)
        except ObjectMissing:
            return answers.refusal(HTTPStatus.NOT_FOUND)
        except HeadendError as error:
            return answers.refusal(HTTPStatus.SERVICE_UNAVAILABLE if error.retryable else HTTPStatus.BAD_GATEWAY)
        except Exception:
            log.exception("a request could not be answered")
            return answers.refusal(HTTPStatus.INTERNAL_SERVER_ERROR)
