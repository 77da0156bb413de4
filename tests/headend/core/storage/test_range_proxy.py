"""A master in S3 is served on the loopback interface: to this user only, exactly, and through outages."""

import http.client
import os
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headend.core.errors import MasterError, StoreUnavailable
from headend.core.storage import range_proxy, retrying
from headend.core.storage.local_server import LocalS3
from headend.core.storage.masters import identify, opened
from headend.core.storage.range_proxy import is_own_peer
from headend.core.storage.s3 import S3Store
from tests.support.s3_servers import BUCKET

DATA = os.urandom(3_000_000)


@pytest.fixture
def master_url(rclone_s3: LocalS3) -> str:
    S3Store(BUCKET, "proxied", rclone_s3.endpoint_url).put("film one.mov", DATA)
    return f"s3://{BUCKET}/proxied/film one.mov"


def get(url: str, range_: str | None = None) -> tuple[int, bytes, str | None]:
    headers = {"Range": range_} if range_ else {}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return answer.status, answer.read(), answer.headers["Content-Range"]


def test_ranges_are_exact(rclone_s3: LocalS3, master_url: str) -> None:
    with opened(identify(master_url, rclone_s3.endpoint_url), rclone_s3.endpoint_url) as source:
        assert get(source.url) == (200, DATA, None)
        assert get(source.url, "bytes=2-4") == (206, DATA[2:5], f"bytes 2-4/{len(DATA)}")
        assert get(source.url, "bytes=2999990-") == (206, DATA[2_999_990:], f"bytes 2999990-2999999/{len(DATA)}")
        with pytest.raises(urllib.error.HTTPError, match="416"):
            get(source.url, f"bytes={len(DATA)}-")
        assert source.progress() >= len(DATA)
        assert source.failure() is None


def test_the_address_contains_no_secret_of_s3_and_no_other_path_is_served(rclone_s3: LocalS3, master_url: str) -> None:
    S3Store(BUCKET, "proxied", rclone_s3.endpoint_url).put("other.mov", b"other")
    with opened(identify(master_url, rclone_s3.endpoint_url), rclone_s3.endpoint_url) as source:
        assert "X-Amz" not in source.url
        assert rclone_s3.access_key not in source.url
        token = source.url.split("/")[3]
        for wrong in (
            source.url.replace(token, "x" * len(token)),
            source.url.replace("master", "other"),
            source.url.rpartition("/")[0] + "/other.mov",
            source.url.replace(f"/{token}", ""),
        ):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                get(wrong)


def test_nothing_is_served_when_the_block_has_ended(rclone_s3: LocalS3, master_url: str) -> None:
    with opened(identify(master_url, rclone_s3.endpoint_url), rclone_s3.endpoint_url) as source:
        url = source.url
    with pytest.raises(urllib.error.URLError):
        get(url)


def test_another_user_of_the_machine_gets_no_data(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            mine = client.getsockname()[1]
            assert is_own_peer(mine, port)
            assert not is_own_peer(mine + 1, port)
            theirs = tmp_path / "tcp"
            table = Path("/proc/net/tcp").read_text().splitlines()
            theirs.write_text("\n".join([table[0], *(_owned_by(row, os.getuid() + 1) for row in table[1:])]))
            assert not is_own_peer(mine, port, theirs)
            repeated = tmp_path / "repeated"
            repeated.write_text("\n".join([*table, *table[1:]]))
            assert is_own_peer(mine, port, repeated)


def _owned_by(row: str, uid: int) -> str:
    words = row.split()
    words[7] = str(uid)
    return " ".join(words)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_a_process_of_another_user_gets_nothing(rclone_s3: LocalS3, master_url: str) -> None:
    with opened(identify(master_url, rclone_s3.endpoint_url), rclone_s3.endpoint_url) as source:
        host, path = source.url.removeprefix("http://").split("/", 1)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            connection = http.client.HTTPConnection(host)
            connection.request("GET", f"/{path}")
            os.write(write, str(connection.getresponse().status).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(read, 10) == b"404"


def test_a_master_that_has_changed_is_not_served(rclone_s3: LocalS3, master_url: str) -> None:
    with opened(identify(master_url, rclone_s3.endpoint_url), rclone_s3.endpoint_url) as source:
        S3Store(BUCKET, "proxied", rclone_s3.endpoint_url).put("film one.mov", DATA[::-1])
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(source.url)
        assert isinstance(source.failure(), MasterError)


# --- outages ------------------------------------------------------------------------------------------------------


@pytest.fixture
def troubled(rclone_s3: LocalS3) -> Iterator[tuple[str, Callable[[str], None]]]:
    """A server in front of S3 that forwards requests, fails them, breaks off bodies, or never answers."""
    mood = ["well"]
    upstream = rclone_s3.endpoint_url.removeprefix("http://")
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            now = mood[0]
            if now == "silent":
                over.wait(30)
                return
            if now == "down":
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            connection = http.client.HTTPConnection(upstream)
            connection.request(self.command, self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            body = answer.read()
            self.wfile.write(body[: len(body) // 2] if now == "broken" and self.command == "GET" else body)
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", lambda now: mood.__setitem__(0, now)
    over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("trouble", ["down", "broken", "silent"])
def test_an_outage_delays_the_read_and_loses_no_byte(
    troubled: tuple[str, Callable[[str], None]], master_url: str, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_proxy, "READ_TIMEOUT_S", 0.4)
    monkeypatch.setattr(retrying, "PAUSES_S", (0.1, 0.2))
    endpoint, become = troubled
    messages: list[str] = []

    def end_trouble(message: str) -> None:
        messages.append(message)
        become("well")

    with opened(identify(master_url, endpoint), endpoint, patience_s=30, on_wait=end_trouble) as source:
        become(trouble)
        assert get(source.url, "bytes=5-")[1] == DATA[5:]
        assert source.failure() is None
    assert messages
    assert re.match(r"waiting for the store, for \d+ s more: ", messages[0])


def test_waiting_ends_after_the_given_patience(
    troubled: tuple[str, Callable[[str], None]], master_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_proxy, "READ_TIMEOUT_S", 1.0)
    endpoint, become = troubled
    with opened(identify(master_url, endpoint), endpoint, patience_s=1) as source:
        become("down")
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(source.url)
        assert isinstance(source.failure(), StoreUnavailable)
