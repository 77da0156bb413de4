"""Keys in a file that only its owner can read."""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headend.core.errors import ConfigError
from headend.core.keys import lines
from headend.core.keys.base import ContentKey
from headend.core.media.protection import KeyName, Signal


@dataclass(frozen=True, slots=True)
class FileKeys:
    """Keys in a file.

    Attributes:
        path: Where it is.
    """

    path: Path

    @property
    def url(self) -> str:
        """Where keys come from, for people."""
        return str(self.path)

    def keys(self, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:  # noqa: ARG002
        """Get the secrets of some keys; see `headend.core.keys.base.KeyStore`."""
        return lines.pick(self.all(), names, str(self.path))

    def signals(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> tuple[Signal, ...]:  # noqa: ARG002
        """None; see `headend.core.keys.base.KeyStore`."""
        return ()

    def all(self) -> tuple[ContentKey, ...]:
        """All keys of the file."""
        return lines.read(read_private(self.path), str(self.path))


def read_private(path: Path, wanted: str = "a file of keys") -> str:
    """Read a file that only its owner may read.

    Args:
        path: Where it is.
        wanted: What it should be, for errors.

    Raises:
        ConfigError: It can't be read, is not text, or others than its owner can read it.
    """
    data, status = read_file(path, wanted)
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"others than its owner can read {path}: run chmod 600 {path}")
    try:
        return data.decode("utf-8-sig")  # editors on Windows write the mark
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text: give {wanted}") from None


def read_file(path: Path, wanted: str) -> tuple[bytes, os.stat_result]:
    """Read a file that others may read, at most a byte more than `headend.core.keys.lines.LARGEST`.

    Returns:
        What is in it, and its status.

    Raises:
        ConfigError: It can't be read.
    """
    try:
        # A named pipe that nobody writes to would be waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path} is not a regular file: give {wanted}")
            return file.read(lines.LARGEST + 1), status
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} can't be read: {why}; give {wanted}") from error
