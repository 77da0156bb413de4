"""Keys in a CPIX file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headend.core.errors import ConfigError
from headend.core.keys import cpix
from headend.core.keys.base import ContentKey, complete
from headend.core.keys.file import read_file, read_private
from headend.core.media.protection import KeyName, Signal


@dataclass(frozen=True, slots=True)
class CpixKeys:
    """Keys in a CPIX file. If its secrets are not encrypted, only its owner may have access to it.

    Attributes:
        path: Path of the file.
        private_key: PEM file of the recipient's private key; None for documents that are not encrypted.
    """

    path: Path
    private_key: Path | None = None

    @property
    def url(self) -> str:
        """The source's address for display."""
        return f"cpix:{self.path}"

    def keys(self, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:
        """Get the secrets of some keys; see `headend.core.keys.base.KeyStore`."""
        document = self.document()
        if document.content and document.content != title:
            raise ConfigError(f"{self.path} has the keys of {document.content[:80]!r}, not those of {title!r}")
        for name in names:
            if document.schemes.get(name.kid, name.scheme) is not name.scheme:
                raise ConfigError(
                    f"{self.path} has the key {name.kid} for {document.schemes[name.kid]}, not for {name.scheme}",
                    kid=name.kid,
                )
        return complete(names, document.keys, str(self.path), document.ivs)

    def signals(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> tuple[Signal, ...]:  # noqa: ARG002
        """The document's DRM signalling; see `headend.core.keys.base.KeyStore`."""
        kids = {name.kid for name in names}
        return tuple(signal for signal in self.document().signals if signal.kid in kids and signal.system in systems)

    def document(self) -> cpix.Document:
        """Read the file; raises `ConfigError`."""
        if self.private_key is None:
            return cpix.read(read_private(self.path, "a CPIX file").encode(), str(self.path))
        return cpix.read(read_file(self.path, "a CPIX file")[0], str(self.path), private_key=self.private_key)
