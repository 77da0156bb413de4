"""The demo with caches: an origin, a shield, the edges of two providers, and a real player."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from cdn_sim.live import serving as edges
from cdn_sim.live.serving import EdgeSettings
from cdn_sim.request_logs.decisions import Decision, Kind, parse
from headend.app.cli.screen import table
from headend.core.settings import StoreSettings
from origin import serving
from origin.watch import fetch, pages
from origin.watch.players import PLAYERS

ISPS = ("north", "south")
SHIELD = "shield"
VIEWERS = 2
"""Viewers of each provider: the second one hits what the first one missed."""
EDGE_BYTES, SHIELD_BYTES = 4 << 30, 8 << 30
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required")
PLAY_S = 120.0
"""How long playback may take beyond the film's length before it counts as failed."""

# Starts the film, a long one at a higher speed; returns whether it has ended.
_KEEP_PLAYING = """() => {
  const film = document.querySelector('video');
  film.muted = true;
  if (film.duration) film.playbackRate = Math.min(16, Math.max(1, film.duration / 20));
  if (film.paused && !film.ended) film.play().catch(() => null);
  return film.ended;
}"""

Play = Callable[[str], None]
"""Plays the title from a server, given by its base URL, to the end."""


@dataclass(frozen=True, slots=True)
class Served:
    """The traffic of one server.

    Attributes:
        tier: ``edge``, ``shield`` or ``origin``.
        isp: The provider; empty for the shield and the origin, which are shared.
        requests: Requests for objects of tracks.
        hits: Requests answered from its disk, or from a fetch that was already under way.
        bytes: Bytes of all requests.
        hit_bytes: Bytes of the hits.
    """

    tier: str
    isp: str
    requests: int
    hits: int
    bytes: int
    hit_bytes: int

    @property
    def hit_ratio(self) -> float:
        """Share of the bytes that were hits."""
        return self.hit_bytes / self.bytes if self.bytes else 0.0


def play_through(store: StoreSettings, play: Play) -> tuple[Served, ...]:
    """Run an origin, a shield and an edge for each provider, and play a title through each edge.

    Args:
        store: The store with the title.
        play: Plays it once.

    Returns:
        The traffic of each server, edges first.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headend-edges-")))
        with ExitStack() as running:
            origin = running.enter_context(serving.running(store))
            shield = running.enter_context(edges.running(_settings(folder, SHIELD, origin, None)))
            urls = [running.enter_context(edges.running(_settings(folder, isp, origin, shield))) for isp in ISPS]
            for _ in range(VIEWERS):
                for url in urls:
                    play(url)
        served = [_served(folder, isp) for isp in ISPS]
        above = _served(folder, SHIELD)
    missed = above.requests - above.hits
    origin_served = Served("origin", "", missed, missed, above.bytes - above.hit_bytes, above.bytes - above.hit_bytes)
    return (*served, above, origin_served)


def served_table(served: tuple[Served, ...]) -> Table:
    """Lay out the traffic of each server as a table."""
    viewers = sum(server.bytes for server in served if server.tier == "edge")
    rows = (
        (
            f"edge of {server.isp}" if server.isp else server.tier,
            f"{server.requests:,}",
            f"{server.hits:,}",
            f"{server.bytes / 1e6:,.1f} MB",
            "" if server.tier == "origin" else f"{server.hit_ratio:.0%}",
            f"{server.hit_bytes / viewers:.0%}" if viewers else "",
        )
        for server in served
    )
    head = ("server", ">requests", ">hits", ">bytes", ">byte hit ratio", ">share of viewers' bytes")
    return table(head, rows)


@contextmanager
def browser(title: str, report: Callable[[str], object]) -> Iterator[Play | None]:
    """Start an installed Chromium that plays the watch page with hls.js; yield None if there is none.

    Args:
        title: The title to play.
        report: Called with the reason if there is none.
    """
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    hls = next(player for player in PLAYERS if player.name == "hls")
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        path = None
    if path is None or not fetch.is_fetched(pages.VENDOR, hls):
        report("Chromium, playwright or hls.js is not installed, so FFmpeg plays instead")
        yield None
        return
    with sync_playwright() as driver:
        try:
            opened = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        except Error as error:
            report(f"Chromium does not start, so FFmpeg plays instead: {str(error).splitlines()[0]}")
            yield None
            return

        def play(url: str) -> None:
            page = opened.new_page()
            page.goto(f"{url}/watch/{title}?player=hls&manifest=hls")
            deadline_s = time.monotonic() + PLAY_S
            while not page.evaluate(_KEEP_PLAYING):
                if time.monotonic() > deadline_s + page.evaluate("document.querySelector('video').duration || 0"):
                    raise TimeoutError(page.inner_text("#trouble") or "the film does not reach its end")
                page.wait_for_timeout(200)
            page.close()

        yield play
        opened.close()


def _settings(folder: Path, name: str, origin: str, shield: str | None) -> EdgeSettings:
    return EdgeSettings(
        origin,
        folder / name,
        SHIELD_BYTES if name == SHIELD else EDGE_BYTES,
        name=name,
        tier="shield" if name == SHIELD else "edge",
        shield=shield,
        decisions=folder / f"{name}.decisions",
    )


def _served(folder: Path, name: str) -> Served:
    requests = hits = size = hit_bytes = 0
    with (folder / f"{name}.decisions").open(encoding="ascii") as lines:
        for record in parse(lines, name):
            if record.kind is Kind.REQUEST:
                is_hit = record.decision in (Decision.HIT, Decision.DELAYED)
                requests += 1
                hits += is_hit
                size += record.size_bytes
                hit_bytes += record.size_bytes * is_hit
    return Served(
        "shield" if name == SHIELD else "edge", "" if name == SHIELD else name, requests, hits, size, hit_bytes
    )
