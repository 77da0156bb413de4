"""Sending one event to one address, within a deadline."""

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
"""How long a receiver may take in all, from the connection to the status of its answer."""
UNWANTED = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})
"""Statuses of a receiver that does not want the event: sending it again changes nothing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event was not taken.

    Attributes:
        error: What happened.
        is_final: Whether another attempt is of no use.
    """

    error: str
    is_final: bool = False


def check_url(url: str) -> str:
    """Return ``url`` if events can be sent there; raises `ConfigError` if not."""
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.auth:
        raise ConfigError(f"{url[:80]!r} is not an http:// or https:// address without a password in it")
    return url


def post(url: str, headers: Mapping[str, str], body: bytes) -> Refusal | None:
    """Send an event once; returns why it was not taken, or None.

    Redirects are not followed, and of the answer only the status is read: its body may be endless.

    Args:
        url: An address that `check_url` accepts.
        headers: Of the request.
        body: The event.
    """
    parsed = urllib3.util.parse_url(url)
    host = str(parsed.host).strip("[]")
    is_secure = parsed.scheme == "https"
    connection = (http.client.HTTPSConnection if is_secure else http.client.HTTPConnection)(host, parsed.port)
    try:
        with ExitStack() as held:
            held.callback(connection.close)
            plain = held.enter_context(socket.create_connection((host, connection.port), ANSWER_S))
            # The timeout is for each read, and a receiver may send byte by byte: the deadline is for all of it.
            deadline = threading.Timer(ANSWER_S, _end, (held.enter_context(plain.dup()),))
            deadline.daemon = True
            deadline.start()
            held.callback(deadline.cancel)
            secured = ssl.create_default_context().wrap_socket(plain, server_hostname=host) if is_secure else plain
            connection.sock = secured
            connection.request("POST", parsed.request_uri, body, dict(headers))
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Refusal(f"{type(error).__name__}: no answer from {parsed.host}")
    return None if 200 <= status < 300 else Refusal(f"status {status}", status in UNWANTED)


def _end(connected: socket.socket) -> None:
    with suppress(OSError):  # it has ended
        connected.shutdown(socket.SHUT_RDWR)
