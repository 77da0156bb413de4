"""The keys of playback tokens: from a file or the environment, never from the command line, which others can read."""

import os
import stat
from pathlib import Path

import click

from headend.app.cli.options import Command
from headend.app.cli.screen import console
from headend.core.access.tokens import Keyring, read_keys
from headend.core.errors import ConfigError
from headend.core.keys.file import read_file

VARIABLE = "HEADEND_TOKEN_KEYS"
"""The environment variable that may hold keys, in the same form as their file."""


def token_keys(command: Command) -> Command:
    """Add ``--token-keys``; the command gets a path or None."""
    return click.option(
        "--token-keys",
        "keys_file",
        metavar="FILE",
        allow_from_autoenv=False,  # the variable holds keys, not the name of their file
        help=f"File of token keys, one per line. By default, the keys in {VARIABLE}, if it is set.",
    )(command)


def find_keys(path: str | None) -> Keyring | None:
    """Read keys from a file or, if there is none, from the environment; None if there are no keys.

    Raises:
        ConfigError: The file can't be read, or a key is malformed.
    """
    if path is not None:
        return read_keys(_read(Path(path)), path)
    held = os.environ.get(VARIABLE)
    return read_keys(held, VARIABLE) if held else None


def read_again(path: str | None) -> Keyring:
    """Reload the keys of a running server, which must not become open because its keys are gone.

    Raises:
        ConfigError: There are no keys, or as in `find_keys`.
    """
    keys = find_keys(path)
    if keys is None:
        raise ConfigError(f"there are no keys: give --token-keys FILE or set {VARIABLE}")
    return keys


def _read(path: Path) -> str:
    data, status = read_file(path, "a file of keys with --token-keys")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text: give a file of keys with --token-keys") from None
    if status.st_mode & stat.S_IROTH:
        console(stderr=True).print(f"warning: every user of this machine can read {path}: chmod o= it")
    return text
