"""Common Media Client Data: what players report in a request's query or headers.

It is counted, and never part of what is looked up, so that it can't split a cache.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

import msgspec
from multidict import istr

from headend.core.http.conditions import Headers

MARK = "CMCD="
"""What a target holds that tells something."""
REQUEST = istr("CMCD-Request")
HEADERS = (REQUEST, istr("CMCD-Object"), istr("CMCD-Status"), istr("CMCD-Session"))
"""The other place for the same; the first is there whenever something is told that counts."""
CHARACTERS = 4096
"""More than any honest player says."""
OBJECTS = frozenset({"m", "a", "v", "av", "i", "c", "tt", "k", "o"})
"""The kinds of object that the specification knows."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"?')
_ESCAPES = (("%2C", ","), ("%3D", "="), ("%22", '"'), ("%20", " "), ("%3B", ";"))
"""How players write what stands between keys and values; a general decoder takes longer than all the rest."""

_FIRST = re.compile(r"\(?([0-9]{1,9})(?:;[a-z]+)?(?: [0-9;a-z ]{0,64})?\)?", re.ASCII)
"""A number, or the first one of a list, as version 2 writes what it tells of several kinds of object."""
REBUFFERING = "r"
"""The state of a player whose buffer has run dry: version 2."""


@dataclass(frozen=True, slots=True)
class CmcdCounts:
    """What is counted of it.

    Attributes:
        object: The kind of object that is asked for, one of `OBJECTS`.
        buffer_s: Media in the player's buffer; None if it does not say.
        throughput_bps: What it measures of the network; None if it does not say.
        starved: Whether the buffer ran dry since the last request.
    """

    object: str = "o"
    buffer_s: float | None = None
    throughput_bps: float | None = None
    starved: bool = False


def read(target: str, headers: Headers) -> CmcdCounts:
    """Read what a request tells; what can't be read is left out.

    Args:
        target: Path and query.
        headers: The request's.

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
    """The value of the query's term ``CMCD``, decoded; None if there is none."""
    _, mark, text = target.partition(f"?{MARK}")
    if not mark:
        _, mark, text = target.partition(f"&{MARK}")
        if not mark:
            return None
    text = text.partition("&")[0].partition("#")[0]
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return unquote(text) if "%" in text else text


def _pairs(said: str) -> dict[str, str]:
    """Keys and values, of which those of a JSON object are written as the other forms write them."""
    if not said.startswith("{"):
        # Strings are of no interest here, and may hold what separates pairs elsewhere.
        bare = _QUOTED.sub("", said) if '"' in said else said
        return {key: value for key, _, value in (pair.partition("=") for pair in bare.split(","))}
    try:
        values = msgspec.json.decode(said)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return {key: _written(value) for key, value in values.items()}


def _written(value: object) -> str:
    """A value of JSON; the first of a list, since lists begin with what belongs to the object itself."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | str) else ""


def _number(text: str | None, unit: float) -> float | None:
    if text is not None and len(text) < 10 and text.isascii() and text.isdecimal():
        return int(text) * unit
    found = _FIRST.fullmatch(text) if text else None
    return int(found[1]) * unit if found else None
