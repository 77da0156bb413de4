"""Screenshots of the watch page and of the dispatcher's console, from a real title and a real browser.

Run ``python -m docs.images.pages`` in the environment of ``./run demo`` with Chromium installed; it
writes ``watch.jpg`` and ``console.png`` beside this file.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

from headend.app import pipeline
from headend.app.cli.demo import find_clip
from headend.app.jobs.model import State
from headend.app.jobs.queue import Queue
from headend.app.request import Request
from headend.core.media import Effort
from headend.core.media.quality import Checking
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from headend.core.storage.memory import MemoryStore
from ladders import loading
from origin.serving import running
from tests.headend.app.jobs.console.floor import busy, console, put
from tests.support.browsers import Viewer, chromium

HERE = Path(__file__).parent
SIZE = {"width": 1180, "height": 760}
SHOWN_S = 3.0
"""What the player has played when the picture is taken."""


def main() -> None:
    """Take both pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = StoreSettings(str(folder / "store"))
        pipeline.submit(
            Request(
                str(find_clip()), "big-buck-bunny", loading.load("web"), store, ClusterSettings(),
                EncodeSettings(effort=Effort.DRAFT), checking=Checking.OFF,
            )
        )  # fmt: skip
        with chromium(folder / "profile") as browser:
            take_watch(browser, store)
            take_console(browser)


def take_watch(browser: Any, store: StoreSettings) -> None:
    """A title that plays, with its menus and figures."""
    with running(store) as url, Viewer(browser, url, "big-buck-bunny", "hls", "hls") as viewer:
        viewer.page.set_viewport_size(SIZE)
        viewer.play()
        viewer.wait(f"video.currentTime > {SHOWN_S}")
        viewer.pause()
        viewer.page.wait_for_timeout(500)
        viewer.page.screenshot(path=HERE / "watch.jpg", type="jpeg", quality=82)


def take_console(browser: Any) -> None:
    """A dispatcher at work: jobs in every state, and what each worker did."""
    queue = Queue(MemoryStore())
    jobs = [put(queue, f"feature-{n}", (State.RUNNING, "started by ann@desk"), share=0.2 * n) for n in range(1, 4)]
    for number in range(3):
        put(queue, f"trailer-{number}", priority=50 + number)
    put(queue, "long-night", (State.RUNNING, "started by ann@desk"), (State.DONE, ""), share=1.0)
    why = "chunk 7 of av1-1080p failed 3 times, the last time with: FFmpeg ended with status 187"
    put(queue, "broken", (State.RUNNING, "started by ann@desk"), (State.FAILED, why), share=0.6)
    page = browser.new_page()
    page.set_viewport_size(SIZE)
    with console(queue, busy(time.time(), jobs)) as server:
        page.goto(server.url)
        page.locator("#jobs tbody tr").nth(7).wait_for()
        page.locator("#gantt rect").nth(59).wait_for(state="attached")
        page.screenshot(path=HERE / "console.png", full_page=True)


if __name__ == "__main__":
    main()
