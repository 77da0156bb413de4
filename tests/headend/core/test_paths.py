"""Paths as people write them: only text, and no home folders for files that begin with a tilde."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headend.core.errors import ConfigError
from headend.core.paths import check_text, expanded
from tests.support.marks import repeated
from tests.support.masters import make_film


@pytest.mark.parametrize("name", ["~film.mp4", "~", "a b.mov", "-film.mov", "film%d.mov", "http:film.mov", "[b].mov"])
def test_a_file_of_any_name_is_that_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert expanded(name) == (Path("/home/somebody") if name == "~" else tmp_path / name)
    assert expanded(f"~/{name}") == Path("/home/somebody") / name
    assert expanded(f"{tmp_path}/{name}") == tmp_path / name


@pytest.mark.parametrize("data", [b"\xff\xfe.mov", b"film-\xe9.mov", b"\xf0\x9f.mov"])
def test_a_path_that_is_not_text_is_refused_with_its_bytes(data: bytes) -> None:
    for refuse in (expanded, check_text):
        with pytest.raises(ConfigError, match=r"\\x[0-9a-f]{2}.*is not in UTF-8; rename"):
            refuse(os.fsdecode(data))


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (b"-film.mp4", 0), (b"100%d: it's [red].mp4", 0), (b"film-\xe9.mp4", 2), repeated(b"~film.mp4", 0),
        repeated(b"two\nlines.mp4", 0), repeated("Größe 映画.mp4".encode(), 0), repeated(b"\xff\xfe.mp4", 2),
    ],
)  # fmt: skip
def test_a_master_may_have_any_file_name(name: bytes, status: int, tmp_path: Path) -> None:
    film = make_film(tmp_path / "film.mp4", frame_count=5, size=(64, 64))
    folder = tmp_path / "a[" / "b]"
    folder.mkdir(parents=True)
    os.rename(os.fsencode(film), os.fsencode(folder) + b"/" + name)  # noqa: PTH104  # bytes
    done = subprocess.run(
        [sys.executable, "-m", "headend", "plan", "--title", "film", "--ladder", "smoke", "--", name],
        cwd=folder, capture_output=True, text=True, errors="surrogateescape", check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    assert ("is not in UTF-8" in done.stderr) == bool(status)
