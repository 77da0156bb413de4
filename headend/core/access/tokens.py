"""Playback tokens, statements of edges, and the keys that sign both.

A token is ``{key id}.{grant}.{signature}``, all in base64url, so that it fits into one path segment. Its holder can
read the grant but can't change it. itsdangerous makes signatures and verifies them in constant time.
"""

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import msgspec
from itsdangerous import Signer
from itsdangerous.encoding import base64_decode, base64_encode
from itsdangerous.exc import BadData

from headend.core.errors import ConfigError

SECRET_BYTES = 32
"""Length of a secret: that of the digest with which it is used (RFC 2104, section 3)."""
EDGE_VALID_S = 300
"""Largest accepted difference between the time of an edge's statement and now."""

Screens = Literal[1, 2, 4]
"""How many screens a plan may have."""

_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]{1,768})\.([A-Za-z0-9_-]{43})")
_WORD = re.compile(r"([A-Z]{2})-([0-9]{1,12})")


class Use(StrEnum):
    """What a key is used for. A text that was signed for one use is invalid for the other, even with the same key."""

    PLAYBACK = "playback"
    EDGE = "edge"


class Grant(msgspec.Struct, frozen=True, array_like=True):
    """What a token allows. It is a struct instead of a dataclass because msgspec can omit only structs' field names.

    Attributes:
        title: The only title that it covers.
        account: Account whose screens are counted; preferably an id that does not identify the person.
        session: Id of one screen; all requests of a player have the same.
        expires_s: Unix time at which the token expires.
        max_height_px: The plan's limit of the picture height; None for no limit.
        screens: How many sessions of the account may play at the same time.
        territories: ISO 3166-1 alpha-2 codes where the title may be watched; empty for everywhere.
        licensed_from_s: Unix time at which the licence begins; None if it has no beginning.
        licensed_until_s: Unix time at which it ends; None if it has no end.
    """

    title: str
    account: str
    session: str
    expires_s: int
    max_height_px: int | None = None
    screens: Screens = 1
    territories: tuple[str, ...] = ()
    licensed_from_s: int | None = None
    licensed_until_s: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A named secret.

    Attributes:
        use: What it signs.
        id: Its name, which is part of each text that it signs.
        secret: At least `SECRET_BYTES` long.
    """

    use: Use
    id: str
    secret: bytes = field(repr=False)

    @property
    def line(self) -> str:
        """The key's line in a file of keys."""
        return f"{self.use} {self.id} {base64_encode(self.secret).decode()}"


class Keyring:
    """Signing keys. The first of each use signs; all of them verify, so that keys can be rotated without interruption.

    Args:
        keys: In file order.
    """

    def __init__(self, keys: Iterable[Key]) -> None:
        self._signers: dict[tuple[Use, str], Signer] = {}
        self._first: dict[Use, str] = {}
        for key in keys:
            # The secret is random and as long as the digest, so there is nothing to derive from it.
            self._signers[key.use, key.id] = Signer(
                key.secret, sep=".", key_derivation="none", digest_method=hashlib.sha256
            )
            self._first.setdefault(key.use, key.id)

    def sign(self, use: Use, text: str) -> str:
        """Sign a text.

        Raises:
            ConfigError: There is no key for this use.
        """
        if use not in self._first:
            raise ConfigError(f"there is no key for {use}: add the line that 'headend token --new-key {use}' prints")
        name = self._first[use]
        signature = self._signers[use, name].get_signature(f"{use}.{name}.{text}").decode()
        return f"{name}.{text}.{signature}"

    def verified(self, use: Use, signed: str) -> str | None:
        """The signed text; None if no key of this use signed it."""
        if (parts := _TOKEN.fullmatch(signed)) is None:
            return None
        name, text, signature = parts.groups()
        signer = self._signers.get((use, name))
        return text if signer and signer.verify_signature(f"{use}.{name}.{text}", signature) else None


def make_key(use: Use) -> Key:
    """Make a key with a random name and secret."""
    return Key(use, secrets.token_hex(4), secrets.token_bytes(SECRET_BYTES))


def read_keys(text: str, source: str) -> Keyring:
    """Read keys, one per line: ``playback`` or ``edge``, a name, and a secret in base64url. ``#`` begins a comment.

    Args:
        text: The lines.
        source: Where the lines come from, for errors. Errors never repeat a line, because it may contain a secret.

    Raises:
        ConfigError: A line is not a key, a name occurs twice, or there is no key for playback.
    """
    keys: dict[tuple[Use, str], Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        key = _key(words)
        if key is None:
            raise ConfigError(
                f"{source}, line {number} is not a key: use a line that 'headend token --new-key playback' prints"
            )
        if (key.use, key.id) in keys:
            raise ConfigError(f"{source}, line {number}: {key.use} {key.id} occurs twice; remove one of the lines")
        keys[key.use, key.id] = key
    if not any(use is Use.PLAYBACK for use, _ in keys):
        raise ConfigError(f"{source} has no key for playback: add what 'headend token --new-key playback' prints")
    return Keyring(keys.values())


def issue(grant: Grant, keys: Keyring) -> str:
    """Sign a grant with the newest key for playback.

    Raises:
        ConfigError: There is no such key, or the token would be too long for a path.
    """
    token = keys.sign(Use.PLAYBACK, base64_encode(msgspec.msgpack.encode(grant)).decode())
    if not _TOKEN.fullmatch(token):
        raise ConfigError("the token would be too long: give a shorter account, or fewer territories")
    return token


def decode_token(token: str, keys: Keyring) -> Grant | None:
    """Decode a token's grant, valid or expired; None if none of the keys signed it."""
    text = keys.verified(Use.PLAYBACK, token)
    if text is None:
        return None
    try:
        return _GRANTS.decode(base64_decode(text))
    except (BadData, msgspec.DecodeError, UnicodeDecodeError):
        return None


def sign_territory(territory: str, at_s: int, keys: Keyring) -> str:
    """Sign an edge's statement for the header `headend.core.access.grants.EDGE`: a request's territory, and the time.

    Args:
        territory: ISO 3166-1 alpha-2 code; ``ZZ`` if it is not known.
        at_s: Unix time.
        keys: Keys with one for edges.

    Raises:
        ConfigError: There is no key for edges.
    """
    return keys.sign(Use.EDGE, f"{territory}-{at_s}")


def signed_territory(header: str, keys: Keyring, now_s: float) -> str | None:
    """The territory that an edge has signed; None if the signature is invalid or more than `EDGE_VALID_S` old."""
    word = _WORD.fullmatch(keys.verified(Use.EDGE, header) or "")
    return word[1] if word and abs(now_s - int(word[2])) <= EDGE_VALID_S else None


_GRANTS = msgspec.msgpack.Decoder(Grant)


def _key(words: list[str]) -> Key | None:
    try:
        use, name, text = words
        key = Key(Use(use), name, base64_decode(text))
    except (ValueError, BadData):
        return None
    return key if re.fullmatch(r"[A-Za-z0-9_-]{1,32}", name) and len(key.secret) >= SECRET_BYTES else None
