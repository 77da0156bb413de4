"""Reads scenario files (TOML) and checks their values. An error is one line that names the key."""

import copy
import difflib
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Union, get_args, get_origin

import msgspec

from cdn_sim.catalogue import LADDERS
from cdn_sim.model import EVENT_KINDS, Isp, Scenario
from headend.core.errors import ConfigError

BASE = "as given"
"""Name of the base scenario, without the changes of an alternative."""
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_UNITS |= {f"{unit}i": 1 << 10 * power for power, unit in enumerate("KMGTP", 1)}
MAX_DAYS = 24
"""Maximum length of a run: times in ms must fit into 31 bits."""
MAX_SEED = (1 << 53) - 1
"""Maximum seed: the largest integer that JSON readers keep exactly, because reports contain seeds."""
MAX_BYTES = 10**18
"""Maximum size of a cache: sums of sizes must fit into 63 bits."""
MAX_SEEDS = 1000
MAX_ALTERNATIVES = 100
MAX_CHARACTERS = 1_000_000
"""Maximum size of a scenario file."""


def presets() -> tuple[str, ...]:
    """Names of the built-in scenarios."""
    names = (entry.name for entry in files("cdn_sim.presets").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def preset_text(name: str) -> str:
    """Text of a built-in scenario; raises `KeyError` if there is none with this name."""
    if name not in presets():
        raise KeyError(name)
    return (files("cdn_sim.presets") / f"{name}.toml").read_text(encoding="utf-8")


def parse(text: str, name: str) -> Scenario:
    """Parse a scenario. Its alternatives are checked, too, but not returned.

    Raises:
        ConfigError: As in `variants`.
    """
    return variants(text, name)[BASE]


def variants(text: str, name: str) -> dict[str, Scenario]:
    """Parse a scenario and its alternatives.

    Args:
        text: TOML.
        name: Name for error messages.

    Returns:
        The scenarios by name of the alternative; the base scenario is the first, with the name `BASE`.

    Raises:
        ConfigError: The text is not TOML, a key is unknown, or a value is invalid; the message names the key.
    """
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"{name} has more than {MAX_CHARACTERS:,} characters, too many for a scenario; check that it is one"
        )
    try:
        return variants_of(_document(text.removeprefix("\ufeff"), name), name)
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply: 'headend simulate smoke --show' prints an example") from None


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}") from error
    except ValueError:  # Python reads numbers of up to 4,300 digits
        raise ConfigError(f"{name}: a number is too long; the longest has 19 digits") from None


def variants_of(document: dict[str, Any], name: str) -> dict[str, Scenario]:
    """Like `variants`, from parsed TOML."""
    base = _convert(document, name)
    if len(base.alternatives) > MAX_ALTERNATIVES:
        raise ConfigError(
            f"{name}: alternatives: there are {len(base.alternatives):,}; give at most {MAX_ALTERNATIVES}"
        )
    scenarios = {BASE: base}
    for alternative in base.alternatives:
        if alternative == BASE or not re.fullmatch(r"[\w .,%+-]{1,40}", alternative):
            raise ConfigError(
                f"{name}: alternatives.{alternative}: give it another name, of up to 40 letters, digits and spaces"
            )
        scenarios[alternative] = with_alternative(document, alternative, name)
    return scenarios


def with_alternative(document: dict[str, Any], alternative: str, name: str) -> Scenario:
    """A scenario with the changes of one alternative."""
    merged = copy.deepcopy(document)
    changes = merged.pop("alternatives")[alternative]
    if not isinstance(changes, dict):
        raise ConfigError(f'{name}: alternatives.{alternative} is not a table; write {{ edge.policy = "lru" }}')
    _merge(merged, changes)
    return _convert(merged, f"{name}, alternative {alternative}")


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.setdefault(key, {}), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def size_bytes(text: str) -> int:
    """Parse a size such as ``20T`` (10**12) or ``20Ti`` (2**40).

    Raises:
        ValueError: The text is not a size.
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([KMGTP]i?)?B?", text.strip())
    size = int(float(found[1]) * _UNITS[found[2] or ""]) if found else 0
    if size < 1:
        raise ValueError(text)
    return size


def time_ms(text: str) -> int:
    """Parse a time such as ``day 9 20:30`` into ms from the start of the run; the first day is day 1.

    Raises:
        ValueError: The text is not a time.
    """
    found = re.fullmatch(r"day ([1-9][0-9]?) ([01][0-9]|2[0-3]):([0-5][0-9])", text)
    if not found:
        raise ValueError(text)
    day, hour, minute = map(int, found.groups())
    return ((day - 1) * 24 + hour) * 3_600_000 + minute * 60_000


def clock_ms(text: str) -> int:
    """Parse a time of day such as ``02:00`` into ms from midnight; raises `ValueError` if it is malformed."""
    return time_ms(f"day 1 {text}")


def _convert(document: dict[str, Any], name: str) -> Scenario:
    try:
        scenario = msgspec.convert(document, Scenario)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_key_first(str(error))}") from error
    for key, problem in _problems(scenario):  # report the first one
        raise ConfigError(f"{name}: {key}: {problem}")
    return scenario


def _key_first(message: str) -> str:
    """Rewrite an error message of msgspec: put the key first, and suggest a key for an unknown one."""
    text, _, where = message.partition(" - at `$")
    key = where.rstrip("`").lstrip(".").replace("[...]", "")
    if found := re.search(r"unknown field `(.+)`", text):
        known = _field_names(key)
        near = difflib.get_close_matches(found[1], known, 1)
        unknown = f"{key}.{found[1]}".lstrip(".")
        return f"{unknown} is not a key; {f'did you mean {near[0]!r}?' if near else 'use one of ' + ', '.join(known)}"
    if found := re.search(r"missing required field `(.+)`", text):
        return f"{key}.{found[1]}".lstrip(".") + " is missing; add it"
    if found := re.search(r"[Ii]nvalid enum value (.+)", text):
        return f"{key}: there is no {found[1]}; use one of {', '.join(_choices(key))}"
    return f"{key}: {text[:1].lower()}{text[1:]}" if key else text


def _choices(key: str) -> list[str]:
    """The allowed words of a key."""
    table, _, name = re.sub(r"\[\d+\]", "", key).rpartition(".")
    struct = _struct_of(table)
    field = _field(struct, name) if struct else None
    return [str(choice) for choice in get_args(field.type)] if field else []


def _field_names(key: str) -> list[str]:
    """The allowed keys of a table."""
    struct = _struct_of(key)
    return [field.encode_name for field in msgspec.structs.fields(struct)] if struct else []


def _field(struct: Any, name: str) -> msgspec.structs.FieldInfo | None:
    return next((field for field in msgspec.structs.fields(struct) if field.encode_name == name), None)


def _struct_of(key: str) -> Any:
    """The record type of a table, by its key; None if there is none."""
    struct: Any = Scenario
    for part in re.sub(r"\[\d+\]", "", key).split("."):
        if part:
            field = _field(struct, part)
            struct = _struct_in(field.type) if field else None
        if struct is None:
            return None
    return struct


def _struct_in(annotation: Any) -> Any:
    """The record type in a field's type, such as an optional record or a tuple of records; None if there is none."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    if get_origin(annotation) in (Union, tuple) or type(annotation).__name__ == "UnionType":
        return next((found for part in get_args(annotation) if (found := _struct_in(part))), None)
    return None


def _problems(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Find invalid values; yields the key, and what is wrong or what to give instead."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", scenario.name):
        yield "name", f"{scenario.name!r} must be of a-z, 0-9 and '-'"
    if (
        not 0 < len(scenario.seeds) <= MAX_SEEDS
        or len(set(scenario.seeds)) != len(scenario.seeds)
        or any(not 0 <= seed <= MAX_SEED for seed in scenario.seeds)
    ):
        yield "seeds", f"give 1 to {MAX_SEEDS:,}, all different and from 0 to {MAX_SEED:,}, such as [1, 2, 3]"
    if scenario.days.counted < 1 or scenario.days.warm_up < 0 or scenario.days.all > MAX_DAYS:
        yield "days", f"counted must be at least 1, warm_up at least 0, and both together at most {MAX_DAYS}"
    yield from _catalogue_problems(scenario)
    yield from _viewer_problems(scenario)
    yield from _network_problems(scenario)
    for number, event in enumerate(scenario.events, 1):
        place = f"events, number {number}"
        if sum(getattr(event, kind) is not None for kind in EVENT_KINDS) != 1:
            yield place, f"give exactly one of {', '.join(EVENT_KINDS)}"
            continue
        try:
            is_after_end = time_ms(event.at) >= scenario.days.all * 86_400_000
        except ValueError:
            yield f"{place}, at", f"{event.at!r} is not a time, such as 'day 9 20:30'"
            continue
        if is_after_end:
            yield f"{place}, at", f"{event.at!r} is after the last of {scenario.days.all} days"
        yield from ((f"{place}, {event.kind}", problem) for problem in _event_problems(scenario, event))


def _between(value: float, lowest: float, highest: float) -> bool:
    return lowest <= value <= highest  # false for NaN


def _catalogue_problems(scenario: Scenario) -> Iterator[tuple[str, str]]:
    catalogue, popularity = scenario.catalogue, scenario.popularity
    if not 1 <= catalogue.titles <= 1_000_000:
        yield "catalogue.titles", f"{catalogue.titles} is not from 1 to 1,000,000"
    if catalogue.ladder not in LADDERS:
        yield "catalogue.ladder", f"{catalogue.ladder!r} is not known; use one of {', '.join(LADDERS)}"
    if not _between(catalogue.segment_s, 0.5, 60):
        yield "catalogue.segment_s", f"{catalogue.segment_s} is not from 0.5 to 60 seconds"
    shortest, longest = catalogue.minutes
    if not (_between(shortest, 0.1, longest) and longest <= 1440):
        yield "catalogue.minutes", "give the shortest and the longest title, in this order and up to 1440"
    if not _between(catalogue.sound_kbps, 0, 100_000):
        yield "catalogue.sound_kbps", f"{catalogue.sound_kbps} is not a bitrate; use 0 for no sound"
    bounds = {
        "exponent": (0, 5),
        "shift": (0, 1e6),
        "half_life_days": (0.01, 1e5),
        "floor": (0, 1),
        "noise": (0, 3),
        "regional": (0, 3),
        "releases_per_day": (0, 1e5),
        "republished_per_day": (0, 1e5),
    }
    for key, (lowest, highest) in bounds.items():
        value = getattr(popularity, key)
        if not _between(value, lowest, highest):
            yield f"popularity.{key}", f"{value} is not from {lowest:g} to {highest:g}"


def _viewer_problems(scenario: Scenario) -> Iterator[tuple[str, str]]:
    viewers = scenario.viewers
    if not _between(viewers.sessions_per_day, 1, 1e9):
        yield "viewers.sessions_per_day", f"{viewers.sessions_per_day} is not from 1 to 1,000,000,000"
    if len(viewers.hours) != 24 or min(viewers.hours) < 0 or not 0 < sum(viewers.hours) < 1e12:
        yield "viewers.hours", "give 24 numbers, none negative and not all 0"
    if not _between(viewers.weekend, 0, 100):
        yield "viewers.weekend", f"{viewers.weekend} is not from 0 to 100"
    if not _between(viewers.seeks_per_hour, 0, 360):
        yield "viewers.seeks_per_hour", f"{viewers.seeks_per_hour} is not from 0 to 360"
    for key in ("lengths", "devices", "players", "access"):
        shares = [entry.share for entry in getattr(viewers, key)]
        if not shares or min(shares) < 0 or not _between(sum(shares), 0.999, 1.001):
            yield f"viewers.{key}", f"the shares must add up to 1, not {sum(shares):g}"
    for length in viewers.lengths:
        if (length.leaves is None) == (length.leaves_after is None):
            yield "viewers.lengths", "give either leaves_after or leaves"
        if length.leaves_after is not None and not _between(length.leaves_after, 0, 1):
            yield "viewers.lengths", f"leaves_after is a part of the title, 0 to 1, not {length.leaves_after:g}"
    codecs = LADDERS.get(scenario.catalogue.ladder, {})
    for device in viewers.devices:
        if not scenario.catalogue.store and codecs and device.codec not in codecs:
            yield "viewers.devices", f"ladder {scenario.catalogue.ladder!r} has no {device.codec}"
        if device.most_kbps is not None and not device.most_kbps > 0:
            yield "viewers.devices", f"most_kbps must be above 0, not {device.most_kbps:g}"
    for player in viewers.players:
        if not _between(player.buffer_s, 2 * scenario.catalogue.segment_s, 600):
            lowest = 2 * scenario.catalogue.segment_s
            yield (
                "viewers.players",
                f"buffer_s must be from two segments ({lowest:g} s) to 600, not {player.buffer_s:g}",
            )
        if player.quality < 0:
            yield "viewers.players", f"quality counts from 0, not {player.quality}"
    for access in viewers.access:
        if not (_between(access.mbps, 0.01, 1e6) and _between(access.spread, 0, 3)):
            yield "viewers.access", "mbps must be from 0.01 to 1,000,000 and spread from 0 to 3"
        if not _between(access.rtt_ms, 0, 10_000):
            yield "viewers.access", f"rtt_ms must be from 0 to 10,000, not {access.rtt_ms:g}"


def _network_problems(scenario: Scenario) -> Iterator[tuple[str, str]]:
    if not scenario.isps:
        yield "isps", "give at least one [[isps]]"
    names = [isp.name for isp in scenario.isps]
    if len(set(names)) != len(names):
        yield "isps", "two providers have the same name; give each its own"
    shares = sum(isp.share for isp in scenario.isps)
    if any(isp.share < 0 for isp in scenario.isps) or not _between(shares, 0.999, 1.001):
        yield "isps", f"the shares must add up to 1, not {shares:g}"
    link = scenario.origin.link
    if not (_between(link.gbps, 1e-6, 1e6) and _between(link.rtt_ms, 0, 10_000)):
        yield "origin.link", "gbps must be above 0 and up to 1,000,000, and rtt_ms from 0 to 10,000"
    for key in ("transit_per_mbps_month", "s3_get_per_1000", "s3_egress_per_gb", "edge_month"):
        if not _between(getattr(scenario.origin.prices, key), 0, 1e12):
            yield f"origin.prices.{key}", "a price can't be negative"
    yield from _edge_problems("edge", scenario)
    for isp in scenario.isps:
        yield from _isp_problems(isp, scenario)


def _isp_problems(isp: Isp, scenario: Scenario) -> Iterator[tuple[str, str]]:
    place = f"isps, {isp.name!r}"
    if not re.fullmatch(r"[\w-]{1,40}", isp.name):
        yield place, "its name must be of letters, digits, '-' and '_'"
    if not 1 <= isp.edges <= 64:
        yield f"{place}, edges", f"{isp.edges} is not from 1 to 64"
    if not 1 <= isp.replicas_of_top <= max(1, isp.edges):
        yield f"{place}, replicas_of_top", f"{isp.replicas_of_top} is not from 1 to {isp.edges} edges"
    if not (_between(isp.transit.gbps, 1e-6, 1e6) and _between(isp.transit.rtt_ms, 0, 10_000)):
        yield f"{place}, transit", "gbps must be above 0 and up to 1,000,000, and rtt_ms from 0 to 10,000"
    yield from _size_problems(f"{place}, shield.disk", isp.shield.disk)
    if isp.edge is not None:
        yield from _edge_problems(f"{place}, edge", scenario, isp)


def _edge_problems(place: str, scenario: Scenario, isp: Isp | None = None) -> Iterator[tuple[str, str]]:
    edge = scenario.edge_of(isp) if isp else scenario.edge
    yield from _size_problems(f"{place}.disk", edge.disk)
    yield from _size_problems(f"{place}.largest", edge.largest)
    if not _between(edge.gbps, 1e-6, 1e6):
        yield f"{place}.gbps", f"{edge.gbps} is not above 0 and up to 1,000,000"
    if not _between(edge.pinned, 0, 1):
        yield f"{place}.pinned", f"{edge.pinned} is a share of the disk, from 0 to 1"
    if not _between(edge.fill.hours, 0.1, 24):
        yield f"{place}.fill.hours", f"{edge.fill.hours} is not from 0.1 to 24"
    if not _between(edge.fill.mbps, 0.001, 1e9):
        yield f"{place}.fill.mbps", f"{edge.fill.mbps} is not above 0"
    for key, lowest, highest in (("transit_share", 0.001, 1), ("alpha", 0.001, 1), ("stays", 1, 100)):
        value = getattr(edge.fill, key)
        if not _between(value, lowest, highest):
            yield f"{place}.fill.{key}", f"{value} is not from {lowest:g} to {highest:g}"
    try:
        clock_ms(edge.fill.starts)
    except ValueError:
        yield f"{place}.fill.from", f"{edge.fill.starts!r} is not a time of day, such as '02:00'"


def _size_problems(place: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        if size_bytes(text) > MAX_BYTES:
            yield place, f"{text!r} is more than {MAX_BYTES // 10**15:,}P, the maximum that can be simulated"
    except ValueError:
        yield place, f"{text!r} is not a size, such as '20T'"


def _event_problems(scenario: Scenario, event: Any) -> Iterator[str]:
    details = getattr(event, event.kind)
    names = [isp.name for isp in scenario.isps]
    edges = [f"{isp.name}/{number}" for isp in scenario.isps for number in range(1, isp.edges + 1)]
    if event.kind == "lost" and bool(details.edge) == bool(details.shield):
        yield 'give either edge = "provider/number" or shield = "provider"'
    edge = getattr(details, "edge", None)
    if edge not in (None, *edges) and (edge or event.kind != "lost"):
        yield f"there is no edge {edge!r}; use one of {', '.join(edges[:8])}"
    for key in ("shield", "transit", "isp"):
        name = getattr(details, key, None)
        if name not in (None, *names) and (name or event.kind != "lost"):
            yield f"there is no provider {name!r}; use one of {', '.join(names)}"
    if not _between(getattr(details, "minutes", 1.0), 0.1, 1e6):
        yield "minutes must be at least 0.1"
    if event.kind == "slow" and not _between(details.keeps, 0, 1):
        yield f"keeps is a share of the capacity, 0 to 1, not {details.keeps:g}"
    if event.kind == "origin" and not (_between(details.fails, 0, 1) and _between(details.extra_ms, 0, 600_000)):
        yield "fails is a share from 0 to 1, and extra_ms is from 0 to 600,000"
    if event.kind == "premiere" and not (
        _between(details.sessions, 1, 1e8) and _between(details.within_minutes, 0.1, 1440)
    ):
        yield "sessions must be at least 1, and within_minutes from 0.1 to 1440"
    if event.kind == "republish" and details.top < 1:
        yield f"top must be at least 1, not {details.top}"
