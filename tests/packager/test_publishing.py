from dataclasses import dataclass, field, replace
from fractions import Fraction

import pytest

from benchmarks.synthetic import receipts_of
from headend import documents, layout
from headend.errors import ConfigError, PackagingError, StorageError, StoreUnavailable
from headend.media import Codec, Current, EncodePlan
from headend.storage.base import Store
from headend.storage.memory import MemoryStore
from packager.conformance import references
from packager.publishing import current_presentation, current_release, manifests, publish, titles
from tests.support.nouns import make_audio_rendition, make_video_rendition
from tests.support.releases import make_grid, make_plan, store_synthetic

MANIFESTS = (
    layout.MULTIVARIANT,
    layout.MPD,
    layout.MEDIA_PLAYLIST,
    layout.IFRAME_PLAYLIST,
    layout.IMAGE_PLAYLIST,
    layout.THUMBNAIL_INDEX,
)


@dataclass(frozen=True, slots=True)
class FailingStore(MemoryStore):
    """A store that takes so many writes and then no more; it remembers what was written."""

    writes_left: list[int] = field(default_factory=lambda: [1_000_000])
    written: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes) -> None:
        if self.writes_left[0] == 0:
            raise StoreUnavailable("the store is gone")
        self.writes_left[0] -= 1
        self.written.append(key)
        MemoryStore.put(self, key, data)


def small_plan(release: str = "r1", title: str = "film") -> EncodePlan:
    rate = Fraction(24000, 1001)
    video = [
        make_video_rendition(frame_rate=rate, average_bps=100_000, default=True),
        make_video_rendition(frame_rate=rate, average_bps=100_000, codec=Codec.VP9),
    ]
    sound = [make_audio_rendition(), make_audio_rendition(codec=Codec.OPUS)]
    plan = make_plan(make_grid(frame_count=300), video, sound, winding=True)
    return replace(plan, release=release, title=title)


def make_store(*plans: EncodePlan) -> FailingStore:
    store = FailingStore()
    for plan in plans:
        store_synthetic(store, plan)
    store.written.clear()
    return store


def keys_of(store: Store) -> set[str]:
    return {info.key for info in store.list("titles/")}


def test_a_published_release_is_the_current_one() -> None:
    plan = small_plan()
    store = make_store(plan)
    presentation = publish(store, plan)
    assert current_release(store, "film") == "r1"
    assert current_presentation(store, "film") == presentation
    assert {key: store.get(key) for key in manifests(presentation)} == manifests(presentation)


def test_manifests_come_before_what_names_them_and_the_pointer_comes_last() -> None:
    plan = small_plan()
    store = make_store(plan)
    publish(store, plan)
    assert [key.removeprefix("titles/film/") for key in store.written] == [
        "r1/avc-1080p-100k/media.m3u8",
        "r1/aac-2.0-128k-en/media.m3u8",
        "r1/avc-1080p-100k/iframes.m3u8",
        "r1/avc-1080p-trick/iframes.m3u8",
        "r1/thumbnails/images.m3u8",
        "r1/thumbnails.vtt",
        "r1/release.json",
        "r1/multivariant.m3u8",
        "r1/manifest.mpd",
        "current.json",
    ]


@pytest.mark.parametrize("writes", range(10))
def test_whatever_write_is_the_last_no_manifest_names_a_missing_object(writes: int) -> None:
    old, new = small_plan("r1"), small_plan("r2")
    store = make_store(old, new)
    publish(store, old)
    store.writes_left[0] = writes
    with pytest.raises(StoreUnavailable):
        publish(store, new)
    keys = keys_of(store)
    for key in keys:
        if key.endswith(MANIFESTS):
            assert set(references(key, store.get(key))) <= keys
    assert current_release(store, "film") == "r1"
    store.writes_left[0] = 1_000
    publish(store, new)
    assert current_release(store, "film") == "r2"


def test_the_check_of_references_can_fail() -> None:
    plan = small_plan()
    store = make_store(plan)
    publish(store, plan)
    gone = layout.segment("film", "r1", "avc-1080p-100k", 2)
    naming = {key for key in keys_of(store) if key.endswith(MANIFESTS) and gone in set(references(key, store.get(key)))}
    assert {key.removeprefix("titles/film/r1/") for key in naming} == {
        "avc-1080p-100k/media.m3u8",
        "avc-1080p-100k/iframes.m3u8",
        "manifest.mpd",
    }


def test_publishing_again_writes_nothing() -> None:
    plan = small_plan()
    store = make_store(plan)
    publish(store, plan)
    store.written.clear()
    publish(store, plan)
    assert store.written == []


def test_publishing_again_mends_a_manifest() -> None:
    plan = small_plan()
    store = make_store(plan)
    publish(store, plan)
    key = layout.multivariant("film", "r1")
    good = store.get(key)
    store.put(key, good.replace(b"1", b"2"))
    publish(store, plan)
    assert store.get(key) == good


@pytest.mark.parametrize("size_bytes", [None, 1])
@pytest.mark.parametrize(
    "key",
    [
        layout.segment("film", "r1", "avc-1080p-100k", 2),
        layout.segment("film", "r1", "opus-2.0-128k-en", 3),
        layout.init("film", "r1", "vp9-1080p-100k"),
        layout.segment("film", "r1", "avc-1080p-trick", 1),
        layout.sheet("film", "r1", 1),
    ],
)
def test_nothing_is_written_while_an_object_is_missing_or_cut_short(key: str, size_bytes: int | None) -> None:
    plan = small_plan()
    store = make_store(plan)
    store.delete(key)
    if size_bytes is not None:
        store.put(key, bytes(size_bytes))
    store.written.clear()
    with pytest.raises(PackagingError, match=key.split("/")[3]):
        publish(store, plan)
    assert store.written == []


def test_a_task_that_is_not_done_stops_publishing() -> None:
    plan = small_plan()
    store = make_store(plan)
    store.delete(layout.receipt("film", "r1", "audio-1"))
    with pytest.raises(PackagingError, match="audio-1"):
        publish(store, plan)


def test_a_damaged_receipt_stops_publishing_and_is_named() -> None:
    plan = small_plan()
    store = make_store(plan)
    key = layout.receipt("film", "r1", "audio-1")
    store.put(key, documents.write(receipts_of(plan)[0])[:-5])
    with pytest.raises(StorageError, match=key):
        publish(store, plan)


def test_a_release_whose_name_begins_like_anothers_is_left_alone() -> None:
    plan = small_plan("r1")
    store = make_store(plan, small_plan("r10"))
    assert publish(store, plan).release == "r1"
    assert not any(key.startswith("titles/film/r10/") for key in store.written)


def test_titles_are_listed_with_what_is_current() -> None:
    plans = [small_plan(title=title) for title in ("b", "a")]
    store = make_store(*plans, small_plan(title="unpublished"))
    for plan in plans:
        publish(store, plan)
    found = titles(store)
    assert list(found) == ["a", "b"]
    assert all(isinstance(pointer, Current) and pointer.release == "r1" for pointer in found.values())


def test_an_unknown_title_is_told_as_wrong_use() -> None:
    with pytest.raises(ConfigError, match="'film' is not published"):
        current_presentation(MemoryStore(), "film")
    with pytest.raises(ConfigError, match="not a title's name"):
        current_release(MemoryStore(), "../film")
