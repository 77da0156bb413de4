"""A small encoded release and an origin that serves it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import pytest

from headend.core.errors import ConfigError
from headend.core.media import Presentation
from headend.core.settings import StoreSettings, TextChoice
from origin.serving import running
from origin.watch import fetch, pages
from tests.support.jobs import submit_small
from tests.support.masters import Sound, make_film
from tests.support.text import srt

TITLE = "film"
LINES = {
    "en": [(1300, 3600, "over borders"), (4700, 7100, "two <i>lines</i>\nof text")],
    "de": [(1300, 3600, "über Grenzen"), (4700, 7100, "zwei Zeilen")],
}
"""Cues of the sidecars: start, end and text."""


@dataclass(frozen=True)
class Served:
    """A release, its store, and its origin's address."""

    presentation: Presentation
    store: StoreSettings
    url: str


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Iterator[Served]:
    """Encode eight seconds in every codec and two sizes, with sound and text: four chunks of two segments."""
    folder = tmp_path_factory.mktemp("conformance")
    store = StoreSettings(str(folder / "store"))
    master = make_film(folder / "master.mov", frame_count=200, sound=[Sound(codec="pcm_s16le")])
    text = []
    for language, lines in LINES.items():
        path = folder / f"{language}.srt"
        path.write_text(srt(lines))
        text.append(TextChoice(str(path), language))
    published = submit_small(
        master,
        store,
        scheduler,
        title=TITLE,
        segment_s=Fraction(1),
        chunk_s=Fraction(2),
        text=tuple(text),
        thumbnails=True,
    )
    with contextlib.suppress(ConfigError):
        fetch.fetch()  # before the origin starts: it looks for the players once
        pages.load.cache_clear()
    with running(store) as url:
        yield Served(published.outcome.presentation, store, url)
