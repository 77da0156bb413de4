"""The console in a real browser: empty, busy, with failures, and under an operator's actions.

With HEADEND_SCREENSHOTS=FOLDER the pictures are kept for review.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headend.app.jobs.console.rights import Right, Tokens
from headend.app.jobs.model import State
from headend.app.jobs.queue import Queue
from headend.core import records
from headend.core.errors import StoreUnavailable
from headend.core.records import Attempt
from headend.core.storage.memory import MemoryStore
from tests.headend.app.jobs.console.fake_dispatcher import FakeDispatcher, busy_dispatcher, console, put
from tests.support.browsers import DESKTOP, PHONE, chromium

TOKEN = "look-0123456789abcdef0123"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    opened = browser.new_page()
    opened.set_viewport_size(DESKTOP)
    yield opened
    opened.close()


def shoot(page: Any, name: str) -> None:
    if folder := os.environ.get("HEADEND_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def fill(store: MemoryStore) -> tuple[Queue, list[str]]:
    queue = Queue(store)
    jobs = [put(queue, f"feature-{n}", (State.RUNNING, "started by ann@desk"), share=0.2 * n) for n in range(1, 4)]
    for number in range(4):
        put(queue, f"trailer-{number}", priority=50 + number)
    put(queue, "long-night", (State.RUNNING, "started by ann@desk"), (State.DONE, ""), share=1.0)
    return queue, jobs


def test_an_empty_console_says_how_to_queue_a_job(page: Any) -> None:
    with console(Queue(MemoryStore()), FakeDispatcher()) as server:
        page.goto(server.url)
        page.get_by_text("Queue one with").wait_for()
        assert page.get_by_text("No workers yet.").is_visible()
        assert page.locator(".tile[data-state=queued] strong").inner_text() == "0"
        shoot(page, "empty")


def test_a_busy_console_shows_jobs_and_what_every_worker_does(page: Any) -> None:
    queue, jobs = fill(MemoryStore())
    with console(queue, busy_dispatcher(time.time(), jobs)) as server:
        page.goto(server.url)
        page.locator("#jobs tbody tr").nth(7).wait_for()
        assert page.locator(".tile[data-state=running] strong").inner_text() == "3"
        assert "8 of 8 threads busy" in page.locator("#workers-count").inner_text()
        assert page.locator("#gantt rect").count() == 60
        page.get_by_text("0.26 USD").or_(page.get_by_text("USD").first).first.wait_for()
        titles = page.locator("#jobs tbody td:first-child").all_inner_texts()
        assert titles[:3] == ["feature-1", "feature-2", "feature-3"], "what runs comes first"
        assert titles[3:7] == ["trailer-3", "trailer-2", "trailer-1", "trailer-0"], "then what starts next"
        assert "10 %, 0:21:00 left" in page.locator("#jobs tbody tr").first.inner_text()
        bar, done = page.locator(".progress.small").first, page.locator(".progress.small span").first
        assert done.bounding_box()["width"] == pytest.approx(0.1 * bar.bounding_box()["width"], abs=1)
        shoot(page, "busy")
        page.set_viewport_size(PHONE)
        page.locator("#gantt svg[viewBox^='0 0 420']").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        shoot(page, "busy-phone")


def test_an_operator_cancels_prioritises_and_sees_it_at_once(page: Any) -> None:
    queue = Queue(MemoryStore())
    job = put(queue, "film", priority=50)
    with console(queue, FakeDispatcher()) as server:
        page.goto(server.url)
        row = page.locator(f"tr[data-job='{job}']")
        row.get_by_role("button", name="Up").click()
        row.get_by_text("60", exact=True).wait_for()
        row.get_by_role("button", name="Cancel").click()
        row.locator(".state.cancelled").wait_for()
        assert (queue.read(job).state, queue.read(job).priority) == (State.CANCELLED, 60)
        row.get_by_role("button", name="Retry").click()
        row.locator(".state.queued").wait_for()


def test_a_failed_job_shows_its_reason_and_its_attempts_by_task(page: Any) -> None:
    store = MemoryStore()
    queue, jobs = fill(store)
    why = "chunk 7 of av1-1080p failed 3 times; the last error: FFmpeg ended with status 187"
    failed = put(queue, "broken", (State.RUNNING, "started by ann@desk"), (State.FAILED, why), share=0.6)
    for task, number in (("av1-7", 1), ("av1-7", 2), ("av1-7", 3), ("hevc-2", 1)):
        records.write_attempt(
            store, "broken",
            Attempt(task, number, "tcp://10.0.0.2:4000", "2026-11-28T20:30:00.000+00:00", "FFmpeg ended: <b>no</b>"),
        )  # fmt: skip
    with console(queue, busy_dispatcher(time.time(), jobs)) as server:
        page.goto(server.url)
        row = page.locator(f"tr[data-job='{failed}']")
        row.get_by_text("status 187").wait_for()
        shoot(page, "failures")
        row.click()
        page.get_by_text("Failed attempts by task").wait_for()
        assert page.locator("#details-attempts > li").count() == 2
        assert page.get_by_text("attempt 3").is_visible()
        assert page.locator("#details-attempts b").count() == 0, "what FFmpeg says is text, not markup"
        shoot(page, "attempts")


def test_readers_need_a_token_and_have_no_buttons(page: Any) -> None:
    queue = Queue(MemoryStore())
    job = put(queue, "film")
    with console(queue, FakeDispatcher(), Tokens(((TOKEN.encode(), Right.READ),))) as server:
        page.goto(server.url)
        page.get_by_label("This console requires a token.").fill(TOKEN)
        shoot(page, "sign-in")
        page.get_by_role("button", name="Open").click()
        row = page.locator(f"tr[data-job='{job}']")
        row.wait_for()
        assert row.get_by_role("button").count() == 0


class AwayStore(MemoryStore):
    """A store that is unreadable for a while."""

    away = False

    def keys(self, prefix: str) -> Iterator[str]:
        if type(self).away:
            raise StoreUnavailable("the store can't be reached")
        return super().keys(prefix)


def test_an_unreachable_store_is_shown_until_it_is_back(page: Any) -> None:
    queue = Queue(AwayStore())
    put(queue, "film")
    with console(queue, FakeDispatcher()) as server:
        page.goto(server.url)
        page.locator("#jobs tbody tr").wait_for()
        AwayStore.away = True
        page.get_by_text("the store can't be reached").wait_for()
        AwayStore.away = False
        page.locator("#notice").wait_for(state="hidden")


def test_the_page_reconnects_to_a_restarted_dispatcher(page: Any) -> None:
    queue = Queue(MemoryStore())
    put(queue, "first")
    with console(queue, FakeDispatcher()) as server:
        page.goto(server.url)
        page.get_by_text("first", exact=True).wait_for()
        port = server.url.rstrip("/").rpartition(":")[2]
    page.get_by_text(re.compile("reconnecting|does not respond")).wait_for()
    put(queue, "second")
    with console(queue, FakeDispatcher(), port=int(port)):
        page.get_by_text("second", exact=True).wait_for()
        page.locator("#notice").wait_for(state="hidden")
