"""Output: tables for people, one JSON object for programs.

rich is imported only when something is printed, so that servers start faster.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from headend.app.cli.wording import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

PLAIN_WIDTH = 200
"""Width without a terminal: tables in files and pipes must not lose text."""


def console(*, stderr: bool = False) -> Console:
    """Make a console on standard output or error; rich omits colours without a terminal and with NO_COLOR."""
    from rich.console import Console

    class PipedConsole(Console):
        """Leaves a closed pipe to the command line; rich would exit with status 1."""

        def on_broken_pipe(self) -> None:
            raise

    stream = sys.stderr if stderr else sys.stdout
    # Texts come from masters and stores, and must not be interpreted as markup.
    return PipedConsole(
        file=stream,
        width=None if stream.isatty() else PLAIN_WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=not stream.isatty(),
    )


def print_json(document: Any) -> None:
    """Print the JSON object of ``--json``."""
    click.echo(json.dumps(document, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Table:
    """Lay out rows; columns whose names begin with ``>`` are right-aligned."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rendered = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        rendered.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    for row in rows:
        rendered.add_row(*(_cell(value) for value in row))
    return rendered


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Lay out pairs of name and value."""
    from rich.table import Table

    rendered = Table.grid(padding=(0, 2))
    rendered.add_column(style="bold", no_wrap=True)
    rendered.add_column(overflow="fold")
    for name, value in pairs:
        rendered.add_row(name, _cell(value))
    return rendered


def _cell(value: object) -> Text:
    from rich.text import Text

    return Text(printable("" if value is None else str(value)))
