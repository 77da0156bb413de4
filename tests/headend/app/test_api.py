import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

import headend
from headend.app import api
from tests.support.command_line import ROOT, environment
from tests.support.masters import make_film
from tests.support.waiting import wait_until

SMALL = {"ladder": "smoke", "effort": "draft", "workers": 1, "thumbnails": None}


def test_options_become_the_words_of_the_command() -> None:
    options = {
        "title": "film",
        "audio": ["1:en", "2:fr"],
        "publish_early": True,
        "allow_damaged": False,
        "effort": None,
    }
    assert api.submit_words("-film.mov", options) == [
        *("submit", "--title=film", "--audio=1:en", "--audio=2:fr", "--publish-early", "--", "-film.mov")
    ]
    with pytest.raises(headend.ConfigError, match="audio must be a string"):
        api.submit_words("film.mov", {"audio": {"en": 1}})  # type: ignore[dict-item]


@pytest.mark.usefixtures("known_speed")
def test_a_script_without_guard_gets_its_events_and_its_title(tmp_path: Path) -> None:
    master = make_film(tmp_path / "film.mov", frame_count=10, size=(160, 90))
    script = tmp_path / "script.py"
    script.write_text(
        "import headend\n"
        f"job = headend.submit({str(master)!r}, title='film', store={str(tmp_path / 'store')!r}, **{SMALL!r})\n"
        "print(*[event.name for event in job])\n"
        "print(job.result()['title'])\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment(), cwd=ROOT, timeout=120, check=False
    )
    names, title = done.stdout.splitlines()
    assert title == "film", done.stderr
    assert names.split()[:2] == ["step", "planned"] and names.split()[-1] == "done"


def test_errors_are_those_of_the_command(tmp_path: Path) -> None:
    with pytest.raises(headend.MasterError, match="there is no file"):
        headend.submit(tmp_path / "nowhere.mov", title="film", store=str(tmp_path / "store")).result()
    with pytest.raises(headend.ConfigError, match="is not a title's name"):
        headend.submit(tmp_path / "nowhere.mov", title="My Film").result()


def test_a_submission_can_be_awaited_in_a_running_loop(tmp_path: Path) -> None:
    async def notebook() -> None:
        with pytest.raises(headend.MasterError):
            await headend.submit(tmp_path / "nowhere.mov", title="film", store=str(tmp_path / "store"))

    asyncio.run(notebook())


def submission_of(script: str) -> headend.Submission:
    """Return a submission whose command is a script."""
    return headend.Submission(
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    )


def test_a_job_continues_if_nobody_reads_its_events(tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    job = submission_of(
        "import pathlib, sys\n"
        """for n in range(20000): print('{"event": "progress", "number": %d}' % n)\n"""
        """print('{"event": "done", "title": "film"}', flush=True)\n"""
        f"pathlib.Path({str(ended)!r}).touch()"
    )
    wait_until(ended.exists, "the end of the job")
    assert sum(event.name == "progress" for event in job) == 20000
    assert job.result() == {"title": "film"}
    assert asyncio.run(_awaited(job)) == {"title": "film"}


async def _awaited(job: headend.Submission) -> object:
    return await job


def test_a_silent_job_does_not_block_a_loop_that_stops_listening() -> None:
    job = submission_of("import time; time.sleep(60)")

    async def listen() -> None:
        async for _ in job.events():
            pass

    async def notebook() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(listen(), 0.3)

    started_s = time.monotonic()
    asyncio.run(notebook())
    assert time.monotonic() - started_s < 30
    job.cancel()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (2, headend.ConfigError),
        (3, headend.MasterError),
        (4, headend.EncodingError),
        (5, headend.StorageError),
        (6, headend.QualityRefused),
        (70, headend.HeadendError),
    ],
)
def test_the_type_of_an_exception_follows_from_the_exit_status(status: int, kind: type[headend.HeadendError]) -> None:
    failed = """print('{"event": "failed", "error": "SomethingInside", "message": "what happened"}')"""
    with pytest.raises(headend.HeadendError, match=r"^what happened$") as caught:
        submission_of(f"import sys; {failed}; sys.exit({status})").result()
    assert (type(caught.value), caught.value.facts) == (kind, {"status": status})


def test_jobs_are_queued_shown_and_controlled(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    job = headend.queue("film.mov", title="film", store=store, priority=70, label=["season=2"])
    assert [entry["job"] for entry in headend.list_jobs(store=store)] == [job]
    assert headend.show_job(job, store=store)["labels"] == {"season": "2"}
    assert headend.command_job(job, "hold", store=store) == "held"
    with pytest.raises(headend.ConfigError, match="there is no store at"):
        headend.list_jobs(store=str(tmp_path / "mistyped"))
    with pytest.raises(headend.ConfigError, match="is not a command for a job"):
        headend.command_job(job, "burn", store=store)
    with pytest.raises(headend.ConfigError, match="is held already"):
        headend.command_job(job, "hold", store=store)
