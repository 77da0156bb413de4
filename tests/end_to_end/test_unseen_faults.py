"""Faults that probing does not see: the job ends at the first attempt, and names the time."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from encoder import probing, sandbox
from headend.app.pipeline import submit
from headend.app.request import Request
from headend.core.errors import DamagedMaster, MasterError
from headend.core.settings import ClusterSettings, EncodeSettings, StoreSettings
from tests.support.damage import flip
from tests.support.deliveries import smallest_ladder
from tests.support.in_process import run_tasks
from tests.support.masters import Sound, make_film, master_of
from tests.support.uneven_masters import joined_pictures


def request_for(master: Path, *, chunk_s: int = 1, allow_damaged: bool = False) -> Request:
    settings = replace(
        EncodeSettings(),
        chunk_s=Fraction(chunk_s),
        segment_s=Fraction(1),
        thumbnails=False,
        allow_damaged=allow_damaged,
    )
    store = StoreSettings(str(master.parent / "store"))
    return Request(str(master), "film", smallest_ladder(), store, ClusterSettings(workers=1), settings)


@pytest.mark.parametrize(
    ("chunk_s", "other", "allow_damaged"),
    [
        (1, "scale=128:72", False),
        (10, "scale=128:72", True),
        (10, "format=yuv422p", False),
        (1, "scale=in_range=tv:out_range=pc", False),
    ],
)
def test_a_change_that_probing_did_not_see_is_refused_with_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_s: int, other: str, allow_damaged: bool
) -> None:
    master = joined_pictures(tmp_path / "film.mp4", (50, "scale=160:90"), (25, other), (25, "scale=160:90"))
    found = probing.probe(master_of(master), str(master))
    assert found.video is not None
    unseen = replace(found, video=replace(found.video, changes=()))
    monkeypatch.setattr(sandbox, "probe", lambda one, *_, **_others: replace(unseen, master=one))

    with pytest.raises(MasterError, match=r"the picture changes .* at 2\.000 s"):
        submit(request_for(master, chunk_s=chunk_s, allow_damaged=allow_damaged), run=run_tasks)


def test_a_frame_of_ac3_with_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mkv", frame_count=50, size=(160, 90), sound=[Sound(codec="eac3")])

    with pytest.raises(DamagedMaster, match=r"00:00\.6\d+–00:00\.6\d+ \(1 in stream 1\)"):
        submit(request_for(flip(film, [20], stream=1)), run=run_tasks)


def test_a_picture_of_hevc_with_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    codec_args = ("-x265-params", "log-level=error:pools=1:hash=1:keyint=5:bframes=0")
    film = make_film(tmp_path / "film.mp4", frame_count=25, size=(160, 90), codec="libx265", codec_args=codec_args)

    with pytest.raises(DamagedMaster, match=r"00:00\.[45]\d+–"):
        submit(request_for(flip(film, [12])), run=run_tasks)
