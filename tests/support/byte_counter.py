"""An HTTP server of one folder that supports ranges and counts the bytes that it sends."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from urllib.parse import unquote, urlsplit

_PIECE_BYTES = 64 * 1024


@dataclass(slots=True)
class ByteCounter:
    """A running server.

    Attributes:
        url: Where it listens, without a slash at the end.
        requests: Path and Range header of each request so far.
        body_bytes: Body bytes written to sockets; a client may disconnect before it reads the last few.
    """

    url: str
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    body_bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def count(self, sent_bytes: int) -> None:
        with self._lock:
            self.body_bytes += sent_bytes


@contextmanager
def serve_counted(folder: Path) -> Iterator[ByteCounter]:
    """Serve the files of ``folder`` on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            # Clients disconnect as soon as they have read enough.
            with suppress(ConnectionError):
                super().handle()

        def setup(self) -> None:
            super().setup()
            # Unread data in a socket counts as sent, so buffers are kept small.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE_BYTES)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            wanted = self.headers.get("Range")
            counter.requests.append((self.path, wanted))
            file = folder / unquote(urlsplit(self.path).path).lstrip("/")
            if not file.is_file():
                self.send_error(404)
                return
            size = file.stat().st_size
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
            first, last = (int(match[1]), min(int(match[2] or size - 1), size - 1)) if match else (0, size - 1)
            if first >= size:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if match else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(last - first + 1))
            if match:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            if with_body:
                self._send(file, first, last)

        def _send(self, file: Path, first: int, last: int) -> None:
            with suppress(ConnectionError), file.open("rb") as source:
                source.seek(first)
                left = last - first + 1
                while left:
                    piece = source.read(min(left, _PIECE_BYTES))
                    self.wfile.write(piece)
                    counter.count(len(piece))
                    left -= len(piece)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        counter = ByteCounter(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield counter
        finally:
            server.shutdown()
            thread.join()
