"""Write `cli.md` beside this file from the commands' help texts, and draw the picture of layers."""

import runpy
from collections.abc import Iterator
from pathlib import Path

import click

from headend.app.cli import cli

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100
INTRODUCTION = """\
# Command line

The help text of each command. `docs/reference/generate.py` writes this page, and a test compares the two.

Results go to standard output, progress and errors to standard error. What to do about each exit status is in the
[guide for content operations](../guides/content-ops.md#when-something-fails).
"""


def page() -> str:
    """The whole page."""
    sections = (f"\n## {name}\n\n```\n{text.rstrip()}\n```\n" for name, text in _helps(cli, "headend", None))
    return INTRODUCTION + "".join(sections)


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **command.context_settings)
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _helps(found, child, context)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    runpy.run_path(str(PAGE.parents[1] / "images" / "layers.py"), run_name="__main__")
