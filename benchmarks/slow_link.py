"""A slow line to a server on this machine: each connection passes on so many bytes a second, and no more."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from urllib.parse import urlsplit

_PIECE_S = 0.02
"""How long a piece takes: short, so that small files are slowed as large ones are."""
_LARGEST_PIECE_BYTES = 1 << 16


@contextmanager
def slowed(server_url: str, upload_bytes_per_s: float) -> Iterator[str]:
    """Put a slow line before an HTTP server; what it answers is not slowed.

    Args:
        server_url: The server's, such as ``http://127.0.0.1:8080``.
        upload_bytes_per_s: Of each connection.

    Yields:
        Where to connect instead.
    """
    target = urlsplit(server_url)
    piece_bytes = max(1, min(_LARGEST_PIECE_BYTES, round(upload_bytes_per_s * _PIECE_S)))

    async def upload(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(piece_bytes):
            sink.write(piece)
            await sink.drain()
            await asyncio.sleep(len(piece) / upload_bytes_per_s)
        sink.close()

    async def download(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while piece := await source.read(_LARGEST_PIECE_BYTES):
            sink.write(piece)
            await sink.drain()
        sink.close()

    async def connect(client_reads: asyncio.StreamReader, client_writes: asyncio.StreamWriter) -> None:
        reads, writes = await asyncio.open_connection(target.hostname, target.port)
        with suppress(OSError):
            await asyncio.gather(upload(client_reads, writes), download(reads, client_writes))

    loop = asyncio.new_event_loop()
    # Little is read ahead: what a sender is rid of has nearly arrived.
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
