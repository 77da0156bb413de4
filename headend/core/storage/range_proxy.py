"""A proxy on the loopback interface that serves one object in S3 to this user's programs.

FFmpeg opens masters by URL. With a presigned URL, anybody who sees the command line could read the master, and the URL
would expire with the credentials that signed it. The proxy signs each request when it sends it, and retries while S3
can't be reached. Its URL contains a random token and gives access to only one object. Only processes of this user are
served: the kernel's table of connections says which user a connection belongs to.
"""

import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headend.core.errors import HeadendError, MasterError, StorageError, StoreUnavailable
from headend.core.storage.retrying import with_retries
from headend.core.storage.s3 import connect, split_url, translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BLOCK_BYTES = 256 << 10
READ_TIMEOUT_S = 20.0
"""How long S3 may send nothing before a request is retried."""
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_CHANGED = frozenset({"PreconditionFailed", "412"})


class RangeProxy:
    """Serves an object from `start` until `stop`.

    Args:
        url: ``s3://bucket/key``.
        size_bytes: The object's size.
        etag: Its expected ETag, without quotes.
        endpoint_url: S3 endpoint; None for the SDK's own choice.
        patience_s: How long requests are retried while S3 can't be reached.
        on_wait: Called from time to time with a message for the user while S3 can't be reached; from any thread.
    """

    def __init__(
        self,
        url: str,
        size_bytes: int,
        etag: str,
        endpoint_url: str | None,
        patience_s: float,
        on_wait: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.size_bytes = size_bytes
        self.passed = 0
        """Bytes sent plus failed attempts, which grows as long as the proxy is active."""
        self.failure: HeadendError | None = None
        """The error of a request that failed after all retries."""
        self._object_url, self._etag = url, etag
        self._patience_s, self._on_wait = patience_s, on_wait
        self._bucket, self._key = split_url(url)
        self._client: S3Client = connect(endpoint_url, attempts=1, read_timeout_s=READ_TIMEOUT_S)
        # FFmpeg uses the suffix to choose a demuxer.
        suffix = Path(self._key).suffix
        self.path = f"/{secrets.token_urlsafe(32)}/master{suffix if _SUFFIX.fullmatch(suffix) else ''}"
        self._stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """The URL for FFmpeg."""
        return f"http://127.0.0.1:{self.port}{self.path}"

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()

    def read(self, start: int, end: int) -> Generator[bytes, None, None]:
        """Read the bytes from ``start`` to ``end``; resumes after each interruption.

        Raises:
            MasterError: The object has changed or is missing.
            StorageError: S3 rejects a request, or could not be reached for too long.
        """
        blocks: Generator[bytes, None, None] | None = None

        def next_block() -> bytes:
            nonlocal blocks
            try:
                blocks = blocks or self._read_once(start, end)
                if not (block := next(blocks, b"")):
                    raise StoreUnavailable(f"the connection to {self._object_url} broke", key=self._key)
            except StoreUnavailable:
                blocks = None
                self.passed += 1
                raise
            return block

        try:
            while start < end:
                block = with_retries(next_block, self._patience_s, self._stopped.is_set, self._on_wait)
                start += len(block)
                self.passed += len(block)
                yield block
        finally:
            if blocks is not None:
                blocks.close()

    def _read_once(self, start: int, end: int) -> Generator[bytes, None, None]:
        try:
            with translated(f"can't read {self._object_url}", self._key):
                response = self._client.get_object(
                    Bucket=self._bucket, Key=self._key, Range=f"bytes={start}-{end - 1}", IfMatch=f'"{self._etag}"'
                )
        except StorageError as error:
            if error.facts.get("code") in _CHANGED:
                raise self._changed() from error
            raise
        # Some servers ignore the condition.
        if response["ETag"].strip('"') != self._etag:
            raise self._changed()
        body = response["Body"]
        try:
            while True:
                with translated(f"can't read {self._object_url}", self._key):
                    block = body.read(BLOCK_BYTES)
                if not block:
                    return
                yield block
        finally:
            body.close()

    def _changed(self) -> MasterError:
        return MasterError(f"{self._object_url} has changed since the job was planned; submit it again")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 3600.0  # FFmpeg reads as slowly as it encodes

    def __init__(self, proxy: RangeProxy, request: socket.socket, address: tuple[str, int], server: Any) -> None:
        self._proxy = proxy
        super().__init__(request, address, server)  # this also handles the request

    def setup(self) -> None:
        """Keep the kernel's send buffer small, because buffered data is wasted when FFmpeg seeks."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BLOCK_BYTES)
        super().setup()

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        self.close_connection = True
        proxy = self._proxy
        if not compare_digest(self.path.encode(), proxy.path.encode()) or not is_own_peer(
            self.client_address[1], proxy.port
        ):
            self._head(404, 0)
            return
        size = proxy.size_bytes
        start, end, status = 0, size, 200
        if (header := self.headers.get("Range")) is not None and (match := _RANGE.fullmatch(header)):
            start, end = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
            if start >= end:
                self._head(416, 0, {"Content-Range": f"bytes */{size}"})
                return
            status = 206
        more = {"Content-Range": f"bytes {start}-{end - 1}/{size}"} if status == 206 else {}
        blocks = proxy.read(start, end)
        first = b""
        if with_body:
            try:
                first = next(blocks, b"")
            except HeadendError as error:
                proxy.failure = error
                self._head(503 if error.retryable else 404, 0)
                return
        self._head(status, end - start, more)
        if not with_body:
            return
        try:
            self.wfile.write(first)
            for block in blocks:
                self.wfile.write(block)
        except HeadendError as error:
            proxy.failure = error
        except OSError:
            pass  # FFmpeg has read enough, and seeks
        finally:
            blocks.close()

    def _head(self, status: int, length: int, more: dict[str, str] | None = None) -> None:
        with suppress(OSError):
            self.send_response(status)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(length))
            self.send_header("Connection", "close")
            for name, value in (more or {}).items():
                self.send_header(name, value)
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because the path contains a secret."""


@contextmanager
def serving(
    url: str,
    size_bytes: int,
    etag: str,
    endpoint_url: str | None,
    patience_s: float,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Iterator[RangeProxy]:
    """Serve an object for the duration of a ``with`` block; see `RangeProxy`."""
    proxy = RangeProxy(url, size_bytes, etag, endpoint_url, patience_s, on_wait)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


MAX_TABLE_READS = 5
"""How often the kernel's table of connections is read if a connection is not in it."""


def is_own_peer(port: int, server_port: int, table: Path = Path("/proc/net/tcp")) -> bool:
    """Whether the process at the other end of a loopback connection belongs to this user.

    Args:
        port: The other end's port.
        server_port: This end's port.
        table: The kernel's table of connections. If it can't be read, the result is true, and only the token protects.

    Source:
        Linux, Documentation/networking/proc_net_tcp.rst.
    """
    local, remote = f"0100007F:{server_port:04X}", f"0100007F:{port:04X}"
    # The kernel writes the table in pieces. If other connections open or close meanwhile, it may skip or repeat rows.
    for _ in range(MAX_TABLE_READS):
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            return True
        owners = {int(words[7]) for row in rows if (words := row.split())[1] == remote and words[2] == local}
        if owners:
            return owners == {os.getuid()}
    return False
