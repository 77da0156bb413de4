"""Prices of CPU, storage and requests: reads price tables (TOML) and converts quantities to money.

Amounts are in the table's currency. The tables in this folder show the magnitude of large clouds' list prices; don't
use them for budgets.
"""

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

from headend.core.errors import ConfigError

DEFAULT = "aws"


@dataclass(frozen=True, slots=True)
class Prices:
    """A price table.

    Attributes:
        name: Name for display.
        summary: Source of the prices, and whether they are examples.
        as_of: Date of the prices.
        currency: ISO 4217.
        cpu_hour: Price of one core or virtual CPU for an hour.
        storage_gb_month: Price of storing 1e9 bytes for a month.
        put_per_1000: Price of writing a thousand objects.
    """

    name: str
    summary: str
    as_of: str
    currency: str
    cpu_hour: float
    storage_gb_month: float
    put_per_1000: float

    def compute(self, cpu_s: float) -> float:
        """Price of CPU seconds."""
        return cpu_s / 3600 * self.cpu_hour

    def requests(self, count: int) -> float:
        """Price of writing objects."""
        return count / 1000 * self.put_per_1000

    def storage(self, stored_bytes: int) -> float:
        """Price of storing bytes for a month."""
        return stored_bytes / 1e9 * self.storage_gb_month


def names() -> tuple[str, ...]:
    """The names of the included tables."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in _folder() if path.name.endswith(".toml")))


def load(name: str) -> Prices:
    """Read an included table or a TOML file.

    Raises:
        ConfigError: There is no such table, or a price is missing, negative or not a number; the message names it.
    """
    if not name.endswith(".toml"):
        if name not in names():
            raise ConfigError(f"there is no price table {name!r}: use {', '.join(names())}, or a file ending in .toml")
        return _read((resources.files("headend.core.prices") / f"{name}.toml").read_text("utf-8"), name)
    try:
        return _read(Path(name).expanduser().read_text("utf-8"), name)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} can't be read: {error}; check its name") from error


def _folder() -> list[Path]:
    return [Path(str(path)) for path in resources.files("headend.core.prices").iterdir()]


def _read(text: str, place: str) -> Prices:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is not TOML: {error}") from error
    known = {field.name: field.type for field in fields(Prices)}
    if extra := sorted(set(table) - set(known)):
        raise ConfigError(f"{place}: {extra[0]!r} is not a price; there are {', '.join(known)}")
    for name, kind in known.items():
        value = table.get(name)
        wanted = str if kind is str else (int, float)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(f"{place}: {name} is missing, or not {'text' if kind is str else 'a number'}")
        if not isinstance(value, str) and not 0 <= value < 1e9:
            raise ConfigError(f"{place}: {name} is {value}; give an amount of 0 or more")
    return Prices(**table)
