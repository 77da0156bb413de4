"""Options of per-title ladders: bad values are refused, and the queue keeps them."""

from pathlib import Path

import pytest

from headend.app.cli import queueing, run
from headend.app.jobs.lists import Row
from headend.app.jobs.model import JobRequest
from headend.core import documents
from headend.core.settings import Targets

SUBMIT = ("submit", "film.mov", "--title", "film")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            (*SUBMIT, "--renditions", "20"),
            "--renditions is for a ladder fitted to the title: add --fit per-title",
        ),
        ((*SUBMIT, "--top-vmaf", "90"), "--top-vmaf is for a ladder fitted"),
        ((*SUBMIT, "--fit", "per-title", "--renditions", "11"), "--renditions 11 is too few for avc, hevc, av1, vp9"),
        ((*SUBMIT, "--fit", "per-title", "--top-vmaf", "101"), "101"),
        ((*SUBMIT, "--fit", "per-title", "--analysis-share", "0"), "0"),
        ((*SUBMIT, "--fit", "per-scene"), "per-scene"),
        (("analyse", "film.mov", "--renditions", "5"), "at least 12"),
        (("analyse", "film.mov", "--html", "/nowhere/at/all/page.html"), "/nowhere/at/all/page.html can't be written"),
        (("analyse", "film.mov", "--html", "/proc/page.html"), "/proc/page.html can't be written"),
        (("plan", "film.mov", "--title", "film", "--analysis-share", "3"), "add --fit per-title"),
    ],
)
def test_contradictory_options_are_refused_before_anything_is_read(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert says in capsys.readouterr().err


def test_a_missing_master_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.mov"

    assert run(["analyse", str(missing), "--store", str(tmp_path / "store")]) != 0
    assert str(missing) in capsys.readouterr().err


def test_a_queued_job_keeps_its_ladder_options() -> None:
    row = [*SUBMIT[1:], "--fit", "per-title", "--renditions", "24", "--top-vmaf", "93", "--queue"]
    [submission] = queueing.parse([Row("film.mov", tuple(row))])

    asked = JobRequest("20260101t000000000-000000", submission.request, "", "")
    kept = documents.read(JobRequest, documents.write(asked))

    assert kept.request.targets == Targets(24, 93.0, 0.05)


def test_a_profile_may_contain_options_that_a_fixed_ladder_ignores() -> None:
    [submission] = queueing.parse([Row("film.mov", SUBMIT[1:])], defaults={"renditions": 24, "top_vmaf": 93.0})

    assert submission.request.targets is None
