"""Requests that are known byte for byte, and how they are answered again without being parsed.

Equal bytes are equal requests, so what was found out about the first one holds for all others. What may change in time
does not lie here: the application is asked each time whether its answer still holds.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs
from aiohttp.http import HttpVersion11

from headend.core.http import cmcd
from headend.core.http.conditions import Headers
from headend.core.http.requests import ReceivedRequest, Request
from headend.core.http.responses import Response

MOST = 4096
"""Requests that are known; they are all forgotten when there are more."""
LONGEST_BYTES = 2048
"""Longer requests are parsed each time, so that those that are known take little memory."""

Again = Callable[[], Response | None]
"""Gives the response, with its ``head``; None if it does not hold any more."""


@dataclass(frozen=True, slots=True)
class Known:
    """A request that was answered before.

    Attributes:
        method: ``GET`` or ``HEAD``.
        target: As in `Request`.
        headers: As in `Request`.
        route: Name of its route.
        again: Gives the response.
    """

    method: str
    target: str
    headers: Headers
    route: str
    again: Again


class Repeats:
    """What a server knows byte for byte.

    Args:
        ask: Says how a request is answered again that has just been answered; None if it has to be parsed each time.
            The answer may depend on the request and on time, but not on the client or its connection.
    """

    def __init__(self, ask: Callable[[Request], Again | None]) -> None:
        self._ask = ask
        self._known: dict[bytes, Known] = {}
        self.get = self._known.get

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, data: bytes, request: ReceivedRequest, route: str) -> None:
        """Have a request answered again without being parsed, if the application knows how.

        Args:
            data: The request as it came; the connection goes on after it.
            request: What it was parsed to.
            route: Its route.
        """
        if len(data) > LONGEST_BYTES or request.version != HttpVersion11:
            return
        if cmcd.MARK in request.target or not request.headers.keys().isdisjoint(_CHANGING):
            return  # the next one differs
        again = self._ask(request)
        if again is None:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[data] = Known(request.method, request.target, request.headers, route, again)

    def response(self, data: bytes, known: Known) -> Response | None:
        """The response to a known request; None, and it is forgotten, if it does not hold any more."""
        found = known.again()
        if found is None or not found.head or found.closes or not isinstance(found.body, bytes):
            self._known.pop(data, None)
            return None
        return found


_CHANGING = frozenset({*cmcd.HEADERS, hdrs.UPGRADE})
"""Headers of requests that are parsed each time: they differ, or ask for another protocol."""
