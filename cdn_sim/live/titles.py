"""Reads titles from an origin's HLS playlists, as live viewers need them."""

from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import aiohttp
import m3u8

from headend.core.errors import ConfigError

CODECS = {"avc1": "avc", "avc3": "avc", "hvc1": "hevc", "hev1": "hevc", "av01": "av1"}
"""Codecs by the first part of their RFC 6381 name. HLS has no VP9."""


@dataclass(frozen=True, slots=True)
class Level:
    """One quality of a title.

    Attributes:
        kbps: Mean bitrate.
        paths: Paths of its segments.
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
        levels: Qualities by codec, the lowest first.
        sound: Paths of the sound's segments; empty if there is no sound.
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


async def read_titles(origin: str, most: int) -> tuple[LiveTitle, ...]:
    """Read the titles of an origin.

    Args:
        origin: Base URL of the origin.
        most: Maximum number of titles.

    Raises:
        ConfigError: No title can be played with HLS.
    """
    found = []
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{origin}/") as answer:
            listed = [each["title"] for each in (await answer.json())["titles"]]
        for name in listed[:most]:
            title = await _read(session, origin, name)
            if title is not None:
                found.append(title)
    if not found:
        raise ConfigError("the store has no release for HLS; publish a title first")
    return tuple(found)


async def _read(session: aiohttp.ClientSession, origin: str, name: str) -> LiveTitle | None:
    manifest = f"/{name}/multivariant.m3u8"
    url, playlist = await _playlist(session, f"{origin}{manifest}")
    levels: dict[str, dict[str, Level]] = {}
    segment_ms = 0.0
    for variant in playlist.playlists:
        codec = next(
            (CODECS[each[:4]] for each in (variant.stream_info.codecs or "").split(",") if each[:4] in CODECS), ""
        )
        if not codec or variant.uri in levels.setdefault(codec, {}):
            continue
        at, media = await _playlist(session, urljoin(url, variant.uri))
        bps = variant.stream_info.average_bandwidth or variant.stream_info.bandwidth
        levels[codec][variant.uri] = Level(bps / 1000, _paths(at, media))
        segment_ms = segment_ms or 1000 * max(segment.duration for segment in media.segments)
    sound: tuple[str, ...] = ()
    for rendition in sorted(playlist.media, key=lambda each: each.default != "YES"):
        if rendition.type == "AUDIO" and rendition.uri and not sound:
            sound = _paths(*await _playlist(session, urljoin(url, rendition.uri)))
    ordered = {
        codec: tuple(sorted(each.values(), key=lambda level: level.kbps)) for codec, each in levels.items() if each
    }
    return LiveTitle(name, manifest, segment_ms, ordered, sound) if ordered else None


async def _playlist(session: aiohttp.ClientSession, url: str) -> tuple[str, m3u8.M3U8]:
    async with session.get(url) as answer:
        return str(answer.url), m3u8.loads(await answer.text())


def _paths(url: str, playlist: m3u8.M3U8) -> tuple[str, ...]:
    return tuple(urlsplit(urljoin(url, segment.uri)).path for segment in playlist.segments)
