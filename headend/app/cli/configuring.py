"""Applying configuration files and the environment to the options of a command."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from headend.core import configuration

PREFIX = "HEADEND_"
EXCLUDED = frozenset({"help", "version", "json", "verbose", "profile", "from"})
"""Options that can be set on the command line only."""


def profile_of(ctx: click.Context) -> str | None:
    """Return the profile given by ``--profile`` or ``HEADEND_PROFILE``."""
    profile: str | None = ctx.meta.get("headend.profile")
    return profile


def long_name(param: click.Option) -> str:
    """Return an option's long name without the leading dashes: ``segment-seconds``."""
    return max(param.opts, key=len).removeprefix("--")


def variable(option: str) -> str:
    """Return the environment variable of an option: ``HEADEND_SEGMENT_SECONDS``."""
    return PREFIX + option.upper().replace("-", "_")


def settable(command: click.Command) -> Iterator[tuple[str, click.Option]]:
    """Yield the options that files and the environment may set, with their long names."""
    for param in command.params:
        if isinstance(param, click.Option) and long_name(param) not in EXCLUDED:
            yield long_name(param), param


def option_names(root: click.Group, ctx: click.Context) -> frozenset[str]:
    """Return the long names of the settable options of all commands; imports every command."""
    names: set[str] = set()
    for name in root.list_commands(ctx):
        command = root.get_command(ctx, name)
        leaves = command.commands.values() if isinstance(command, click.Group) else [command]
        names |= {option for leaf in leaves if leaf for option, _ in settable(leaf)}
    return frozenset(names)


def configure(
    command: click.Command, profile: str | None, all_options: Callable[[], frozenset[str]]
) -> Mapping[str, Any]:
    """Connect a command's options to the environment, and return the values that files set.

    Args:
        command: The command, or a group of commands.
        profile: The chosen profile; None for none.
        all_options: Returns the long names of the options of all commands.

    Returns:
        Values by parameter name; for a group, one such mapping for each of its commands.

    Raises:
        ConfigError: A file can't be read or has a mistake, or there is no such profile.
    """
    leaves = command.commands if isinstance(command, click.Group) else {"": command}
    own = {option for leaf in leaves.values() for option, _ in settable(leaf)}
    settings = configuration.load(own, all_options).settings(profile)
    values: dict[str, dict[str, Any]] = {}
    for name, leaf in leaves.items():
        values[name] = {}
        for option, param in settable(leaf):
            if param.allow_from_autoenv:
                param.envvar = param.envvar or variable(option)
            if option in settings and param.name:
                values[name][param.name] = settings[option].value
    return values if isinstance(command, click.Group) else values[""]
