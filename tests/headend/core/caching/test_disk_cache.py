"""Media on a disk: cached files are found again, and changed files are never served."""

import hashlib
import os
import resource
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headend.core.caching.disk_cache import RETRY_AFTER_S, DiskCache
from headend.core.errors import ConfigError
from headend.core.http.blobs import Blob, in_memory

BODIES = tuple(bytes([number]) * 100_000 for number in range(10))


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()


def read(blob: Blob | None) -> bytes | None:
    return None if blob is None else os.pread(blob.fd, blob.size_bytes, 0)


def find(cache: DiskCache, body: bytes) -> bytes | None:
    return read(cache.open(digest(body), len(body)))


def keep(cache: DiskCache, *bodies: bytes) -> None:
    for body in bodies:
        cache.keep(digest(body), in_memory(body))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def full_disk() -> Iterator[None]:
    """Limit all files of this process to 4 KB during the block."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_cached_files_are_stored_under_their_digests_and_take_no_memory(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1 << 20)
    kept = cache.keep(digest(BODIES[0]), in_memory(BODIES[0]))
    assert kept is not None
    assert (read(kept), kept.memory_bytes, kept.is_complete) == (BODIES[0], 0, True)
    assert files(tmp_path) == {digest(BODIES[0]).hex(): BODIES[0]}
    assert find(cache, BODIES[0]) == BODIES[0]
    assert find(cache, BODIES[1]) is None
    assert cache.size_bytes == len(BODIES[0])


def test_the_budget_is_kept_on_the_disk_itself(tmp_path: Path) -> None:
    counted: Counter[str] = Counter()
    cache = DiskCache(tmp_path, 350_000, count=lambda what: counted.update([what]))
    keep(cache, *BODIES)
    assert sum(map(len, files(tmp_path).values())) == cache.size_bytes == 300_000
    assert counted == {"kept": 10, "evicted": 7}
    keep(cache, bytes(400_000))
    assert cache.size_bytes == 300_000, "what is larger than the whole budget pushes nothing out"


def test_cached_files_survive_a_restart_and_are_evicted_oldest_first(tmp_path: Path) -> None:
    keep(DiskCache(tmp_path, 1 << 20), *BODIES[:3])
    for age, body in enumerate(BODIES[:3]):
        os.utime(tmp_path / "0" / digest(body).hex(), (1000 - age, 1000 - age))
    (tmp_path / "0" / "arriving-abc").write_bytes(b"half of something")
    (tmp_path / "0" / "notes.txt").write_bytes(b"of somebody")
    again = DiskCache(tmp_path, 300_000)
    assert again.size_bytes == 300_000
    keep(again, BODIES[3])
    assert [find(again, body) is not None for body in BODIES[:4]] == [True, True, False, True]
    assert set(files(tmp_path)) == {*(digest(BODIES[n]).hex() for n in (0, 1, 3)), "notes.txt"}


@pytest.mark.parametrize("change", [lambda body: body[:-1], lambda body: body[:-1] + b"x", lambda _: b""])
def test_a_file_changed_on_the_disk_is_removed_and_not_served(tmp_path: Path, change: object) -> None:
    assert callable(change)
    keep(DiskCache(tmp_path, 1 << 20), BODIES[0])
    (tmp_path / "0" / digest(BODIES[0]).hex()).write_bytes(change(BODIES[0]))
    counted: list[str] = []
    again = DiskCache(tmp_path, 1 << 20, count=counted.append)
    assert find(again, BODIES[0]) is None
    assert (counted, files(tmp_path), again.size_bytes) == (["damaged"], {}, 0)


def test_a_removed_file_is_a_miss(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path, 1 << 20)
    keep(cache, BODIES[0])
    (tmp_path / "0" / digest(BODIES[0]).hex()).unlink()
    assert find(cache, BODIES[0]) is None


def test_a_full_disk_is_not_used_for_a_while_and_nothing_is_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 0.0
    counted: list[str] = []
    cache = DiskCache(tmp_path, 1 << 20, count=counted.append, clock=lambda: now_s)
    with full_disk():
        assert cache.keep(digest(BODIES[0]), in_memory_before) is None
    assert counted == ["failed"]
    assert "the next one is tried in 30 s" in caplog.text
    assert (files(tmp_path), cache.size_bytes) == ({}, 0)
    keep(cache, BODIES[0])
    assert files(tmp_path) == {}, "it is not tried again at once"
    now_s = RETRY_AFTER_S
    keep(cache, BODIES[0])
    assert find(cache, BODIES[0]) == BODIES[0]


in_memory_before = in_memory(BODIES[0])  # the limit on files also applies to files in memory


def test_processes_share_the_budget_and_read_each_others_files(tmp_path: Path) -> None:
    first, second = (DiskCache(tmp_path, 400_000, worker=worker, workers=2) for worker in (0, 1))
    keep(first, *BODIES[:5])
    assert first.size_bytes == 200_000
    assert find(second, BODIES[4]) == BODIES[4]
    alone = DiskCache(tmp_path, 400_000)
    keep(second, BODIES[9])
    assert find(alone, BODIES[4]) == BODIES[4]
    DiskCache(tmp_path, 400_000)
    assert not (tmp_path / "1").exists(), "a folder of a process that there is no more"


def test_a_folder_that_can_not_hold_a_cache_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"can't hold a cache .*: choose another with --disk-cache"):
        DiskCache(tmp_path / "file", 1)
