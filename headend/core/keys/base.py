"""Content keys, and the interface of key sources."""

import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, Protocol

from headend.core.errors import ConfigError
from headend.core.media.protection import KeyName, Scheme, Signal

KEY_BYTES = 16
CHECKSUM_DIGITS = 16


class ContentKey:
    """A key with its secret; can't be printed or pickled.

    Attributes:
        name: The key's public data.
        secret: The key itself, 16 bytes.
    """

    __slots__ = ("name", "secret")

    def __init__(self, name: KeyName, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ConfigError(f"the key {name.kid} has {len(secret)} bytes, but a content key has {KEY_BYTES}")
        self.name = name
        self.secret = secret

    def __repr__(self) -> str:
        """Show the key's name without its secret."""
        return f"ContentKey({self.name.kid}, {self.name.scheme}, {self.name.key_class})"

    def __reduce__(self) -> NoReturn:
        """Raise: a pickled key could end up in a scheduler, a log or a file."""
        raise TypeError("a content key can't be pickled: pass its name, and open the keys where they are needed")

    __getstate__ = __reduce__

    def checksum(self) -> str:
        """A checksum that distinguishes secrets of the same key id; see `KeyName.checksum`."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        encryptor = Cipher(algorithms.AES(self.secret), modes.ECB()).encryptor()
        return encryptor.update(uuid.UUID(self.name.kid).bytes_le).hex()[:CHECKSUM_DIGITS]


class KeyStore(Protocol):
    """A source of keys."""

    @property
    def url(self) -> str:
        """The source's address for display; contains no secret."""

    def keys(self, title: str, names: Sequence[KeyName]) -> Mapping[str, ContentKey]:
        """Get the secrets of some keys of a title.

        Args:
            title: Catalogue entry.
            names: The keys to get.

        Returns:
            A key for each name, by key id. Its name has the source's constant initialisation vector if there is one,
            otherwise that of the given name.

        Raises:
            ConfigError: A key is missing or invalid; the message names its id.
            StorageError: The source can't be reached.
        """

    def signals(self, title: str, names: Sequence[KeyName], systems: Sequence[str]) -> tuple[Signal, ...]:
        """Get the DRM signalling of some keys for manifests; only what the source has is returned.

        Args:
            title: Catalogue entry.
            names: The keys.
            systems: UUIDs of the systems.

        Raises:
            ConfigError: The source can't be read.
            StorageError: It can't be reached.
        """


def complete(
    names: Iterable[KeyName], available: Mapping[str, bytes], source: str, ivs: Mapping[str, str] | None = None
) -> Mapping[str, ContentKey]:
    """Select the requested keys from those of a source.

    Args:
        names: The requested keys.
        available: The source's secrets by key id.
        source: Where they come from, for errors.
        ivs: The source's constant initialisation vectors by key id, as hexadecimal digits.

    Raises:
        ConfigError: One is missing.
    """
    keys = {}
    for name in names:
        if name.kid not in available:
            raise ConfigError(
                f"{source} has no key {name.kid} ({name.scheme}, {name.key_class}{_period(name)}): 'headend keys new "
                f"TITLE --scheme {name.scheme}{_periods(name)}' makes the keys of a title",
                kid=name.kid,
            )
        iv = (ivs or {}).get(name.kid) if name.scheme is not Scheme.CENC else None
        keys[name.kid] = ContentKey(replace(name, iv=iv) if iv else name, available[name.kid])
    return keys


def _period(name: KeyName) -> str:
    return f", period {name.period}" if name.period > 1 else ""


def _periods(name: KeyName) -> str:
    return " --periods N" if name.period > 1 else ""


def new_secret() -> bytes:
    """Make a random secret."""
    return secrets.token_bytes(KEY_BYTES)
