"""Request handlers: one per route, from a matched path to a `Response`."""

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

PathMatch = re.Match[str]
LOOPBACK = frozenset({"127.0.0.1", "::1"})
_AFTER = re.compile(r"(?:^|&)after=([a-z0-9-]{1,64})(?=&|$)")
STEERED = "steering=on"
"""Query parameter that asks for a manifest with the steering server's address."""
_STEERED = re.compile(rf"(?:^|&){STEERED}(?=&|$)")
PAGE_TITLES = 60
"""Titles per page of the catalogue."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Limits that a request's token sets.

    Attributes:
        max_height_px: The plan's highest resolution; None for no limit.
        caching: Cache-Control that replaces the files' own; None to keep theirs.
    """

    max_height_px: int | None = None
    caching: str | None = None


OPEN = Terms()
"""The terms of an origin without tokens."""


class Handlers:
    """The handlers of one origin.

    Args:
        library: The cached store.
        exposition: Renders all metrics in Prometheus' text format.
        licence_url: Address of the licence service, for pages and players; None if there is none.
        steering: Address of the steering server, which entry points name; empty for none.

    Attributes:
        is_draining: Whether the origin is stopping; then it is not ready.
        metrics_port: Port that shows metrics to every client; None if there is none.
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

    async def track_file(self, request: Request, path: PathMatch, terms: Terms) -> Response:
        """A file of a track."""
        file = self._library.cached(f"{layout.TITLES}{path[0]}")
        if file is None:
            wanted = Wanted(path["title"], None, path["track"], path["name"])
            file = await self._library.file(wanted, client_key(request.client))
        return responses.for_file(request.method, request.headers, file, terms.caching)

    async def release_file(self, request: Request, path: PathMatch, terms: Terms) -> Response:
        """A file of a release, such as a playlist of a track."""
        file = self._library.cached(f"{layout.TITLES}{path[0]}")
        if file is None:
            wanted = Wanted(path["title"], path["release"], None, path["name"])
            file = await self._library.file(wanted, client_key(request.client))
        return responses.for_file(request.method, request.headers, file, terms.caching)

    async def manifest(self, request: Request, path: PathMatch, terms: Terms) -> Response:
        """A release's manifest, filtered by the query and the token's plan.

        The bytes at a release's address never change, so the steering server is named only if the query asks for it.
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

    async def entry_point(self, request: Request, path: PathMatch, terms: Terms) -> Response:
        """The current release's manifest, poster or thumbnail index.

        Most are redirects, so that players resolve relative URIs against the release (RFC 3986, section 5.1.3). MPDs
        are sent directly with a BaseURL, because FFmpeg resolves their URIs against the address before the redirect.
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

    async def key(self, request: Request, _: PathMatch, __: Terms) -> Response:
        """Redirect to a content key: playlists name keys relative to their title, but the licence service serves them.

        The path is kept, token included, so the licence service can check the token.
        """
        if self._licence_url is None:
            return responses.NOT_FOUND
        return responses.redirect(f"{self._licence_url}{request.path}", responses.NO_STORE)

    def _steering_of(self, title: str) -> str:
        return f"{self._steering}/{title}" if self._steering else ""

    async def watch(self, request: Request, path: PathMatch, _: Terms) -> Response:
        """The page of a title."""
        await self._library.current(path["title"], client_key(request.client))
        return self._pages.watch()

    async def asset(self, request: Request, path: PathMatch, _: Terms) -> Response:
        """A script or style of a page."""
        asset = self._pages.asset(path["digest"], path["name"])
        file = asset.file() if asset.is_ready else await asyncio.to_thread(asset.file)
        return responses.for_file(request.method, request.headers, file)

    async def catalogue(self, request: Request, _: PathMatch, __: Terms) -> Response:
        """The titles: HTML for browsers; otherwise JSON, one page of relative links to entry points."""
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

    async def alive(self, _: Request, __: PathMatch, ___: Terms) -> Response:
        """Liveness: the process answers."""
        return _OK

    async def ready(self, _: Request, __: PathMatch, ___: Terms) -> Response:
        """Readiness: the origin is not stopping and its store answers."""
        if self.is_draining:
            return _STOPPING
        try:
            await self._library.check()
        except StorageError:
            return _STORE_AWAY
        return _OK

    async def metrics(self, request: Request, _: PathMatch, __: Terms) -> Response:
        """The metrics, for clients on this machine or on the metrics port."""
        address, port = request.local
        if port != self.metrics_port and address.removeprefix("::ffff:") not in LOOPBACK:
            return responses.NOT_FOUND
        return responses.document(await self._exposition(), CONTENT_TYPE_LATEST, responses.NO_STORE)


Handler = Callable[[Handlers, Request, PathMatch, Terms], Awaitable[Response]]
"""Takes the request, the match of its path, and the terms of its token."""


def _refused(error: SelectionError) -> Response:
    return responses.error(HTTPStatus.BAD_REQUEST, reason=str(error))


_STOPPING = responses.error(HTTPStatus.SERVICE_UNAVAILABLE, reason="this origin is stopping")
_STORE_AWAY = responses.error(HTTPStatus.SERVICE_UNAVAILABLE, reason="the store does not answer")
_OK = responses.document(b"ok\n", "text/plain; charset=utf-8", responses.NO_STORE)
