"""A small release as bytes in a store, and stores that count reads and can fail."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from headend.core import documents, layout, track_index
from headend.core.errors import HeadendError
from headend.core.manifests import dash
from headend.core.manifests.outline import outline_of
from headend.core.media import Codec, Current, Presentation, Release, Segment, Thumbnails, Track
from headend.core.storage import ObjectInfo, Reader, Store
from headend.core.storage.memory import MemoryStore
from headend.core.timing import plan_grid
from packager.presentation import StoredTrack, index_of
from tests.support.makers import make_audio_rendition, make_text_rendition, make_video_rendition

TITLE = "big-buck-bunny"
RELEASE = "0123456789abcdef"
PICTURE = "avc-1080p-6000k"
SOUND = "aac-2.0-128k-en"
TEXT = "vtt-en"
INIT = b"ftyp moov of " * 8
PLAYLIST = b"#EXTM3U\n" + b"#EXTINF:6.000,\n1.m4s\n" * 100
MULTIVARIANT = b"#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n" * 40
SHEET = b"\xff\xd8 a sheet \xff\xd9" * 8
INDEX = b"WEBVTT\n\n00:00:00.000 --> 00:00:18.000\n../../tracks/thumbnails/1.jpg#xywh=0,0,320,180\n"
SEGMENTS = tuple(bytes([number]) * (1000 + number) for number in range(1, 4))


@dataclass
class WatchedStore:
    """A store that counts its reads, and can be made to fail or wait."""

    inner: Store = field(default_factory=MemoryStore)
    reads: Counter[str] = field(default_factory=Counter)
    fault: HeadendError | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def url(self) -> str:
        return self.inner.url

    def get(self, key: str) -> bytes:
        self._read(key)
        return self.inner.get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self._read(key)
        return self.inner.get_range(key, start, length)

    def open(self, key: str) -> AbstractContextManager[Reader]:
        self._read(key)
        return self.inner.open(key)

    def head(self, key: str) -> ObjectInfo:
        self._read(f"head {key}")
        return self.inner.head(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        self._read(f"list {prefix}")
        return self.inner.list(prefix, after=after)

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> tuple[ObjectInfo, ...]:
        self._read(f"page {prefix}")
        return self.inner.page(prefix, after=after, limit=limit)

    def folders(self, prefix: str) -> tuple[str, ...]:
        self._read(f"folders {prefix}")
        return self.inner.folders(prefix)

    def put(self, key: str, data: bytes) -> None:
        self.inner.put(key, data)

    def put_file(self, key: str, path: Path) -> None:
        self.inner.put_file(key, path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        return self.inner.put_if_absent(key, data)

    def put_if_match(self, key: str, data: bytes, etag: str | None) -> bool:
        return self.inner.put_if_match(key, data, etag)

    def delete(self, key: str) -> None:
        self.inner.delete(key)

    def _read(self, what: str) -> None:
        self.reads[what] += 1
        self.gate.wait(30)
        if self.fault is not None:
            raise self.fault


def _presentation(title: str, release: str, segments: tuple[bytes, ...]) -> Presentation:
    described = tuple(
        Segment(
            number=number,
            start_ticks=(number - 1) * 144,
            duration_ticks=144,
            samples=144,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        for number, data in enumerate(segments, 1)
    )
    grid = plan_grid(Fraction(24), 144 * len(segments), segment_s=Fraction(6), chunk_s=Fraction(30))
    init = hashlib.sha256(INIT).hexdigest()
    video = Track(PICTURE, make_video_rendition(id=PICTURE), "avc1.640028", len(INIT), 24, 0, described, None, init)
    sound = Track(SOUND, make_audio_rendition(id=SOUND), "mp4a.40.2", len(INIT), 24, 0, described, None, init)
    return Presentation(title, release, grid, (video,), (sound,))


MPD = dash.mpd(outline_of(_presentation(TITLE, RELEASE, SEGMENTS)))


def put_release(
    store: Store,
    *,
    title: str = TITLE,
    release: str = RELEASE,
    segments: tuple[bytes, ...] = SEGMENTS,
    current: bool = True,
    published: bool = True,
) -> None:
    """Write all objects of a release; ``published`` says whether its document is there, ``current`` its pointer."""
    whole = _presentation(title, release, segments)
    grid, (video,), (sound,) = whole.grid, whole.video, whole.audio
    described, init, nothing = video.segments, video.init_sha256, hashlib.sha256(b"").hexdigest()
    in_mp4 = make_text_rendition(id=f"w{TEXT}", codec=Codec.WVTT)
    sheet = Segment(1, 0, 144 * len(segments), 1, len(SHEET), hashlib.sha256(SHEET).hexdigest())
    tiling = Thumbnails(320, 180, 1, 1, interval_frames=144 * len(segments))
    tracks: tuple[StoredTrack, ...] = (
        video,
        sound,
        Track(TEXT, make_text_rendition(id=TEXT), "wvtt", 0, 24, 0, described, None, nothing),
        Track(f"w{TEXT}", in_mp4, "wvtt", len(INIT), 24, 0, described, None, init),
        Track("thumbnails", tiling, "jpeg", 0, 24, 0, (sheet,), None, nothing),
    )
    for track in tracks:
        for number, data in enumerate((SHEET,) if track.id == "thumbnails" else segments, 1):
            store.put(layout.track_segment(title, track.id, number), data)
        if track.init_bytes:
            store.put(layout.track_init(title, track.id), INIT)
        if published:
            store.put(layout.track_index(title, track.id), track_index.encode(index_of(track)[0]))
        if track.id != TEXT:
            store.put(layout.media_playlist(title, release, track.id), PLAYLIST)
    store.put(layout.thumbnail_index(title, release), INDEX)
    store.put(layout.poster(title, release), SHEET)
    store.put(layout.iframe_playlist(title, release, PICTURE), PLAYLIST)
    store.put(layout.receipt(title, "0a"), b"{}")
    store.put(layout.attempt(title, "0a", 1), b"{}")
    store.put(layout.multivariant(title, release), MULTIVARIANT)
    if published:
        store.put(layout.mpd(title, release), dash.mpd(outline_of(whole)))
        store.put(layout.outline(title, release), documents.write(outline_of(whole)))
        facts = Presentation(title, release, grid, (replace(video, segments=()),), ())
        document = Release(facts, {}, "2026-01-01T00:00:00+00:00", "", "submitted", "0")
        store.put(layout.release_document(title, release), documents.write(document))
    if current:
        store.put(layout.published(title), b"")
        store.put(layout.current(title), documents.write(Current(release, "2026-01-01T00:00:00+00:00", "", ())))


@dataclass(frozen=True)
class Got:
    """An answer as a client sees it; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(base_url: str, path: str, headers: dict[str, str] | None = None, *, method: str = "GET") -> Got:
    """Send one request with its path unchanged; raises `http.client.IncompleteRead` if the body breaks off."""
    place = urlsplit(base_url)
    connection = HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return Got(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()
