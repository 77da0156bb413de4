from pathlib import Path

import pytest

from headend.core import prices
from headend.core.errors import ConfigError


@pytest.mark.parametrize("name", prices.names())
def test_every_table_is_complete_and_says_that_it_is_an_example(name: str) -> None:
    found = prices.load(name)
    assert found.name.endswith("-example") and "xample" in found.summary
    assert found.compute(7200) == pytest.approx(2 * found.cpu_hour)
    assert found.storage(5_000_000_000) == pytest.approx(5 * found.storage_gb_month)
    assert found.requests(2000) == pytest.approx(2 * found.put_per_1000)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("cpu_hour = -1", "cpu_hour is -1"),
        ("cpu_hour = true", "cpu_hour is missing, or not a number"),
        ("cpu_hour = 'x'", "cpu_hour is missing, or not a number"),
        ("cpu_hour = nan", "cpu_hour is nan"),
        ("cpu_hour = 1\nrent = 3", "'rent' is not a price"),
        ("", "cpu_hour is missing"),
    ],
)
def test_a_mistake_is_named(changed: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    rest = "name='n'\nsummary='s'\nas_of='2026'\ncurrency='EUR'\nstorage_gb_month=1\nput_per_1000=1\n"
    path.write_text(rest + changed)
    with pytest.raises(ConfigError, match=message):
        prices.load(str(path))


def test_the_error_for_an_unknown_table_lists_the_existing_ones() -> None:
    with pytest.raises(ConfigError, match="aws"):
        prices.load("nowhere")
