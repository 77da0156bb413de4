"""A gate in front of a server, which forwards connections, refuses them, or accepts them and never answers."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Gate:
    """The gate.

    Attributes:
        url: Where it listens, for HTTP.
        mood: ``open``, ``refuse`` or ``silent``; a change closes all connections.
    """

    url: str
    mood: str = "open"
    connections: list[socket.socket] = field(default_factory=list)

    def become(self, mood: str) -> None:
        """Change the mood, for new and for existing connections."""
        self.mood = mood
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.connections.clear()


@contextmanager
def gate_before(endpoint_url: str) -> Iterator[Gate]:
    """Put a gate in front of a server."""
    host, _, port = endpoint_url.removeprefix("http://").partition(":")
    with socket.create_server(("127.0.0.1", 0)) as server:
        gate = Gate(f"http://127.0.0.1:{server.getsockname()[1]}")

        def accept() -> None:
            while True:
                try:
                    here, _ = server.accept()
                except OSError:
                    return
                if gate.mood == "refuse":
                    here.close()
                    continue
                gate.connections.append(here)
                if gate.mood == "silent":
                    continue
                there = socket.create_connection((host, int(port)))
                gate.connections.append(there)
                for one, other in ((here, there), (there, here)):
                    threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield gate
        server.shutdown(socket.SHUT_RDWR)


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
