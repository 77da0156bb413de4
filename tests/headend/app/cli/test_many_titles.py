"""Commands on many titles."""

import threading
from collections.abc import Callable

import pytest

from headend.app.cli.many_titles import FailureCollector
from headend.core.errors import StorageError, StoreUnavailable

TITLES = [f"title-{number}" for number in range(200)]


def test_titles_come_in_order_without_those_that_failed(capsys: pytest.CaptureFixture[str]) -> None:
    def work(title: str, _is_stopped: Callable[[], bool]) -> int:
        if title == "title-7":
            raise StorageError("damaged")
        return len(title)

    collector = FailureCollector(len(TITLES))
    assert list(collector.in_parallel(TITLES, work, threads=8)) == [
        (title, len(title)) for title in TITLES if title != "title-7"
    ]
    assert list(collector.errors) == ["title-7"]
    assert capsys.readouterr().err == "headend: title-7: damaged\n"


def test_an_unavailable_store_ends_the_work_and_no_further_title_is_begun() -> None:
    begun: list[str] = []
    ended = threading.Event()

    def work(title: str, is_stopped: Callable[[], bool]) -> None:
        begun.append(title)
        if title == TITLES[0]:
            raise StoreUnavailable("no answer")
        while not is_stopped():
            ended.wait(0.01)

    with pytest.raises(StoreUnavailable, match="no answer"):
        list(FailureCollector(len(TITLES)).in_parallel(TITLES, work, threads=4))
    assert len(begun) < 20
