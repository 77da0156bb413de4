from pathlib import Path

import pytest

from headend.app.cli import run
from headend.app.cli.demo import serve_command
from headend.app.cli.wording import PROGRAM


def test_the_demo_tells_the_command_that_this_reader_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRAM, raising=False)
    assert serve_command(Path("/data/store")) == "headend serve --store /data/store"
    monkeypatch.setenv(PROGRAM, "./run headend")
    assert serve_command(Path("/data/my store")) == "./run headend serve --store '/data/my store'"


def test_wrong_use_names_the_program_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRAM, "./run headend")
    assert run(["serve", "--prot", "80"]) == 2
    assert "Try './run headend serve --help'." in capsys.readouterr().err
