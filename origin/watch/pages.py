"""The pages as files: read once, named after their content, and what browsers may do with them."""

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
from headend.core.http.responses import BRIEFLY, File, Response, document, text_file
from headend.core.http.theme import THEME
from origin.watch.players import PLAYERS

STATIC = Path(__file__).with_name("static")
VENDOR = STATIC / "vendor"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


class Asset:
    """A script, style or picture of a page, which is compressed when somebody first asks for it.

    Players take half a second to compress, which is as long as all the rest of the origin takes to start.

    Args:
        body: Its bytes.
        read: When they were read.
        content_type: Their media type.

    Attributes:
        body: The same.
    """

    def __init__(self, body: bytes, read: datetime, content_type: str) -> None:
        self.body = body
        self._read = read
        self._content_type = content_type
        self._lock = Lock()
        self._file: File | None = None

    @property
    def is_ready(self) -> bool:
        """Whether `file` returns at once."""
        return self._file is not None

    def file(self) -> File:
        """The asset in all its codings; may be called from any thread."""
        with self._lock:
            if self._file is None:
                self._file = text_file("asset", self.body, self._read, self._content_type)
            return self._file


@dataclass(frozen=True, slots=True)
class Pages:
    """All that a browser gets but manifests and media.

    Attributes:
        titles_html: The page of all titles.
        watch_html: The page of any title.
        policy: What browsers may load for a page.
        digest: Of all assets; part of their paths, so that they may be kept for ever.
        assets: Scripts, styles and pictures, by name.
    """

    titles_html: bytes
    watch_html: bytes
    policy: str
    digest: str
    assets: dict[str, Asset]

    def titles(self) -> Response:
        """The page of all titles; programs get a document under the same address."""
        answer = self._page(self.titles_html)
        answer.headers[hdrs.VARY] = hdrs.ACCEPT
        return answer

    def watch(self) -> Response:
        """The page of any title."""
        return self._page(self.watch_html)

    def asset(self, digest: str, name: str) -> Asset:
        """An asset by its path; raises `ObjectMissing` for one of another version, too."""
        if digest != self.digest or name not in self.assets:
            raise ObjectMissing(f"there is no page asset {name} of {digest}")
        return self.assets[name]

    def _page(self, html: bytes) -> Response:
        answer = document(html, "text/html; charset=utf-8", BRIEFLY)
        answer.headers["Content-Security-Policy"] = self.policy
        return answer


@cache
def load(vendor: Path = VENDOR, *, licence_url: str = "", is_steered: bool = False) -> Pages:
    """Read all pages, once.

    Args:
        vendor: Where players are that were fetched; those that are not there come from the CDN.
        licence_url: Where players get licences of protected titles; empty for nowhere.
        is_steered: Whether players are sent to other servers, which nobody knows beforehand.
    """
    files = [THEME, *sorted(STATIC.glob("*")), *sorted(vendor.glob("*"))]
    paths = [path for path in files if path.suffix in TYPES]
    bodies = {path.name: path.read_bytes() for path in paths}
    named = hashlib.sha256(b"".join(name.encode() + b"\0" + body for name, body in sorted(bodies.items())))
    digest = named.hexdigest()[:16]
    read = datetime.now(UTC)
    return Pages(
        titles_html=_html("titles.html", f"watch/assets/{digest}", bodies, licence_url),
        watch_html=_html("watch.html", f"assets/{digest}", bodies, licence_url),
        policy=_policy(
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


def _policy(scripts_elsewhere: Sequence[str], licence_url: str, *, is_steered: bool) -> str:
    """What a page may load: nothing but its own, the players, and what these make of segments and of themselves.

    Args:
        scripts_elsewhere: Addresses of players that come from the CDN: each script, not all of the CDN.
        licence_url: Where licences are; empty for nowhere.
        is_steered: Whether players may ask any server for manifests and segments.
    """
    parts = urlsplit(licence_url)
    connections = f"'self' {parts.scheme}://{parts.netloc}" if licence_url else "'self'"
    scripts = " ".join(("'self'", *scripts_elsewhere))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {scripts}",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self' http: https:" if is_steered else f"connect-src {connections}",
            # hls.js and Shaka Player begin their tracks of text with an empty one, written into its address.
            "media-src 'self' blob: data:",
            "worker-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
        )
    )
