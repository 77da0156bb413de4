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
        path: Path of the file.
    """

    path: Path

    @property
    def url(self) -> str:
        """The source's address for display."""
        return str(self.path)

    def keys(self, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:  # noqa: ARG002
        """Get the secrets of some keys; see `headend.core.keys.base.KeyStore`."""
        return lines.pick(self.all(), names, str(self.path))

    def signals(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> tuple[Signal, ...]:  # noqa: ARG002
        """An empty tuple; see `headend.core.keys.base.KeyStore`."""
        return ()

    def all(self) -> tuple[ContentKey, ...]:
        """All keys of the file."""
        return lines.read(read_private(self.path), str(self.path))


def read_private(path: Path, wanted: str = "a file of keys") -> str:
    """Read a file that only its owner may read.

    Args:
        path: Path of the file.
        wanted: Expected content, for errors.

    Raises:
        ConfigError: It can't be read, is not text, or users other than its owner can read it.
    """
    data, status = read_file(path, wanted)
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"users other than its owner can read {path}: run chmod 600 {path}")
    try:
        return data.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text: give {wanted}") from None


def read_file(path: Path, wanted: str) -> tuple[bytes, os.stat_result]:
    """Read at most one byte more than `headend.core.keys.lines.MAX_BYTES` of a file, with any permissions.

    Returns:
        Its content and its status.

    Raises:
        ConfigError: It can't be read.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe without a writer would block.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path} is not a regular file: give {wanted}")
            return file.read(lines.MAX_BYTES + 1), status
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} can't be read: {why}; give {wanted}") from error
