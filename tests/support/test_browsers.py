"""The browsers of tests."""

from pathlib import Path

from tests.support.browsers import chromium


def test_two_browsers_run_in_one_process(tmp_path: Path) -> None:
    with chromium(tmp_path / "outer") as outer:
        with chromium(tmp_path / "inner") as inner:
            assert inner.new_page().evaluate("1 + 1") == 2
        assert outer.new_page().evaluate("2 + 2") == 4
