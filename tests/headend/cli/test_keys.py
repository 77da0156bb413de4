import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from headend.cli import run
from headend.keys import cpix, lines
from tests.headend.keys.makers import make_certificate
from tests.support.command_line import ROOT, command, environment, headend


def make_keys(path: Path, *more: str) -> Path:
    with path.open("wb") as out:
        subprocess.run(
            command("keys", "new", "film", *more), stdout=out, env=environment(), cwd=ROOT, check=True, timeout=60
        )
    return path


def test_new_keys_go_into_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = make_keys(tmp_path / "keys", "--scheme", "cbcs,cenc")
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
    listed = json.loads(headend("keys", "list", "film", "--json").stdout)
    assert [row["kid"] for row in listed["keys"]] == [key.name.kid for key in one]


def test_check_says_which_key_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_keys(tmp_path / "keys")
    assert run(["keys", "check", "film", "--keys", str(path), "--json"]) == 0
    text = path.read_text().splitlines()
    path.write_text("\n".join(text[:-1]))
    capsys.readouterr()
    assert run(["keys", "check", "film", "--keys", str(path), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["keys"]
    assert {row["class"]: row["found"] for row in rows} == {"audio": True, "sd": True, "hd": True, "uhd": False}
    assert run(["keys", "check", "other", "--keys", str(path)]) == 1


def test_keys_are_handed_over_sealed_or_said_to_be_plain(tmp_path: Path) -> None:
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
    refused = headend("keys", "export", "film", "--keys", path)
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
    assert run(["keys", "check", "film", "--keys", str(path), "--verbose"]) == 1
    said = "".join(capsys.readouterr())
    assert secret[:8] not in said and "line 6" in said
