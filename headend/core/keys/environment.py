"""Keys in an environment variable, in the format of a file of keys."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headend.core.errors import ConfigError
from headend.core.keys import lines
from headend.core.keys.base import ContentKey
from headend.core.media.protection import KeyName, Signal


@dataclass(frozen=True, slots=True)
class EnvironmentKeys:
    """Keys in a variable.

    Attributes:
        variable: Its name.
    """

    variable: str

    @property
    def url(self) -> str:
        """The source's address for display."""
        return f"env:{self.variable}"

    def keys(self, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:  # noqa: ARG002
        """Get the secrets of some keys; see `headend.core.keys.base.KeyStore`."""
        text = os.environ.get(self.variable)
        if text is None:
            raise ConfigError(f"the environment variable {self.variable} is not set: put keys there, or name a file")
        return lines.pick(lines.read(text, self.variable), names, self.variable)

    def signals(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> tuple[Signal, ...]:  # noqa: ARG002
        """An empty tuple; see `headend.core.keys.base.KeyStore`."""
        return ()
