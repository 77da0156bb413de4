import subprocess
import sys
from importlib import import_module

import click
import pytest

from headend import __version__
from headend.app.cli import COMMANDS, cli, run
from headend.app.cli.exits import MEANING
from tests.support.command_line import ROOT, headend

HEAVY = ("aiohttp", "av", "boto3", "botocore", "dask", "distributed", "msgspec", "numpy", "rich")


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["submti"], []])
def test_light_commands_import_nothing_heavy(args: list[str]) -> None:
    program = f"import sys; from headend.app.cli import run; run({args!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    imported = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "click" in imported
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize("command", ["serve", "edge", "steer"])
def test_a_server_imports_only_what_it_needs_to_open_its_port(command: str) -> None:
    program = f"""
import sys
from importlib import import_module
from headend.app.cli import COMMANDS
import_module("headend.app.cli.{command}")
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    imported = set(done.stdout.split())
    needless = {"av", "boto3", "botocore", "dask", "distributed", "numba", "rich", "m3u8", "cryptography", "matplotlib"}
    assert "aiohttp" in imported
    assert not {name for name in imported if name.partition(".")[0] in needless}


def test_help_names_every_command_and_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    output = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert f"{name} " in output and summary in output
    for status, meaning in MEANING.items():
        assert str(int(status)) in output and meaning.split(";")[0] in output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_summary_is_the_first_line_of_its_help(name: str) -> None:
    assert (import_module(f"headend.app.cli.{name}").command.help or "").splitlines()[0] == COMMANDS[name]


def leaves() -> list[list[str]]:
    context = click.Context(cli)
    found = []
    for name in COMMANDS:
        command = cli.get_command(context, name)
        names = command.commands if isinstance(command, click.Group) else [None]
        found += [[name, *filter(None, [sub])] for sub in names]
    return found


@pytest.mark.parametrize("words", leaves(), ids=" ".join)
def test_every_command_has_help_and_the_options_json_and_verbose(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--help"]) == 0
    output = capsys.readouterr().out
    assert "--json" in output and "--verbose" in output
    assert f"  headend {' '.join(words)}" in output.partition("Examples:")[2]


@pytest.mark.parametrize("name", sorted({words[0] for words in leaves() if len(words) > 1}))
def test_every_group_of_commands_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"  headend {name} " in capsys.readouterr().out.partition("Examples:")[2]


def test_the_module_is_the_command() -> None:
    done = headend("--version")
    assert (done.returncode, done.stdout) == (0, f"headend, version {__version__}\n")
