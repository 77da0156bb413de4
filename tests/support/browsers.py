"""A real browser, and the watch page as a viewer uses it."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from tests.support.frame_numbers import read_frame_number

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
WAIT_S = 60
"""Seconds to wait for a browser's reaction, on a machine that may be slow and shared."""
LOAD_S = 10
"""Seconds for loading a short film."""
SMALL = {"width": 480, "height": 360}
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

# Times at which playback waits for data; a late decoder has data, and only waits for the machine.
STARVED = """window.starved = [];
  document.addEventListener('waiting', ({ target }) => {
    const at = target.currentTime, ranges = [...Array(target.buffered.length).keys()];
    const ahead = ranges.some((n) => target.buffered.start(n) <= at + .05 && target.buffered.end(n) > at + .25);
    if (!ahead && !target.seeking && at > 0 && at < target.duration - .25) starved.push(at);
  }, true);"""

# The displayed picture's green channel, which is nearly its brightness, and its time according to the browser. A frame
# that arrives while the video is seeking may be one of the seek before, so it only counts if none follows it.
SEEK = """(time) => new Promise((resolve) => {
  const settled_ms = 500;
  let shown_s = null;
  const finish = () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 80, height: 48 });
    const pen = canvas.getContext('2d');
    pen.drawImage(video, 0, 0, 80, 48);
    const { data } = pen.getImageData(0, 0, 80, 48);
    resolve({ time: shown_s, luma: Array.from(data).filter((_, at) => at % 4 === 1) });
  };
  const show = (_, { mediaTime }) => {
    shown_s = mediaTime;
    if (video.seeking) video.requestVideoFrameCallback(show);
    else finish();
  };
  video.requestVideoFrameCallback(show);
  video.currentTime = time;
  video.addEventListener('seeked', () => setTimeout(() => shown_s !== null && finish(), settled_ms), { once: true });
})"""

# A part of a picture, in the format of `SEEK`.
READ = """async ({ url, x, y, width, height }) => {
  const image = new Image();
  image.src = url;
  await image.decode();
  const canvas = Object.assign(document.createElement('canvas'), { width: 80, height: 48 });
  const pen = canvas.getContext('2d');
  pen.drawImage(image, x, y, width, height, 0, 0, 80, 48);
  return Array.from(pen.getImageData(0, 0, 80, 48).data).filter((_, at) => at % 4 === 1);
}"""


_drivers: list[Any] = []


@contextmanager
def _driver() -> Iterator[Any]:
    """Playwright's driver; a process can run only one at a time, so all browsers share it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if _drivers:
        yield _drivers[0]
        return
    with playwright.sync_playwright() as driver:
        _drivers.append(driver)
        try:
            yield driver
        finally:
            _drivers.clear()


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Run Debian's Chromium without a screen; skips if it or playwright is not installed."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is not installed; Debian has it as 'chromium'")
    with _driver() as driver:
        browser = driver.chromium.launch_persistent_context(
            profile, executable_path=path, args=FLAGS, viewport=DESKTOP, timeout=60_000
        )
        browser.set_default_timeout(1000 * WAIT_S)
        yield browser
        browser.close()


def wait_for(page: Any, condition: str, evidence: Callable[[], str] = str) -> None:
    """Wait until a JavaScript condition holds; playwright's own function needs ``eval``, which the pages forbid."""
    deadline_s = time.monotonic() + WAIT_S
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < deadline_s, f"never: {condition}\n{evidence()}"
        page.wait_for_timeout(50)


class Viewer:
    """A viewer of a title.

    Args:
        browser: From `chromium`.
        origin: Base URL.
        title: The title.
        player: The player's name on the page.
        manifest: ``hls`` or ``dash``.
        script: Runs on the page before any other.
    """

    def __init__(self, browser: Any, origin: str, title: str, player: str, manifest: str, *, script: str = "") -> None:
        self.complaints: list[str] = []
        self.page = browser.new_page()
        self.page.set_viewport_size(SMALL)  # scaling pictures to a desktop takes more CPU time than decoding them
        if script:
            self.page.add_init_script(script)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda output: output.type == "error" and self.complaints.append(output.text))
        self.page.add_init_script(STARVED)
        self.page.goto(f"{origin}/watch/{title}?player={player}&manifest={manifest}")
        self.wait("video.readyState >= 2 && document.getElementById('picture').options.length > 1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.page.close()

    def ask(self, expression: str) -> Any:
        """Evaluate JavaScript; the film's element is ``video``."""
        return self.page.evaluate(expression)

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript condition holds."""
        wait_for(self.page, condition, lambda: f"{self.page.inner_text('body')}\n{self.complaints}")

    def wait_end(self) -> None:
        """Wait until the film has ended; dash.js pauses there, and then the browser may never say that it has ended."""
        self.wait("video.ended || (video.paused && video.currentTime > video.duration - 0.1)")

    def wait_playing(self, condition: str) -> None:
        """Wait until a condition holds during playback; a film that ends before that is played again."""
        again = "(video.ended && (video.currentTime = 0, video.play()), true)"
        self.wait(f"{again} && {condition}")

    def load_all(self) -> None:
        """Give the player time to load the whole film; some load its end only during playback."""
        deadline_s = time.monotonic() + LOAD_S
        lengths = "[...Array(video.buffered.length).keys()].map((n) => video.buffered.end(n) - video.buffered.start(n))"
        while not self.ask(f"{lengths}.reduce((a, b) => a + b, 0) > video.duration - 0.2"):
            if time.monotonic() > deadline_s:
                return
            self.page.wait_for_timeout(50)

    def starved(self) -> list[float]:
        """Return the times of the film, in seconds, at which playback waited for data."""
        return list(self.ask("starved"))

    def play(self, *, speed: float = 1.0) -> None:
        """Start playback."""
        self.ask(f"(video.muted = false, video.playbackRate = {speed}, video.play())")

    def pause(self) -> None:
        """Pause playback."""
        self.ask("video.pause()")

    def offered(self, menu: str) -> list[str]:
        """Return the renditions in a menu, ``picture`` or ``sound``."""
        return [id for id in self.ask(f"[...document.getElementById('{menu}').options].map((one) => one.value)") if id]

    def choose(self, menu: str, rendition: str) -> None:
        """Select a rendition in a menu."""
        self.page.select_option(f"#{menu}", rendition)

    def figure(self, name: str) -> str:
        """Return a value in the statistics panel."""
        return str(self.page.inner_text(f"#{name}"))

    def decoded_frames(self) -> int:
        """Decoded frames since the page was opened, including dropped ones."""
        return int(self.ask("video.getVideoPlaybackQuality().totalVideoFrames"))

    def seek(self, time_s: float) -> tuple[float, int | None]:
        """Seek; returns the time of the displayed picture, and the number in it."""
        shown = self.page.evaluate(SEEK, time_s)
        return float(shown["time"]), _number(shown["luma"])

    def hover(self, share: float) -> tuple[float, int | None]:
        """Point at the seek bar; returns the time of the displayed thumbnail, and the number in it."""
        self.wait("!document.getElementById('seek').hidden")
        bar = self.page.locator("#seek input").bounding_box()
        self.page.mouse.move(bar["x"] + share * bar["width"], bar["y"] + bar["height"] / 2)
        self.wait("!document.querySelector('.preview').hidden")
        shown = self.ask(
            """(({ style, dataset }) => {
              const [x, y] = style.backgroundPosition.split(' ').map((side) => -parseFloat(side));
              const [width, height] = [parseFloat(style.width), parseFloat(style.height)];
              return { part: { url: style.backgroundImage.slice(5, -2), x, y, width, height }, start: dataset.start };
            })(document.querySelector('.thumbnail'))"""
        )
        return float(shown["start"]), self.thumbnail(**shown["part"])

    def thumbnail(self, url: str, x: float, y: float, width: float, height: float) -> int | None:
        """Return the number in a part of a picture."""
        part = {"url": url, "x": x, "y": y, "width": width, "height": height}
        return _number(self.page.evaluate(READ, part))


def _number(luma: list[int]) -> int | None:
    return read_frame_number(np.array(luma, np.uint8).reshape(48, 80))
