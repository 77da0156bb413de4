from pathlib import Path

import click
import pytest

from encoder import tool
from headend.app.cli import cli, run
from headend.app.cli.configuring import option_names, variable
from headend.app.cli.demo import serve_command
from headend.app.cli.wording import PROGRAM
from headend.core import configuration


def test_the_demo_suggests_the_command_as_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRAM, raising=False)
    assert serve_command(Path("/data/store")) == "headend serve --store /data/store"
    monkeypatch.setenv(PROGRAM, "./run headend")
    assert serve_command(Path("/data/my store")) == "./run headend serve --store '/data/my store'"


def test_usage_errors_name_the_program_as_it_was_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PROGRAM, "./run headend")
    assert run(["serve", "--prot", "80"]) == 2
    assert "Try './run headend serve --help'." in capsys.readouterr().err


def test_variables_that_are_not_options_have_other_names() -> None:
    options = {variable(option) for option in option_names(cli, click.Context(cli))}
    assert "HEADEND_LADDER" in options
    assert options.isdisjoint({PROGRAM, configuration.VARIABLE, tool.OVERRIDE})
