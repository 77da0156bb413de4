import pytest

from headend.app.cli.demo_edges import browser
from tests.conformance.conftest import TITLE, Served


def test_the_demos_browser_plays_a_title_to_its_end(served: Served) -> None:
    said: list[str] = []
    with browser(TITLE, said.append) as play:
        if play is None:
            pytest.skip(said[0])
        play(served.url)
