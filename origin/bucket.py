"""Streams media from S3 with aiohttp.

boto3 still reads the documents, which are few, and resolves the endpoint and the credentials.
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
"""Maximum size of a piece; each piece costs an iteration of the event loop."""
MAX_READS = 64
"""Maximum number of concurrent reads; each holds a few hundred KB of memory."""
STALL_S = 20.0
"""Timeout for the next piece."""
MIN_BYTES_PER_S = 128 << 10
"""Minimum average rate of a read; a read fails if it takes longer than that, plus `STALL_S`."""
CONNECT_S = 5.0
"""Timeout for connecting to the server."""
KEEPALIVE_S = 30.0
"""How long an idle connection to the server is kept."""
CREDENTIALS_S = 60.0
"""How long credentials are cached; boto3 renews them minutes before they expire."""
ATTEMPTS = 3
"""Maximum attempts per read; fewer if the retry budget is used up."""
BACKOFF_S = 0.1
"""A retry waits for a random time of up to this, doubled with each attempt."""


class Bucket:
    """Streams objects from S3 with aiohttp, at a third of boto3's cost; see ADR 20.

    Args:
        store: The store; boto3 resolves its endpoint and credentials.
        threads: Runs boto3's calls.
        on_retry: Called for each retry.
    """

    def __init__(self, store: S3Store, threads: Executor, on_retry: Callable[[], None]) -> None:
        self._store = store
        self._threads = threads
        self._on_retry = on_retry
        self._budget = RetryBudget()
        self._session: aiohttp.ClientSession | None = None
        self._base = ""
        self._signer: tuple[float, Signer] | None = None
        self._signer_lock = asyncio.Lock()

    async def pieces(self, key: str, size_bytes: int) -> AsyncGenerator[bytes | memoryview, None]:
        """Read an object; after a broken connection, a retry continues at the next byte."""
        received_bytes = 0
        until_s = time.monotonic() + STALL_S + size_bytes / MIN_BYTES_PER_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with aclosing(self._read(key, received_bytes, size_bytes, until_s)) as pieces:
                    async for piece in pieces:
                        received_bytes += len(piece)
                        yield piece
            except StoreUnavailable:
                if attempt == ATTEMPTS or time.monotonic() >= until_s or not self._budget.spend():
                    raise
                self._on_retry()
                await asyncio.sleep(random.uniform(0, BACKOFF_S * 2**attempt))
            else:
                self._budget.earn()
                return

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _read(self, key: str, start: int, size_bytes: int, until_s: float) -> AsyncGenerator[bytes, None]:
        session, signer = await self._ready()
        # The signature covers this exact path and host: send it unchanged, and don't follow redirects.
        address = URL(self._base + quote(key, safe="/-_.~"), encoded=True)
        headers = signer.headers(address.raw_path, time.time())
        if start:
            headers["range"] = f"bytes={start}-"
        timeout = aiohttp.ClientTimeout(
            total=max(0.001, until_s - time.monotonic()), sock_connect=CONNECT_S, sock_read=STALL_S
        )
        try:
            async with session.get(address, headers=headers, allow_redirects=False, timeout=timeout) as response:
                if response.status != (HTTPStatus.PARTIAL_CONTENT if start else HTTPStatus.OK):
                    raise self._error(key, response.status)
                if response.content_length not in (None, size_bytes - start):
                    raise damaged(self._store, key)
                async for piece in response.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise StoreUnavailable(
                f"can't read {key} in {self._store.url}: {type(error).__name__}; check the endpoint and the network",
                key=key,
            ) from error

    async def _ready(self) -> tuple[aiohttp.ClientSession, Signer]:
        if self._signer is None or time.monotonic() > self._signer[0]:
            async with self._signer_lock:  # one read renews the credentials, the others wait for it
                if self._signer is None or time.monotonic() > self._signer[0]:
                    # boto3 may contact another server, which can be slow.
                    signer = await asyncio.get_running_loop().run_in_executor(self._threads, self._new_signer)
                    self._signer = (time.monotonic() + CREDENTIALS_S, signer)
        if self._session is None:
            bundle = os.environ.get("AWS_CA_BUNDLE")
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(
                    limit=MAX_READS, ssl=ssl.create_default_context(cafile=bundle), keepalive_timeout=KEEPALIVE_S
                ),
                read_bufsize=PIECE_BYTES,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        return self._session, self._signer[1]

    def _new_signer(self) -> Signer:
        """Get the endpoint and the credentials from boto3."""
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

    def _error(self, key: str, status: int) -> StorageError:
        problem = f"can't read {key} in {self._store.url}: the server answers {status}"
        if status == HTTPStatus.NOT_FOUND:
            return ObjectMissing(problem, key=key)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _RETRYABLE:
            return StoreUnavailable(f"{problem}; try again later", key=key, status=status)
        return StorageError(f"{problem}; check the endpoint and what the credentials allow", key=key, status=status)


_RETRYABLE = frozenset({HTTPStatus.OK, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Statuses that may go away with a retry. A 200 is an error if the server ignored the requested range."""
