"""Thumbnails and trick play of a whole job: made once, checked, and made again if they are lost."""

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headend.core import layout
from headend.core.settings import StoreSettings
from packager.conformance import verify
from tests.support.frame_numbers import read_frame_number
from tests.support.jobs import Published, submit_small
from tests.support.masters import make_film


def submit(folder: Path, scheduler: str) -> Published:
    return submit_small(folder / "master.mp4", StoreSettings(str(folder / "store")), scheduler, thumbnails=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Path:
    path = tmp_path_factory.mktemp("thumbnails")
    make_film(path / "master.mp4", frame_rate=Fraction(24), frame_count=60, size=(160, 90))
    submit(path, scheduler)
    return path


def test_a_lost_sheet_is_found_and_only_its_chunk_is_done_again(folder: Path, scheduler: str) -> None:
    published = submit(folder, scheduler)
    presentation, store = published.outcome.presentation, published.store
    assert presentation.thumbnails is not None and presentation.poster is not None
    assert published.outcome.encoded_tasks == 0
    assert verify(store, "film").findings == ()
    assert len(presentation.thumbnails.segments) == 3
    assert [len(track.segments) for track in presentation.trick] == [5, 5, 5]

    lost = layout.track_segment("film", presentation.thumbnails.id, 2)
    data = store.get(lost)
    store.put(lost, data[:-1] + b"?")
    (finding,) = verify(store, "film").findings
    assert (finding.object, "sha256 differs" in finding.message) == (lost, True)
    store.delete(lost)
    named = {finding.object: finding.message for finding in verify(store, "film").findings}
    assert named.pop(lost) == "it is missing"
    images = layout.media_playlist("film", presentation.release, presentation.thumbnails.id)
    whole = (layout.thumbnail_index, layout.mpd)
    assert set(named) == {images, *(path("film", presentation.release) for path in whole)}

    again = submit(folder, scheduler)
    assert (again.outcome.encoded_tasks, store.get(lost)) == (1, data)
    assert again.outcome.presentation.release == presentation.release
    assert verify(store, "film").findings == ()


def test_the_poster_is_one_of_the_films_frames(folder: Path, scheduler: str) -> None:
    published = submit(folder, scheduler)
    presentation = published.outcome.presentation
    assert presentation.poster is not None
    data = published.store.get(layout.poster("film", presentation.release))
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (presentation.poster.rendition.width_px, presentation.poster.rendition.height_px)
        number = read_frame_number(np.asarray(picture.convert("L")))
    assert number in presentation.poster.rendition.frames
