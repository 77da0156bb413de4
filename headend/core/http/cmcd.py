"""Common Media Client Data (CMCD): what players report in a request's query or headers.

The data is counted. It is never part of a cache key, because each request would then be a cache miss.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec
from multidict import istr

from headend.core.http.conditions import Headers

MARK = "CMCD="
"""Prefix of CMCD data in a query."""
REQUEST = istr("CMCD-Request")
HEADERS = (REQUEST, istr("CMCD-Object"), istr("CMCD-Status"), istr("CMCD-Session"))
"""Headers that carry CMCD data; the first one is present if any key that is counted here is."""
CHARACTERS = 4096
"""Longer data is cut off; no real player sends that much."""
OBJECTS = frozenset({"m", "a", "v", "av", "i", "c", "tt", "k", "o"})
"""Object types of the specification."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_ESCAPES = (("%2C", ","), ("%3D", "="), ("%22", '"'), ("%20", " "), ("%3B", ";"))
"""Escapes that players use for separators; decoding these first is faster than a general decoder."""

_FIRST = re.compile(r"\(?([0-9]{1,9})(?:;[a-z]+)?(?: [0-9;a-z ]{0,64})?\)?", re.ASCII)
"""A number, or the first one of a list: version 2 reports several object types in a list."""
REBUFFERING = "r"
"""Version 2: the state of a player whose buffer is empty."""


@dataclass(frozen=True, slots=True)
class CmcdCounts:
    """The CMCD values that are counted.

    Attributes:
        object: Type of the requested object, one of `OBJECTS`.
        buffer_s: Media in the player's buffer; None if not reported.
        throughput_bps: Network throughput that the player measured; None if not reported.
        starved: Whether the buffer ran empty since the last request.
    """

    object: str = "o"
    buffer_s: float | None = None
    throughput_bps: float | None = None
    starved: bool = False


def read(target: str, headers: Headers) -> CmcdCounts:
    """Read a request's CMCD data; invalid values are left out.

    Args:
        target: Path and query.
        headers: The request's headers.

    Source:
        CTA-5004, sections 2 (modes of transmission) and 3 (keys); CTA-5004-A for version 2.
    """
    text = _from_query(target)
    if text is None:
        text = ",".join(filter(None, (headers.get(name) for name in HEADERS)))
    pairs = _pairs(text[:CHARACTERS])
    kind = pairs.get("ot", "")
    return CmcdCounts(
        object=kind if kind in OBJECTS else "o",
        buffer_s=_number(pairs.get("bl"), 0.001),
        throughput_bps=_number(pairs.get("mtp"), 1000.0),
        starved=pairs.get("bs") in ("", "true") or pairs.get("sta") == REBUFFERING,
    )


def _from_query(target: str) -> str | None:
    """The decoded value of the query's parameter ``CMCD``; None if there is none."""
    _, mark, text = target.partition(f"?{MARK}")
    if not mark:
        _, mark, text = target.partition(f"&{MARK}")
        if not mark:
            return None
    text = text.partition("&")[0].partition("#")[0]
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return unquote(text) if "%" in text else text


def _pairs(text: str) -> dict[str, str]:
    """Keys and values; those of a JSON object are converted to the form of the other modes."""
    if not text.startswith("{"):
        # Strings are not needed here, and may contain separators.
        bare = _QUOTED.sub("", text) if '"' in text else text
        return {key: value for key, _, value in (pair.partition("=") for pair in bare.split(","))}
    try:
        values = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return {key: _as_text(value) for key, value in values.items()}


def _as_text(value: object) -> str:
    """A JSON value as text; the first item of a list, as it belongs to the requested object itself."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | str) else ""


def _number(text: str | None, unit: float) -> float | None:
    if text is not None and len(text) < 10 and text.isascii() and text.isdecimal():
        return int(text) * unit
    first = _FIRST.fullmatch(text) if text else None
    return int(first[1]) * unit if first else None
