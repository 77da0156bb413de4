"""Request handlers: each serves one or more routes, and turns the match of a request's path into a `Response`."""

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
from origin.library import Library
from origin.policy import ENTRY_POINT, RENDERED
from origin.releases import RequestedFile
from origin.watch import pages

PathMatch = re.Match[str]
"""Match of a request's path, without the token, against a route's pattern."""
LOOPBACK = frozenset({"127.0.0.1", "::1"})
STEERING_PARAMETER = "steering=on"
"""Query parameter that asks for a manifest with the steering server's address."""
_STEERING = re.compile(rf"(?:^|&){STEERING_PARAMETER}(?=&|$)")
_AFTER = re.compile(r"(?:^|&)after=([a-z0-9-]{1,64})(?=&|$)")
"""Query parameter of the catalogue: the last title of the previous page."""
PAGE_TITLES = 60
"""Titles per page of the catalogue."""


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """How a request's token restricts the response.

    Attributes:
        max_height_px: The plan's highest resolution; None for no limit.
        caching: Cache-Control instead of the files' own; None keeps theirs.
    """

    max_height_px: int | None = None
    caching: str | None = None


UNLIMITED = TokenLimits()
"""For requests without a token: at an origin without tokens, and for public routes."""


class Handlers:
    """The handlers of one origin.

    Args:
        library: The cached store.
        exposition: Renders all metrics in Prometheus' text format.
        licence_url: Address of the licence service, for pages and players; None if there is none.
        steering: Address of the steering server, which manifests at entry points name; empty for none.

    Attributes:
        is_draining: Whether the origin is stopping; then it is not ready.
        metrics_port: Port on which any client may read the metrics; None if there is none.
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

    async def track_file(self, request: Request, match: PathMatch, limits: TokenLimits) -> Response:
        """A file of a track."""
        file = self._library.cached(f"{layout.TITLES}{match[0]}")
        if file is None:
            requested = RequestedFile(match["title"], None, match["track"], match["name"])
            file = await self._library.file(requested, client_key(request.client))
        return responses.for_file(request.method, request.headers, file, limits.caching)

    async def release_file(self, request: Request, match: PathMatch, limits: TokenLimits) -> Response:
        """A file of a release, such as a playlist of a track."""
        file = self._library.cached(f"{layout.TITLES}{match[0]}")
        if file is None:
            requested = RequestedFile(match["title"], match["release"], None, match["name"])
            file = await self._library.file(requested, client_key(request.client))
        return responses.for_file(request.method, request.headers, file, limits.caching)

    async def manifest(self, request: Request, match: PathMatch, limits: TokenLimits) -> Response:
        """A release's manifest, filtered by the query and the token's plan.

        It names the steering server only if the query asks for that: the operator may change the steering server, but
        the bytes at a release's own address never change.
        """
        steering = self._steering_url(match["title"]) if _STEERING.search(request.query) else ""
        try:
            selection = parse(request.query)
            if selection is ALL and limits.max_height_px is None and not steering:
                return await self.release_file(request, match, limits)
            requested = RequestedFile(match["title"], match["release"], None, match["name"])
            client = client_key(request.client)
            file = await self._library.manifest(
                requested, selection, limits.max_height_px, steering=steering, client=client
            )
        except SelectionError as error:
            return _refused(error)
        caching = limits.caching or (ENTRY_POINT if steering else RENDERED)
        return responses.for_file(request.method, request.headers, file, caching)

    async def entry_point(self, request: Request, match: PathMatch, limits: TokenLimits) -> Response:
        """The current release's manifest, poster or thumbnail index.

        The response is a redirect to the release, so that players resolve relative URIs against the release's address
        (RFC 3986, section 5.1.3). Only MPDs are sent directly, with a BaseURL, because FFmpeg resolves their URIs
        against the address before the redirect.
        """
        client = client_key(request.client)
        try:
            is_manifest = match["name"].endswith((layout.DASH_SUFFIX, layout.HLS_SUFFIX))
            selection = parse(request.query) if is_manifest else ALL
            release = await self._library.current(match["title"], client)
            steering = self._steering_url(match["title"]) if is_manifest else ""
            if not match["name"].endswith(layout.DASH_SUFFIX):
                location = f"releases/{release}/{match['name']}"
                query = "&".join(filter(None, (selection.canonical, STEERING_PARAMETER if steering else "")))
                return responses.redirect(f"{location}?{query}" if query else location, ENTRY_POINT)
            requested = RequestedFile(match["title"], release, None, match["name"])
            file = await self._library.manifest(
                requested, selection, limits.max_height_px, at_entry_point=True, steering=steering, client=client
            )
        except SelectionError as error:
            return _refused(error)
        return responses.for_file(request.method, request.headers, file, limits.caching or ENTRY_POINT)

    async def key(self, request: Request, _: PathMatch, __: TokenLimits) -> Response:
        """Redirect to the licence service, which serves the content keys that playlists name relative to their title.

        The redirect keeps the path, token included, so that the licence service can check the token.
        """
        if self._licence_url is None:
            return responses.NOT_FOUND
        return responses.redirect(f"{self._licence_url}{request.path}", responses.NO_STORE)

    def _steering_url(self, title: str) -> str:
        return f"{self._steering}/{title}" if self._steering else ""

    async def watch(self, request: Request, match: PathMatch, _: TokenLimits) -> Response:
        """The watch page of a title that exists; its script gets the title from the page's address."""
        await self._library.current(match["title"], client_key(request.client))
        return self._pages.watch()

    async def asset(self, request: Request, match: PathMatch, _: TokenLimits) -> Response:
        """A script or style of a page."""
        asset = self._pages.asset(match["digest"], match["name"])
        file = asset.file() if asset.is_ready else await asyncio.to_thread(asset.file)
        return responses.for_file(request.method, request.headers, file)

    async def catalogue(self, request: Request, _: PathMatch, __: TokenLimits) -> Response:
        """The titles: an HTML page for browsers; otherwise JSON with up to `PAGE_TITLES` titles and their manifests."""
        if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
            return self._pages.titles()
        after = _AFTER.search(request.query)
        titles, last = await self._library.titles(after[1] if after else "", PAGE_TITLES)
        entries = [
            {"title": title, "hls": f"{title}/{layout.MULTIVARIANT}", "dash": f"{title}/{layout.MPD}"}
            for title in titles
        ]
        page: dict[str, object] = {"titles": entries}
        if last is not None:
            page["next"] = f"?after={last}"
        response = responses.document(msgspec.json.encode(page), responses.JSON_TYPE, responses.SHORT_LIVED)
        response.headers[hdrs.VARY] = hdrs.ACCEPT
        return response

    async def alive(self, _: Request, __: PathMatch, ___: TokenLimits) -> Response:
        """Liveness: the process answers."""
        return _OK

    async def ready(self, _: Request, __: PathMatch, ___: TokenLimits) -> Response:
        """Readiness: the origin is not stopping and its store answers."""
        if self.is_draining:
            return _STOPPING
        try:
            await self._library.check()
        except StorageError:
            return _STORE_DOWN
        return _OK

    async def metrics(self, request: Request, _: PathMatch, __: TokenLimits) -> Response:
        """The metrics: on the metrics port for any client, otherwise only for clients on this machine."""
        address, port = request.local
        if port != self.metrics_port and address.removeprefix("::ffff:") not in LOOPBACK:
            return responses.NOT_FOUND
        return responses.document(await self._exposition(), CONTENT_TYPE_LATEST, responses.NO_STORE)


Handler = Callable[[Handlers, Request, PathMatch, TokenLimits], Awaitable[Response]]
"""Takes the request, the match of its path, and the limits of its token."""


def _refused(error: SelectionError) -> Response:
    return responses.error(HTTPStatus.BAD_REQUEST, reason=str(error))


_STOPPING = responses.error(HTTPStatus.SERVICE_UNAVAILABLE, reason="this origin is stopping")
_STORE_DOWN = responses.error(HTTPStatus.SERVICE_UNAVAILABLE, reason="the store does not answer")
_OK = responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)
