"""How configuration files and the environment reach the options of a command."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from headend.core import configuration

PREFIX = "HEADEND_"
EXCLUDED = frozenset({"help", "version", "json", "verbose", "profile", "from"})
"""Options that are said each time, or that choose among files."""


def profile_of(ctx: click.Context) -> str | None:
    """The profile that ``--profile`` or ``HEADEND_PROFILE`` asks for."""
    found: str | None = ctx.meta.get("headend.profile")
    return found


def long_name(param: click.Option) -> str:
    """An option's long name, without dashes in front: ``segment-seconds``."""
    return max(param.opts, key=len).removeprefix("--")


def variable(option: str) -> str:
    """The environment variable of an option: ``HEADEND_SEGMENT_SECONDS``."""
    return PREFIX + option.upper().replace("-", "_")


def settable(command: click.Command) -> Iterator[tuple[str, click.Option]]:
    """The options of a command that files and the environment may set, with their long names."""
    for param in command.params:
        if isinstance(param, click.Option) and long_name(param) not in EXCLUDED:
            yield long_name(param), param


def option_names(root: click.Group, ctx: click.Context) -> frozenset[str]:
    """Long names of what may be set, for all commands; imports every command."""
    found: set[str] = set()
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        found |= {option for leaf in leaves if leaf for option, _ in settable(leaf)}
    return frozenset(found)


def configure(command: click.Command, profile: str | None, every: Callable[[], frozenset[str]]) -> Mapping[str, Any]:
    """Let the environment reach a command's options, and say what files set for it.

    Args:
        command: The command; of a group, each of its commands.
        profile: The profile that was asked for; None for none.
        every: Gives the long names of all commands' options.

    Returns:
        Values by parameter name; for a group, such a table for each of its commands.

    Raises:
        ConfigError: A file can't be read or has a mistake, or there is no such profile.
    """
    leaves = command.commands if isinstance(command, click.Group) else {"": command}
    own = {option for leaf in leaves.values() for option, _ in settable(leaf)}
    settings = configuration.load(own, every).settings(profile)
    values: dict[str, dict[str, Any]] = {}
    for name, leaf in leaves.items():
        values[name] = {}
        for option, param in settable(leaf):
            if param.allow_from_autoenv:
                param.envvar = param.envvar or variable(option)
            if option in settings and param.name:
                values[name][param.name] = settings[option].value
    return values if isinstance(command, click.Group) else values[""]
