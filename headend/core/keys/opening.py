"""Open a key source by its address."""

from headend.core.errors import ConfigError
from headend.core.keys.base import KeyStore
from headend.core.keys.environment import EnvironmentKeys
from headend.core.keys.file import FileKeys
from headend.core.paths import expanded

_SOURCES = "keys come from a file, env:NAME, cpix:FILE or speke+https://HOST/PATH: give one of these"


def open_keys(address: str, *, private_key: str | None = None) -> KeyStore:
    """Open a key source; nothing is read yet.

    Args:
        address: A file, ``env:NAME``, ``cpix:FILE`` or ``speke+https://HOST/PATH``.
        private_key: PEM file of the recipient's private key, for encrypted CPIX.

    Raises:
        ConfigError: It is none of these.
    """
    if address in ("env:", "cpix:"):
        raise ConfigError(f"{address!r} is not a key source; {_SOURCES}")
    if address.startswith("env:"):
        return EnvironmentKeys(address.removeprefix("env:"))
    if address.startswith("cpix:"):
        from headend.core.keys.cpix_file import CpixKeys

        key = expanded(private_key) if private_key else None
        return CpixKeys(expanded(address.removeprefix("cpix:")), key)
    if address.startswith("speke+"):
        from headend.core.keys.speke import SpekeKeys

        return SpekeKeys(address.removeprefix("speke+"))
    if not address or "://" in address:
        raise ConfigError(_SOURCES)
    return FileKeys(expanded(address))
