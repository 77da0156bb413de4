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
    """Keys in a CPIX file; one with secrets in the clear has to be readable by its owner only.

    Attributes:
        path: Where it is.
        private_key: PEM file of the recipient's private key; None for documents in the clear.
    """

    path: Path
    private_key: Path | None = None

    @property
    def url(self) -> str:
        """Where keys come from, for people."""
        return f"cpix:{self.path}"

    def keys(self, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:
        """Get the secrets of some keys; see `headend.core.keys.base.KeyStore`."""
        found = self.document()
        if found.content and found.content != title:
            raise ConfigError(f"{self.path} is about {found.content[:80]!r}, not about {title!r}")
        for name in names:
            if found.schemes.get(name.kid, name.scheme) is not name.scheme:
                raise ConfigError(
                    f"{self.path} has the key {name.kid} for {found.schemes[name.kid]}, not for {name.scheme}",
                    kid=name.kid,
                )
        return complete(names, found.keys, str(self.path), found.ivs)

    def signals(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> tuple[Signal, ...]:  # noqa: ARG002
        """What the document says of DRM systems; see `headend.core.keys.base.KeyStore`."""
        kids = {name.kid for name in names}
        return tuple(one for one in self.document().signals if one.kid in kids and one.system in systems)

    def document(self) -> cpix.Document:
        """Read the file; raises `ConfigError`."""
        if self.private_key is None:
            return cpix.read(read_private(self.path, "a CPIX file").encode(), str(self.path))
        return cpix.read(read_file(self.path, "a CPIX file")[0], str(self.path), private_key=self.private_key)
