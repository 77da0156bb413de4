"""A file's digest is computed once, and again as soon as the file may have changed."""

import os
import time
from pathlib import Path

import pytest

from headend.core.storage.digests import cached
from headend.core.storage.masters import identify


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "headend" / "digests"


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "film.mov"
    path.write_bytes(b"1234567890")
    now_ns = time.time_ns
    monkeypatch.setattr("headend.core.storage.digests.time.time_ns", lambda: now_ns() + 10_000_000_000)
    return path


def test_a_file_is_read_once(film: Path) -> None:
    progress: list[int] = []
    first = identify(str(film), on_progress=lambda done, _total: progress.append(done))
    again = identify(str(film), on_progress=lambda done, _total: progress.append(done))

    assert first == again
    assert progress == [10]


def test_another_content_of_the_same_size_and_time_is_read_again(film: Path, tmp_path: Path) -> None:
    before = identify(str(film))
    times = film.stat()
    film.write_bytes(b"0987654321")
    os.utime(film, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert identify(str(film)).digest != before.digest  # its inode's change time differs

    other = tmp_path / "other.mov"
    other.write_bytes(b"abcdefghij")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(film)
    assert identify(str(film)).digest not in {before.digest}


def test_a_file_that_was_just_written_is_not_trusted(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "fresh.mov"
    path.write_bytes(b"1")
    assert cached(path, lambda: "x") == "x"
    assert not cache.exists()


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[]", b'{"path": 1}'])
def test_a_damaged_entry_is_computed_again(film: Path, cache: Path, rubbish: bytes) -> None:
    digest = identify(str(film)).digest
    (entry,) = cache.iterdir()
    entry.write_bytes(rubbish)
    assert identify(str(film)).digest == digest


def test_a_folder_that_can_not_be_written_is_no_error(film: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    assert identify(str(film)).digest.startswith("sha256:")
