"""A per-title ladder, from a master to a release; after a kill, no work is repeated."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from encoder import tool
from headend.app.analysis import Analysis
from headend.app.cli import run
from headend.core import documents
from headend.core.settings import StoreSettings
from headend.core.storage import open_store
from ladders.rules import check
from packager import garbage
from packager.conformance import verify
from tests.support.command_line import ROOT, command, environment

LADDER = ROOT / "tests" / "data" / "one_codec.toml"
"""H.264 only: VMAF on a screen of 1080 lines is expensive for a test."""


def make_clip(path: Path, filters: str, *, fps: int = 10, seconds: float = 3, size: str = "320x180") -> Path:
    """Make a short silent master from FFmpeg's test sources."""
    source = filters.replace("{size}", size).replace("{fps}", str(fps))
    argv = [tool.ffmpeg_path(), "-loglevel", "error", "-f", "lavfi", "-i", source, "-t", str(seconds)]
    subprocess.run([*argv, "-c:v", "ffv1", str(path)], check=True)
    return path


def options(store: Path) -> list[str]:
    return [
        *("--ladder", str(LADDER), "--store", str(store), "--segment-seconds", "1", "--chunk-seconds", "1"),
        *("--effort", "draft", "--workers", "1", "--no-thumbnails", "--json"),
    ]


def words(master: Path, store: Path, *more: str) -> list[str]:
    return ["submit", str(master), "--title", "film", "--fit", "per-title", *options(store), *more]


def killed_when(condition: Callable[[], bool], argv: list[str]) -> None:
    job = subprocess.Popen(
        command(*argv), cwd=ROOT, env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline_s = time.monotonic() + 120
    while not condition():
        assert job.poll() is None and time.monotonic() < deadline_s, "it ended, or nothing happened"
        time.sleep(0.02)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()


@pytest.mark.heavy
def test_a_job_killed_during_survey_and_trials_resumes_and_repeats_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    master, folder = (
        make_clip(tmp_path / "film.mkv", "testsrc2=s={size}:r={fps},noise=alls=8:allf=t"),
        tmp_path / "store",
    )
    store = open_store(StoreSettings(str(folder)))

    def keys_of(kind: str) -> dict[str, str]:
        return {info.key: str(info.modified) for info in store.list("analysis/") if f"/{kind}/" in info.key}

    killed_when(lambda: len(keys_of("surveys")) >= 1, words(master, folder))
    surveys = keys_of("surveys")
    killed_when(lambda: len(keys_of("trials")) >= 2, words(master, folder))
    trials = keys_of("trials")
    assert not keys_of("ladders")
    assert not list(store.list("titles/"))

    assert run(words(master, folder)) == 0
    output = json.loads(capfd.readouterr().out)

    assert keys_of("surveys").items() >= surveys.items()
    assert keys_of("trials").items() >= trials.items()
    assert len(keys_of("surveys")) == 3
    [key] = keys_of("ladders")
    analysis = documents.read(Analysis, store.get(key), key=key)
    assert [finding for finding in check(analysis.ladder) if not finding.advice] == []
    rungs = {rung.id for rung in analysis.ladder.video}
    assert {r["id"] for r in output["renditions"] if r["kind"] == "video"} == rungs
    assert verify(store, "film").findings == ()

    # A second submit: the ladder is stored, and so are its tracks.
    before = {info.key: info.modified for info in store.list("analysis/")}
    assert run(words(master, folder)) == 0
    again = json.loads(capfd.readouterr().out)
    assert (again["release"], again["encoded_tasks"]) == (output["release"], 0)
    # With other targets, all trials are reused; only rungs are placed again.
    assert run(["analyse", str(master), *options(folder), "--top-vmaf", "60"]) == 0
    other = json.loads(capfd.readouterr().out)
    assert other["results"] == other["reused_results"] > 0
    assert other["cpu_s"] == 0
    assert before.items() <= {info.key: info.modified for info in store.list("analysis/")}.items()

    # The analysis is kept as long as a release is made from the master.
    later = datetime.now(UTC) + timedelta(days=30)
    assert garbage.find_unused_analyses(store, at=later).masters == ()
    for info in list(store.list("titles/")):
        store.delete(info.key)
    assert garbage.find_unused_analyses(store).masters == ()
    unused = garbage.find_unused_analyses(store, at=later)
    assert len(unused.masters) == 1
    garbage.remove_analyses(store, unused)
    assert not list(store.list("analysis/"))
