import json
import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from headend.app.cli import run
from tests.headend.app.cli.conftest import Submitted
from tests.support.command_line import command, environment
from tests.support.marks import repeated
from tests.support.masters import Sound, make_film
from tests.support.processes import encoders_of, is_alive
from tests.support.waiting import PATIENCE_S, wait_until


def submit_again(submitted: Submitted, *more: str) -> list[str]:
    return [
        *("submit", str(submitted.master), "--title", "film", "--ladder", "smoke", "--effort", "draft"),
        *("--store", str(submitted.store), "--segment-seconds", "1", "--chunk-seconds", "1", *more),
    ]


def test_json_output_is_one_object_about_the_release(submitted: Submitted) -> None:
    output = submitted.output
    assert output["title"] == "film"
    assert output["store"] == str(submitted.store)
    assert (output["frames"], output["frame_rate"], output["duration_s"]) == (50, "25/1", 2.0)
    assert (output["reused_tracks"], output["reused_parts"], output["encoded_tasks"] > 2) == (0, 0, True)
    assert output["is_current"]
    assert output["cpu_s"] > 0 and output["wall_s"] > 0
    for manifest in ("hls", "dash"):
        assert (submitted.store / output[manifest]).is_file()
    ids = [rendition["id"] for rendition in output["renditions"]]
    assert len(ids) == len(set(ids)) == 12
    assert {rendition["codec"] for rendition in output["renditions"]} == {
        *("avc", "hevc", "av1", "vp9", "aac", "opus", "ac3", "eac3")
    }
    for rendition in output["renditions"]:
        picture = rendition["kind"] == "video"
        assert (rendition["width"] is None, rendition["height"] is None) == (not picture, not picture)
        assert (rendition["channels"], rendition["language"]) == ((None, None) if picture else (2, "en"))
        assert 0 < rendition["average_bps"] <= rendition["peak_bps"]
        assert rendition["segments"] == 2
    assert [rendition["id"] for rendition in output["trick_play"]] == [
        "avc-180p-trick",
        "av1-180p-trick",
        "vp9-180p-trick",
    ]
    assert (output["thumbnails"]["width"], output["thumbnails"]["height"], output["thumbnails"]["sheets"]) == (
        320,
        180,
        3,
    )
    assert (submitted.store / output["thumbnails"]["index"]).is_file()


def test_without_a_terminal_progress_is_plain_lines_on_stderr(submitted: Submitted) -> None:
    lines = submitted.stderr.splitlines()
    assert all(line.startswith("headend: ") for line in lines)
    assert lines[0] == "headend: reading the master"
    later = [line for line in lines[1:] if not line.startswith("headend: reading the master: ")]  # on a busy machine
    assert later[0].startswith("headend: 12 renditions of 50 frames in ")
    assert lines[-1] == "headend: publishing"
    assert "\x1b" not in submitted.stderr


def test_the_same_request_again_encodes_nothing(submitted: Submitted, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(submit_again(submitted, "--json")) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["encoded_tasks"], output["reused_tracks"]) == (0, submitted.output["tracks"])
    assert output["release"] == submitted.output["release"]
    assert output["cpu_s"] == 0


def test_submit_prints_the_manifests_addresses_and_what_was_reused(
    submitted: Submitted, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(submit_again(submitted)) == 0
    output = capsys.readouterr().out
    assert submitted.output["hls"] in output and submitted.output["dash"] in output
    assert f"0 tasks encoded, {submitted.output['tracks']} of {submitted.output['tracks']} tracks reused" in output
    [count] = re.findall(r"made +(\d+ renditions?) of", output)
    assert run(["show", submitted.output["title"], "--store", submitted.output["store"]]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"made +{count}\b", shown), "submit and show count the same"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), repeated(signal.SIGINT, 130)])
def test_a_signal_ends_a_job_with_its_status_and_leaves_no_encoder(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    master = make_film(tmp_path / "film.mp4", frame_count=100, noise=40)
    store = tmp_path / "store"
    argv = command("submit", master, "--title", "film", "--ladder", "smoke", "--effort", "high", "--store", store)
    job = subprocess.Popen(
        argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: encoders_of(master) or job.poll() is not None, "the start of an encoder")
    assert job.poll() is None, job.communicate()
    children = psutil.Process(job.pid).children(recursive=True)
    job.send_signal(number)
    out, err = job.communicate(timeout=PATIENCE_S)
    assert (job.returncode, out) == (status, "")
    assert err.splitlines()[-1].startswith("headend: interrupted" if number is signal.SIGINT else "headend: terminated")
    assert "Traceback" not in err
    wait_until(lambda: not any(map(is_alive, children)) and not encoders_of(master), "the end of all children")
    assert not list(store.rglob("current.json")) and not list(store.rglob("*.m3u8"))


def test_a_film_without_sound_has_renditions_of_picture_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    master = make_film(tmp_path / "film.mp4", frame_count=10, sound=[])
    assert run(["ladder", "fit", "smoke", str(master), "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert len(output["video"]) == 8 and output["audio"] == []


def test_a_plan_is_printed_as_decisions_a_document_or_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_film(tmp_path / "film.mp4", frame_count=10, sound=[Sound()])
    plan = ["plan", "film.mp4", "--title", "film", "--ladder", "smoke", "--workers", "1"]
    assert run(plan) == 0
    output = capsys.readouterr().out
    assert "colour primaries, transfer, matrix not stated → taken as smpte170m" in output
    assert "10 frames at 25 frames/s" in output

    assert run([*plan, "--json", "--output", "plan.json"]) == 0
    document = capsys.readouterr().out
    assert json.loads(document)["kind"] == "EncodePlan"
    printed = json.loads(document)
    assert printed.pop("estimate")["cpu_s"] > 0
    assert json.loads((tmp_path / "plan.json").read_text()) == printed

    assert run([*plan, "--commands"]) == 0
    script = capsys.readouterr().out
    subprocess.run(["sh", "-e"], input=script, text=True, check=True, stdout=subprocess.DEVNULL)
    ids = [rendition["id"] for kind in ("video", "trick", "audio") for rendition in json.loads(document)["body"][kind]]
    assert sorted(path.stem for path in tmp_path.glob("*.mp4")) == sorted([*ids, "film"])

    assert run([*plan, "--output", "no/such/folder/plan.json"]) == 2
