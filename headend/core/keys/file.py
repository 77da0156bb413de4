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


def read_private(path: Path) -> str:
    """Read a file that only its owner may read.

    Raises:
        ConfigError: It can't be read, is not text, or others than its owner can read it.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(lines.LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}; give a file of keys") from error
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"others than its owner can read {path}: run chmod 600 {path}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not text: give a file of keys") from None
