"""``--yes``, ``--dry-run`` and the confirmation of commands that change published titles."""

import sys

import click

from headend.app.cli.options import Command
from headend.core.errors import ConfigError


def confirmed(command: Command) -> Command:
    """Add ``--yes`` and ``--dry-run`` to a command."""
    command = click.option("--yes", is_flag=True, help="Don't ask for confirmation.")(command)
    return click.option("--dry-run", is_flag=True, help="Show what would happen, and change nothing.")(command)


def ask(question: str, *, yes: bool) -> None:
    """Ask for confirmation.

    Raises:
        click.Abort: The user declined.
        ConfigError: Standard input is not a terminal.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} There is no terminal to ask on: add --yes to go ahead, or --dry-run to preview")
    click.confirm(question, abort=True, err=True)
