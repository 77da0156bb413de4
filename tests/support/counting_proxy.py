"""A proxy that forwards TCP connections and counts the bytes that the server sends."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from urllib.parse import urlsplit

_PIECE_BYTES = 64 * 1024


@dataclass(slots=True)
class Meter:
    """A running proxy.

    Attributes:
        url: Address to use instead of the server's.
        received_bytes: Bytes that the server has sent so far, headers included.
    """

    url: str
    received_bytes: int = 0
    _lock: Lock = field(default_factory=Lock)

    def count(self, received_bytes: int) -> None:
        with self._lock:
            self.received_bytes += received_bytes


@contextmanager
def metered(server_url: str) -> Iterator[Meter]:
    """Run a counting proxy in front of an HTTP server on this machine."""
    target = urlsplit(server_url)
    listener = socket.create_server(("127.0.0.1", 0))
    meter = Meter(f"http://127.0.0.1:{listener.getsockname()[1]}")

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                # Small buffers, because unread data in them counts as received.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE_BYTES)
                server = socket.create_connection((target.hostname or "", target.port or 80))
                Thread(target=_pump, args=(client, server, None), daemon=True).start()
                Thread(target=_pump, args=(server, client, meter), daemon=True).start()

    Thread(target=accept, daemon=True).start()
    try:
        yield meter
    finally:
        listener.close()


def _pump(source: socket.socket, sink: socket.socket, meter: Meter | None) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            sink.sendall(piece)
            if meter:
                meter.count(len(piece))
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
