"""The contract of every kind of store."""

import hashlib
import pickle
import uuid
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from headend.core.errors import ObjectMissing, StorageError
from headend.core.settings import StoreSettings
from headend.core.storage import Store, check_writable, open_store
from headend.core.storage.memory import MemoryStore
from tests.support.s3_servers import BUCKET, PAGE_KEYS

EVERY_BYTE = bytes(range(256)) * 5


@pytest.fixture(params=["memory", "local", "s3-rclone", "s3-moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    match request.param:
        case "memory":
            return MemoryStore()
        case "local":
            return open_store(StoreSettings(str(tmp_path / "store")))
        case server:
            found = request.getfixturevalue(f"{server.removeprefix('s3-')}_s3")
            return open_store(StoreSettings(f"s3://{BUCKET}/{uuid.uuid4().hex}/deep", found.endpoint_url))


def keys(store: Store, prefix: str) -> list[str]:
    return [info.key for info in store.list(prefix)]


def keys_after(store: Store, prefix: str, after: str) -> list[str]:
    return [info.key for info in store.list(prefix, after=after)]


class TestStore:
    def test_returns_the_stored_bytes(self, store: Store) -> None:
        store.put("titles/film/1.m4s", EVERY_BYTE)
        assert store.get("titles/film/1.m4s") == EVERY_BYTE

    def test_keeps_empty_objects(self, store: Store) -> None:
        store.put("empty", b"")
        assert store.get("empty") == b""
        assert store.head("empty").size_bytes == 0
        assert store.get_range("empty", 0, 10) == b""

    def test_a_second_put_replaces_the_first(self, store: Store) -> None:
        store.put("a.json", b"a longer first")
        first = store.head("a.json")
        store.put("a.json", b"second")
        assert store.get("a.json") == b"second"
        assert store.head("a.json").etag != first.etag
        assert keys(store, "") == ["a.json"]

    def test_keys_may_hold_any_printable_ascii(self, store: Store) -> None:
        key = "odd/a b+c%20&=#~'\"(1)!@$^,;[]{}.mp4"
        store.put(key, b"x")
        assert store.get(key) == b"x"
        assert keys(store, "odd/a b+") == [key]

    def test_replaces_only_the_version_that_was_read(self, store: Store) -> None:
        assert store.put_if_match("titles/film/current.json", b"first", None)
        assert not store.put_if_match("titles/film/current.json", b"second", None)
        seen = store.head("titles/film/current.json").etag
        assert store.put_if_match("titles/film/current.json", b"third", seen)
        assert not store.put_if_match("titles/film/current.json", b"fourth", seen)
        assert not store.put_if_match("titles/film/other.json", b"fifth", seen)
        assert store.get("titles/film/current.json") == b"third"
        assert keys(store, "") == ["titles/film/current.json"]

    def test_a_page_continues_after_the_previous_one(self, store: Store) -> None:
        names = ["a", "a-b", "a/1", "a/2", "a0", "b/1"]
        for name in ("a-b", "a0", "b/1", "a/2", "a/1"):
            store.put(f"p/{name}", b"x")
        everything = keys(store, "p/")
        assert everything == [f"p/{name}" for name in names[1:]]
        for index in range(len(everything)):
            for limit in (1, 2, 9):
                page = store.page("p/", after=everything[index], limit=limit)
                assert [info.key for info in page] == everything[index + 1 : index + 1 + limit]
            assert keys_after(store, "p/", everything[index]) == everything[index + 1 :]
        assert [info.key for info in store.page("p/a/", after="p/a/1")] == ["p/a/2"]

    @pytest.mark.parametrize("start", [0, 1, 1000, 1279])
    @pytest.mark.parametrize("length", [1, 280, 5000])
    def test_a_range_is_cut_at_the_end(self, store: Store, start: int, length: int) -> None:
        store.put("object", EVERY_BYTE)
        assert store.get_range("object", start, length) == EVERY_BYTE[start : start + length]

    def test_a_range_after_the_end_is_empty(self, store: Store) -> None:
        store.put("object", EVERY_BYTE)
        assert store.get_range("object", len(EVERY_BYTE), 1) == b""
        assert store.get_range("object", 10**9, 5) == b""

    def test_head_describes_without_reading(self, store: Store) -> None:
        store.put("object", EVERY_BYTE)
        info = store.head("object")
        assert (info.key, info.size_bytes) == ("object", len(EVERY_BYTE))
        assert info.modified.utcoffset() == timedelta(0)
        assert info.modified.tzinfo is UTC
        assert info.etag
        assert '"' not in info.etag

    def test_list_agrees_with_head(self, store: Store) -> None:
        store.put("object", EVERY_BYTE)
        (listed,) = store.list("")
        headed = store.head("object")
        assert (listed.key, listed.size_bytes, listed.etag) == (headed.key, headed.size_bytes, headed.etag)
        assert listed.modified.replace(microsecond=0) == headed.modified.replace(microsecond=0)

    def test_lists_in_ascending_order_of_whole_keys(self, store: Store) -> None:
        # Sorting by folder would put "o/a/1" before "o/a-b".
        wanted = ["o/B", "o/a-b", "o/a.c", "o/a/1", "o/a/10", "o/a/2", "o/a0", "p"]
        for key in reversed(wanted):
            store.put(key, b"x")
        assert keys(store, "") == wanted

    def test_a_prefix_is_a_plain_string(self, store: Store) -> None:
        for key in ("film/1", "film/2/3", "film-2/1", "other"):
            store.put(key, b"x")
        assert keys(store, "film") == ["film-2/1", "film/1", "film/2/3"]
        assert keys(store, "film/") == ["film/1", "film/2/3"]
        assert keys(store, "film/2/3") == ["film/2/3"]
        assert keys(store, "nothing/") == []
        assert keys(store, "film/1/") == []

    def test_folders_are_listed_without_their_contents(self, store: Store) -> None:
        for key in ("titles/b/1/2/3", "titles/a-b/1", "titles/a/1", "titles/loose", "other/x"):
            store.put(key, b"x")
        assert store.folders("titles/") == ("a", "a-b", "b")
        assert store.folders("titles/b/") == ("1",)
        assert store.folders("") == ("other", "titles")
        assert store.folders("none/") == ()

    def test_folders_of_more_than_a_page(self, store: Store) -> None:
        wanted = tuple(sorted(f"{n}" for n in range(3 * PAGE_KEYS)))
        for name in wanted:
            store.put(f"many/{name}/x", b"")
        assert store.folders("many/") == wanted

    def test_a_store_never_written_to_is_empty(self, store: Store) -> None:
        assert keys(store, "") == []
        assert store.folders("") == ()

    def test_keys_are_those_of_the_list(self, store: Store) -> None:
        for key in ("film/1", "film/a/2", "film-2/1", "other"):
            store.put(key, b"x")
        for prefix in ("", "film", "film/", "film/a/", "nothing/"):
            assert list(store.keys(prefix)) == keys(store, prefix)

    def test_lists_more_than_a_page(self, store: Store) -> None:
        wanted = sorted(f"many/{n}.m4s" for n in range(3 * PAGE_KEYS))
        for key in wanted:
            store.put(key, b"")
        assert keys(store, "many/") == wanted

    @pytest.mark.parametrize("read", ["get", "head"])
    def test_a_missing_object_is_an_error_that_names_it(self, store: Store, read: str) -> None:
        with pytest.raises(ObjectMissing) as caught:
            getattr(store, read)("titles/none.json")
        assert caught.value.facts["key"] == "titles/none.json"
        assert "titles/none.json" in caught.value.message

    def test_ranges_and_open_of_a_missing_object_fail(self, store: Store) -> None:
        with pytest.raises(ObjectMissing):
            store.get_range("none", 0, 5)
        with pytest.raises(ObjectMissing), store.open("none") as reader:
            reader.read(1)

    def test_a_folder_is_not_an_object(self, store: Store) -> None:
        store.put("film/1", b"x")
        for read in (store.get, store.head):
            with pytest.raises(ObjectMissing):
                read("film")
        with pytest.raises(ObjectMissing):
            store.get("film/1/2")

    def test_deleting_a_missing_object_is_not_an_error(self, store: Store) -> None:
        store.put("film/1/a", b"x")
        store.put("film/2", b"x")
        store.delete("film/1/a")
        store.delete("film/1/a")
        assert keys(store, "") == ["film/2"]
        with pytest.raises(ObjectMissing):
            store.get("film/1/a")

    def test_put_if_absent_keeps_the_first(self, store: Store) -> None:
        assert store.put_if_absent("plans/plan.json", b"first")
        assert not store.put_if_absent("plans/plan.json", b"second")
        assert store.get("plans/plan.json") == b"first"
        assert keys(store, "") == ["plans/plan.json"]

    @pytest.mark.parametrize("size_bytes", [0, 1000, 12 * 2**20 + 7])
    def test_a_file_of_any_size_arrives_whole(self, store: Store, tmp_path: Path, size_bytes: int) -> None:
        pattern = hashlib.sha256(b"film").digest()
        content = (pattern * (size_bytes // len(pattern) + 1))[:size_bytes]
        path = tmp_path / "scratch.mp4"
        path.write_bytes(content)
        store.put_file("film/whole.mp4", path)
        assert store.head("film/whole.mp4").size_bytes == size_bytes
        assert hashlib.sha256(store.get("film/whole.mp4")).digest() == hashlib.sha256(content).digest()
        assert path.exists()

    def test_a_missing_local_file_is_not_a_missing_object(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match=r"gone\.mp4 can't be read, so it can't be stored") as caught:
            store.put_file("film/whole.mp4", tmp_path / "gone.mp4")
        assert not isinstance(caught.value, ObjectMissing)

    def test_reads_piece_by_piece(self, store: Store) -> None:
        store.put("object", EVERY_BYTE)
        pieces = []
        with store.open("object") as reader:
            while piece := reader.read(500):
                pieces.append(piece)
        assert b"".join(pieces) == EVERY_BYTE
        assert max(map(len, pieces)) <= 500

    @pytest.mark.parametrize(
        "key",
        ["", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\0b", "a\nb", "é", "x" * 1025, "a/.headend-b"],
    )
    def test_invalid_keys_are_refused(self, store: Store, key: str) -> None:
        for call in (store.get, store.head, store.delete):
            with pytest.raises(StorageError, match="is not an object's key"):
                call(key)
        for write in (store.put, store.put_if_absent):
            with pytest.raises(StorageError, match="is not an object's key"):
                write(key, b"x")
        with pytest.raises(StorageError, match="is not an object's key"), store.open(key):
            pass

    @pytest.mark.parametrize("prefix", ["/", "/etc", "../", "a//", "a\0"])
    def test_invalid_prefixes_are_refused(self, store: Store, prefix: str) -> None:
        with pytest.raises(StorageError, match="is not an object's key"):
            store.list(prefix)

    def test_crosses_to_another_process_with_an_open_connection(self, store: Store) -> None:
        store.put("object", b"x")
        copy: Store = pickle.loads(pickle.dumps(store))
        assert copy.get("object") == b"x"
        assert copy.url == store.url

    def test_passes_the_check_before_a_job_and_leaves_nothing(self, store: Store) -> None:
        check_writable(store)
        assert keys(store, "") == []
