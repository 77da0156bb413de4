"""An S3 server with the faults of real ones: it breaks off, stalls, refuses, redirects."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from headend.core.storage import Store

Fault = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """One request; a fault may change its response.

    Attributes:
        status: Sent instead of the object, unless it is 200.
        max_bytes: Bytes of the body that are sent before the connection ends; None for all.
        gate: Waited for after the first half of the body.
        pause_s: Pause after every thousand bytes of the body.
        location: Address of a redirect.
        claimed: Body that is sent instead of the object.
    """

    protocol_version = "HTTP/1.1"
    status = 200
    max_bytes: int | None = None
    gate: threading.Event | None = None
    pause_s: float = 0.0
    location: str | None = None
    claimed: bytes | None = None
    s3: "FaultyS3"

    def do_GET(self) -> None:
        key = self.path.removeprefix(f"/{BUCKET}/").partition("?")[0]
        if key == f"/{BUCKET}":
            self._list(parse_qs(self.path.partition("?")[2]))
            return
        wanted = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.s3.requests.append((key, start))
        self.status, self.max_bytes, self.gate = 200, None, None
        self.location, self.claimed, self.pause_s = None, None, 0.0
        if key.endswith(".m4s") and self.s3.faults:
            self.s3.faults.pop(0)(self)
        body = b"<Error><Code>InternalError</Code></Error>"
        if self.status == 200:
            body = (self.s3.store.get(key) if self.claimed is None else self.claimed)[start:]
        self.send_response(206 if start and self.status == 200 else self.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.send_header("ETag", '"tag"')
        if self.location is not None:
            self.send_header("Location", self.location)
        self.end_headers()
        with suppress(OSError):  # the origin may have disconnected
            if self.gate is not None:
                half = len(body) // 2
                self.wfile.write(body[:half])
                self.gate.wait(30)
                body = body[half:]
            while self.pause_s and body:
                self.wfile.write(body[:1000])
                body = body[1000:]
                time.sleep(self.pause_s)
            self.wfile.write(body[: self.max_bytes])
        if self.max_bytes is not None:
            self.close_connection = True

    def _list_objects(self, prefix: str) -> None:
        found = "".join(
            f"<Contents><Key>{info.key}</Key><Size>{info.size_bytes}</Size><ETag>x</ETag>"
            f"<LastModified>{info.modified.isoformat()}</LastModified></Contents>"
            for info in self.s3.store.list(prefix)
        )
        self._send_listing(found)

    def _list(self, query: dict[str, list[str]]) -> None:
        """List the folders below a prefix, or all objects below it."""
        prefix = query.get("prefix", [""])[0]
        if "delimiter" not in query:
            self._list_objects(prefix)
            return
        found = "".join(
            f"<CommonPrefixes><Prefix>{prefix}{name}/</Prefix></CommonPrefixes>"
            for name in self.s3.store.folders(prefix)
        )
        self._send_listing(found)

    def _send_listing(self, found: str) -> None:
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class FaultyS3:
    """A running S3 server whose responses can be made faulty.

    Attributes:
        store: The objects that it serves.
        url: Its address.
        requests: Key and first byte of every request so far.
        faults: Faults of the next requests for segments, one each.
    """

    store: Store
    url: str = ""
    requests: list[tuple[str, int]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def starts_of(self, key: str) -> list[int]:
        """Return the first byte of each request for a key."""
        return [start for requested, start in self.requests if requested == key]


BUCKET = "films"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Don't log an origin that disconnects."""


@contextmanager
def faulty_s3(store: Store, *, port: int = 0) -> Iterator[FaultyS3]:
    """Serve a store as a bucket."""
    s3 = FaultyS3(store)
    handler = type("FaultyHandler", (Handler,), {"s3": s3})
    with Server(("127.0.0.1", port), handler) as server:
        s3.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield s3
        finally:
            server.shutdown()
            thread.join()


def refuses(status: int, location: str | None = None) -> Fault:
    def fault(handler: Handler) -> None:
        handler.status, handler.location = status, location

    return fault


def breaks_off_after(sent_bytes: int) -> Fault:
    def fault(handler: Handler) -> None:
        handler.max_bytes = sent_bytes

    return fault


def trickles(pause_s: float) -> Fault:
    def fault(handler: Handler) -> None:
        handler.pause_s = pause_s

    return fault


def waits_half_way(gate: threading.Event) -> Fault:
    def fault(handler: Handler) -> None:
        handler.gate = gate

    return fault


def claims(body: bytes) -> Fault:
    def fault(handler: Handler) -> None:
        handler.claimed = body

    return fault


def both(*faults: Fault) -> Fault:
    def fault(handler: Handler) -> None:
        for each in faults:
            each(handler)

    return fault


def works(_: Handler) -> None:
    """Respond without a fault."""
