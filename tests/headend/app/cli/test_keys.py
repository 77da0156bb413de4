import json
import os
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import pytest

from headend.app.cli import run
from headend.core.keys import cpix, lines
from headend.core.keys.file import FileKeys
from tests.headend.core.keys.makers import make_certificate
from tests.support.command_line import ROOT, command, environment, headend_here


def make_keys(path: Path) -> Path:
    with path.open("w") as out, redirect_stdout(out):
        assert run(["keys", "new", "film"]) == 0
    return path


def test_new_keys_go_into_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    words = command("keys", "new", "film", "--scheme", "cbcs,cenc")
    with path.open("wb") as out:
        subprocess.run(words, stdout=out, env=environment(), cwd=ROOT, check=True, timeout=60)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys = lines.read(path.read_text(), "keys")
    assert [(key.name.scheme.value, key.name.key_class.value) for key in keys] == [
        (scheme, name) for scheme in ("cbcs", "cenc") for name in ("audio", "sd", "hd", "uhd")
    ]
    assert len({key.secret for key in keys}) == 8


def test_ids_are_the_same_each_time_and_secrets_are_not(tmp_path: Path) -> None:
    one, two = (lines.read(make_keys(tmp_path / name).read_text(), name) for name in ("one", "two"))
    assert [key.name for key in one] == [key.name for key in two]
    assert not {key.secret for key in one} & {key.secret for key in two}
    listed = json.loads(headend_here("keys", "list", "film", "--json").stdout)
    assert [row["kid"] for row in listed["keys"]] == [key.name.kid for key in one]


def test_check_names_the_missing_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_keys(tmp_path / "keys")
    assert run(["keys", "check", "film", "--keys", str(path), "--json"]) == 0
    text = path.read_text().splitlines()
    path.write_text("\n".join(text[:-1]))
    capsys.readouterr()
    assert run(["keys", "check", "film", "--keys", str(path), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["keys"]
    assert {row["class"]: row["found"] for row in rows} == {"audio": True, "sd": True, "hd": True, "uhd": False}
    assert run(["keys", "check", "other", "--keys", str(path)]) == 1


def test_keys_are_exported_encrypted_or_with_a_warning(tmp_path: Path) -> None:
    path = make_keys(tmp_path / "keys")
    public, private = make_certificate(tmp_path)
    sealed = subprocess.run(
        command("keys", "export", "film", "--keys", path, "--for", public),
        capture_output=True, env=environment(), cwd=ROOT, check=True, timeout=60,
    ).stdout  # fmt: skip
    wanted = {key.name.kid: key.secret for key in lines.read(path.read_text(), "keys")}
    assert dict(cpix.read(sealed, "sealed", private_key=private).keys) == wanted
    for secret in wanted.values():
        assert secret not in sealed and secret.hex().encode() not in sealed
    refused = headend_here("keys", "export", "film", "--keys", path)
    assert (refused.returncode, "--plain" in refused.stderr) == (2, True)


def test_no_secret_is_shown_on_a_terminal(tmp_path: Path) -> None:
    master, terminal = os.openpty()
    try:
        done = subprocess.run(
            command("keys", "new", "film"), stdout=terminal, stderr=subprocess.PIPE, env=environment(), cwd=tmp_path,
            check=False, timeout=60, text=True,
        )  # fmt: skip
    finally:
        os.close(terminal)
        os.close(master)
    assert (done.returncode, "not shown on a terminal" in done.stderr) == (2, True)


def test_an_error_names_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_keys(tmp_path / "keys")
    secret = lines.read(path.read_text(), "keys")[0].secret.hex()
    path.write_text(path.read_text() + f"{'0' * 32} cbcs sd - {secret[:-2]}\n")
    assert run(["keys", "check", "film", "--keys", str(path), "--verbose"]) == 2
    output = "".join(capsys.readouterr())
    assert secret[:8] not in output and "line 6" in output


@contextmanager
def keys_served(*options: str | Path) -> Iterator[str]:
    """Run a licence service by its command; yields its address."""
    argv = command("keys", "serve", "--port", "0", "--json", *options)
    with subprocess.Popen(
        argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            output = "".join(iter(service.stdout.readline, "}\n"))
            yield str(json.loads(output + "}")["url"])
            service.send_signal(signal.SIGTERM)
            assert (service.wait(30), service.communicate()) == (0, ("", ""))
        finally:
            service.kill()


def test_keys_are_served_from_a_file_until_the_service_is_told_to_stop(tmp_path: Path) -> None:
    [first, *_] = FileKeys(make_keys(tmp_path / "keys")).all()
    with keys_served("--keys", tmp_path / "keys", "--open") as url:
        with urllib.request.urlopen(f"{url}/film/keys/{first.name.kid}") as answer:
            assert answer.read() == first.secret
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{url}/other/keys/{first.name.kid}")


def test_keys_from_a_provider_for_development_are_those_that_it_keeps(tmp_path: Path) -> None:
    with keys_served("--keys", tmp_path / "dev.keys", "--speke") as url:
        checked = headend_here("keys", "check", "film", "--keys", f"speke+{url}/speke")
        assert (checked.returncode, checked.stderr) == (0, "")
    assert headend_here("keys", "check", "film", "--keys", tmp_path / "dev.keys").returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "any client could get any key: give --token-keys FILE"),
        (["--open", "--host", "0.0.0.0"], "--open gives keys to any client, and 0.0.0.0 is not loopback"),
        (["--speke", "--host", "0.0.0.0"], "--speke gives keys to any client, and 0.0.0.0 is not loopback"),
        (["--speke", "--keys", "env:NOTHING"], "--speke adds keys to a file"),
        (["--open", "--token-keys", "x"], "--open needs no token keys"),
    ],
)
def test_keys_are_not_served_to_everyone_by_mistake(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_keys(tmp_path / "keys")
    assert run(["keys", "serve", "--keys", str(tmp_path / "keys"), "--port", "0", *options]) == 2
    assert message in capsys.readouterr().err
