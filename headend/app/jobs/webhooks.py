"""Sending an event to a webhook, within a deadline."""

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import urllib3

from headend.core.errors import ConfigError

ANSWER_S = 10.0
"""Time limit from connecting to the status of the response."""
UNWANTED = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Statuses that are not worth a retry."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event was not accepted.

    Attributes:
        error: The reason.
        is_final: Whether a retry is useless.
    """

    error: str
    is_final: bool = False


def check_url(url: str) -> str:
    """Return ``url`` if events can be sent to it; raise `ConfigError` if not."""
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.auth:
        raise ConfigError(f"{url[:80]!r} is not an http:// or https:// address without a password in it")
    return url


def post(url: str, headers: Mapping[str, str], body: bytes) -> Refusal | None:
    """Send an event once; return why it was not accepted, or None.

    Redirects are not followed. Only the status of the response is read, since its body may be endless.

    Args:
        url: A URL that `check_url` accepts.
        headers: Request headers.
        body: The event.
    """
    parsed = urllib3.util.parse_url(url)
    host = str(parsed.host).strip("[]")
    is_secure = parsed.scheme == "https"
    connection = (http.client.HTTPSConnection if is_secure else http.client.HTTPConnection)(host, parsed.port)
    try:
        with ExitStack() as stack:
            stack.callback(connection.close)
            plain = stack.enter_context(socket.create_connection((host, connection.port), ANSWER_S))
            # The socket's timeout restarts with each read; a timer limits the whole exchange.
            deadline = threading.Timer(ANSWER_S, _end, (stack.enter_context(plain.dup()),))
            deadline.daemon = True
            deadline.start()
            stack.callback(deadline.cancel)
            secured = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if is_secure else plain
            connection.sock = secured
            connection.request("POST", parsed.request_uri, body, dict(headers))
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Refusal(f"{type(error).__name__}: no answer from {parsed.host}")
    return None if 200 <= status < 300 else Refusal(f"status {status}", status in UNWANTED)


def _end(connected: socket.socket) -> None:
    with suppress(OSError):  # already closed
        connected.shutdown(socket.SHUT_RDWR)
