import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import headend
from headend.app import api
from headend.core.errors import ConfigError, MasterError
from tests.support.command_line import ROOT, environment
from tests.support.masters import make_film

SMALL = {"ladder": "smoke", "effort": "draft", "workers": 1, "thumbnails": None}


def test_options_become_the_words_of_the_command() -> None:
    options = {
        "title": "film",
        "audio": ["1:en", "2:fr"],
        "publish_early": True,
        "allow_damaged": False,
        "effort": None,
    }
    assert api.command_line("submit", "-film.mov", options) == [
        *("submit", "--title=film", "--audio=1:en", "--audio=2:fr", "--publish-early", "--", "-film.mov")
    ]
    with pytest.raises(ConfigError, match="audio has a value"):
        api.command_line("submit", "film.mov", {"audio": {"en": 1}})  # type: ignore[dict-item]


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
    with pytest.raises(MasterError, match="there is no file"):
        headend.submit(tmp_path / "nowhere.mov", title="film", store=str(tmp_path / "store")).result()
    with pytest.raises(ConfigError, match="is not a title's name"):
        headend.submit(tmp_path / "nowhere.mov", title="My Film").result()


def test_it_can_be_awaited_where_a_loop_runs_already(tmp_path: Path) -> None:
    async def notebook() -> None:
        with pytest.raises(MasterError):
            await headend.submit(tmp_path / "nowhere.mov", title="film", store=str(tmp_path / "store"))

    asyncio.run(notebook())


def test_jobs_are_queued_looked_at_and_steered(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    job = headend.queue("film.mov", title="film", store=store, priority=70, label=["season=2"])
    assert [entry["job"] for entry in headend.list_jobs(store=store)] == [job]
    assert headend.show_job(job, store=store)["labels"] == {"season": "2"}
    assert headend.command_job(job, "hold", store=store) == "held"
    with pytest.raises(ConfigError, match="is not something to ask"):
        headend.command_job(job, "burn", store=store)
    with pytest.raises(ConfigError, match="can't be held"):
        headend.command_job(job, "hold", store=store)
