"""Rights to read and to operate: bearer tokens from a file that no other user can read, or from the environment."""

import hmac
import os
import re
import stat
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from headend.core.errors import ConfigError

SHORTEST = 24
VARIABLE = "HEADEND_CONSOLE_TOKENS"
"""Holds the tokens where there is no file; ``;`` may stand for the end of a line."""
_LINE = re.compile(r"(read|operate)[ \t]+(\S+)")


class Right(IntEnum):
    """What a caller may do; a higher one includes those below."""

    NONE = 0
    READ = 1
    OPERATE = 2


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """Tokens with their rights; if empty, every client may operate, which only loopback allows."""

    secrets: tuple[tuple[bytes, Right], ...] = ()

    def right_of(self, header: str | None) -> Right:
        """What the caller with this ``Authorization`` header may do; every token is compared in constant time."""
        if not self.secrets:
            return Right.OPERATE
        scheme, _, secret = (header or "").partition(" ")
        found = Right.NONE
        if scheme.lower() == "bearer":
            for known, right in self.secrets:
                if hmac.compare_digest(known, secret.strip().encode()):
                    found = max(found, right)
        return found


def load(path: Path) -> Tokens:
    """Read a file of tokens: lines of ``read TOKEN`` or ``operate TOKEN``; ``#`` begins a comment.

    A group may read it only if the file is another user's, such as root's: so Kubernetes hands secrets to a pod.

    Raises:
        ConfigError: It can't be read, others can read it, a line is something else, a token is shorter than 24
            characters, or there is none.
    """
    try:
        found = path.stat()
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}; give a file of tokens") from error
    forbidden = stat.S_IRWXO | (stat.S_IRWXG if found.st_uid == os.getuid() else stat.S_IWGRP)
    if found.st_mode & forbidden:
        raise ConfigError(f"others than its owner can read {path}: run chmod 600 {path}")
    return parse(text, str(path))


def parse(text: str, place: str) -> Tokens:
    """Read tokens from lines as `load` does; ``place`` names them in messages. Raises `ConfigError` likewise."""
    secrets = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        found = _LINE.fullmatch(words)
        if found is None:
            raise ConfigError(f"{place}, line {number} is neither 'read TOKEN' nor 'operate TOKEN'")
        if len(found[2]) < SHORTEST:
            raise ConfigError(
                f"{place}, line {number} has a token of less than {SHORTEST} characters: make a longer one"
            )
        secrets.append((found[2].encode(), Right[found[1].upper()]))
    if not secrets:
        raise ConfigError(f"{place} holds no token: write 'operate' and the output of: openssl rand -hex 24")
    return Tokens(tuple(secrets))
