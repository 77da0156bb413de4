"""A fast path for requests that arrive in one piece and whose response is in memory.

aiohttp's server wakes a task for each connection, which starts another task for each request. Together they take more
time than everything else for a small response. Most clients send a whole request, read the response, and send the next
request. `WholeRequests` recognizes such a request with aiohttp's own parser. If the application has the response in
memory, `connections.Connection` sends it before it returns to the event loop. aiohttp's server handles all other
requests.
"""

import asyncio

from aiohttp import EMPTY_PAYLOAD
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser, HttpVersion11, RawRequestMessage

_METHOD = b"GET "
_END = b"\r\n\r\n"


class WholeRequests:
    """Parses requests that arrive whole and one at a time. All connections of a server share it.

    Args:
        loop: The event loop.
        line_bytes: Maximum length of the request line and of a header.
        headers: Maximum number of headers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, line_bytes: int, headers: int) -> None:
        self._loop = loop
        self._line_bytes = line_bytes
        self._headers = headers
        self._parser = self._new_parser()

    def read(self, data: bytes) -> RawRequestMessage | None:
        """The request, if the data is exactly one valid HTTP/1.1 GET that keeps the connection open; None if not."""
        if not data.startswith(_METHOD) or data.find(_END) != len(data) - len(_END):
            return None
        try:
            messages, is_upgraded, tail = self._parser.feed_data(data)
        except HttpProcessingError:
            messages, is_upgraded, tail = [], False, b""
        if len(messages) == 1 and not is_upgraded and not tail:
            message, payload = messages[0]
            is_plain = not message.should_close and not message.upgrade and message.version == HttpVersion11
            if is_plain and payload is EMPTY_PAYLOAD:
                return message
        self._parser = self._new_parser()  # the old one may wait for the rest of a body
        return None

    def _new_parser(self) -> HttpRequestParser:
        return HttpRequestParser(
            BaseProtocol(self._loop),
            self._loop,
            1 << 16,
            max_line_size=self._line_bytes,
            max_field_size=self._line_bytes,
            max_headers=self._headers,
            auto_decompress=False,
        )
