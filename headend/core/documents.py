"""Documents: dataclasses as versioned JSON.

A document is one JSON object ``{"kind": "Receipt", "version": 1, "body": {…}}``. Fractions are written as
``"24000/1001"``, enums as their values, tuples as arrays. Reading checks all types; errors name the wrong field.
"""

import re
from collections.abc import Collection
from fractions import Fraction
from threading import Lock
from typing import Any, TypeVar

import msgspec

from headend.core.errors import StorageError

VERSION = 1
Value = TypeVar("Value")
_RATIO = re.compile(r"-?[0-9]{1,500}(?:/[0-9]{1,500})?")
"""A fraction in a document. Python would also accept ``9e999999999``, and expand it."""


def _plain(value: Any) -> Any:
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    raise NotImplementedError(f"{type(value).__name__} can't be written to a document")


def _rich(kind: type[Any], value: Any) -> Any:
    if kind is Fraction:
        if isinstance(value, str) and _RATIO.fullmatch(value) is None:
            raise ValueError("expected a fraction such as 24000/1001")
        return Fraction(value)
    raise NotImplementedError(f"{kind.__name__} can't be read from a document")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def write(value: Any, *, omitted: Collection[str] = ()) -> bytes:
    """Serialize an instance of a data type of `headend.core.media`.

    Args:
        value: The instance.
        omitted: Names of fields to leave out if they are empty, at every level.
    """
    body = _without_empty(as_plain(value), frozenset(omitted)) if omitted else value
    return _ENCODER.encode({"kind": type(value).__name__, "version": VERSION, "body": body})


def _without_empty(plain: Any, omitted: frozenset[str]) -> Any:
    if isinstance(plain, dict):
        kept = ((name, value) for name, value in plain.items() if value or name not in omitted)
        return {name: _without_empty(value, omitted) for name, value in kept}
    if isinstance(plain, list | tuple):
        return [_without_empty(value, omitted) for value in plain]
    return plain


def as_plain(value: Any) -> Any:
    """Convert an instance of a data type into dicts, lists, strings and numbers."""
    return msgspec.to_builtins(value, enc_hook=_plain)


def read(kind: type[Value], data: bytes, *, key: str = "document") -> Value:
    """Parse a document.

    Args:
        kind: The expected data type.
        data: The document.
        key: The document's key, for errors.

    Raises:
        StorageError: It is not JSON, has another kind or version, or a field is missing or wrong.
    """
    envelope = _decode(dict[str, msgspec.Raw], data, key)
    named = {name: _decode(Any, envelope[name], key) for name in ("kind", "version") if name in envelope}
    if named != {"kind": kind.__name__, "version": VERSION} or "body" not in envelope:
        raise StorageError(
            f"{key} is not a {kind.__name__} document of version {VERSION}; another headend wrote it, or it is damaged",
            found=named,
        )
    value: Value = _decode(kind, envelope["body"], key)
    return value


_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}
_DECODERS_LOCK = Lock()


def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    # msgspec crashes if two threads inspect a type for the first time while garbage is collected.
    with _DECODERS_LOCK:
        if kind not in _DECODERS:
            _DECODERS[kind] = msgspec.json.Decoder(kind, dec_hook=_rich)
        return _DECODERS[kind]


def _decode(kind: Any, data: bytes | msgspec.Raw, key: str) -> Any:
    try:
        return _decoder(kind).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, ZeroDivisionError, RecursionError) as error:
        raise StorageError(f"{key} can't be read: {error}", key=key) from error
