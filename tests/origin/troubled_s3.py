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

Trouble = Callable[["Answering"], None]


class Answering(BaseHTTPRequestHandler):
    """One request; a fault may change its response.

    Attributes:
        status: Sent instead of the object, unless it is 200.
        most_bytes: Bytes of the body that are sent before the connection ends; None for all.
        gate: Waited for after the first half of the body.
        pause_s: Pause after every thousand bytes of the body.
        location: Where the client is sent.
        claimed: Sent instead of the object, with this length.
    """

    protocol_version = "HTTP/1.1"
    status = 200
    most_bytes: int | None = None
    gate: threading.Event | None = None
    pause_s: float = 0.0
    location: str | None = None
    claimed: bytes | None = None
    day: "BadDay"

    def do_GET(self) -> None:
        key = self.path.removeprefix(f"/{BUCKET}/").partition("?")[0]
        if key == f"/{BUCKET}":
            self._list(parse_qs(self.path.partition("?")[2]))
            return
        wanted = re.fullmatch(r"bytes=([0-9]+)-", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.day.asked.append((key, start))
        self.status, self.most_bytes, self.gate = 200, None, None
        self.location, self.claimed, self.pause_s = None, None, 0.0
        if key.endswith(".m4s") and self.day.troubles:
            self.day.troubles.pop(0)(self)
        body = b"<Error><Code>Trouble</Code></Error>"
        if self.status == 200:
            body = (self.day.store.get(key) if self.claimed is None else self.claimed)[start:]
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
            self.wfile.write(body[: self.most_bytes])
        if self.most_bytes is not None:
            self.close_connection = True

    def _list_objects(self, prefix: str) -> None:
        found = "".join(
            f"<Contents><Key>{info.key}</Key><Size>{info.size_bytes}</Size><ETag>x</ETag>"
            f"<LastModified>{info.modified.isoformat()}</LastModified></Contents>"
            for info in self.day.store.list(prefix)
        )
        self._send_listing(found)

    def _list(self, query: dict[str, list[str]]) -> None:
        """Name the folders below a prefix, or all objects below it."""
        prefix = query.get("prefix", [""])[0]
        if "delimiter" not in query:
            self._list_objects(prefix)
            return
        found = "".join(
            f"<CommonPrefixes><Prefix>{prefix}{name}/</Prefix></CommonPrefixes>"
            for name in self.day.store.folders(prefix)
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
class BadDay:
    """A running server.

    Attributes:
        store: What it serves.
        url: Where.
        asked: Key and first byte of every request so far.
        troubles: Faults of the next requests for segments, one each.
    """

    store: Store
    url: str = ""
    asked: list[tuple[str, int]] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)

    def asked_for(self, key: str) -> list[int]:
        """First bytes of the requests for a key."""
        return [start for asked, start in self.asked if asked == key]


BUCKET = "films"


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Don't log an origin that disconnects."""


@contextmanager
def bad_day(store: Store, *, port: int = 0) -> Iterator[BadDay]:
    """Serve a store as a bucket."""
    day = BadDay(store)
    handler = type("Today", (Answering,), {"day": day})
    with Server(("127.0.0.1", port), handler) as server:
        day.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield day
        finally:
            server.shutdown()
            thread.join()


def refuses(status: int, location: str | None = None) -> Trouble:
    def trouble(answering: Answering) -> None:
        answering.status, answering.location = status, location

    return trouble


def breaks_off_after(sent_bytes: int) -> Trouble:
    def trouble(answering: Answering) -> None:
        answering.most_bytes = sent_bytes

    return trouble


def trickles(pause_s: float) -> Trouble:
    def trouble(answering: Answering) -> None:
        answering.pause_s = pause_s

    return trouble


def waits_half_way(gate: threading.Event) -> Trouble:
    def trouble(answering: Answering) -> None:
        answering.gate = gate

    return trouble


def claims(body: bytes) -> Trouble:
    def trouble(answering: Answering) -> None:
        answering.claimed = body

    return trouble


def both(*troubles: Trouble) -> Trouble:
    def trouble(answering: Answering) -> None:
        for each in troubles:
            each(answering)

    return trouble


def works(_: Answering) -> None:
    """No trouble this time."""
