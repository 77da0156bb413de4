from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction

import pytest

from benchmarks.synthetic import receipts_of
from headend.core import documents, layout
from headend.core.errors import ConfigError, PackagingError, StorageError, StoreUnavailable
from headend.core.media import Codec, EncodePlan, Presentation, Receipt
from headend.core.storage.base import Store
from headend.core.storage.memory import MemoryStore
from packager.conformance import references, verify
from packager.presentation import assemble
from packager.publishing import manifests, publish, set_current
from packager.reading import current_presentation, current_release, published_titles, read_pointer
from packager.stored_parts import find_stored_parts, merge_parts, remove_receipts
from tests.support.makers import make_audio_rendition, make_video_rendition
from tests.support.releases import make_grid, make_plan, store_synthetic

MANIFESTS = (".m3u8", ".mpd", layout.THUMBNAIL_INDEX)
FIRST, SECOND, THIRD = (f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3))


@dataclass(frozen=True, slots=True)
class FailingStore(MemoryStore):
    """A store that accepts a number of writes and then fails; it records the writes."""

    writes_left: list[int] = field(default_factory=lambda: [1_000_000])
    written: list[str] = field(default_factory=list)

    def put(self, key: str, data: bytes) -> None:
        if self.writes_left[0] == 0:
            raise StoreUnavailable("the store is gone")
        self.writes_left[0] -= 1
        self.written.append(key)
        MemoryStore.put(self, key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        written = MemoryStore.put_if_absent(self, key, data)
        self.written.extend([key] * written)
        return written


def small_plan(title: str = "film") -> EncodePlan:
    rate = Fraction(24000, 1001)
    video = [
        make_video_rendition(frame_rate=rate, average_bps=100_000, default=True),
        make_video_rendition(frame_rate=rate, average_bps=100_000, codec=Codec.VP9),
    ]
    sound = [make_audio_rendition(), make_audio_rendition(codec=Codec.OPUS)]
    return replace(make_plan(make_grid(frame_count=300), video, sound, trick_play=True), title=title)


def smaller(plan: EncodePlan) -> EncodePlan:
    """Return the plan without its VP9."""
    tracks = {rendition: track for rendition, track in plan.tracks.items() if not rendition.startswith("vp9")}
    return replace(plan, video=plan.video[:1], trick=plan.trick[:1], tracks=tracks)


def presentation_in(store: Store, plan: EncodePlan) -> Presentation:
    return assemble(plan, merge_parts(store, find_stored_parts(store, plan), plan.tracks))


def make_store(*plans: EncodePlan) -> FailingStore:
    store = FailingStore()
    for plan in plans:
        store_synthetic(store, plan)
        presentation_in(store, plan)
    store.written.clear()
    return store


def keys_of(store: Store) -> set[str]:
    return {info.key for info in store.list("titles/")}


def test_a_published_release_is_the_current_one() -> None:
    plan = small_plan()
    store = make_store(plan)
    published = publish(store, presentation_in(store, plan))
    presentation = published.presentation
    assert published.is_current
    assert current_release(store, "film") == presentation.release
    assert current_presentation(store, "film") == presentation
    folder = layout.release_path("film", presentation.release)
    for name, data in manifests(presentation).items():
        assert store.get(f"{folder}/{name}") == data


def test_the_id_of_a_release_is_the_digest_of_its_manifests() -> None:
    store = make_store(small_plan())
    presentation = presentation_in(store, small_plan())
    one = publish(store, presentation).presentation.release
    assert publish(store, presentation).presentation.release == one
    renamed = replace(
        presentation,
        audio=tuple(replace(track, rendition=replace(track.rendition, name="Other")) for track in presentation.audio),
    )
    assert publish(store, renamed).presentation.release != one


def test_manifests_are_written_before_their_parents_and_the_pointer_last() -> None:
    plan = small_plan()
    store = make_store(plan)
    release = publish(store, presentation_in(store, plan)).presentation.release
    assert [key.removeprefix(f"titles/film/releases/{release}/") for key in store.written] == [
        "poster.jpg",
        "avc-1080p-100k.m3u8",
        "aac-2.0-128k-en.m3u8",
        "avc-1080p-100k.iframes.m3u8",
        "avc-1080p-trick.iframes.m3u8",
        "thumbnails.m3u8",
        "thumbnails.vtt",
        "outline.json",
        "multivariant.m3u8",
        "manifest.mpd",
        "release.json",
        "published/film",
        "titles/film/current.json",
    ]


def test_indexes_are_written_after_their_segments_and_then_receipts_are_removed() -> None:
    plan = small_plan()
    store = FailingStore()
    store_synthetic(store, plan)
    store.written.clear()
    stored = find_stored_parts(store, plan)
    merge_parts(store, stored, plan.tracks)
    for id in ("avc-1080p-100k", "vp9-1080p-trick"):
        names = [key.rpartition("/")[2] for key in store.written if f"/tracks/{id}/" in key]
        assert names == ["sync", "index"]
    remove_receipts(store, stored)
    assert not list(store.list(layout.receipts("film")))
    assert find_stored_parts(store, plan).done == frozenset(plan.parts)


@pytest.mark.parametrize("writes", range(11))
def test_after_any_number_of_writes_no_manifest_names_a_missing_object(writes: int) -> None:
    plan = small_plan()
    store = make_store(plan)
    old = publish(store, presentation_in(store, smaller(plan)), submitted_at=FIRST).presentation.release
    whole = presentation_in(store, plan)
    store.writes_left[0] = writes
    with pytest.raises(StoreUnavailable):
        publish(store, whole, submitted_at=SECOND)
    keys = keys_of(store)
    for key in keys:
        if key.endswith(MANIFESTS):
            assert set(references(key, store.get(key))) <= keys
    assert current_release(store, "film") == old
    store.writes_left[0] = 1_000
    assert publish(store, presentation_in(store, plan), submitted_at=SECOND).is_current
    assert current_release(store, "film") != old


def test_the_check_of_references_can_fail() -> None:
    plan = small_plan()
    store = make_store(plan)
    release = publish(store, presentation_in(store, plan)).presentation.release
    gone = layout.track_segment("film", "avc-1080p-100k", 2)
    naming = {key for key in keys_of(store) if key.endswith(MANIFESTS) and gone in set(references(key, store.get(key)))}
    assert {key.removeprefix(f"titles/film/releases/{release}/") for key in naming} == {
        "avc-1080p-100k.m3u8",
        "avc-1080p-100k.iframes.m3u8",
        "manifest.mpd",
    }


def test_publishing_again_writes_nothing() -> None:
    plan = small_plan()
    store = make_store(plan)
    publish(store, presentation_in(store, plan), submitted_at=FIRST)
    store.written.clear()
    publish(store, presentation_in(store, plan), submitted_at=FIRST)
    assert store.written == []


def test_publishing_again_repairs_a_manifest() -> None:
    plan = small_plan()
    store = make_store(plan)
    key = layout.multivariant("film", publish(store, presentation_in(store, plan)).presentation.release)
    good = store.get(key)
    store.put(key, good.replace(b"1", b"2"))
    publish(store, presentation_in(store, plan))
    assert store.get(key) == good


# --- the pointer --------------------------------------------------------------------------------------------------


def test_a_newer_request_is_not_replaced_by_an_older_one_that_ends_later() -> None:
    plan = small_plan()
    store = make_store(plan)
    newer = publish(store, presentation_in(store, plan), submitted_at=SECOND).presentation.release
    older = publish(store, presentation_in(store, smaller(plan)), submitted_at=FIRST)
    assert (older.is_current, older.newer) == (False, newer)
    assert current_release(store, "film") == newer
    # Its release is stored nevertheless.
    assert verify(store, "film", older.presentation.release).release != newer
    assert publish(store, presentation_in(store, smaller(plan)), submitted_at=THIRD).is_current


def test_the_pointer_records_earlier_releases() -> None:
    plan = small_plan()
    store = make_store(plan)
    one = publish(store, presentation_in(store, plan), submitted_at=FIRST).presentation.release
    two = publish(store, presentation_in(store, smaller(plan)), submitted_at=SECOND).presentation.release
    pointer = set_current(store, "film", "", submitted_at=THIRD)
    assert (pointer.release, [former.release for former in pointer.history]) == ("", [two, one])
    assert all(former.until for former in pointer.history)
    assert published_titles(store) == ()
    with pytest.raises(ConfigError, match="is not published"):
        current_release(store, "film")


def test_a_request_that_confirms_a_release_keeps_older_ones_from_moving_it() -> None:
    plan = small_plan()
    store = make_store(plan)
    for at in (FIRST, THIRD):
        publish(store, presentation_in(store, plan), submitted_at=at)
    assert not publish(store, presentation_in(store, smaller(plan)), submitted_at=SECOND).is_current
    pointer = read_pointer(store, "film")
    assert pointer is not None and pointer.history == ()


def test_if_two_jobs_move_the_pointer_at_once_the_newer_request_wins() -> None:
    plan = small_plan()
    store = make_store(plan)
    one = publish(store, presentation_in(store, plan), submitted_at=FIRST).presentation.release
    two = publish(store, presentation_in(store, smaller(plan)), submitted_at=FIRST).presentation.release
    for trial in range(20):
        times = [f"2027-01-01T00:00:{trial:02}.{n}00000+00:00" for n in (1, 2)]
        with ThreadPoolExecutor(2) as pool:
            list(
                pool.map(
                    lambda pair: set_current(store, "film", pair[0], submitted_at=pair[1]),
                    [(one, times[0]), (two, times[1])],
                )
            )
        assert current_release(store, "film") == two


def test_the_store_of_an_older_headend_is_refused_in_one_clear_line() -> None:
    store = MemoryStore()
    old = b'{"kind":"Current","version":1,"body":{"release":"4c1f","published_at":"2026-01-31T12:00:00+00:00"}}'
    store.put("titles/film/current.json", old)
    with pytest.raises(
        StorageError, match="old version of headend, whose stores this version can't read: use an empty store"
    ):
        current_release(store, "film")


# --- incomplete parts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_bytes", [None, 1])
@pytest.mark.parametrize(
    "key",
    [
        layout.track_segment("film", "avc-1080p-100k", 2),
        layout.track_segment("film", "opus-2.0-128k-en", 3),
        layout.track_init("film", "vp9-1080p-100k"),
        layout.track_segment("film", "avc-1080p-trick", 1),
        layout.track_segment("film", "thumbnails", 1),
        layout.track_segment("film", "poster", 1),
    ],
)
def test_nothing_is_written_while_an_object_is_missing_or_cut_short(key: str, size_bytes: int | None) -> None:
    plan = small_plan()
    store = make_store(plan)
    presentation = presentation_in(store, plan)
    store.delete(key)
    if size_bytes is not None:
        store.put(key, bytes(size_bytes))
    store.written.clear()
    with pytest.raises(PackagingError, match=key.split("/")[3]):
        publish(store, presentation)
    assert store.written == []
    # The next run makes only the chunk with the lost object.
    missing = set(plan.parts) - find_stored_parts(store, plan).done
    assert len(missing) == 1 and next(iter(missing))[0] == key.split("/")[3]


def test_a_task_that_is_not_done_is_missing() -> None:
    plan = small_plan()
    store = FailingStore()
    store_synthetic(store, plan)
    store.delete(layout.receipt("film", "audio-1"))
    stored = find_stored_parts(store, plan)
    assert set(plan.parts) - stored.done == {(sound.id, 0) for sound in plan.audio}
    with pytest.raises(PackagingError, match=r"2 parts are missing, such as chunk 0 of aac-2\.0-128k-en"):
        merge_parts(store, stored, plan.tracks)


def test_parts_stored_by_an_interrupted_task_are_reused() -> None:
    plan = small_plan()
    store = FailingStore()
    store_synthetic(store, plan)
    key = layout.receipt("film", "video-0")
    receipt = documents.read(Receipt, store.get(key))
    store.put(key, documents.write(replace(receipt, tracks=receipt.tracks[:1])))
    missing = set(plan.parts) - find_stored_parts(store, plan).done
    assert missing == {(track.rendition, 0) for track in receipt.tracks[1:]}


def test_a_damaged_receipt_stops_publishing_and_is_named() -> None:
    plan = small_plan()
    store = FailingStore()
    store_synthetic(store, plan)
    key = layout.receipt("film", "audio-1")
    store.put(key, documents.write(receipts_of(plan)[0])[:-5])
    with pytest.raises(StorageError, match=key):
        find_stored_parts(store, plan)


# --- titles -------------------------------------------------------------------------------------------------------


def test_titles_are_listed_page_by_page() -> None:
    plans = [small_plan(title) for title in ("b", "a", "a-c")]
    store = make_store(*plans, small_plan("unpublished"))
    for plan in plans:
        publish(store, presentation_in(store, plan))
    assert published_titles(store) == ("a", "a-c", "b")
    assert published_titles(store, limit=2) == ("a", "a-c")
    assert published_titles(store, after="a-c", limit=2) == ("b",)


def test_an_unknown_title_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match="'film' is not published"):
        current_presentation(MemoryStore(), "film")
    with pytest.raises(ConfigError, match="not a title's name"):
        current_release(MemoryStore(), "../film")
