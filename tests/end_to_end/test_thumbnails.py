"""Thumbnails and trick play of a whole job: made once, checked, and made again where they are lost."""

from fractions import Fraction
from pathlib import Path

import pytest

from headend import layout
from headend.settings import StoreSettings
from packager.conformance import verify
from tests.support.jobs import Published, submit_small
from tests.support.masters import make_film


def submit(folder: Path, scheduler: str) -> Published:
    return submit_small(folder / "master.mp4", StoreSettings(str(folder / "store")), scheduler, thumbnails=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, scheduler: str) -> Path:
    made = tmp_path_factory.mktemp("thumbnails")
    make_film(made / "master.mp4", frame_rate=Fraction(24), frame_count=60, size=(160, 90))
    submit(made, scheduler)
    return made


def test_a_lost_sheet_is_found_and_only_its_chunk_is_done_again(folder: Path, scheduler: str) -> None:
    published = submit(folder, scheduler)
    plan, store = published.outcome.plan, published.store
    assert published.outcome.encoded_tasks == 0
    assert verify(store, "film").findings == ()
    assert len(published.outcome.presentation.sheets) == 3
    assert [len(track.segments) for track in published.outcome.presentation.trick] == [5, 5, 5]

    lost = layout.sheet("film", plan.release, 2)
    data = store.get(lost)
    store.put(lost, data[:-1] + b"?")
    (finding,) = verify(store, "film").findings
    assert (finding.object, "sha256 differs" in finding.message) == (lost, True)
    store.delete(lost)
    named = {finding.object: finding.message for finding in verify(store, "film").findings}
    assert named.pop(lost) == "it is missing"
    whole = (layout.image_playlist, layout.thumbnail_index, layout.mpd)
    assert set(named) == {path("film", plan.release) for path in whole}

    again = submit(folder, scheduler)
    assert (again.outcome.encoded_tasks, store.get(lost)) == (1, data)
    assert verify(store, "film").findings == ()
