"""Servers of a title write no content key and no token: not to logs, metrics, decision logs or caches."""

import base64
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
import urllib3

from headend.app.pipeline import submit
from headend.app.request import Request
from headend.core.keys import ContentKey
from headend.core.media import Effort, Presentation, Scheme
from headend.core.settings import ClusterSettings, EncodeSettings, KeySettings, ProtectionSettings, StoreSettings
from ladders import choosing
from ladders.loading import load
from tests.origin.grants import EDGE, PLAYBACK, token
from tests.support.canaries import forms
from tests.support.command_line import command, environment, headend
from tests.support.content_keys import make_keys, write_keys
from tests.support.in_process import run_tasks
from tests.support.masters import Sound, make_film
from tests.support.waiting import wait_until

START_S = 60
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@dataclass(frozen=True)
class Title:
    """An encrypted title with its keys and folder."""

    presentation: Presentation
    keys: dict[str, ContentKey]
    key_file: Path
    folder: Path


@pytest.fixture(scope="module")
def title(tmp_path_factory: pytest.TempPathFactory) -> Title:
    folder = tmp_path_factory.mktemp("logs")
    keys = make_keys(Scheme.CBCS, Scheme.AES_128)
    path = write_keys(folder / "film.keys", keys)
    master = make_film(folder / "master.mp4", frame_count=25, size=(160, 90), sound=[Sound()])
    request = Request(
        str(master), "film", choosing.select(load("smoke"), rungs=("avc-90p-*", "aac-*")),
        StoreSettings(str(folder / "store")), ClusterSettings(workers=1),
        EncodeSettings(segment_s=Fraction(1, 2), chunk_s=Fraction(1), effort=Effort.DRAFT),
        protection=ProtectionSettings((Scheme.CBCS, Scheme.AES_128), KeySettings(str(path))),
    )  # fmt: skip
    presentation = submit(request, run=run_tasks).presentation
    return Title(presentation, {key.name.kid: key for key in keys}, path, folder)


@contextmanager
def logged(folder: Path, name: str, *words: str | Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a server that writes its access log and messages to files; yields its address and its process."""
    with (folder / f"{name}.out").open("wb") as out, (folder / f"{name}.err").open("wb") as err:
        argv = command(*words, "--port", "0", "--access-log", "--verbose")
        with subprocess.Popen(argv, stdout=out, stderr=err, env=environment(COLUMNS="300")) as child:
            try:
                deadline_s = time.monotonic() + START_S
                while not (found := ADDRESS.search((folder / f"{name}.err").read_text())):
                    assert child.poll() is None and time.monotonic() < deadline_s, "it does not start"
                    time.sleep(0.05)
                yield found[0], child
            finally:
                child.terminate()  # completes its logs
                child.wait(30)


@dataclass(frozen=True)
class Servers:
    licences: str
    licence_process: "subprocess.Popen[bytes]"
    provider: str
    origin: str
    edge: str

    @property
    def all(self) -> dict[str, str]:
        return {"licences": self.licences, "provider": self.provider, "origin": self.origin, "edge": self.edge}


@contextmanager
def servers_of(title: Title, folder: Path, tokens: Path, keys: Path) -> Iterator[Servers]:
    """Run all servers of a protected title; they write what they log and store into a folder."""
    with ExitStack() as stack:

        def start(name: str, *words: str | Path) -> tuple[str, "subprocess.Popen[bytes]"]:
            return stack.enter_context(logged(folder, name, *words))

        licences, process = start("licences", "keys", "serve", "--keys", keys, "--token-keys", tokens)
        provider, _ = start("provider", "keys", "serve", "--keys", keys, "--speke")
        store = ("--store", title.folder / "store", "--token-keys", tokens, "--licence-url", licences)
        origin, _ = start("origin", "serve", *store)
        cache = ("--disk", folder / "disk", "--decisions", folder / "decisions", "--territory", "DE")
        edge, _ = start("edge", "edge", "--origin", origin, "--token-keys", tokens, *cache)
        yield Servers(licences, process, provider, origin, edge)


def private_file(path: Path, text: str) -> Path:
    path.touch(0o600)
    path.write_text(text)
    return path


def request_media(http: urllib3.PoolManager, title: Title, servers: Servers, ticket: str) -> list[bytes]:
    """Request what players request, and what does not exist; returns the bodies."""
    [whole] = title.presentation.copies
    paths = ["multivariant.m3u8", "manifest.mpd", "multivariant-aes-128.m3u8", "nothing.m3u8"]
    for track in (*title.presentation.video, *title.presentation.audio, *whole.video, *whole.audio):
        paths += [f"tracks/{track.id}/{name}" for name in ("init.mp4", "1.m4s", "2.m4s", "9.m4s")]
    return [
        http.request("GET", f"{server}/t/{ticket}/film/{path}").data
        for server in (servers.origin, servers.edge)
        for path in paths
    ]


def in_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def request_keys(http: urllib3.PoolManager, title: Title, address: str, request: bytes, kids: Sequence[str]) -> None:
    """Request keys from the licence service: some that it gives, and some that it refuses."""
    given = http.request("POST", f"{address}/licence", body=request)
    secrets = [in_base64url(title.keys[kid].secret) for kid in kids]
    assert [key["k"] for key in json.loads(given.data)["keys"]] == secrets
    [whole] = title.presentation.copies
    kid = whole.video[0].kid
    assert http.request("GET", f"{address}/keys/{kid}?from=player").data == title.keys[kid].secret
    for body in (b"", b"{", json.dumps({"kids": ["AAAA"]}).encode(), request * 200):
        assert http.request("POST", f"{address}/licence", body=body).status in (400, 413)
    assert http.request("GET", f"{address}/keys/{'0' * 32}").status == 403


def test_servers_write_no_key_and_no_token(title: Title, tmp_path: Path) -> None:
    tokens = private_file(tmp_path / "tokens", f"{PLAYBACK.line}\n{EDGE.line}\n")
    own_keys = private_file(tmp_path / "own.keys", title.key_file.read_text())
    shown = tmp_path / "shown"
    shown.mkdir()
    http = urllib3.PoolManager(retries=False, timeout=30)
    ticket = token(title="film")
    kids = [track.kid for track in (title.presentation.video[0], title.presentation.audio[0])]
    request = json.dumps({"kids": [in_base64url(bytes.fromhex(kid)) for kid in kids]}).encode()
    with servers_of(title, shown, tokens, own_keys) as servers:
        address = f"{servers.licences}/t/{ticket}/film"
        answers = request_media(http, title, servers, ticket)
        request_keys(http, title, address, request, kids)
        checked = headend("keys", "check", "film", "--keys", f"speke+{servers.provider}/speke", "--verbose")
        assert checked.returncode == 0
        answers += [http.request("GET", f"{url}/metrics").data for url in servers.all.values()]
        own_keys.write_text("".join(f"{line[:-2]}\n" for line in own_keys.open()))  # each secret is a digit too short
        servers.licence_process.send_signal(signal.SIGHUP)
        wait_until(lambda: http.request("POST", f"{address}/licence", body=request).status == 403)

    routes = {
        name: {json.loads(line).get("route") for line in (shown / f"{name}.out").read_text().splitlines()}
        for name in servers.all
    }
    assert {"licence", "key", "metrics"} <= routes["licences"]
    assert "speke" in routes["provider"]
    assert len(routes["origin"]) >= 3 and len(routes["edge"]) >= 3
    assert (shown / "decisions").stat().st_size and any((shown / "disk").rglob("*"))
    assert b"can't read a content key" in (shown / "licences.err").read_bytes()

    written = {path: path.read_bytes() for path in shown.rglob("*") if path.is_file()}
    written[Path("commands")] = (checked.stdout + checked.stderr).encode()
    for path, data in (*written.items(), *((Path("an answer"), answer) for answer in answers)):
        for key in title.keys.values():
            for form in (*forms(key.secret), key.secret.hex()[:30].encode()):
                assert form not in data, (path, key)
    for path, data in written.items():
        assert ticket.encode() not in data, path
