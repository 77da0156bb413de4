"""A slow link to a local server: a proxy with a rate limit per connection."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from urllib.parse import urlsplit

_PIECE_S = 0.02
"""Time per piece; short, so that small files are slowed down like large ones."""
_MAX_PIECE_BYTES = 1 << 16


@contextmanager
def slowed(server_url: str, upload_bytes_per_s: float) -> Iterator[str]:
    """Run a proxy that slows down uploads to an HTTP server; downloads run at full speed.

    Args:
        server_url: Address of the server, such as ``http://127.0.0.1:8080``.
        upload_bytes_per_s: Rate per connection.

    Yields:
        Address of the proxy.
    """
    target = urlsplit(server_url)
    piece_bytes = max(1, min(_MAX_PIECE_BYTES, round(upload_bytes_per_s * _PIECE_S)))

    async def upload(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(piece_bytes):
            sink.write(piece)
            await sink.drain()
            await asyncio.sleep(len(piece) / upload_bytes_per_s)
        sink.close()

    async def download(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(_MAX_PIECE_BYTES):
            sink.write(piece)
            await sink.drain()
        sink.close()

    async def connect(client_reads: asyncio.StreamReader, client_writes: asyncio.StreamWriter) -> None:
        reads, writes = await asyncio.open_connection(target.hostname, target.port)
        with suppress(OSError):
            await asyncio.gather(upload(client_reads, writes), download(reads, client_writes))

    loop = asyncio.new_event_loop()
    # Buffer little, so that a sender's progress is close to the receiver's.
    listening = asyncio.start_server(connect, "127.0.0.1", 0, limit=piece_bytes)
    server = loop.run_until_complete(listening)
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()
