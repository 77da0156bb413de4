"""Listening sockets: one per worker process; they share a port."""

import errno
import socket

from aiohttp import http_parser

from headend.core.errors import ConfigError
from headend.core.http.server import BACKLOG

_ADVICE = {
    errno.EADDRINUSE: "port {port} is in use: choose another with --port",
    errno.EACCES: "port {port} needs more permissions than this user has: choose one above 1023 with --port",
    errno.EADDRNOTAVAIL: "{host} is not an address of this machine: choose another with --host",
}


def listen(host: str, port: int, workers: int = 1) -> list[socket.socket]:
    """Listen on a port, once per worker; the kernel distributes connections among the sockets.

    Args:
        host: Address or name of this machine.
        port: 0 for a free one.
        workers: Number of sockets.

    Raises:
        ConfigError: The address can't be used, or aiohttp has no C parser.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        # Most known request smuggling attacks on aiohttp exploit its pure Python parser.
        raise ConfigError("aiohttp has no C parser here: unset AIOHTTP_NO_EXTENSIONS, or install aiohttp from a wheel")
    try:
        family, *_, sockaddr = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        address = str(sockaddr[0])
        first = socket.create_server((address, port), family=family, backlog=BACKLOG)
        if workers == 1:
            return [first]
        port = first.getsockname()[1]
        first.close()  # it only checked that no other process uses the port, since the sockets below would share it
        return [
            socket.create_server((address, port), family=family, backlog=BACKLOG, reuse_port=True)
            for _ in range(workers)
        ]
    except socket.gaierror as error:
        raise ConfigError(
            f"{host} can't be resolved: choose an address of this machine with --host", host=host
        ) from error
    except (OSError, OverflowError) as error:
        advice = _ADVICE.get(getattr(error, "errno", None) or 0, f"can't listen on {{host}}, port {{port}}: {error}")
        raise ConfigError(advice.format(host=host, port=port), host=host, port=port) from error


def url_of(host: str, listener: socket.socket) -> str:
    """The base URL of a listening socket, without a trailing slash."""
    port = listener.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
