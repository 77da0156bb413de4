"""``headend config``: show the values of options, and where they come from."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import click

from headend.app.cli import options
from headend.app.cli.configuring import option_names, profile_of, settable, variable
from headend.app.cli.screen import console, print_json, table
from headend.core import configuration
from headend.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class _Row:
    option: str
    value: object
    source: str


@click.group("config", epilog=options.examples("headend config show", "headend config show plan --json"))
def command() -> None:
    """Show the configuration files, and what they set.

    Options take their values from the command line, then from the environment (HEADEND_ and the option's name, such as
    HEADEND_LADDER), then from a profile (--profile), then from the defaults in headend.toml, then from headend itself.
    """


@command.command(
    "show",
    epilog=options.examples(
        "headend config show", "headend config show plan --json", "headend --profile trailer config show submit"
    ),
)
@click.argument("name", metavar="[COMMAND]", default="submit")
@options.common
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show the values of a command's options.

    Each value is shown with the place that it comes from.
    """
    root = ctx.find_root()
    wanted = _command(root, name)
    files = configuration.load((), lambda: option_names(cast(click.Group, root.command), root))
    profile = profile_of(ctx)
    settings = files.settings(profile)
    rows = [_row(option, param, settings) for option, param in settable(wanted)]
    if as_json:
        print_json(
            {
                "command": name,
                "profile": profile,
                "files": [str(path) for path in files.files],
                "profiles": sorted(files.profiles),
                "options": [{"option": row.option, "value": row.value, "source": row.source} for row in rows],
            }
        )
        return
    screen = console()
    screen.print(f"files: {', '.join(map(str, files.files)) or 'none'}")
    screen.print(f"profile: {profile or 'none'} (there are: {', '.join(sorted(files.profiles)) or 'none'})")
    screen.print(table(("option", "value", "from"), ((row.option, row.value, row.source) for row in rows)))


def _command(root: click.Context, name: str) -> click.Command:
    command = cast(click.Group, root.command).get_command(root, name)
    if command is None or isinstance(command, click.Group):
        raise ConfigError(f"there is no command {name!r} with options; 'headend --help' lists the commands")
    return command


def _row(option: str, param: click.Option, settings: Mapping[str, configuration.Setting]) -> _Row:
    named = [param.envvar] if isinstance(param.envvar, str) else list(param.envvar or [variable(option)])
    for name in named:
        if os.environ.get(name):
            return _Row(f"--{option}", os.environ[name], f"environment, {name}")
    if option in settings:
        return _Row(f"--{option}", settings[option].value, settings[option].source)
    info = param.to_info_dict()
    default = info["default"] if isinstance(info.get("default"), str | int | float | bool | tuple | None) else None
    return _Row(f"--{option}", default, "built in")
