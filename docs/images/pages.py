"""Screenshots of headend's pages, from real titles and a real browser.

Run ``python -m docs.images.pages [NAME...]`` in the environment of ``./run demo`` with Chromium installed. It writes
``watch.jpg``, ``console.png``, ``hulls.png`` and ``simulation.png`` beside this file, or only those that are named
(``watch``, ``console``, ``hulls``, ``simulation``).
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from headend.app import deciding, hull_page, pipeline
from headend.app.cli.demo import find_clip
from headend.app.jobs.model import State
from headend.app.jobs.queue import Queue
from headend.app.request import Request
from headend.core.media import Codec, Effort
from headend.core.media.quality import Checking
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings, Targets
from headend.core.storage import open_store
from headend.core.storage.memory import MemoryStore
from ladders import loading
from origin.serving import running
from tests.headend.app.jobs.console.fake_dispatcher import busy_dispatcher, console, put
from tests.support.browsers import Viewer, chromium
from tests.support.masters import run_ffmpeg

HERE = Path(__file__).parent
SIZE = {"width": 1180, "height": 760}
SHOWN_S = 3.0
"""What the player has played when the picture is taken."""


def main(names: list[str]) -> None:
    """Take the named pictures, or all."""
    with tempfile.TemporaryDirectory() as name, chromium(Path(name) / "profile") as browser:
        for picture, take in PICTURES.items():
            if not names or picture in names:
                take(browser, Path(name) / picture)


def take_watch(browser: Any, folder: Path) -> None:
    """A title that plays, with its menus and statistics."""
    store = StoreSettings(str(folder))
    pipeline.submit(
        Request(
            str(find_clip()), "big-buck-bunny", loading.load("web"), store, ClusterSettings(),
            EncodeSettings(effort=Effort.DRAFT), checking=Checking.OFF,
        )
    )  # fmt: skip
    with running(store) as url, Viewer(browser, url, "big-buck-bunny", "hls", "hls") as viewer:
        viewer.page.set_viewport_size(SIZE)
        viewer.play()
        viewer.wait(f"video.currentTime > {SHOWN_S}")
        viewer.pause()
        viewer.page.wait_for_timeout(500)
        viewer.page.screenshot(path=HERE / "watch.jpg", type="jpeg", quality=82)


def take_console(browser: Any, _folder: Path) -> None:
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
    with console(queue, busy_dispatcher(time.time(), jobs)) as server:
        page.goto(server.url)
        page.locator("#jobs tbody tr").nth(7).wait_for()
        page.locator("#gantt rect").nth(59).wait_for(state="attached")
        page.screenshot(path=HERE / "console.png", full_page=True)


def take_hulls(browser: Any, folder: Path) -> None:
    """The analysis of two seconds of film: trials, hulls and rungs of H.264 and HEVC."""
    film, page_file, store = folder / "film.mkv", folder / "page.html", folder / "store"
    store.mkdir(parents=True)
    run_ffmpeg("-i", str(find_clip()), "-t", "2", "-an", "-c:v", "ffv1", str(film))
    studio = loading.load("studio")
    two = replace(studio, video=tuple(rung for rung in studio.video if rung.codec in (Codec.AVC, Codec.HEVC)))
    request = Request(
        str(film), "film", two, StoreSettings(str(store)), ClusterSettings(), EncodeSettings(), targets=Targets()
    )
    probe = deciding.inspect(request.master, request.store, lambda _: None, request.encode.picture)
    _, analysed = deciding.fitted_draft(request, probe, open_store(request.store), on_event=lambda _: None)
    assert analysed is not None
    page_file.write_text(hull_page.page(analysed.analysis, master=film.name, cost=""))
    page = browser.new_page()
    page.set_viewport_size({"width": 1340, "height": 800})
    page.goto(page_file.as_uri())
    page.add_style_tag(content=".codecs { padding: 12px }")
    page.locator(".codecs").screenshot(path=HERE / "hulls.png")


def take_simulation(browser: Any, folder: Path) -> None:
    """The top of the report on an evening on which everything fails in turn."""
    options = ["brown-out", "--out", str(folder)]
    subprocess.run([sys.executable, "-m", "headend", "simulate", *options], check=True, stdout=subprocess.DEVNULL)
    page = browser.new_page()
    page.set_viewport_size({"width": 1080, "height": 1258})
    page.goto((folder / "report.html").as_uri())
    page.screenshot(path=HERE / "simulation.png")


PICTURES = {"watch": take_watch, "console": take_console, "hulls": take_hulls, "simulation": take_simulation}


if __name__ == "__main__":
    main(sys.argv[1:])
