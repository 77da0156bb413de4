"""The text format of content keys in files and variables: lines of ``kid scheme class iv secret``; ``-`` for no iv."""

from collections.abc import Iterable, Mapping, Sequence

from headend.core.errors import ConfigError
from headend.core.keys.base import KEY_BYTES, ContentKey, complete
from headend.core.media.protection import KeyClass, KeyName, Scheme, check_kid

MAX_BYTES = 4 << 20


def read(text: str, place: str) -> tuple[ContentKey, ...]:
    """Read keys; ``#`` begins a comment.

    Raises:
        ConfigError: A line is malformed, a key does not have 16 bytes, or an id occurs twice. The message has the line
            number, and never the line's content.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{place} is larger than {MAX_BYTES >> 20} MiB, so it is not a key file")
    keys: dict[str, ContentKey] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{place}, line {number}"
        if len(words) != 5:
            raise ConfigError(f"{where} is not 'kid scheme class iv secret'")
        key = _key(words, where)
        if key.name.kid in keys:
            raise ConfigError(f"{where}: the key {key.name.kid} occurs twice; remove one of the lines")
        keys[key.name.kid] = key
    return tuple(keys.values())


def pick(keys: Iterable[ContentKey], names: Sequence[KeyName], place: str) -> Mapping[str, ContentKey]:
    """Select keys by name; raises `ConfigError` if one is missing or has another scheme."""
    by_id = {key.name.kid: key for key in keys}
    for name in names:
        if name.kid in by_id and by_id[name.kid].name.scheme is not name.scheme:
            raise ConfigError(
                f"{place} has the key {name.kid} for {by_id[name.kid].name.scheme}, not for {name.scheme}", kid=name.kid
            )
    secrets = {kid: key.secret for kid, key in by_id.items()}
    return complete(names, secrets, place, {kid: key.name.iv for kid, key in by_id.items()})


def write(keys: Iterable[ContentKey]) -> str:
    """Write keys, one per line."""
    rows = ((key.name, key.secret.hex()) for key in keys)
    return "".join(f"{name.kid} {name.scheme} {name.key_class} {name.iv or '-'} {secret}\n" for name, secret in rows)


def _key(words: list[str], where: str) -> ContentKey:
    kid, scheme, key_class, iv, secret = words
    try:
        kid = check_kid(kid)
    except ValueError:
        raise ConfigError(f"{where}: the first word is not a key's id of 32 hexadecimal digits") from None
    if scheme not in list(Scheme):
        raise ConfigError(f"{where}: the scheme is none of {', '.join(Scheme)}")
    if key_class not in list(KeyClass):
        raise ConfigError(f"{where}: the class is none of {', '.join(KeyClass)}")
    vector = _bytes(iv, f"{where}: the iv") if iv != "-" else b""
    if vector and len(vector) != KEY_BYTES:
        raise ConfigError(f"{where}: the iv has {len(vector)} bytes instead of {KEY_BYTES}")
    value = _bytes(secret, f"{where}: the secret")
    if len(value) != KEY_BYTES:
        raise ConfigError(f"{where}: the secret has {len(value)} bytes instead of {KEY_BYTES}")
    return ContentKey(KeyName(kid, Scheme(scheme), KeyClass(key_class), iv=vector.hex()), value)


def _bytes(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigError(f"{what} is not hexadecimal") from None
