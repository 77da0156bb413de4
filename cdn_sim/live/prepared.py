"""Prepared responses: the fast path of most manifest hits.

A response to a request for a document is kept whole. An equal request gets it again while the document is fresh.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import hdrs

from cdn_sim.live.documents import Document, Documents, with_age
from cdn_sim.live.upstream import LOOP
from headend.core.http import responses
from headend.core.http.conditions import CONDITIONS
from headend.core.http.requests import Request
from headend.core.http.responses import Response
from headend.core.manifests import selection

ORIGIN_TERMS = frozenset({"after", "steering"})
"""Query parameters that the origin's documents depend on, besides filters.

Others are dropped, so that clients can't fill the memory with copies or bypass the cache.
"""
PREPARED = 4096
"""Maximum number of prepared responses."""
PREPARED_CHARACTERS = 2048
"""Maximum length of a prepared response's key; requests with longer keys are not prepared."""
UNPREPARED = (LOOP, *(name for name in CONDITIONS if name != hdrs.IF_NONE_MATCH))
"""Requests with any of these headers never use a prepared response."""
_NONE: tuple[str | None] = (None,)


@dataclass(slots=True)
class _Prepared:
    """A prepared response.

    Attributes:
        key: Key of the document.
        document: The document.
        response: The response without ``Age``.
        age: Age in ``aged``, in whole seconds.
        aged: The response with ``Age``.
    """

    key: tuple[str, ...]
    document: Document
    response: Response
    age: int
    aged: Response


class PreparedResponses:
    """Prepared responses to requests for documents; belongs to one event loop.

    Args:
        documents: The cache of documents, which knows whether they are fresh.
        clock: Monotonic clock, in seconds.
    """

    def __init__(self, documents: Documents, clock: Callable[[], float] = time.monotonic) -> None:
        self._documents = documents
        self._clock = clock
        self._kept: dict[tuple[object, ...], _Prepared] = {}

    def find(self, request: Request) -> Response | None:
        """The response to an equal request, if its document is still fresh."""
        key = _key(request)
        found = self._kept.get(key) if key is not None else None
        if found is None or not request.headers.keys().isdisjoint(UNPREPARED):
            return None
        document = found.document
        now_s = self._clock()
        if not self._documents.is_fresh(found.key, document, now_s):
            return None
        age = int(document.age_s + now_s - document.at_s)
        if age != found.age:
            found.age, found.aged = age, with_age(found.response, age)
        return found.aged

    def keep(self, request: Request, key: tuple[str, ...], document: Document) -> None:
        """Keep the response to a request for later, if both are small.

        Args:
            request: The request, without a token.
            key: Key of the document.
            document: The document.
        """
        if document.file is None:
            return
        request_key = _key(request)
        if request_key is None or len(repr(request_key)) > PREPARED_CHARACTERS or request.method != hdrs.METH_GET:
            return
        if request.headers.keys().isdisjoint(UNPREPARED):
            response = responses.for_file(request.method, request.headers, document.file)
            if response.head and isinstance(response.body, bytes):
                if len(self._kept) >= PREPARED:
                    self._kept.clear()
                self._kept[request_key] = _Prepared(key, document, response, -1, response)


def _key(request: Request) -> tuple[str | None, ...] | None:
    """Everything that a prepared response depends on; None if a header is repeated."""
    headers = request.headers
    path, mark, query = request.target.partition("?")
    codings, known = headers.getall(hdrs.ACCEPT_ENCODING, _NONE), headers.getall(hdrs.IF_NONE_MATCH, _NONE)
    if len(codings) != 1 or len(known) != 1:
        return None
    return path, selection.terms(query, ORIGIN_TERMS) if mark else "", codings[0], known[0], headers.get(hdrs.ACCEPT)
