import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headend.core.errors import ObjectMissing, StorageError
from headend.core.storage.local import LEFTOVER_S, LocalStore

WRITER = """
import os, pathlib, signal, sys
from headend.core.storage.local import LocalStore

class Killed:
    '''A source that kills its reader in the middle.'''
    blocks = [b"half of it"]
    def read(self, size):
        if self.blocks:
            return self.blocks.pop()
        os.kill(os.getpid(), signal.SIGKILL)

store = LocalStore(pathlib.Path(sys.argv[1]))
store.put("film/1.m4s", b"old")
with store._written("film/1.m4s", Killed()):
    pass
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_files_of_a_killed_writer_are_invisible_and_removed_when_old(store: LocalStore) -> None:
    killed = subprocess.run([sys.executable, "-c", WRITER, str(store.root)], check=False)
    assert killed.returncode < 0
    (leftover,) = (path for path in (store.root / "film").iterdir() if path.name != "1.m4s")
    assert store.get("film/1.m4s") == b"old"
    assert [info.key for info in store.list("film/")] == ["film/1.m4s"]
    assert leftover.exists(), "its writer may still be alive"

    long_ago = leftover.stat().st_mtime - LEFTOVER_S - 1
    os.utime(leftover, (long_ago, long_ago))
    assert [info.key for info in store.list("film/")] == ["film/1.m4s"]
    assert not leftover.exists()


def test_a_failed_write_leaves_the_old_object_and_nothing_else(store: LocalStore, tmp_path: Path) -> None:
    store.put("film/1.m4s", b"old")
    with pytest.raises(StorageError):
        store.put_file("film/1.m4s", tmp_path)  # a folder can't be read as a file
    with pytest.raises(StorageError, match="a folder exists where the object belongs"):
        store.put("film", b"x")
    assert store.get("film/1.m4s") == b"old"
    assert [path.name for path in store.root.rglob("*")] == ["film", "1.m4s"]


def test_objects_have_the_permissions_of_ordinary_files(store: LocalStore) -> None:
    before = os.umask(0o022)
    try:
        store.put("film/1.m4s", b"x")
    finally:
        os.umask(before)
    assert (store.root / "film/1.m4s").stat().st_mode & 0o777 == 0o644, "another user's origin must be able to read"


def test_two_quick_writes_of_one_size_have_different_etags(store: LocalStore) -> None:
    etags = set()
    for content in (b"a", b"b"):
        store.put("a", content)
        os.utime(store.root / "a", ns=(0, 0))  # as a slow clock would have it
        etags.add(store.head("a").etag)
    assert len(etags) == 2


def test_deleting_the_last_object_removes_its_folders_but_not_the_store(store: LocalStore) -> None:
    store.put("titles/film/r1/1.m4s", b"x")
    store.put("titles/other/r1/1.m4s", b"x")
    store.delete("titles/film/r1/1.m4s")
    assert [path.name for path in (store.root / "titles").iterdir()] == ["other"]
    store.delete("titles/other")  # a folder is not an object, so it stays
    store.delete("titles/other/r1/1.m4s")
    assert list(store.root.iterdir()) == []


def test_links_out_of_the_folder_lead_nowhere(store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.put("film/1", b"x")
    (store.root / "folder").symlink_to(outside)
    (store.root / "film/file").symlink_to(outside / "secret")
    for key in ("folder/secret", "film/file"):
        with pytest.raises(StorageError, match="symbolic link"):
            store.get(key)
        with pytest.raises(StorageError, match="symbolic link"):
            store.put(key, b"changed")
        with pytest.raises(StorageError, match="symbolic link"):
            store.delete(key)
    with pytest.raises(StorageError, match="symbolic link"):
        list(store.list("folder/"))
    assert [info.key for info in store.list("")] == ["film/1"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "disk")
    store = LocalStore(tmp_path / "store")
    store.put("film/1", b"x")
    assert store.get("film/1") == b"x"
    assert (tmp_path / "disk/film/1").exists()


def test_a_file_in_place_of_the_stores_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    store = LocalStore(tmp_path / "store")
    with pytest.raises(StorageError, match="a file exists where a folder is needed"):
        store.put("film/1", b"x")
    with pytest.raises(ObjectMissing):
        store.get("film/1")


def test_an_unwritable_place_is_reported() -> None:
    with pytest.raises(StorageError, match=r"can't write film/1 in /proc/headend: .*choose another folder"):
        LocalStore(Path("/proc/headend")).put("film/1", b"x")


def test_a_name_too_long_for_the_disk_is_refused_and_missing(store: LocalStore) -> None:
    store.put("film/1", b"x")
    with pytest.raises(StorageError, match="choose a shorter one"):
        store.put(f"film/{'n' * 300}", b"x")
    with pytest.raises(ObjectMissing):
        store.get(f"film/{'n' * 300}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    return disk


def test_a_full_disk_is_reported_and_keeps_the_old_object(small_disk: Path) -> None:
    try:
        store = LocalStore(small_disk)
        store.put("a", b"old")
        with pytest.raises(StorageError, match="the disk is full; free some space") as caught:
            store.put("a", bytes(1 << 20))
        assert caught.value.facts["errno"] == errno.ENOSPC
        assert not caught.value.retryable
        assert store.get("a") == b"old"
        assert [path.name for path in small_disk.iterdir()] == ["a"]
        subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
        with pytest.raises(StorageError, match="read-only"):
            store.put("a", b"new")
    finally:
        subprocess.run(["umount", small_disk], check=True)
