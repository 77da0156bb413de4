"""A key server for development: answers SPEKE v2 requests from a key file, and generates missing keys.

It replaces a DRM provider while a pipeline is being developed. Any client that can reach it gets every key, so it must
listen on the loopback interface only.
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

MAX_KEYS = 64

Signaller = Callable[[Sequence[KeyName], Iterable[str]], Iterable[Signal]]
"""Makes the DRM signalling of some keys, for systems given by their UUIDs."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Answers requests for keys.

    Attributes:
        path: The file of keys; created if missing.
        signaller: Makes the signalling of DRM systems.
    """

    path: Path
    signaller: Signaller

    def answer(self, request: bytes) -> bytes:
        """Answer a request for keys. Missing keys are generated, and saved before they are sent.

        Args:
            request: A CPIX document without secrets.

        Returns:
            The document with secrets.

        Raises:
            ConfigError: It is not such a request, or the file can't be read or written.
        """
        key_request = cpix.read_request(request, "the request", max_keys=MAX_KEYS)
        keys = self._keys(key_request.names)
        return cpix.response(key_request, keys, self.signaller(key_request.names, key_request.systems))

    def _keys(self, names: Sequence[KeyName]) -> dict[str, ContentKey]:
        try:
            fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{self.path} can't be written: {error.strerror}") from error
        with os.fdopen(fd, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two requests must not generate two secrets for one key
            known = {key.name.kid: key for key in FileKeys(self.path).all()}
            new = [ContentKey(name, new_secret()) for name in names if name.kid not in known]
            file.write(lines.write(new).encode())
            file.flush()
            os.fsync(file.fileno())
        known.update({key.name.kid: key for key in new})
        return {name.kid: ContentKey(name, known[name.kid].secret) for name in names}
