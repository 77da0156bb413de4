"""An upstream with made-up tracks and faults that a test chooses, and edges in front of it."""

import asyncio
import hashlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from headend.core import track_index
from headend.core.media import Segment
from headend.core.track_index import TrackFacts

TRACK = "avc-360p-365k-0123456789"
MODIFIED = "Sat, 28 Nov 2026 12:00:00 GMT"
PLAYLIST = b"#EXTM3U\n#EXT-X-VERSION:7\n" + b"#EXTINF:6,\n1.m4s\n" * 40


def segment(title: str, number: int, size_bytes: int = 60_000) -> bytes:
    """Return the bytes of a segment: always the same for a title and a number."""
    return random.Random(f"{title}/{number}").randbytes(size_bytes + number * 10)


def index_of(title: str, count: int, size_bytes: int) -> bytes:
    """Return the index of a title's track."""
    bodies = [segment(title, number, size_bytes) for number in range(1, count + 1)]
    segments = [
        Segment(
            number=number,
            size_bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            start_ticks=(number - 1) * 150_000,
            duration_ticks=150_000,
            samples=150,
        )
        for number, body in enumerate(bodies, 1)
    ]
    init = segment(title, 0, 800)
    facts = TrackFacts(
        track=TRACK, content_type="video/mp4", codec_string="avc1.64001e", timescale=25_000, init_bytes=len(init),
        init_sha256=hashlib.sha256(init).hexdigest(), width_px=640, height_px=360,
    )  # fmt: skip
    return track_index.encode(track_index.index_of(facts, segments))


@dataclass
class FaultyOrigin:
    """Behaviour of the upstream server; tests change it while it runs.

    Attributes:
        count: Segments of every title.
        size_bytes: About the size of each.
        status: Status of every response; 0 for normal responses.
        damage: Change a byte in the middle of every segment.
        cut: Send half of a segment, then close.
        pause: Wait after the first half of a segment until this is set; None for no waiting.
        playlist: Body of the playlist.
        caching: Cache-Control of the playlist.
        asked: Number of requests for each path.
        headers: Headers of the last request for each path.
        lie: Makes the response to every request for a playlist; None for normal responses.
    """

    count: int = 40
    size_bytes: int = 60_000
    status: int = 0
    damage: bool = False
    cut: bool = False
    pause: asyncio.Event | None = None
    playlist: bytes = PLAYLIST
    caching: str = "public, max-age=60"
    asked: Counter[str] = field(default_factory=Counter)
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    lie: Callable[[], web.Response] | None = None
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        self.headers[request.path] = dict(request.headers)
        if self.status:
            return web.Response(status=self.status)
        parts = request.path.strip("/").split("/")
        if parts[-1] == "index":
            return web.Response(body=index_of(parts[0], self.count, self.size_bytes))
        if parts[-1] == "multivariant.m3u8" and self.lie is not None:
            return self.lie()
        if parts[-1] == "multivariant.m3u8":
            etag = f'"{hashlib.sha256(self.playlist).hexdigest()[:16]}"'
            known = {"ETag": etag, "Cache-Control": self.caching, "Last-Modified": MODIFIED}
            if request.headers.get("If-None-Match") == etag:
                return web.Response(status=304, headers=known)
            return web.Response(body=self.playlist, headers=known, content_type="application/vnd.apple.mpegurl")
        if len(parts) == 4 and parts[1] == "tracks":
            name = parts[3]
            number = 0 if name == "init.mp4" else int(name.partition(".")[0])
            return await self._send(request, segment(parts[0], number, 800 if number == 0 else self.size_bytes))
        return web.Response(status=404, headers={"Cache-Control": "public, max-age=5"})

    async def _send(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if self.damage:
            body = body[: len(body) // 2] + bytes([body[len(body) // 2] ^ 1]) + body[len(body) // 2 + 1 :]
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        response = web.StreamResponse(status=206 if start else 200, headers={"Last-Modified": MODIFIED})
        response.content_length = len(body) - start
        await response.prepare(request)
        half = (start + len(body)) // 2
        await response.write(body[start:half])
        if self.cut:
            assert request.transport is not None
            request.transport.abort()
            return response
        if self.pause is not None:
            await self.pause.wait()
        await response.write(body[half:])
        return response


@contextmanager
def running(origin: FaultyOrigin) -> Iterator[FaultyOrigin]:
    """Serve from a thread of this process."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", origin.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        stop = asyncio.Event()
        ready.set_result((asyncio.get_running_loop(), stop, runner.addresses[0][1]))
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    loop, stop, port = ready.result()
    origin.url = f"http://127.0.0.1:{port}"
    try:
        yield origin
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)


def path_of(title: str, number: int) -> str:
    """Return the path of a segment; of the init segment for 0."""
    return f"/{title}/tracks/{TRACK}/{f'{number}.m4s' if number else 'init.mp4'}"


def files(folder: Path) -> list[str]:
    """Files in a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
