"""Reading requests: aiohttp's parser, and what it made of the same bytes before."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

LINE_BYTES = 8190
"""Longest request line and header: CMCD makes long queries."""
HEADERS = 64
"""Most headers of a request."""
PIPELINED = 16
"""Most requests of a connection that wait for their answers."""
KNOWN = 512
"""So many requests are remembered, and forgotten in the order in which they came."""
KNOWN_BYTES = 1024
"""Longest request that is remembered."""

_END = b"\r\n\r\n"


class Reader:
    """Reads the requests of one connection.

    A cache asks for the same file in the same words again and again. Between two requests the parser makes the same of
    the same bytes on every connection, so that it need not be asked twice.

    Args:
        loop: Of the connection.
        read_bytes: What is fed at a time.
        known: Requests without a body by their bytes, for all connections.
    """

    __slots__ = ("_is_between", "_known", "_parser", "consumed")

    def __init__(self, loop: asyncio.AbstractEventLoop, read_bytes: int, known: dict[bytes, RawRequestMessage]) -> None:
        self._parser = HttpRequestParser(
            BaseProtocol(loop),
            loop,
            read_bytes,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
            max_headers=HEADERS,
            max_msg_queue_size=PIPELINED,
        )
        self.consumed = self._parser.message_consumed
        self._known = known
        self._is_between = True

    def feed(self, data: bytes) -> tuple[Sequence[tuple[RawRequestMessage, Any]], bool]:
        """Read on: whole requests, each with its body, and whether what follows is no HTTP.

        Raises:
            HttpProcessingError: It is no request.
        """
        was_between = self._is_between
        if was_between and (message := self._known.get(data)) is not None:
            return ((message, EMPTY_PAYLOAD),), False
        messages, is_upgraded, _ = self._parser.feed_data(data)
        # One end of a header, after which nothing comes, and one request: nothing is left over in the parser.
        self._is_between = (was_between and not data) or (
            len(messages) == 1
            and messages[0][1] is EMPTY_PAYLOAD
            and not is_upgraded
            and data.endswith(_END)
            and data.count(_END) == 1
        )
        if was_between and self._is_between and data and len(data) <= KNOWN_BYTES:
            if len(self._known) >= KNOWN:
                del self._known[next(iter(self._known))]
            self._known[data] = messages[0][0]
        return messages, is_upgraded
