"""The guide's configurations of terminators, in front of a real origin: HTTP/2, and an offer of HTTP/3."""

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headend.core.storage.memory import MemoryStore
from origin.serving import running
from tests.origin.grants import CLOSED, from_edge, token
from tests.origin.releases import PICTURE, TITLE, put_release
from tests.support.command_line import ROOT

LARGE = bytes(range(256)) * 4000
SEGMENT = f"/{TITLE}/tracks/{PICTURE}/1.m4s"


def program(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"{name} is not installed; Debian has it")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def config(language: str, folder: Path, *, port: int, origin: str) -> str:
    """Return the guide's example, adapted to this machine."""
    guide = (ROOT / "docs/guides/origin.md").read_text()
    found = re.search(rf"```{language}\n(.*?)```", guide, re.DOTALL)
    assert found is not None
    text = found[1].replace("/etc/ssl", str(folder)).replace("127.0.0.1:8080", origin.removeprefix("http://"))
    text = text.replace("listen 443", f"listen 127.0.0.1:{port}")
    return re.sub(r"^vod\.example \{", f"https://vod.example:{port} {{", text, flags=re.MULTILINE)


@contextmanager
def nginx(folder: Path, port: int, origin: str) -> Iterator[None]:
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
        f"http {{ {paths} {config('nginx', folder, port=port, origin=origin)} }}"
    )
    with started([program("nginx"), "-c", f"{folder}/nginx.conf", "-p", f"{folder}", "-e", f"{folder}/log"], port):
        yield


@contextmanager
def caddy(folder: Path, port: int, origin: str) -> Iterator[None]:
    # Without Caddy's admin endpoint, and without port 80, which it would redirect to https.
    settings = "{\n\tadmin off\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(settings + config("caddy", folder, port=port, origin=origin))
    with started([program("caddy"), "run", "--config", f"{folder}/Caddyfile", "--adapter", "caddyfile"], port):
        yield


@contextmanager
def started(argv: list[str], port: int) -> Iterator[None]:
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        try:
            for _ in range(500):
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert child.poll() is None, child.stderr and child.stderr.read()
                    time.sleep(0.02)
            yield
        finally:
            child.terminate()


def curl(folder: Path, port: int, path: str, *options: str) -> tuple[str, str, bytes]:
    """Version of HTTP and status, headers in lower case, and body."""
    argv = [program("curl"), "--silent", "--http2", "--cacert", f"{folder}/vod.pem", "--dump-header", f"{folder}/head"]
    argv += ["--resolve", f"vod.example:{port}:127.0.0.1", "--max-time", "30", *options]
    ended = subprocess.run([*argv, f"https://vod.example:{port}{path}"], capture_output=True, check=True)
    first, _, headers = (folder / "head").read_text().partition("\n")
    return first.strip(), headers.lower(), ended.stdout


@pytest.mark.parametrize("terminator", [nginx, caddy])
def test_a_terminator_forwards_the_origins_responses_by_http2(terminator: object, tmp_path: Path) -> None:
    assert callable(terminator)
    subprocess.run(
        [
            *(
                program("openssl"),
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-subj", "/CN=vod.example", "-addext", "subjectAltName=DNS:vod.example", "-days", "1"),
            *("-keyout", f"{tmp_path}/vod.key", "-out", f"{tmp_path}/vod.pem"),
        ],
        capture_output=True,
        check=True,
    )
    store, port = MemoryStore(), free_port()
    put_release(store, segments=(LARGE,))
    with running(store, settings=CLOSED) as origin, terminator(tmp_path, port, origin):
        path = f"/t/{token()}{SEGMENT}"
        version, headers, body = curl(tmp_path, port, path)
        assert (version, body) == ("HTTP/2 200", LARGE)
        etag = re.search(r"^etag: (\S+)", headers, re.MULTILINE)
        assert etag is not None and "immutable" in headers
        assert ("h3=" in headers) == (terminator is caddy)
        assert curl(tmp_path, port, path, "-H", "Range: bytes=5-9")[::2] == ("HTTP/2 206", LARGE[5:10])
        assert curl(tmp_path, port, path, "-H", f"If-None-Match: {etag[1]}")[::2] == ("HTTP/2 304", b"")
        assert curl(tmp_path, port, SEGMENT)[0] == "HTTP/2 403"
        assert curl(tmp_path, port, "/metrics")[0] == "HTTP/2 404"
        here = f"/t/{token(territories=('DE',))}{SEGMENT}"
        word = from_edge("DE")["Headend-Edge"]
        assert curl(tmp_path, port, here, "-H", f"Headend-Edge: {word}")[0] == "HTTP/2 403", "a viewer is no edge"
