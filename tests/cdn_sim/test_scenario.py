import re

import pytest

from cdn_sim import scenario
from cdn_sim.scenario import BASE, parse, presets, size_bytes, time_ms, variants
from headend.core.errors import ConfigError

SMOKE = scenario.preset_text("smoke")


@pytest.mark.parametrize("name", presets())
def test_presets_are_valid(name: str) -> None:
    found = variants(scenario.preset_text(name), name)
    assert found[BASE].name == name
    assert found[BASE].summary


def test_the_five_presets_are_listed() -> None:
    assert presets() == ("brown-out", "live-small", "metro", "premiere", "smoke")


def changed(old: str, new: str) -> str:
    assert old in SMOKE
    return SMOKE.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("gbps = 2\n", "gpbs = 2\n"), "edge.gpbs is not a key; did you mean 'gbps'?"),
        (changed("sessions_per_day = 600", "sesions_per_day = 600"), "viewers.sesions_per_day is not a key; did you"),
        (changed("edges = 2", "edges = 0"), "isps, 'north', edges: 0 is not from 1 to 64"),
        (changed('disk = "15G"', 'disk = "15 potatoes"'), "edge.disk: '15 potatoes' is not a size"),
        (changed("pinned = 0.5", "pinned = 1.5"), "edge.pinned: 1.5 is a share of the disk, from 0 to 1"),
        (changed("pinned = 0.5", "pinned = nan"), "edge.pinned: nan"),
        (changed("pinned = 0.5", 'pinned = "half"'), "edge.pinned: expected `float`, got `str`"),
        (changed("sessions_per_day = 600", "sessions_per_day = -5"), "viewers.sessions_per_day: -5"),
        (changed("days = { counted = 1, warm_up = 1 }", "days = { counted = 400 }"), "days: counted must be"),
        (changed("seeds = [1]", "seeds = []"), "seeds: give 1 to 1,000"),
        (changed("seeds = [1]", "seeds = [1, 1]"), "all different"),
        (changed("seeds = [1]", f"seeds = {list(range(1001))}"), "seeds: give 1 to 1,000"),
        (changed("titles = 60", f"titles = {'9' * 5000}"), "a number is too long"),
        (f"x = {'[' * 5000}{']' * 5000}\n{SMOKE}", "is nested too deeply"),
        (f"{SMOKE}\n[alternatives.deep.{'.'.join(['a'] * 3000)}]\nb = 1\n", "is nested too deeply"),
        (SMOKE + "".join(f"a{number} = {{ edge.pinned = 0.1 }}\n" for number in range(200)), "give at most 100"),
        (f"{SMOKE}#{'x' * 1_000_000}", "too many for a scenario"),
        (changed('name = "smoke"', 'name = "Smoke!"'), "name: 'Smoke!'"),
        (changed('name = "north"', 'nam = "north"'), "isps[0].nam is not a key; did you mean 'name'?"),
        (changed("minutes = [10, 40]", "minutes = [40, 10]"), "catalogue.minutes: give the shortest"),
        (changed("titles = 60", 'titles = 60\nladder = "nope"'), "catalogue.ladder: 'nope' is not known; use one of"),
        (
            changed("reactive = {", "bad = { edge.polcy = 'lru' }\nreactive = {"),
            "alternative bad: edge.polcy is not a key",
        ),
        (changed("reactive = {", "bad = { edge.policy = 'arc' }\nreactive = {"), "alternative bad: edge.policy: "),
        (
            SMOKE + '\n[[events]]\nat = "day 9 20:30"\nrepublish = { top = 3 }\n',
            "events, number 1, at: 'day 9 20:30' is after",
        ),
        (SMOKE + '\n[[events]]\nat = "tomorrow"\nrepublish = { top = 3 }\n', "'tomorrow' is not a time"),
        (SMOKE + '\n[[events]]\nat = "day 2 20:30"\n', "give exactly one of lost, slow"),
        (
            SMOKE + '\n[[events]]\nat = "day 2 20:30"\nlost = { edge = "north/7", minutes = 5 }\n',
            "there is no edge 'north/7'; use one of north/1, north/2",
        ),
        (
            SMOKE + '\n[[events]]\nat = "day 2 20:30"\nwindow_missed = { isp = "south" }\n',
            "there is no provider 'south'; use one of north",
        ),
        ("name = ", "is not valid TOML"),
        ('name = "x"', "viewers is missing; add it"),
        (changed("edges = 2", "edges = 2\nshare = 0.4"), "isps: the shares must add up to 1, not 0.4"),
        (
            changed("seeks_per_hour = 0.4", "seeks_per_hour = 0.4\nhours = [1, 2]"),
            "viewers.hours: give 24 numbers",
        ),
        (
            changed("seeks_per_hour = 0.4", "devices = [{ share = 0.5 }, { share = 0.4 }]"),
            "viewers.devices: the shares must add up to 1, not 0.9",
        ),
        (
            changed("seeks_per_hour = 0.4", 'players = [{ share = 1, rule = "psychic" }]'),
            "viewers.players[0].rule: there is no 'psychic'; use one of ",
        ),
        (changed("seeds = [1]", "seeds = [9999999999999999999]"), "seeds: give 1 to 1,000, all different and from 0"),
        (changed('disk = "15G"', 'disk = "9999P"'), "edge.disk: '9999P' is more than 1,000P"),
        (
            SMOKE + '\n[[events]]\nat = "day 2 20:30"\nslow = { transit = "", minutes = 5 }\n',
            "there is no provider ''; use one of north",
        ),
        (
            SMOKE + '\n[[events]]\nat = "day 2 20:30"\ndisk_full = { edge = "", minutes = 5 }\n',
            "there is no edge ''; use one of north/1, north/2",
        ),
        (changed("gbps = 2\n", 'gbps = 2\npolicy = "lrux"\n'), "edge.policy: there is no 'lrux'; use one of slru, lru"),
    ],
)
def test_errors_are_one_line_and_name_the_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "mine.toml")
    assert message in caught.value.message
    assert caught.value.message.startswith("mine.toml")
    assert "\n" not in caught.value.message


def test_alternatives_change_only_what_they_name() -> None:
    found = variants(SMOKE, "smoke")
    assert found["reactive"].edge.pinned == 0.0
    assert found["reactive"].edge.disk == found[BASE].edge.disk
    assert found[BASE].edge.pinned == 0.5


@pytest.mark.parametrize(
    ("text", "size"), [("20T", 20 * 10**12), ("1.5T", 1_500_000_000_000), ("20Ti", 20 << 40), ("7", 7), ("3 ", 3)]
)
def test_sizes_are_read_with_decimal_and_binary_units(text: str, size: int) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "T", "-1G", "1e9", "1 0G", "0", "٣G"])
def test_malformed_sizes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        size_bytes(text)


def test_days_count_from_one() -> None:
    assert time_ms("day 1 00:00") == 0
    assert time_ms("day 9 20:30") == ((8 * 24 + 20) * 60 + 30) * 60_000


def test_a_byte_order_mark_is_ignored() -> None:
    assert variants("\ufeff" + SMOKE, "smoke") == variants(SMOKE, "smoke")
