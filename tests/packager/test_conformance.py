import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from headend import documents, layout
from headend.errors import ConfigError, StoreUnavailable
from headend.media import EncodePlan, Light, Presentation, Receipt, Segment
from headend.storage.memory import MemoryStore
from packager.conformance import Finding, verify
from packager.publishing import manifests, publish
from tests.support.releases import REAL_GRID, AnyRendition, store_real

BASE = "titles/film/r1/"


def published() -> tuple[MemoryStore, EncodePlan]:
    store = MemoryStore()
    plan = store_real(store)
    publish(store, plan)
    return store, plan


def findings(store: MemoryStore) -> dict[str, str]:
    """What is wrong with the release, by object, several messages of one joined."""
    said: dict[str, list[str]] = {}
    for finding in verify(store, "film").findings:
        assert isinstance(finding, Finding)
        said.setdefault(finding.object.removeprefix(BASE), []).append(finding.message)
    return {key: "; ".join(messages) for key, messages in said.items()}


def rewrite_receipt(store: MemoryStore, task: str, change: Callable[[Receipt], Receipt]) -> None:
    key = layout.receipt("film", "r1", task)
    store.put(key, documents.write(change(documents.read(Receipt, store.get(key)))))


def with_segment(receipt: Receipt, place: int, change: Callable[[Segment], Segment]) -> Receipt:
    first, *others = receipt.tracks
    segments = [change(s) if n == place else s for n, s in enumerate(first.segments)]
    return replace(receipt, tracks=(replace(first, segments=tuple(segments)), *others))


def test_a_sound_release_is_read_whole_and_found_sound() -> None:
    store, plan = published()
    verdict = verify(store, "film")
    assert verdict.findings == ()
    assert verdict.release == "r1"
    assert verdict.frames == REAL_GRID.frame_count * 2 + REAL_GRID.frame_count // 2
    release = {info.key: info.size_bytes for info in store.list(BASE)}
    assert verdict.objects == len(release)
    assert verdict.bytes == sum(release.values())
    assert plan.release == verdict.release


def test_progress_counts_the_segments() -> None:
    store, _ = published()
    seen: list[tuple[int, int]] = []
    verify(store, "film", on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 15) for n in range(1, 16)]


def test_a_corrupted_byte_of_media_is_found() -> None:
    store, _ = published()
    key = BASE + "vp9-90p/2.m4s"
    data = store.get(key)
    store.put(key, data[:-1] + bytes([data[-1] ^ 1]))
    assert findings(store) == {"vp9-90p/2.m4s": "its bytes are not those that were encoded (sha256 differs)"}


@pytest.mark.parametrize("place", range(0, 200, 7))
def test_a_corrupted_byte_of_structure_is_a_finding_and_no_crash(place: int) -> None:
    store, _ = published()
    key = BASE + "avc-90p/1.m4s"
    data = bytearray(store.get(key))
    data[place] ^= 0xFF
    store.put(key, bytes(data))
    assert list(findings(store)) == ["avc-90p/1.m4s"]


def test_a_missing_segment_is_named_with_all_that_refers_to_it() -> None:
    store, _ = published()
    store.delete(BASE + "avc-90p/2.m4s")
    found = findings(store)
    assert found.pop("avc-90p/2.m4s") == "it is missing"
    assert set(found) == {"avc-90p/media.m3u8", "avc-90p/iframes.m3u8", "manifest.mpd"}
    assert all(message == f"it names {BASE}avc-90p/2.m4s, which is missing" for message in found.values())


@pytest.mark.parametrize(
    "key", ["avc-90p/init.mp4", "multivariant.m3u8", "release.json", "plan.json", "receipts/video-1.json"]
)
def test_any_other_missing_object_is_named(key: str) -> None:
    store, _ = published()
    store.delete(BASE + key)
    assert "missing" in findings(store)[key]


def test_swapped_segments_are_found_by_their_times() -> None:
    store, _ = published()
    one, two = (BASE + f"avc-90p/{number}.m4s" for number in (1, 2))
    first, second = store.get(one), store.get(two)
    store.put(one, second)
    store.put(two, first)
    assert set(findings(store)) == {"avc-90p/1.m4s", "avc-90p/2.m4s"}


def test_segments_swapped_with_their_records_are_found_by_times_and_sequence_numbers() -> None:
    store, _ = published()

    def swap(receipt: Receipt) -> Receipt:
        first, *others = receipt.tracks
        a, b = first.segments
        a, b = (
            replace(a, size_bytes=b.size_bytes, sha256=b.sha256, sync=b.sync),
            replace(b, size_bytes=a.size_bytes, sha256=a.sha256, sync=a.sync),
        )
        return replace(receipt, tracks=(replace(first, segments=(a, b)), *others))

    one, two = (BASE + f"avc-90p/{number}.m4s" for number in (1, 2))
    first, second = store.get(one), store.get(two)
    store.put(one, second)
    store.put(two, first)
    rewrite_receipt(store, "video-0", swap)
    publish(store, documents.read(EncodePlan, store.get(BASE + "plan.json")))
    found = findings(store)
    assert found["avc-90p/1.m4s"] == "its decode time is 48000, not 0; its sync frames are not where the grid has them"
    assert "its mfhd sequence number 1 does not ascend" in found["avc-90p/2.m4s"]


def test_a_truncated_segment_is_found() -> None:
    store, _ = published()
    key = BASE + "opus-2.0/1.m4s"
    store.put(key, store.get(key)[:-10])
    (message,) = findings(store).values()
    assert re.fullmatch(r"it has \d+ bytes, not \d+", message)


def test_another_init_segment_is_found() -> None:
    store, _ = published()
    store.put(BASE + "avc-90p/init.mp4", store.get(BASE + "vp9-90p/init.mp4"))
    found = findings(store)
    assert set(found) == {"avc-90p/init.mp4"}
    assert "its init segment is not the one in the receipts" in found["avc-90p/init.mp4"]
    assert "its codec is vp09" in found["avc-90p/init.mp4"]


@pytest.mark.parametrize(
    ("key", "old", "new", "message"),
    [
        ("multivariant.m3u8", rb"BANDWIDTH=\d+", b"BANDWIDTH=1", "line 5 is "),
        ("avc-90p/media.m3u8", rb"2\.000000", b"2.100000", "line 8 is '#EXTINF:2.100000,', not '#EXTINF:2.000000,'"),
        ("avc-90p/iframes.m3u8", rb"@0", b"@1", "#EXT-X-BYTERANGE"),
        ("manifest.mpd", rb"PT5\.8", b"PT9.9", "line 2 is "),
        ("multivariant.m3u8", rb"\n", b"\r\n", "line ends"),
        ("multivariant.m3u8", rb"(?s).+", b"not a playlist", "line 1 is 'not a playlist', not '#EXTM3U'"),
    ],
)
def test_an_edited_manifest_is_found_with_the_line(key: str, old: bytes, new: bytes, message: str) -> None:
    store, _ = published()
    edited = re.sub(old, new, store.get(BASE + key), count=1)
    assert edited != store.get(BASE + key)
    store.put(BASE + key, edited)
    found = findings(store)
    assert list(found) == [key]
    assert message in found[key]


def test_a_receipt_that_lies_about_a_segment_is_blamed_and_not_the_segment() -> None:
    store, _ = published()
    rewrite_receipt(store, "video-1", lambda r: with_segment(r, 0, lambda s: replace(s, sha256="00")))
    assert findings(store) == {"receipts/video-1.json": "it is wrong about segment 3 of avc-90p"}


def test_a_receipt_off_the_grid_is_found() -> None:
    store, _ = published()
    rewrite_receipt(store, "video-1", lambda r: with_segment(r, 0, lambda s: replace(s, samples=43)))
    assert findings(store) == {"avc-90p/3.m4s": "avc-90p: segment 3 is not on the grid: samples is 43, not 44"}


def test_a_receipt_of_another_task_is_found() -> None:
    store, _ = published()
    store.put(BASE + "receipts/video-1.json", store.get(BASE + "receipts/video-0.json"))
    assert "receipts/video-1.json" in findings(store)


def test_a_release_document_that_lies_about_a_segment_is_blamed() -> None:
    store, _ = published()
    key = BASE + "release.json"
    document = documents.read(Presentation, store.get(key))
    first, *others = document.video
    segments = (replace(first.segments[0], size_bytes=1, duration_ticks=0), *first.segments[1:])
    store.put(key, documents.write(replace(document, video=(replace(first, segments=segments), *others))))
    found = findings(store)
    assert list(found) == ["release.json"]
    assert found["release.json"].startswith("it is wrong about segment 1 of avc-90p")


@pytest.mark.parametrize("change", [{"title": "other"}, {"video": ()}])
def test_a_release_document_of_something_else_is_found(change: dict[str, object]) -> None:
    store, _ = published()
    key = BASE + "release.json"
    store.put(key, documents.write(replace(documents.read(Presentation, store.get(key)), **change)))
    assert list(findings(store)) == ["release.json"]


@pytest.mark.parametrize("key", ["release.json", "plan.json", "receipts/audio-1.json"])
def test_damaged_documents_are_findings(key: str) -> None:
    store, _ = published()
    store.put(BASE + key, b"{")
    assert "can't be read" in findings(store)[key]


def test_a_bandwidth_below_what_was_measured_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from packager import hls

    honest = hls.multivariant
    monkeypatch.setattr(hls, "multivariant", lambda p: re.sub(r":BANDWIDTH=\d+", ":BANDWIDTH=1000", honest(p)))
    store, _ = published()
    assert "BANDWIDTH of avc-90p/media.m3u8 is 1000, but" in findings(store)["multivariant.m3u8"]


def test_an_older_release_can_be_verified() -> None:
    store, plan = published()
    for info in list(store.list(BASE)):
        if info.key.startswith((BASE + "receipts", BASE + "plan")) or info.key.endswith((".m4s", ".mp4")):
            store.put(info.key.replace("/r1/", "/r2/"), store.get(info.key))
    newer = replace(plan, release="r2")
    store.put(layout.plan("film", "r2"), documents.write(newer))
    assert next(iter(manifests(publish(store, newer)))).startswith("titles/film/r2/")
    store.delete(layout.segment("film", "r2", "avc-90p", 1))
    assert verify(store, "film", "r1").findings == ()
    assert verify(store, "film").findings != ()


def test_unknown_titles_and_releases_are_told_as_wrong_use() -> None:
    store, _ = published()
    with pytest.raises(ConfigError, match="'nothing' is not published"):
        verify(store, "nothing")
    with pytest.raises(ConfigError, match="has no release 'r9'"):
        verify(store, "film", "r9")


def test_a_store_that_fails_is_an_error_and_no_finding() -> None:
    class Failing(MemoryStore):
        def get(self, key: str) -> bytes:
            if key.endswith("2.m4s"):
                raise StoreUnavailable("the store is gone")
            return MemoryStore.get(self, key)

    store = Failing()
    publish(store, store_real(store))
    with pytest.raises(StoreUnavailable):
        verify(store, "film")


def test_a_segment_of_each_rendition_is_decoded_or_all_of_them() -> None:
    store, plan = published()
    seen: list[tuple[str, int]] = []

    def look(rendition: AnyRendition, _light: Light | None, segment: Segment, data: bytes) -> tuple[str, ...]:
        key = BASE + rendition.id
        assert data == store.get(f"{key}/init.mp4") + store.get(f"{key}/{segment.number}.m4s")
        seen.append((rendition.id, segment.number))
        return ("it is green",) if rendition.id == "vp9-90p" else ()

    (finding,) = verify(store, "film", look=look).findings
    assert finding.message == "it is green" and finding.object.startswith(f"{BASE}vp9-90p/")
    assert sorted(id for id, _ in seen) == sorted(rendition.id for rendition in (*plan.video, *plan.audio))
    seen.clear()
    assert len(verify(store, "film", look=look, deep=True).findings) == 3
    assert len(set(seen)) == len(seen) == 15


def test_damaged_segments_are_not_decoded() -> None:
    store, _ = published()
    for number in (1, 2, 3):
        key = f"{BASE}vp9-90p/{number}.m4s"
        store.put(key, store.get(key)[:-1] + b"!")
    seen = []
    verify(store, "film", look=lambda rendition, *_: seen.append(rendition.id) or (), deep=True)
    assert len(seen) == 12 and "vp9-90p" not in seen


def test_rendition_above_its_cap_is_found_at_its_worst_segment() -> None:
    store = MemoryStore()
    plan = store_real(store)
    rates = {r.id: r.cap_bps for r in plan.video}
    publish(store, plan)
    sizes = {
        track.rendition.id: [8 * s.size_bytes * track.timescale / s.duration_ticks for s in track.segments]
        for track in documents.read(Presentation, store.get(layout.release_document("film", "r1")), key="release").video
    }
    assert all(max(sizes[id]) <= cap for id, cap in rates.items())
    tight_bps = int(max(sizes["vp9-90p"]) / 1.2)
    low = tuple(replace(r, cap_bps=tight_bps, buffer_bits=tight_bps) if r.id == "vp9-90p" else r for r in plan.video)
    plan = replace(plan, video=low)
    store.put(layout.plan("film", "r1"), documents.write(plan))
    publish(store, plan)

    worst = 1 + sizes["vp9-90p"].index(max(sizes["vp9-90p"]))
    (found,) = verify(store, "film").findings
    assert found.object == layout.segment("film", "r1", "vp9-90p", worst)
    assert f"cap of {tight_bps // 1000} kb/s" in found.message
