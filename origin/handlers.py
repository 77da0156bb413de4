"""What each route answers: from the match of a path to an `Answer`."""

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import hdrs
from prometheus_client import CONTENT_TYPE_LATEST

from headend import layout
from headend.errors import StorageError
from origin import answers
from origin.answers import Answer
from origin.index import Wanted
from origin.library import Library
from origin.request import Request
from origin.watch import pages

Path = re.Match[str]
LOOPBACK = frozenset({"127.0.0.1", "::1"})


class Handlers:
    """The handlers of one origin.

    Args:
        library: What can be served.
        figures: What was counted, in Prometheus' text format.

    Attributes:
        draining: Whether the origin is about to stop; readiness says so.
        metrics_port: The port where figures are for everyone, if there is one.
    """

    def __init__(self, library: Library, figures: Callable[[], Awaitable[bytes]]) -> None:
        self._library = library
        self._figures = figures
        self._pages = pages.load()
        self.draining = False
        self.metrics_port: int | None = None

    async def file(self, request: Request, path: Path) -> Answer:
        """A file of a release."""
        file = self._library.remembered(f"{layout.TITLES}{path[0]}")
        if file is None:
            named = path.groupdict()
            file = await self._library.file(
                Wanted(named["title"], named["release"], named.get("rendition"), named["name"])
            )
        return answers.for_file(request.method, request.headers, file)

    async def manifest(self, request: Request, path: Path) -> Answer:
        """A release's manifest, without what the plan leaves out."""
        limit = request.max_height_px
        if limit is None:
            return await self.file(request, path)
        file = await self._library.reduced_manifest(Wanted(path["title"], path["release"], None, path["name"]), limit)
        return answers.for_file(request.method, request.headers, file)

    async def entry_point(self, request: Request, path: Path) -> Answer:
        """The current release's manifest, poster or index of thumbnails.

        An MPD is given here, with its base: FFmpeg resolves what it names against the address before a redirect.
        """
        release = await self._library.current(path["title"])
        if path["name"] != layout.MPD:
            return answers.redirect(f"{release}/{path['name']}")
        wanted = Wanted(path["title"], release, None, layout.MPD)
        file = await self._library.based_mpd(wanted, request.max_height_px)
        found = answers.for_file(request.method, request.headers, file)
        # A cached error would shut out those who ask rightly.
        return answers.kept(found, answers.ENTRY_POINT) if found.status < HTTPStatus.BAD_REQUEST else found

    async def watch(self, _: Request, path: Path) -> Answer:
        """The page of a title."""
        await self._library.current(path["title"])
        return self._pages.watch()

    async def asset(self, request: Request, path: Path) -> Answer:
        """A script or style of a page."""
        return answers.for_file(request.method, request.headers, self._pages.asset(path["digest"], path["name"]))

    async def catalogue(self, request: Request, _: Path) -> Answer:
        """All titles: a page for browsers; for programs, with relative links to their entry points."""
        if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
            return self._pages.titles()
        titles = [
            {"title": title, "hls": f"{title}/{layout.MULTIVARIANT}", "dash": f"{title}/{layout.MPD}"}
            for title in await self._library.titles()
        ]
        found = answers.document(msgspec.json.encode({"titles": titles}), answers.JSON_TYPE, answers.BRIEFLY)
        found.headers[hdrs.VARY] = hdrs.ACCEPT
        return found

    async def alive(self, _: Request, __: Path) -> Answer:
        """That the process can answer."""
        return _OK

    async def ready(self, _: Request, __: Path) -> Answer:
        """Whether a load balancer should send clients here: not while stopping, nor without a store."""
        if self.draining:
            return _STOPPING
        try:
            await self._library.check()
        except StorageError:
            return _STORE_AWAY
        return _OK

    async def figures(self, request: Request, _: Path) -> Answer:
        """What was counted: for who asks at this machine's own address, or at the port for it."""
        address, port = request.server
        if port != self.metrics_port and address.removeprefix("::ffff:") not in LOOPBACK:
            return answers.refusal(HTTPStatus.NOT_FOUND)
        return answers.document(await self._figures(), CONTENT_TYPE_LATEST, answers.NEVER)


Handler = Callable[[Handlers, Request, Path], Awaitable[Answer]]

_STOPPING = answers.refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason="this origin is about to stop")
_STORE_AWAY = answers.refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason="the store does not answer")
_OK = answers.document(b"ok\n", "text/plain; charset=utf-8", answers.NEVER)
