"""What each route answers: from the match of a path to an `Answer`."""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from headend import layout
from headend.errors import StorageError
from origin import answers
from origin.answers import Answer
from origin.library import Library, Wanted
from origin.metrics import Metrics

Path = re.Match[str]


class Handlers:
    """The handlers of one origin.

    Args:
        library: What can be served.
        metrics: What is counted.

    Attributes:
        draining: Whether the origin is about to stop; readiness says so.
    """

    def __init__(self, library: Library, metrics: Metrics) -> None:
        self._library = library
        self._metrics = metrics
        self.draining = False

    async def file(self, request: web.BaseRequest, path: Path) -> Answer:
        """A file of a release."""
        file = self._library.remembered(f"{layout.TITLES}{path[0]}")
        if file is None:
            named = path.groupdict()
            file = await self._library.file(
                Wanted(named["title"], named["release"], named.get("rendition"), named["name"])
            )
        return answers.for_file(request.method, request.headers, file)

    async def entry_point(self, _: web.BaseRequest, path: Path) -> Answer:
        """The current release's manifest."""
        release = await self._library.current(path["title"])
        return answers.redirect(f"{release}/{path['name']}")

    async def catalogue(self, _: web.BaseRequest, __: Path) -> Answer:
        """All titles, with relative links to their entry points."""
        titles = [
            {"title": title, "hls": f"{title}/{layout.MULTIVARIANT}", "dash": f"{title}/{layout.MPD}"}
            for title in await self._library.titles()
        ]
        return answers.document(msgspec.json.encode({"titles": titles}), answers.JSON_TYPE, answers.BRIEFLY)

    async def alive(self, _: web.BaseRequest, __: Path) -> Answer:
        """That the process can answer."""
        return _OK

    async def ready(self, _: web.BaseRequest, __: Path) -> Answer:
        """Whether a load balancer should send clients here: not while stopping, nor without a store."""
        if self.draining:
            return answers.refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            await self._library.check()
        except StorageError:
            return answers.refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        return _OK

    async def figures(self, _: web.BaseRequest, __: Path) -> Answer:
        """What was counted."""
        return answers.document(self._metrics.exposition(), CONTENT_TYPE_LATEST, answers.NEVER)


Handler = Callable[[Handlers, web.BaseRequest, Path], Awaitable[Answer]]

_OK = answers.document(b"ok\n", "text/plain; charset=utf-8", answers.NEVER)
