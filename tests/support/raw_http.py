"""HTTP over raw sockets: requests that no client library would send."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def connected(url: str) -> Iterator[socket.socket]:
    """Open a connection to a server, by its base URL."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as client:
        yield client


def read_all(client: socket.socket) -> bytes:
    """Read until the server closes or resets the connection."""
    pieces = []
    try:
        while piece := client.recv(1 << 16):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def exchange(url: str, request: bytes) -> bytes:
    """Send bytes, and read until the server ends the connection."""
    with connected(url) as client:
        client.sendall(request)
        return read_all(client)
