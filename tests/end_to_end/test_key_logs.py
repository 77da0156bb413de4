"""Servers of a title write no content key and no token: not to logs, metrics, decision logs or caches."""

import base64
import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
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


def test_servers_write_no_key_and_no_token(title: Title, tmp_path: Path) -> None:
    tokens, own_keys = tmp_path / "tokens", tmp_path / "own.keys"
    for path, text in (
        (tokens, f"{PLAYBACK.line}\n{EDGE.line}\n"),
        (own_keys, title.key_file.read_text()),
    ):
        path.touch(0o600)
        path.write_text(text)
    shown = tmp_path / "shown"
    shown.mkdir()
    http = urllib3.PoolManager(retries=False, timeout=30)
    ticket = token(title="film")
    kids = [track.kid for track in (title.presentation.video[0], title.presentation.audio[0])]
    [whole] = title.presentation.copies
    answers: list[bytes] = []
    with ExitStack() as stack:
        licences, licence_server = stack.enter_context(
            logged(shown, "licences", "keys", "serve", "--keys", own_keys, "--token-keys", tokens)
        )
        provider, _ = stack.enter_context(logged(shown, "provider", "keys", "serve", "--keys", own_keys, "--speke"))
        origin, _ = stack.enter_context(
            logged(
                shown,
                "origin",
                "serve",
                "--store",
                title.folder / "store",
                "--token-keys",
                tokens,
                "--licence-url",
                licences,
            )
        )
        edge, _ = stack.enter_context(
            logged(
                shown,
                "edge",
                "edge",
                "--origin",
                origin,
                "--disk",
                shown / "disk",
                "--decisions",
                shown / "decisions",
                "--token-keys",
                tokens,
                "--territory",
                "DE",
            )
        )

        # Requests of players, and bad ones: for keys of others, for no keys, for missing keys.
        paths = ["multivariant.m3u8", "manifest.mpd", "multivariant-aes-128.m3u8", "nothing.m3u8"]
        for track in (*title.presentation.video, *title.presentation.audio, *whole.video, *whole.audio):
            paths += [f"tracks/{track.id}/{name}" for name in ("init.mp4", "1.m4s", "2.m4s", "9.m4s")]
        for server in (origin, edge):
            answers += [http.request("GET", f"{server}/t/{ticket}/film/{path}").data for path in paths]
        licence = f"{licences}/t/{ticket}/film/licence"
        named = [base64.urlsafe_b64encode(bytes.fromhex(kid)).rstrip(b"=").decode() for kid in kids]
        given = http.request("POST", licence, body=json.dumps({"kids": named}))
        assert [one["k"] for one in json.loads(given.data)["keys"]] == [
            base64.urlsafe_b64encode(title.keys[kid].secret).rstrip(b"=").decode() for kid in kids
        ]
        one = http.request("GET", f"{licences}/t/{ticket}/film/keys/{whole.video[0].kid}?from=player")
        assert one.data == title.keys[whole.video[0].kid].secret
        for body in (b"", b"{", json.dumps({"kids": ["AAAA"]}).encode(), json.dumps({"kids": named}).encode() * 200):
            assert http.request("POST", licence, body=body).status in (400, 413)
        assert http.request("GET", f"{licences}/t/{ticket}/film/keys/{'0' * 32}").status == 403
        checked = headend("keys", "check", "film", "--keys", f"speke+{provider}/speke", "--verbose")
        assert checked.returncode == 0
        answers += [http.request("GET", f"{server}/metrics").data for server in (licences, provider, origin, edge)]
        own_keys.write_text("".join(f"{line[:-2]}\n" for line in own_keys.open()))  # each secret is a digit too short
        licence_server.send_signal(signal.SIGHUP)
        wait_until(lambda: http.request("POST", licence, body=json.dumps({"kids": named})).status == 403)

    written = {path: path.read_bytes() for path in shown.rglob("*") if path.is_file()}
    written[Path("commands")] = (checked.stdout + checked.stderr).encode()
    written |= {Path(f"answer {number}"): answer for number, answer in enumerate(answers)}
    routes = {
        name: {json.loads(line).get("route") for line in (shown / f"{name}.out").read_text().splitlines()}
        for name in ("licences", "provider", "origin", "edge")
    }
    assert {"licence", "key", "metrics"} <= routes["licences"]
    assert "speke" in routes["provider"]
    assert len(routes["origin"]) >= 3 and len(routes["edge"]) >= 3
    assert (shown / "decisions").stat().st_size and any((shown / "disk").rglob("*"))
    assert b"can't read a content key" in written[shown / "licences.err"]
    for path, data in written.items():
        for key in title.keys.values():
            for form in (*forms(key.secret), key.secret.hex()[:30].encode()):
                assert form not in data, (path, key)
        if not path.name.startswith("answer"):
            assert ticket.encode() not in data, path
