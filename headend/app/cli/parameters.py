"""Parameter types of options: bytes, URLs, durations, and finite numbers."""

import math
import re
from fractions import Fraction
from typing import Any
from urllib.parse import urlsplit

import click


class ByteCount(click.ParamType[int]):
    """A number of bytes, such as ``256M`` or ``10G``."""

    name = "bytes"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return the name that help shows."""
        return "BYTES"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        match = re.fullmatch(r"([1-9][0-9]{0,15})([KMGT]?)", str(value).upper())
        if match is None:
            self.fail(f"{value!r} is not a number of bytes, such as 256M or 10G.", param, ctx)
        return int(match[1]) << 10 * " KMGT".index(match[2] or " ")


class ReleaseId(click.ParamType[str]):
    """The id of a release, as ``headend releases`` lists it."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse a value; raise `click.BadParameter` if it can't be an id."""
        if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", value):
            self.fail(f"{value[:80]!r} is not the id of a release; 'headend releases TITLE' lists them.", param, ctx)
        return value


class WebAddress(click.ParamType[str]):
    """A public URL for players, without credentials, query or trailing slash."""

    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        try:
            parts = urlsplit(value)
            is_good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_good = False
        is_plain = is_good and not parts.username and not parts.query and not parts.fragment
        if not is_plain or parts.scheme not in ("http", "https") or not value.isascii() or not value.isprintable():
            self.fail("it is not an address such as https://licences.example.", param, ctx)
        if any(character in value for character in "\"' <>;,"):
            self.fail("it is not an address such as https://licences.example.", param, ctx)
        return value.rstrip("/")


class Duration(click.ParamType[float]):
    """A duration such as ``90s``, ``15m`` or ``2h``; converted to seconds.

    Args:
        needs_unit: Whether a number without a unit is refused, instead of meaning seconds.
        minimum_s: Shortest duration.
    """

    name = "duration"

    def __init__(self, *, needs_unit: bool = False, minimum_s: float = 0) -> None:
        self._needs_unit = needs_unit
        self._minimum_s = minimum_s

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return the name that help shows."""
        return "TIME"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(0|[1-9][0-9]{0,8})([smhd]?)", str(value))
        if match is None or (self._needs_unit and not match[2]):
            self.fail(f"{value!r} is not a duration, such as 90m, 4h or 2d.", param, ctx)
        duration_s = float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2] or "s"]
        if duration_s < self._minimum_s:
            self.fail(f"{value!r} is too short; give at least {self._minimum_s:g}s.", param, ctx)
        return duration_s


class Seconds(click.ParamType[Fraction]):
    """A number of seconds, 0 or more, such as ``6`` or ``5.005``."""

    name = "seconds"

    def convert(self, value: str | Fraction, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        if isinstance(value, Fraction):
            return value
        if not re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", value, re.ASCII):
            self.fail(f"{value!r} is not a number of seconds, such as 6 or 5.005.", param, ctx)
        return Fraction(value)


class FiniteRange(click.FloatRange):
    """A range of finite numbers: ``nan`` and ``inf``, which `click.FloatRange` may accept, are refused."""

    name = "number"  # in messages

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a value; raise `click.BadParameter` if it is invalid."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
