"""Media from S3, on the path of requests.

boto3 remains for documents, of which there are few, and to find out where objects are and with which credentials.
"""

import asyncio
import os
import random
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import aiohttp
import botocore.session
from botocore.exceptions import NoCredentialsError
from yarl import URL

from headend.core.caching.circuit_breaker import RetryBudget
from headend.core.errors import ObjectMissing, StorageError, StoreUnavailable
from headend.core.storage.s3 import S3Store, connect, translated
from origin.signing import Signer
from origin.sources import damaged

PIECE_BYTES = 256 << 10
"""Bytes handed over at a time: each piece costs a turn of the event loop."""
READS = 64
"""Reads at a time: each has some hundred KB in this process."""
STALL_S = 20.0
"""How long the next piece may take."""
LEAST_BYTES_PER_S = 128 << 10
"""A read that is slower than this over all, with `STALL_S` more for its start, is given up."""
CONNECT_S = 5.0
KEPT_S = 30.0
"""How long an idle connection to the server is kept."""
CREDENTIALS_S = 60.0
"""How long credentials are used without asking boto3 again, which renews them minutes before they expire."""
ATTEMPTS = 3
"""How often a read is tried, if the budget for retries allows it."""
PAUSE_S = 0.1
"""Longest pause before the first retry; doubled each time."""


class Bucket:
    """Objects in S3, read by aiohttp, at a third of the cost of boto3; see ADR 20.

    Args:
        store: Where they are; what boto3 finds out about the server and the credentials holds here, too.
        threads: Where boto3 is asked for credentials.
        on_retry: Called for each read that is tried again.
    """

    def __init__(self, store: S3Store, threads: Executor, on_retry: Callable[[], None]) -> None:
        self._store = store
        self._threads = threads
        self._on_retry = on_retry
        self._budget = RetryBudget()
        self._session: aiohttp.ClientSession | None = None
        self._base = ""
        self._signer: tuple[float, Signer] | None = None
        self._asking = asyncio.Lock()

    async def pieces(self, key: str, size_bytes: int) -> AsyncGenerator[bytes | memoryview, None]:
        """Read an object; a read that breaks off goes on from where it was."""
        at = 0
        until_s = time.monotonic() + STALL_S + size_bytes / LEAST_BYTES_PER_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with aclosing(self._read(key, at, size_bytes, until_s)) as pieces:
                    async for piece in pieces:
                        at += len(piece)
                        yield piece
            except StoreUnavailable:
                if attempt == ATTEMPTS or time.monotonic() >= until_s or not self._budget.spend():
                    raise
                self._on_retry()
                await asyncio.sleep(random.uniform(0, PAUSE_S * 2**attempt))
            else:
                self._budget.earn()
                return

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()

    async def _read(self, key: str, start: int, size_bytes: int, until_s: float) -> AsyncGenerator[bytes, None]:
        session, signer = await self._ready()
        # What was signed is sent as it is, and nowhere else.
        address = URL(self._base + quote(key, safe="/-_.~"), encoded=True)
        headers = signer.headers(address.raw_path, time.time())
        if start:
            headers["range"] = f"bytes={start}-"
        timeout = aiohttp.ClientTimeout(
            total=max(0.001, until_s - time.monotonic()), sock_connect=CONNECT_S, sock_read=STALL_S
        )
        try:
            async with session.get(address, headers=headers, allow_redirects=False, timeout=timeout) as answer:
                if answer.status != (HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK):
                    raise self._refusal(key, answer.status)
                if answer.content_length not in (None, size_bytes - start):
                    raise damaged(self._store, key)
                async for piece in answer.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StoreUnavailable(
                f"can't read {key} in {self._store.url}: {type(error).__name__}; check the endpoint and the network",
                key=key,
            ) from error

    async def _ready(self) -> tuple[aiohttp.ClientSession, Signer]:
        if self._signer is None or time.monotonic() > self._signer[0]:
            async with self._asking:  # one of all reads that wait
                if self._signer is None or time.monotonic() > self._signer[0]:
                    # May ask another server, and is quick only most of the time.
                    signer = await asyncio.get_running_loop().run_in_executor(self._threads, self._look)
                    self._signer = (time.monotonic() + CREDENTIALS_S, signer)
        if self._session is None:
            bundle = os.environ.get("AWS_CA_BUNDLE")
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(
                    limit=READS, ssl=ssl.create_default_context(cafile=bundle), keepalive_timeout=KEPT_S
                ),
                read_bufsize=PIECE_BYTES,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        return self._session, self._signer[1]

    def _look(self) -> Signer:
        """Ask boto3 where objects are, and with which credentials."""
        with translated(f"can't read objects in {self._store.url}", ""):
            client = connect(self._store.endpoint_url)
            signed = client.generate_presigned_url("get_object", Params={"Bucket": self._store.bucket, "Key": "-"})
            self._base = signed.partition("?")[0].removesuffix("-")
            if self._store.prefix:
                self._base += f"{quote(self._store.prefix, safe='/-_.~')}/"
            credentials = botocore.session.Session().get_credentials()
            if credentials is None:
                raise NoCredentialsError
            return Signer(credentials.get_frozen_credentials(), client.meta.region_name, urlsplit(self._base).netloc)

    def _refusal(self, key: str, status: int) -> StorageError:
        problem = f"can't read {key} in {self._store.url}: the server answers {status}"
        if status == HTTPStatus.NOT_FOUND:
            return ObjectMissing(problem, key=key)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _MAY_PASS:
            return StoreUnavailable(f"{problem}; try again later", key=key, status=status)
        return StorageError(f"{problem}; check the endpoint and what the credentials allow", key=key, status=status)


_MAY_PASS = frozenset({HTTPStatus.OK, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Among them: the whole where a part was asked for."""
