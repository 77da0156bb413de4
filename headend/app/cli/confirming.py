"""Options and questions of commands that change or remove what players get."""

import sys

import click

from headend.app.cli.options import Command
from headend.core.errors import ConfigError


def confirmed(command: Command) -> Command:
    """Add ``--yes`` and ``--dry-run`` to a command."""
    command = click.option("--yes", is_flag=True, help="Don't ask.")(command)
    return click.option("--dry-run", is_flag=True, help="Show what would happen, and change nothing.")(command)


def ask(question: str, *, yes: bool) -> None:
    """Ask whether to go on.

    Raises:
        click.Abort: No.
        ConfigError: There is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Nobody is here to answer: add --yes to go on, or --dry-run to look first")
    click.confirm(question, abort=True, err=True)
