import pytest

from headend.app.cli.demo_edges import browser
from tests.conformance.conftest import TITLE, Served


def test_the_browser_of_the_demo_plays_a_title_to_its_end(served: Served) -> None:
    messages: list[str] = []
    with browser(TITLE, messages.append) as play:
        if play is None:
            pytest.skip(messages[0])
        play(served.url)
