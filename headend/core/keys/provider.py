"""A provider of keys for development: answers SPEKE v2 requests from a file, and adds the keys that it lacks.

It stands in for a DRM provider where a pipeline is tried out. Anyone who can reach it gets every key, so it belongs on
loopback only.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headend.core.errors import ConfigError
from headend.core.keys import cpix, lines
from headend.core.keys.base import ContentKey, new_secret
from headend.core.keys.file import FileKeys
from headend.core.media.protection import KeyName, Signal

MOST_KEYS = 64

Signaller = Callable[[Sequence[KeyName], Iterable[str]], Iterable[Signal]]
"""Makes what manifests say of some keys to some DRM systems, given by their UUIDs."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Answers requests for keys.

    Attributes:
        path: The file of keys; made if it is missing.
        signaller: Makes the signalling of DRM systems.
    """

    path: Path
    signaller: Signaller

    def answer(self, request: bytes) -> bytes:
        """Give the keys of a request; those that the file lacks are made, and are in the file before they are given.

        Args:
            request: A CPIX document without secrets.

        Returns:
            A CPIX document with them.

        Raises:
            ConfigError: It is no such request, or the file can't be read or written.
        """
        asked = cpix.read_request(request, "the request", most_keys=MOST_KEYS)
        keys = self._keys(asked.names)
        return cpix.response(asked, keys, self.signaller(asked.names, asked.systems))

    def _keys(self, names: Sequence[KeyName]) -> dict[str, ContentKey]:
        try:
            file = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{self.path} can't be written: {error.strerror}") from error
        with os.fdopen(file, "ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # two requests must not make two secrets of one key
            known = {key.name.kid: key for key in FileKeys(self.path).all()}
            made = [ContentKey(name, new_secret()) for name in names if name.kid not in known]
            held.write(lines.write(made).encode())
            held.flush()
            os.fsync(held.fileno())
        known.update({key.name.kid: key for key in made})
        return {name.kid: ContentKey(name, known[name.kid].secret) for name in names}
