"""What CPU, storage and requests cost: tables in TOML, and an estimate or an account turned into money.

Comes in: a price table, a plan or a job's account. Goes out: amounts in the table's currency. The tables beside this
file are examples in the size of large clouds' list prices; nobody should budget by them.
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
        name: For people.
        summary: What the figures are, and that they are examples where they are.
        as_of: When they held.
        currency: ISO 4217.
        cpu_hour: For one core or virtual CPU for an hour.
        storage_gb_month: For 1e9 bytes over a month.
        put_per_1000: For a thousand objects written.
    """

    name: str
    summary: str
    as_of: str
    currency: str
    cpu_hour: float
    storage_gb_month: float
    put_per_1000: float

    def compute(self, cpu_s: float) -> float:
        """What CPU seconds cost."""
        return cpu_s / 3600 * self.cpu_hour

    def requests(self, count: int) -> float:
        """What writing objects costs."""
        return count / 1000 * self.put_per_1000

    def storage(self, stored_bytes: int) -> float:
        """What keeping bytes costs for a month."""
        return stored_bytes / 1e9 * self.storage_gb_month


def names() -> tuple[str, ...]:
    """The tables that come with headend."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in _folder() if path.name.endswith(".toml")))


def load(name: str) -> Prices:
    """Read a table that comes with headend, or a TOML file.

    Raises:
        ConfigError: There is no such table, or a figure is missing, negative or none; the message names it.
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
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place} is not TOML: {error}") from error
    known = {field.name: field.type for field in fields(Prices)}
    if extra := sorted(set(found) - set(known)):
        raise ConfigError(f"{place}: {extra[0]!r} is not a price; there are {', '.join(known)}")
    for name, kind in known.items():
        value = found.get(name)
        wanted = str if kind in ("str", str) else (int, float)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(f"{place}: {name} is missing, or not {'text' if wanted is str else 'a number'}")
        if not isinstance(value, str) and not 0 <= value < 1e9:
            raise ConfigError(f"{place}: {name} is {value}; give an amount of 0 or more")
    return Prices(**found)
