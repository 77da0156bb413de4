"""The pages and their assets: read once, named by digest, and sent with a Content-Security-Policy."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from string import Template
from threading import Lock
from urllib.parse import urlsplit

from aiohttp import hdrs

from headend.core.errors import ObjectMissing
from headend.core.http.responses import SHORT_LIVED, File, Response, document, text_file
from headend.core.http.theme import THEME
from origin.watch.players import PLAYERS

STATIC = Path(__file__).with_name("static")
VENDOR = STATIC / "vendor"
"""Folder of the downloaded players."""
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class Asset:
    """A script, style sheet or picture of a page, compressed at its first request.

    Compressing the players takes half a second, which would double the time that the origin takes to start.

    Args:
        body: The bytes.
        read: When they were read.
        content_type: Media type.

    Attributes:
        body: The bytes.
    """

    def __init__(self, body: bytes, read: datetime, content_type: str) -> None:
        self.body = body
        self._read = read
        self._content_type = content_type
        self._lock = Lock()
        self._file: File | None = None

    @property
    def is_ready(self) -> bool:
        """Whether `file` returns without compressing."""
        return self._file is not None

    def file(self) -> File:
        """The asset in all its content codings; thread-safe."""
        with self._lock:
            if self._file is None:
                self._file = text_file("asset", self.body, self._read, self._content_type)
            return self._file


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages and their assets.

    Attributes:
        titles_html: The list of titles.
        watch_html: The watch page, the same for all titles.
        content_security_policy: Content-Security-Policy of the pages.
        digest: Digest of all assets; part of their paths, so that browsers may cache them forever.
        assets: Scripts, style sheets and pictures, by name.
    """

    titles_html: bytes
    watch_html: bytes
    content_security_policy: str
    digest: str
    assets: dict[str, Asset]

    def titles(self) -> Response:
        """The list of titles; clients that don't accept HTML get JSON at the same address."""
        response = self._page(self.titles_html)
        response.headers[hdrs.VARY] = hdrs.ACCEPT
        return response

    def watch(self) -> Response:
        """The watch page."""
        return self._page(self.watch_html)

    def asset(self, digest: str, name: str) -> Asset:
        """An asset by its path; raises `ObjectMissing` if the name or the digest is unknown."""
        if digest != self.digest or name not in self.assets:
            raise ObjectMissing(f"there is no page asset {name} of {digest}")
        return self.assets[name]

    def _page(self, html: bytes) -> Response:
        response = document(html, "text/html; charset=utf-8", SHORT_LIVED)
        response.headers["Content-Security-Policy"] = self.content_security_policy
        return response


@cache
def load(vendor: Path = VENDOR, *, licence_url: str = "", is_steered: bool = False) -> Pages:
    """Read all pages and assets, once.

    Args:
        vendor: Folder of downloaded players; pages load the others from the CDN.
        licence_url: Address of the licence service; empty if there is none.
        is_steered: Whether players may request manifests and segments from any server, because a steering server may
            name servers that aren't known here.
    """
    files = [THEME, *sorted(STATIC.glob("*")), *sorted(vendor.glob("*"))]
    paths = [path for path in files if path.suffix in TYPES]
    bodies = {path.name: path.read_bytes() for path in paths}
    content = b"".join(name.encode() + b"\0" + body for name, body in sorted(bodies.items()))
    digest = hashlib.sha256(content).hexdigest()[:16]
    read = datetime.now(UTC)
    return Pages(
        titles_html=_html("titles.html", f"watch/assets/{digest}", bodies, licence_url),
        watch_html=_html("watch.html", f"assets/{digest}", bodies, licence_url),
        content_security_policy=_content_security_policy(
            [player.cdn_url for player in PLAYERS if player.file not in bodies], licence_url, is_steered=is_steered
        ),
        digest=digest,
        assets={name: Asset(body, read, TYPES[Path(name).suffix]) for name, body in bodies.items()},
    )


def _html(name: str, assets: str, bodies: dict[str, bytes], licence_url: str) -> bytes:
    players = [
        {
            "name": player.name,
            "label": player.label,
            "manifests": player.manifests,
            "script": f"{assets}/{player.file}" if player.file in bodies else player.cdn_url,
            "integrity": player.integrity,
        }
        for player in PLAYERS
    ]
    page = Template((STATIC / name).read_text(encoding="utf-8"))
    return page.substitute(assets=assets, players=json.dumps(players), licences=json.dumps(licence_url)).encode()


def _content_security_policy(cdn_scripts: Sequence[str], licence_url: str, *, is_steered: bool) -> str:
    """The pages' Content-Security-Policy: they load only their own assets, the players, media and licences.

    Args:
        cdn_scripts: Addresses of the players' scripts on the CDN; the rest of the CDN stays blocked.
        licence_url: Address of the licence service; empty if there is none.
        is_steered: Whether players may request manifests and segments from any server.
    """
    parts = urlsplit(licence_url)
    connections = f"'self' {parts.scheme}://{parts.netloc}" if licence_url else "'self'"
    scripts = " ".join(("'self'", *cdn_scripts))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self' http: https:" if is_steered else f"connect-src {connections}",
            # hls.js and Shaka Player start text tracks with an empty one in a data: URL.
            "media-src 'self' blob: data:",
            "worker-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        )
    )
