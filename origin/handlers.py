"""The handlers of all routes: from a matched path to a `Response`."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import msgspec
from aiohttp import hdrs
from prometheus_client import CONTENT_TYPE_LATEST

from headend.core import layout
from headend.core.errors import StorageError
from headend.core.http import responses
from headend.core.http.requests import Request
from headend.core.http.responses import Response
from headend.core.http.server import client_key
from headend.core.manifests.selection import ALL, SelectionError, parse
from origin.index import Wanted
from origin.library import Library
from origin.policy import ENTRY_POINT, RENDERED
from origin.watch import pages

Path = re.Match[str]
LOOPBACK = frozenset({"127.0.0.1", "::1"})
_AFTER = re.compile(r"(?:^|&)after=([a-z0-9-]{1,64})(?=&|$)")
STEERED = "steering=on"
"""Term of a query: the manifest is to name the steering server."""
_STEERED = re.compile(rf"(?:^|&){STEERED}(?=&|$)")
PAGE_TITLES = 60
"""Titles on one page of the list."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a request's token allows.

    Attributes:
        max_height_px: The plan's highest resolution; None for no limit.
        caching: Cache-Control of files; None for their own.
    """

    max_height_px: int | None = None
    caching: str | None = None


OPEN = Terms()
"""The terms of an origin that is open to everyone."""


class Handlers:
    """The handlers of one origin.

    Args:
        library: What can be served.
        exposition: All metrics, in Prometheus' text format.
        licence_url: Where the licence service is, for pages and players; None if there is none.
        steering: Address of the steering server, which entry points name; empty for none.

    Attributes:
        is_draining: Whether the origin is about to stop; readiness says so.
        metrics_port: The port where metrics are for everyone, if there is one.
    """

    def __init__(
        self,
        library: Library,
        exposition: Callable[[], Awaitable[bytes]],
        *,
        licence_url: str | None = None,
        steering: str = "",
    ) -> None:
        self._library = library
        self._exposition = exposition
        self._licence_url = licence_url
        self._steering = steering
        self._pages = pages.load(licence_url=licence_url or "", is_steered=bool(steering))
        self.is_draining = False
        self.metrics_port: int | None = None

    async def track_file(self, request: Request, path: Path, terms: Terms) -> Response:
        """A file of a track."""
        file = self._library.cached(f"{layout.TITLES}{path[0]}")
        if file is None:
            wanted = Wanted(path["title"], None, path["track"], path["name"])
            file = await self._library.file(wanted, client_key(request.client))
        return responses.for_file(request.method, request.headers, file, terms.caching)

    async def release_file(self, request: Request, path: Path, terms: Terms) -> Response:
        """A file of a release, such as a playlist of a track."""
        file = self._library.cached(f"{layout.TITLES}{path[0]}")
        if file is None:
            wanted = Wanted(path["title"], path["release"], None, path["name"])
            file = await self._library.file(wanted, client_key(request.client))
        return responses.for_file(request.method, request.headers, file, terms.caching)

    async def manifest(self, request: Request, path: Path, terms: Terms) -> Response:
        """A release's manifest, without what the query and the plan leave out.

        The address of a release never changes its bytes, so it names a steering server only if the query asks for it.
        """
        steering = self._steering_of(path["title"]) if _STEERED.search(request.query) else ""
        try:
            selection = parse(request.query)
            if selection is ALL and terms.max_height_px is None and not steering:
                return await self.release_file(request, path, terms)
            wanted = Wanted(path["title"], path["release"], None, path["name"])
            client = client_key(request.client)
            file = await self._library.manifest(
                wanted, selection, terms.max_height_px, steering=steering, client=client
            )
        except SelectionError as error:
            return _refused(error)
        caching = terms.caching or (ENTRY_POINT if steering else RENDERED)
        return responses.for_file(request.method, request.headers, file, caching)

    async def entry_point(self, request: Request, path: Path, terms: Terms) -> Response:
        """The current release's manifest, poster or index of thumbnails.

        Most are redirects, so that players resolve relative URIs against the release (RFC 3986, section 5.1.3). An MPD
        is sent from here, with its base: FFmpeg resolves what it names against the address before a redirect.
        """
        client = client_key(request.client)
        try:
            is_manifest = path["name"].endswith((layout.DASH_SUFFIX, layout.HLS_SUFFIX))
            selection = parse(request.query) if is_manifest else ALL
            release = await self._library.current(path["title"], client)
            steering = self._steering_of(path["title"]) if is_manifest else ""
            if not path["name"].endswith(layout.DASH_SUFFIX):
                query = "&".join(filter(None, (selection.canonical, STEERED if steering else "")))
                return responses.redirect(f"releases/{release}/{path['name']}{'?' * bool(query)}{query}", ENTRY_POINT)
            wanted = Wanted(path["title"], release, None, path["name"])
            file = await self._library.manifest(
                wanted, selection, terms.max_height_px, is_above=True, steering=steering, client=client
            )
        except SelectionError as error:
            return _refused(error)
        return responses.for_file(request.method, request.headers, file, terms.caching or ENTRY_POINT)

    async def key(self, request: Request, _: Path, __: Terms) -> Response:
        """Where a content key is: playlists name keys relative to their title, and the licence service has them.

        The path is repeated there as it is, so that its token decides.
        """
        if self._licence_url is None:
            return responses.NOT_FOUND
        return responses.redirect(f"{self._licence_url}{request.path}", responses.NO_STORE)

    def _steering_of(self, title: str) -> str:
        return f"{self._steering}/{title}" if self._steering else ""

    async def watch(self, request: Request, path: Path, _: Terms) -> Response:
        """The page of a title."""
        await self._library.current(path["title"], client_key(request.client))
        return self._pages.watch()

    async def asset(self, request: Request, path: Path, _: Terms) -> Response:
        """A script or style of a page."""
        asset = self._pages.asset(path["digest"], path["name"])
        file = asset.file() if asset.is_ready else await asyncio.to_thread(asset.file)
        return responses.for_file(request.method, request.headers, file)

    async def catalogue(self, request: Request, _: Path, __: Terms) -> Response:
        """The titles: a page for browsers; for programs, one page of relative links to entry points."""
        if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
            return self._pages.titles()
        after = _AFTER.search(request.query)
        titles, last = await self._library.titles(after[1] if after else "", PAGE_TITLES)
        listed = [
            {"title": title, "hls": f"{title}/{layout.MULTIVARIANT}", "dash": f"{title}/{layout.MPD}"}
            for title in titles
        ]
        page: dict[str, object] = {"titles": listed}
        if last is not None:
            page["next"] = f"?after={last}"
        found = responses.document(msgspec.json.encode(page), responses.JSON_TYPE, responses.BRIEFLY)
        found.headers[hdrs.VARY] = hdrs.ACCEPT
        return found

    async def alive(self, _: Request, __: Path, ___: Terms) -> Response:
        """That the process can answer."""
        return _OK

    async def ready(self, _: Request, __: Path, ___: Terms) -> Response:
        """Whether a load balancer should send clients here: not while stopping, nor without a store."""
        if self.is_draining:
            return _STOPPING
        try:
            await self._library.check()
        except StorageError:
            return _STORE_AWAY
        return _OK

    async def metrics(self, request: Request, _: Path, __: Terms) -> Response:
        """The metrics, for clients on this machine or at the port for metrics."""
        address, port = request.local
        if port != self.metrics_port and address.removeprefix("::ffff:") not in LOOPBACK:
            return responses.NOT_FOUND
        return responses.document(await self._exposition(), CONTENT_TYPE_LATEST, responses.NO_STORE)


Handler = Callable[[Handlers, Request, Path, Terms], Awaitable[Response]]
"""Gets the request, the match of its path, and what its token allows."""


def _refused(error: SelectionError) -> Response:
    return responses.error(HTTPStatus.BAD_REQUEST, reason=str(error))


_STOPPING = responses.error(HTTPStatus.SERVICE_UNAVAILABLE, reason="this origin is about to stop")
_STORE_AWAY = responses.error(HTTPStatus.SERVICE_UNAVAILABLE, reason="the store does not answer")
_OK = responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)
