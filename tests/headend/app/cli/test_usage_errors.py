import os
import subprocess
import sys
from pathlib import Path

import pytest

from encoder.cluster import link
from headend.app.cli import exits, run
from headend.app.cli.exits import Status, status_of
from headend.app.cli.wording import evidence, printable
from headend.core.errors import (
    Cancelled,
    ChunkRejected,
    ConfigError,
    HeadendError,
    ObjectMissing,
    PackagingError,
    ToolFailed,
)
from tests.support.command_line import command, environment

WRONG = [
    (["submti"], "No such command 'submti'"),
    (["submit"], "--title"),
    (["submit", "--title", "film"], "MASTER"),
    (["submit", "film.mov", "--title", "My Film"], "'My Film' is not a title's name"),
    (["submit", "film.mov", "--title", "film", "--workers", "0"], "--workers"),
    (["submit", "film.mov", "--title", "film", "--effort", "most"], "--effort"),
    (["submit", "film.mov", "--title", "film", "--segment-seconds", "0"], "'0' is not a number of seconds above 0"),
    (["submit", "film.mov", "--title", "film", "--segment-seconds", "9e999999999"], "'9e999999999' is not a number of"),
    (["submit", "film.mov", "--title", "film", "--chunk-seconds", "1/0"], "'1/0' is not a number of seconds above 0"),
    (["submit", "film.mov", "--title", "film", "--chunk-seconds", "long"], "such as 6 or 5.005"),
    (["submit", "film.mov", "--title", "film", "--workers", "2", "--scheduler", "tcp://h:1"], "give one of them"),
    (["submit", "film.mov", "--title", "film", "--ladder", "stduio"], "did you mean 'studio'?"),
    (["submit", "film.mov", "--title", "film", "--ladder", "missing.toml"], "ladder missing.toml can't be read"),
    (["submit", "film.mov", "--title", "film", "--audio", "en"], "'en' does not begin with stream numbers, such as 1"),
    (["plan", "film.mov", "--title", "film", "--audio", "1+:en"], "'1+:en' does not begin with stream numbers"),
    (
        ["plan", "film.mov", "--title", "film", "--audio", "1:en:talk"],
        "'talk' is not a role; use one of main, alternate",
    ),
    (["plan", "film.mov", "--title", "film", "--loudness", "-20"], "--loudness"),
    (
        ["plan", "film.mov", "--title", "film", "--subtitles", ":en"],
        "':en' does not begin with a file, a stream number",
    ),
    (
        ["plan", "film.mov", "--title", "film", "--subtitles", "a.srt:en:cc"],
        "'cc' is not a role; use one of subtitles, sdh",
    ),
    (["plan", "film.mov", "--title", "film", "--audio", "1.x:en"], "'1.x:en' does not begin with stream numbers"),
    (["plan", "film.mov", "--title", "film", "--subtitle-offset", "1h"], "'1h' is not auto or a number of seconds"),
    (["plan", "film.mov", "--title", "film", "--embedded-text", "3,en"], "'3,en' is not all, none, or stream numbers"),
    (["submit", "film.mov", "--title", "film", "--qc", "half"], "--qc"),
    (["submit", "film.mov", "--title", "film", "--qc-min-vmaf", "101"], "--qc-min-vmaf"),
    (["submit", "film.mov", "--title", "film", "--qc-min-segment", "-1"], "--qc-min-segment"),
    (["submit", "film.mov", "--title", "film", "--floor", "100.5"], "--floor"),
    (["plan", "film.mov", "--title", "film", "--floor", "low"], "--floor"),
    (["submit", "film.mov", "--title", "film", "--qc-min-vmaf", "nan"], "nan is not a finite number"),
    (["plan", "film.mov", "--title", "film", "--floor", "NaN"], "NaN is not a finite number"),
    (["plan", "film.mov", "--title", "film", "--top-vmaf", "nan"], "nan is not a finite number"),
    (["job", "wait", "1", "--timeout", "inf"], "inf is not a finite number"),
    (["quality", "film", "--qc-min-vmaf", "nan-"], "--qc-min-vmaf"),
    (["quality", "film", "--store", ".", "--html", "/no/such/folder/report.html"], "can't be written"),
    (["quality", "film", "--store", ".", "--html", "/"], "can't be written"),
    (["publish", "film", "--store", "."], "name the release to publish"),
    (["publish", "film", "a1", "--release", "b2", "--store", "."], "are different releases: name one"),
    (["publish", "film", "../../x", "--store", "."], "'../../x' is not the id of a release"),
    (["publish", "film", "--release", "", "--store", "."], "'' is not the id of a release"),
    (["verify", "film", "--release", "a/b", "--store", "."], "'a/b' is not the id of a release"),
    (["delete", "film", "--release", "..", "--store", "."], "'..' is not the id of a release"),
    (["plan", "film.mov", "--title", "-"], "'-' is not a title's name"),
    (["show", "../etc"], "'../etc' is not a title's name"),
    (["show", "film", "--store", "ftp://host/films"], "a store is the path of a folder or s3://bucket/prefix"),
    (["show", "film", "--store", "s3://x"], "an address in S3 has the form s3://bucket/path"),
    (["ladder", "show", "nothing"], "presets are"),
    (["serve", "--port", "70000"], "--port"),
    (["serve", "--json", "--access-log"], "give one of them"),
    (["titles", "extra"], "extra"),
    (["titles", "--store", "x" * 5000], "is too long for a path here; give a shorter one"),
]


@pytest.mark.parametrize(("args", "message"), WRONG, ids=lambda value: " ".join(value)[-40:])
def test_usage_errors_are_reported_in_one_line(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(args) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("headend: error: ") and err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(
    "args", [["plan", "film.mov", "--title"], ["show"], ["ladder", "show"], ["simulate"], ["probe"]]
)
@pytest.mark.parametrize("value", ["x" * 100_000, "x y " * 30_000])
def test_long_values_are_shortened(args: list[str], value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*args, value]) in (2, 3)
    assert len(capsys.readouterr().err) < 4_100


def test_a_titles_name_is_checked_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "missing.mov", "--ladder", "missing", "--title", "Wrong!", "--workers", "0"]) == 2
    assert "'Wrong!' is not a title's name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("x"), 2),
        (ToolFailed("x"), 4),
        (ChunkRejected("x"), 4),
        (Cancelled("x"), 4),
        (PackagingError("x"), 4),
        (ObjectMissing("x"), 5),
        (KeyboardInterrupt(), 130),
        (exits.Terminated(), 143),
        (ZeroDivisionError(), 70),
    ],
)
def test_an_errors_type_decides_the_status(error: BaseException, status: int) -> None:
    assert status_of(error) == status


def test_every_kind_of_error_has_a_status_of_its_own() -> None:
    assert all(status_of(kind("x")) is not Status.UNEXPECTED for kind in HeadendError.__subclasses__())


def test_an_unexpected_error_is_one_line_and_a_traceback_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_name: str) -> None:
        raise LookupError("out of order")

    monkeypatch.setattr("ladders.loading.load", broken)
    assert run(["ladder", "show", "web"]) == 70
    err = capsys.readouterr().err
    assert err == (
        "headend: error: unexpected LookupError: out of order; run again with --verbose and report the output\n"
    )
    assert run(["ladder", "show", "web", "--verbose"]) == 70
    assert f"in {broken.__name__}" in capsys.readouterr().err


def test_verbose_prints_the_facts_of_an_error_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://s3.example/film.mov?X-Amz-Signature=0123456789abcdef"

    def failing(_name: str) -> None:
        raise ToolFailed(f"can't open {url}", argv=["ffmpeg", "-i", url, "a b"], status=1, stderr=f"one\n{url}: 403")

    monkeypatch.setattr("ladders.loading.load", failing)
    assert run(["ladder", "show", "web", "--verbose"]) == 4
    output = capsys.readouterr().err.splitlines()
    assert output[0] == "headend: error: can't open https://s3.example/film.mov?…"
    assert "  status: 1" in output
    assert output[-2:] == ["  one", "  https://s3.example/film.mov?… 403"]
    assert "0123456789abcdef" not in "".join(output)
    assert run(["ladder", "show", "web"]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_a_hostile_name_can_not_steer_the_terminal() -> None:
    assert printable("film\x1b[2J\n.mov") == "film�[2J�.mov"
    assert "\x1b" not in evidence(HeadendError("x", argv=["\x1b[2J"], stderr="a\n\x1b[2J"))


def test_a_wrong_master_or_scheduler_makes_no_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "CONNECT_S", 1)
    store = tmp_path / "store"
    master = tmp_path / "film.mov"
    argv = ["submit", str(master), "--title", "film", "--store", str(store)]
    assert run(argv) == 3
    assert f"there is no file {master}" in capsys.readouterr().err
    master.write_bytes(b"x")
    assert run([*argv, "--scheduler", "tcp://127.0.0.1:9"]) == 2
    assert "no Dask scheduler answers" in capsys.readouterr().err
    assert run(argv) == 3
    assert "is not a film that can be read" in capsys.readouterr().err
    assert not store.exists()
    assert list(tmp_path.iterdir()) == [master]


@pytest.mark.parametrize(
    "words",
    [
        ["titles"], ["show", "film"], ["verify", "film"], ["jobs"], ["gc"], ["releases", "film"], ["repackage", "film"],
        ["unpublish", "film"], ["delete", "film", "--yes"], ["publish", "film", "--release", "0"],
    ],
)  # fmt: skip
def test_a_missing_store_is_a_usage_error(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*words, "--store", str(tmp_path / "stoer")]) == 2
    assert f"there is no store at {tmp_path / 'stoer'}" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["ladder", "show", "studio"], ["ladder", "list", "--json"], ["--help"]])
def test_a_closed_pipe_is_neither_a_success_nor_a_failed_check(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command(*words), stdout=writing, stderr=subprocess.PIPE, env=environment(), check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_the_broken_pipe_of_a_socket_is_an_unexpected_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_name: str) -> None:
        raise BrokenPipeError("socket")

    monkeypatch.setattr("ladders.loading.load", failing)
    assert run(["ladder", "show", "web"]) == 70
    assert "unexpected BrokenPipeError: socket" in capsys.readouterr().err


def test_an_interrupted_import_is_reported_in_one_line() -> None:
    code = """
import sys
class Finder:
    def find_spec(self, name, *others):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from headend.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (130, f"headend: {exits.MEANING[Status.INTERRUPTED]}\n")
