"""Tokens and keys, and origins that require them."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headend.app.cli import run
from headend.core.access.tokens import Grant, Use, decode_token, make_key, read_keys
from headend.core.storage.local import LocalStore
from tests.origin.releases import SEGMENTS, TITLE, ask, put_release
from tests.support.command_line import command, environment, headend, read_ready

KEY = make_key(Use.PLAYBACK)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.write_text(KEY.line)
    path.chmod(0o600)
    return path


@contextmanager
def serving(*args: str | Path, **more: str) -> Iterator[dict[str, object]]:
    """Run ``headend serve`` until the block ends; yields the JSON that it prints when it is ready."""
    argv = command("serve", "--port", "0", "--json", *args)
    with subprocess.Popen(argv, env=environment(**more), stdout=subprocess.PIPE, text=True) as child:
        try:
            yield read_ready(child)
        finally:
            child.terminate()
            assert child.wait(30) == 0


def test_a_token_contains_the_options_values(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["token", "film", "--account", "a-17", "--session", "tv", "--token-keys", str(keys), "--json"]
    args += ["--screens", "4", "--max-height", "1080", "--expires", "90m", "--territories", "de, FR"]
    args += [
        "--licensed-from",
        "2026-05-01",
        "--licensed-until",
        "2026-05-01T02:00+02:00",
        "--url",
        "https://v.example/",
    ]
    assert run(args) == 0
    output = json.loads(capsys.readouterr().out)
    grant = decode_token(output["token"], read_keys(KEY.line, "keys"))
    assert grant is not None
    assert time.time() + 4800 < grant.expires_s <= time.time() + 5400
    day_s = 1_777_593_600
    assert grant == Grant("film", "a-17", "tv", grant.expires_s, 1080, 4, ("DE", "FR"), day_s, day_s)
    assert output["hls"] == f"https://v.example/t/{output['token']}/film/multivariant.m3u8"
    assert output["dash"] == f"https://v.example/t/{output['token']}/film/manifest.mpd"
    assert (output["account"], output["screens"]) == ("a-17", 4)


def test_each_token_is_a_separate_screen_by_default(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sessions = set()
    for _ in range(2):
        assert run(["token", "film", "--account", "a", "--token-keys", str(keys), "--json"]) == 0
        sessions.add(json.loads(capsys.readouterr().out)["session"])
    assert len(sessions) == 2


def test_token_prints_urls_to_copy(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "film", "--account", "a", "--token-keys", str(keys)]) == 0
    words = capsys.readouterr().out.split()
    assert sum(word.startswith(f"http://127.0.0.1:8080/t/{KEY.id}.") for word in words) == 2


@pytest.mark.parametrize("use", ["playback", "edge"])
def test_a_new_key_is_a_line_of_a_file_of_keys(use: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = []
    for _ in range(2):
        assert run(["token", "--new-key", use]) == 0
        lines.append(capsys.readouterr().out)
    assert lines[0] != lines[1]
    assert read_keys(KEY.line + "\n" + "".join(lines), "keys").sign(Use(use), "text")


WRONG = [
    (["token"], "give TITLE and --account"),
    (["token", "film"], "give TITLE and --account"),
    (["token", "My Film", "--account", "a"], "'My Film' is not a title's name"),
    (["token", "film", "--account", "a"], "there is no key to sign with: give --token-keys FILE"),
    (["token", "film", "--account", "a", "--expires", "4"], "'4' is not a duration, such as 90m, 4h or 2d"),
    (["token", "film", "--account", "a", "--expires", "0h"], "'0h' is too short; give at least 1s"),
    (["token", "film", "--account", "a", "--screens", "3"], "--screens"),
    (["token", "film", "--account", "a", "--territories", "Germany"], "'Germany' is not a list of country codes"),
    (["token", "film", "--account", "a", "--licensed-from", "soon"], "'soon' is not a time, such as 2026-05-01"),
    (["token", "film", "--account", "a", "--token-keys", "/missing"], "/missing can't be read: No such file"),
    (["token", "film", "--account", "a", "--token-keys", "/"], "/ can't be read: Is a directory"),
    (
        ["token", "film", "--account", "a", "--token-keys", "/bin/true"],
        "/bin/true is not text: give a file of keys with --token-keys",
    ),
    (["serve", "--host", "0.0.0.0"], "on 0.0.0.0 any client could play any title: give --token-keys FILE"),
    (["serve", "--host", "::"], "or choose --open"),
    (["serve", "--open", "--token-keys", "keys"], "give one of them"),
]


@pytest.mark.parametrize(("args", "expected"), WRONG, ids=lambda value: " ".join(value)[-40:])
def test_usage_errors_are_reported_in_one_line(
    args: list[str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HEADEND_TOKEN_KEYS", raising=False)
    assert run(args) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert expected in err


def test_invalid_keys_are_not_echoed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HEADEND_TOKEN_KEYS", "playback a my-short-secret")
    assert run(["token", "film", "--account", "a", "--verbose"]) == 2
    output = capsys.readouterr().err
    assert "HEADEND_TOKEN_KEYS, line 1 is not a key" in output and "my-short-secret" not in output


def test_a_world_readable_key_file_gets_a_warning(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["token", "film", "--account", "a", "--token-keys", str(keys)]
    keys.chmod(0o640)
    assert run(args) == 0
    assert capsys.readouterr().err == ""
    keys.chmod(0o644)
    assert run(args) == 0
    assert capsys.readouterr().err == f"warning: every user of this machine can read {keys}: chmod o= it\n"


def test_a_token_of_headend_token_plays_from_headend_serve(tmp_path: Path, keys: Path) -> None:
    put_release(LocalStore(tmp_path / "store"))
    with serving("--store", tmp_path / "store", "--token-keys", keys, "--host", "0.0.0.0") as ready:
        assert ready["open"] is False
        url = str(ready["url"]).replace("0.0.0.0", "127.0.0.1")
        token = ("token", TITLE, "--account", "a", "--url", url, "--json")
        issued = headend(*token, HEADEND_TOKEN_KEYS=KEY.line)
        assert issued.returncode == 0, issued.stderr
        assert ask(url, f"/{TITLE}/multivariant.m3u8").status == 403
        manifest = json.loads(issued.stdout)["hls"].removeprefix(url)
        entry = ask(url, manifest)
        assert "/releases/" in f"/{entry.headers['location']}"
        assert ask(url, f"{manifest.rpartition('/')[0]}/tracks/avc-1080p-6000k/1.m4s").body == SEGMENTS[0]


@pytest.mark.parametrize("args", [("--open", "--host", "0.0.0.0"), ()])
def test_an_origin_is_open_on_request_or_on_loopback(tmp_path: Path, args: tuple[str, ...]) -> None:
    put_release(LocalStore(tmp_path / "store"))
    with serving("--store", tmp_path / "store", *args) as ready:
        assert ready["open"] is True
        url = str(ready["url"]).replace("0.0.0.0", "127.0.0.1")
        assert ask(url, f"/{TITLE}/multivariant.m3u8").status == 302
