"""Bad input leads to one clear line, the right status, and nothing visible in the store."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from encoder.cluster import link
from headend.app.cli import run
from headend.core.storage.local_server import LocalS3
from origin import serving
from tests.support.masters import Sound, make_film, make_sound


def missing(folder: Path) -> Path:
    return folder / "missing.mov"


def directory(folder: Path) -> Path:
    return folder


def empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def text(folder: Path) -> Path:
    (folder / "notes.mov").write_text("This is no film.\n" * 100)
    return folder / "notes.mov"


def truncated(folder: Path) -> Path:
    whole = make_film(folder / "whole.mp4", frame_count=50, noise=40, output_args=("-movflags", "+faststart"))
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[:-20_000])
    return folder / "cut.mp4"


def headless(folder: Path) -> Path:
    whole = make_film(folder / "whole.mp4", frame_count=50, noise=40)
    (folder / "cut.mp4").write_bytes(whole.read_bytes()[:-20_000])
    return folder / "cut.mp4"


def sound_only(folder: Path) -> Path:
    return make_sound(folder / "sound.mp4", sound=[Sound()])


def submit(master: Path | str, store: Path | str, *more: str) -> int:
    return run(["submit", str(master), "--title", "film", "--ladder", "smoke", "--store", str(store), *more])


def check_one_line(capsys: pytest.CaptureFixture[str], message: str) -> None:
    out, err = capsys.readouterr()
    assert out == ""
    errors = [line for line in err.splitlines() if line != "headend: reading the master"]
    assert len(errors) == 1, errors
    assert errors[0].startswith("headend: error: ")
    assert message in errors[0]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (missing, "there is no file"),
        (directory, "is a folder; give the file's path"),
        (empty, "is empty; deliver it again"),
        (text, "is not a film that can be read"),
        (truncated, "is cut short"),
        (headless, "it is cut short or was never finished"),
        (sound_only, "has no picture"),
    ],
)
def test_a_master_that_can_not_be_used_ends_with_status_3(
    make: Callable[[Path], Path], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    assert submit(make(inbox), tmp_path / "store") == 3
    check_one_line(capsys, expected)
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["probe", "plan", "ladder"])
def test_every_command_that_reads_a_master_reports_the_same_error(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"probe": ["probe"], "plan": ["plan", "--title", "film"], "ladder": ["ladder", "fit", "smoke"]}
    assert run([*options[name], str(missing(tmp_path))]) == 3
    check_one_line(capsys, "there is no file")


def test_a_file_in_the_stores_place_ends_with_status_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    master = make_film(tmp_path / "film.mp4", frame_count=10)
    (tmp_path / "store").write_text("mine")
    assert submit(master, tmp_path / "store") == 5
    check_one_line(capsys, "a file exists where a folder is needed")
    assert (tmp_path / "store").read_text() == "mine"


def test_wrong_credentials_end_with_status_5(
    tmp_path: Path, rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    master = make_film(tmp_path / "film.mp4", frame_count=10)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "w" * 40)
    assert submit(master, "s3://films/bad", "--s3-endpoint", rclone_s3.endpoint_url) == 5
    check_one_line(capsys, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


@pytest.mark.timeout(60)
def test_wrong_credentials_end_serve_with_status_5(
    rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "WRONG_STORE_S", 45.0)  # on a busy machine, the store is slow
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "w" * 40)
    assert run(["serve", "--store", "s3://films/x", "--s3-endpoint", rclone_s3.endpoint_url, "--port", "0"]) == 5
    check_one_line(capsys, "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")


def test_a_bucket_that_is_not_there_ends_serve_with_status_5(
    rclone_s3: LocalS3, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--store", "s3://nobucket/x", "--s3-endpoint", rclone_s3.endpoint_url, "--port", "0"]) == 5
    check_one_line(capsys, "create it or correct its name")


def test_a_bucket_that_is_not_there_ends_with_status_5(
    tmp_path: Path, rclone_s3: LocalS3, capsys: pytest.CaptureFixture[str]
) -> None:
    master = make_film(tmp_path / "film.mp4", frame_count=10)
    assert submit(master, "s3://nobucket/x", "--s3-endpoint", rclone_s3.endpoint_url) == 5
    check_one_line(capsys, "create it or correct its name")


def test_a_missing_master_in_s3_ends_with_status_3_and_leaves_nothing(
    rclone_s3: LocalS3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone_s3.endpoint_url)
    assert submit("s3://films/none.mov", "s3://films/none") == 3
    check_one_line(capsys, "there is no s3://films/none.mov; check the bucket and the key")
    assert run(["titles", "--store", "s3://films/none"]) == 0
    assert "no titles are published" in capsys.readouterr().out


def test_an_endpoint_that_does_not_answer_ends_with_status_5(
    rclone_s3: LocalS3, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rclone_s3.access_key  # credentials are there, the server is not
    assert run(["titles", "--store", "s3://films/x", "--s3-endpoint", f"http://127.0.0.1:{free_port}"]) == 5
    check_one_line(capsys, "check the endpoint and the network")


def test_a_port_in_use_ends_serve_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "--store", str(tmp_path / "store"), "--port", str(port)]) == 2
    check_one_line(capsys, f"port {port} is in use: choose another with --port")


def test_a_scheduler_that_does_not_answer_ends_with_status_2(
    tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_S", 1)
    master = make_film(tmp_path / "film.mp4", frame_count=10)
    assert submit(master, tmp_path / "store", "--scheduler", f"tcp://127.0.0.1:{free_port}") == 2
    check_one_line(capsys, "start one with 'dask scheduler'")
