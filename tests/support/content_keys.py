"""Content keys of the title ``film``, as objects and as key files."""

from collections.abc import Iterable
from pathlib import Path

from headend.core.keys import ContentKey, lines
from headend.core.media import Scheme
from headend.core.media.protection import key_names


def secret_of(number: int) -> bytes:
    """Return a fixed secret of 16 bytes, unlikely to occur elsewhere; a different one for each number up to 250."""
    return bytes((number * 37 + index * 101) % 251 for index in range(16))


def make_keys(*schemes: Scheme, epoch: int = 1, periods: int = 1, first: int = 1) -> list[ContentKey]:
    """Return all keys of ``film`` in these schemes, with the secrets from the one of this number on."""
    names = [name for scheme in schemes for name in key_names("film", scheme, epoch=epoch, periods=periods)]
    return [ContentKey(name, secret_of(number)) for number, name in enumerate(names, start=first)]


def write_keys(path: Path, keys: Iterable[ContentKey]) -> Path:
    """Write a key file that only its owner can read."""
    path.touch(0o600)
    path.write_text(lines.write(keys))
    return path
