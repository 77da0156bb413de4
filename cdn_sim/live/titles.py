"""Reads the titles that live viewers play from an origin's HLS playlists."""

from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import aiohttp
import m3u8

from headend.core.errors import ConfigError

CODECS = {"avc1": "avc", "avc3": "avc", "hvc1": "hevc", "hev1": "hevc", "av01": "av1"}
"""Codecs by the first four characters of their name in a playlist (RFC 6381); HLS playlists have no VP9 variants."""


@dataclass(frozen=True, slots=True)
class Level:
    """One video rendition of a title.

    Attributes:
        kbps: Mean bitrate.
        paths: Paths of its segments, in order.
    """

    kbps: float
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LiveTitle:
    """A title.

    Attributes:
        name: The title's slug.
        manifest: Path of the multivariant playlist.
        segment_ms: Length of a segment.
        levels: Video renditions by codec, the lowest bitrate first.
        sound: Paths of the segments of the default audio rendition; empty if there is no sound.
    """

    name: str
    manifest: str
    segment_ms: float
    levels: dict[str, tuple[Level, ...]]
    sound: tuple[str, ...]

    @property
    def segments(self) -> int:
        """Number of video segments."""
        return len(next(iter(self.levels.values()))[0].paths)


async def read_titles(origin: str, max_titles: int) -> tuple[LiveTitle, ...]:
    """Read the titles of an origin.

    Args:
        origin: Base URL of the origin.
        max_titles: Maximum number of titles.

    Raises:
        ConfigError: No title can be played with HLS.
    """
    titles = []
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{origin}/") as response:
            names = [entry["title"] for entry in (await response.json())["titles"]]
        for name in names[:max_titles]:
            title = await _read_title(session, origin, name)
            if title is not None:
                titles.append(title)
    if not titles:
        raise ConfigError("the store has no title that can be played with HLS; publish one first")
    return tuple(titles)


async def _read_title(session: aiohttp.ClientSession, origin: str, name: str) -> LiveTitle | None:
    """Read a title; None if it has no video in a known codec."""
    manifest = f"/{name}/multivariant.m3u8"
    url, multivariant = await _read_playlist(session, f"{origin}{manifest}")
    levels: dict[str, dict[str, Level]] = {}  # by codec and URI
    segment_ms = 0.0
    for variant in multivariant.playlists:
        codecs = (variant.stream_info.codecs or "").split(",")
        codec = next((CODECS[text[:4]] for text in codecs if text[:4] in CODECS), "")
        if not codec or variant.uri in levels.setdefault(codec, {}):
            continue
        media_url, media = await _read_playlist(session, urljoin(url, variant.uri))
        bps = variant.stream_info.average_bandwidth or variant.stream_info.bandwidth
        levels[codec][variant.uri] = Level(bps / 1000, _paths(media_url, media))
        segment_ms = segment_ms or 1000 * max(segment.duration for segment in media.segments)
    sound: tuple[str, ...] = ()
    for rendition in sorted(multivariant.media, key=lambda rendition: rendition.default != "YES"):
        if rendition.type == "AUDIO" and rendition.uri and not sound:
            sound = _paths(*await _read_playlist(session, urljoin(url, rendition.uri)))
    ordered = {
        codec: tuple(sorted(by_uri.values(), key=lambda level: level.kbps))
        for codec, by_uri in levels.items()
        if by_uri
    }
    return LiveTitle(name, manifest, segment_ms, ordered, sound) if ordered else None


async def _read_playlist(session: aiohttp.ClientSession, url: str) -> tuple[str, m3u8.M3U8]:
    """Read a playlist; returns its address after redirects, and its contents."""
    async with session.get(url) as response:
        return str(response.url), m3u8.loads(await response.text())


def _paths(url: str, playlist: m3u8.M3U8) -> tuple[str, ...]:
    return tuple(urlsplit(urljoin(url, segment.uri)).path for segment in playlist.segments)
