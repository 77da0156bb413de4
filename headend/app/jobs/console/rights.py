"""Rights to read and to operate: bearer tokens from a private file or from the environment."""

import hmac
import os
import re
import stat
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from headend.core.errors import ConfigError

MIN_TOKEN_CHARACTERS = 24
VARIABLE = "HEADEND_CONSOLE_TOKENS"
"""Holds the tokens if there is no file; ``;`` may be used in place of newlines."""
_LINE = re.compile(r"(read|operate)[ \t]+(\S+)")


class Right(IntEnum):
    """What a caller may do; each right includes the lower ones."""

    NONE = 0
    READ = 1
    OPERATE = 2


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """Tokens with their rights; if there are none, every client may operate, which is allowed on loopback only."""

    secrets: tuple[tuple[bytes, Right], ...] = ()

    def right_of(self, header: str | None) -> Right:
        """Return the right of a caller by its ``Authorization`` header; tokens are compared in constant time."""
        if not self.secrets:
            return Right.OPERATE
        scheme, _, secret = (header or "").partition(" ")
        highest = Right.NONE
        if scheme.lower() == "bearer":
            for known, right in self.secrets:
                if hmac.compare_digest(known, secret.strip().encode()):
                    highest = max(highest, right)
        return highest


def load(path: Path) -> Tokens:
    """Read a file of tokens: lines of ``read TOKEN`` or ``operate TOKEN``; ``#`` begins a comment.

    The file may be readable by its group only if another user, such as root, owns it: Kubernetes mounts secrets so.

    Raises:
        ConfigError: The file can't be read or others can read it, a line is malformed, a token is shorter than 24
            characters, or there are no tokens.
    """
    try:
        status = path.stat()
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}; give a file of tokens") from error
    forbidden = stat.S_IRWXO | (stat.S_IRWXG if status.st_uid == os.getuid() else stat.S_IWGRP)
    if status.st_mode & forbidden:
        raise ConfigError(f"other users can read {path}: run chmod 600 {path}")
    return parse(text, str(path))


def parse(text: str, place: str) -> Tokens:
    """Parse tokens from lines; ``place`` names their source in messages. Raises as `load`."""
    secrets = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        match = _LINE.fullmatch(content)
        if match is None:
            raise ConfigError(f"{place}, line {number} is neither 'read TOKEN' nor 'operate TOKEN'")
        if len(match[2]) < MIN_TOKEN_CHARACTERS:
            raise ConfigError(
                f"{place}, line {number} has a token of fewer than {MIN_TOKEN_CHARACTERS} characters: make a longer one"
            )
        secrets.append((match[2].encode(), Right[match[1].upper()]))
    if not secrets:
        raise ConfigError(f"{place} has no tokens: write 'operate' and the output of: openssl rand -hex 24")
    return Tokens(tuple(secrets))
