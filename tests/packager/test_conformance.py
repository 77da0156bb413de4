import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.synthetic import AnyRendition
from headend.core import documents, layout, track_index
from headend.core.errors import ConfigError, StoreUnavailable
from headend.core.media import EncodePlan, Light, Release, Segment
from headend.core.storage.memory import MemoryStore
from packager.conformance import Finding, verify
from packager.conformance.segments import THREADS
from packager.reading import current_release, read_track
from tests.support.releases import REAL_GRID, publish_plan, store_real

TITLE = "titles/film/"
TRACKS = TITLE + "tracks/"


def published() -> tuple[MemoryStore, EncodePlan]:
    store = MemoryStore()
    plan = store_real(store)
    publish_plan(store, plan)
    return store, plan


def base(store: MemoryStore) -> str:
    """Return the folder of the current release."""
    return f"{layout.release_path('film', current_release(store, 'film'))}/"


def findings(store: MemoryStore) -> dict[str, str]:
    """Findings about the release by object; several messages of one object are joined."""
    messages_by_object: dict[str, list[str]] = {}
    for finding in verify(store, "film").findings:
        assert isinstance(finding, Finding)
        name = finding.object.removeprefix(base(store)).removeprefix(TRACKS)
        messages_by_object.setdefault(name, []).append(finding.message)
    return {key: "; ".join(messages) for key, messages in messages_by_object.items()}


def with_index(store: MemoryStore, track: str, place: int, change: Callable[[Segment], Segment]) -> None:
    """Change a segment's entry in a track's index."""
    index, sync = read_track(store, "film", track)
    segments = [change(s) if n == place else s for n, s in enumerate(index.segments(sync))]
    changed = track_index.index_of(index.facts, segments)
    store.put(layout.track_index("film", track), track_index.encode(changed))


def rewrite_release(store: MemoryStore, change: Callable[[Release], Release]) -> None:
    key = base(store) + "release.json"
    store.put(key, documents.write(change(documents.read(Release, store.get(key)))))


def test_a_valid_release_is_read_completely_and_passes() -> None:
    store, _ = published()
    verdict = verify(store, "film")
    assert verdict.findings == ()
    assert verdict.release == current_release(store, "film")
    assert verdict.frames == REAL_GRID.frame_count * 2 + REAL_GRID.frame_count // 2
    sizes = {info.key: info.size_bytes for info in store.list(TITLE) if info.key.startswith((base(store), TRACKS))}
    assert verdict.objects == len(sizes)
    assert verdict.bytes == sum(sizes.values())


def test_progress_counts_the_segments() -> None:
    store, _ = published()
    seen: list[tuple[int, int]] = []
    verify(store, "film", on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 15) for n in range(1, 16)]


def test_a_corrupted_byte_of_media_is_found() -> None:
    store, _ = published()
    key = TRACKS + "vp9-90p/2.m4s"
    data = store.get(key)
    store.put(key, data[:-1] + bytes([data[-1] ^ 1]))
    assert findings(store) == {"vp9-90p/2.m4s": "its bytes have changed since it was encoded (sha256 differs)"}


@pytest.mark.parametrize("place", range(0, 200, 7))
def test_a_corrupted_byte_of_structure_is_a_finding_and_does_not_crash(place: int) -> None:
    store, _ = published()
    key = TRACKS + "avc-90p/1.m4s"
    data = bytearray(store.get(key))
    data[place] ^= 0xFF
    store.put(key, bytes(data))
    assert list(findings(store)) == ["avc-90p/1.m4s"]


def test_a_missing_segment_is_named_with_all_references_to_it() -> None:
    store, _ = published()
    store.delete(TRACKS + "avc-90p/2.m4s")
    found = findings(store)
    assert found.pop("avc-90p/2.m4s") == "it is missing"
    assert set(found) == {"avc-90p.m3u8", "avc-90p.iframes.m3u8", "manifest.mpd"}
    assert all(message == f"it refers to {TRACKS}avc-90p/2.m4s, which is missing" for message in found.values())


@pytest.mark.parametrize("key", ["avc-90p/init.mp4", "avc-90p/index", "avc-90p/sync"])
def test_any_other_missing_object_of_a_track_is_named(key: str) -> None:
    store, _ = published()
    store.delete(TRACKS + key)
    assert "missing" in findings(store)[key]


@pytest.mark.parametrize("key", ["multivariant.m3u8", "release.json", "avc-90p.m3u8", "manifest.mpd"])
def test_any_other_missing_object_of_a_release_is_named(key: str) -> None:
    store, _ = published()
    store.delete(base(store) + key)
    assert "missing" in findings(store)[key]


def test_swapped_segments_are_found_by_their_times() -> None:
    store, _ = published()
    one, two = (TRACKS + f"avc-90p/{number}.m4s" for number in (1, 2))
    first, second = store.get(one), store.get(two)
    store.put(one, second)
    store.put(two, first)
    assert set(findings(store)) == {"avc-90p/1.m4s", "avc-90p/2.m4s"}


def test_segments_swapped_with_their_records_are_found_by_times_and_sequence_numbers() -> None:
    store, _ = published()
    one, two = (TRACKS + f"avc-90p/{number}.m4s" for number in (1, 2))
    first, second = store.get(one), store.get(two)
    store.put(one, second)
    store.put(two, first)
    index, sync = read_track(store, "film", "avc-90p")
    a, b = list(index.segments(sync))[:2]
    with_index(store, "avc-90p", 0, lambda s: replace(s, size_bytes=b.size_bytes, sha256=b.sha256))
    with_index(store, "avc-90p", 1, lambda s: replace(s, size_bytes=a.size_bytes, sha256=a.sha256))
    found = findings(store)
    assert "its decode time is 48000, not 0; its sync frames are not on the grid" in found["avc-90p/1.m4s"]
    assert "its mfhd sequence number 1 does not increase" in found["avc-90p/2.m4s"]


def test_a_truncated_segment_is_found() -> None:
    store, _ = published()
    key = TRACKS + "opus-2.0/1.m4s"
    store.put(key, store.get(key)[:-10])
    (message,) = findings(store).values()
    assert re.fullmatch(r"it has \d+ bytes, not \d+", message)


def test_another_init_segment_is_found() -> None:
    store, _ = published()
    store.put(TRACKS + "avc-90p/init.mp4", store.get(TRACKS + "vp9-90p/init.mp4"))
    found = findings(store)
    assert set(found) == {"avc-90p/init.mp4"}
    assert "sha256 differs" in found["avc-90p/init.mp4"]
    assert "its codec is vp09" in found["avc-90p/init.mp4"]


@pytest.mark.parametrize(
    ("key", "old", "new", "message"),
    [
        ("multivariant.m3u8", rb"BANDWIDTH=\d+", b"BANDWIDTH=1", "line 6 is "),
        ("avc-90p.m3u8", rb"2\.000000", b"2.100000", "line 8 is '#EXTINF:2.100000,', not '#EXTINF:2.000000,'"),
        ("avc-90p.iframes.m3u8", rb"@0", b"@1", "#EXT-X-BYTERANGE"),
        ("manifest.mpd", rb"PT5\.8", b"PT9.9", "line 2 is "),
        ("multivariant.m3u8", rb"\n", b"\r\n", "line ends"),
        ("multivariant.m3u8", rb"(?s).+", b"not a playlist", "line 1 is 'not a playlist', not '#EXTM3U'"),
    ],
)
def test_an_edited_manifest_is_found_with_the_line(key: str, old: bytes, new: bytes, message: str) -> None:
    store, _ = published()
    edited = re.sub(old, new, store.get(base(store) + key), count=1)
    assert edited != store.get(base(store) + key)
    store.put(base(store) + key, edited)
    found = findings(store)
    assert list(found) == [key]
    assert message in found[key]


def test_an_index_off_the_grid_is_found() -> None:
    store, _ = published()
    with_index(store, "avc-90p", 2, lambda s: replace(s, samples=43))
    found = findings(store)
    assert "avc-90p: segment 3 is not on the grid: samples is 43, not 44" in found["avc-90p/3.m4s"]


def test_an_index_of_another_track_is_found() -> None:
    store, _ = published()
    store.put(TRACKS + "avc-90p/index", store.get(TRACKS + "vp9-90p/index"))
    assert findings(store) == {"avc-90p/index": "the index is that of vp9-90p"}


def test_a_release_document_of_another_release_is_found() -> None:
    store, _ = published()
    rewrite_release(store, lambda r: replace(r, presentation=replace(r.presentation, title="other")))
    assert list(findings(store)) == ["release.json"]


def test_a_release_document_with_other_labels_is_found_by_the_manifests() -> None:
    store, _ = published()
    rewrite_release(store, lambda r: replace(r, presentation=replace(r.presentation, video=r.presentation.video[:1])))
    assert set(findings(store)) == {"multivariant.m3u8", "manifest.mpd", "outline.json"}


def test_manifests_of_another_headend_are_recognised_by_the_name_of_the_release() -> None:
    store, _ = published()
    rewrite_release(store, lambda r: replace(r, software="0.0.1"))
    assert findings(store) == {}
    key = base(store) + "avc-90p.m3u8"
    store.put(key, store.get(key).replace(b"2.000000", b"2.100000"))
    (message,) = findings(store).values()
    assert message == "the release's id does not match its manifests"


@pytest.mark.parametrize("key", ["release.json", "avc-90p/index", "avc-90p/sync"])
def test_damaged_documents_are_findings(key: str) -> None:
    store, _ = published()
    store.put((TRACKS if "/" in key else base(store)) + key, b"{")
    assert re.search("can't be read|not a valid index", findings(store)[key])


def test_a_bandwidth_below_the_measured_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from headend.core.manifests import hls

    honest = hls.multivariant
    monkeypatch.setattr(
        hls, "multivariant", lambda p, **how: re.sub(r":BANDWIDTH=\d+", ":BANDWIDTH=1000", honest(p, **how))
    )
    store, _ = published()
    assert "BANDWIDTH of avc-90p.m3u8 is 1000, but" in findings(store)["multivariant.m3u8"]


def test_an_older_release_can_be_verified() -> None:
    store, plan = published()
    old = current_release(store, "film")
    newer = replace(plan, audio=plan.audio[:1], tracks={id: t for id, t in plan.tracks.items() if id != "opus-2.0"})
    assert publish_plan(store, newer, submitted_at="2026-02-01T00:00:00+00:00").is_current
    store.delete(TRACKS + "opus-2.0/1.m4s")
    assert verify(store, "film").findings == ()
    assert verify(store, "film", old).findings != ()


def test_unknown_titles_and_releases_are_usage_errors() -> None:
    store, _ = published()
    with pytest.raises(ConfigError, match="'nothing' is not published"):
        verify(store, "nothing")
    with pytest.raises(ConfigError, match="has no release 'r9'"):
        verify(store, "film", "r9")


def test_a_failing_store_is_an_error_instead_of_a_finding() -> None:
    class Failing(MemoryStore):
        def get(self, key: str) -> bytes:
            if key.endswith("2.m4s"):
                raise StoreUnavailable("the store is gone")
            return MemoryStore.get(self, key)

    store = Failing()
    publish_plan(store, store_real(store))
    with pytest.raises(StoreUnavailable):
        verify(store, "film")


def test_a_segment_of_each_rendition_is_decoded_or_all_of_them() -> None:
    store, plan = published()
    seen: list[tuple[str, int]] = []

    def look(rendition: AnyRendition, _light: Light | None, segment: Segment, data: bytes) -> tuple[str, ...]:
        key = TRACKS + rendition.id
        assert data == store.get(f"{key}/init.mp4") + store.get(f"{key}/{segment.number}.m4s")
        seen.append((rendition.id, segment.number))
        return ("it is green",) if rendition.id == "vp9-90p" else ()

    (finding,) = verify(store, "film", inspect=look).findings
    assert finding.message == "it is green" and finding.object.startswith(f"{TRACKS}vp9-90p/")
    assert sorted(id for id, _ in seen) == sorted(rendition.id for rendition in (*plan.video, *plan.audio))
    seen.clear()
    assert len(verify(store, "film", inspect=look, deep=True).findings) == 3
    assert len(set(seen)) == len(seen) == 15


def test_segments_that_have_not_begun_are_left_out_once_it_is_stopped() -> None:
    store, _ = published()
    begun: list[str] = []
    verify(
        store,
        "film",
        inspect=lambda rendition, *_: begun.append(rendition.id) or (),
        deep=True,
        is_stopped=lambda: len(begun) > 0,
    )
    assert 0 < len(begun) <= THREADS


def test_damaged_segments_are_not_decoded() -> None:
    store, _ = published()
    for number in (1, 2, 3):
        key = f"{TRACKS}vp9-90p/{number}.m4s"
        store.put(key, store.get(key)[:-1] + b"!")
    seen = []
    verify(store, "film", inspect=lambda rendition, *_: seen.append(rendition.id) or (), deep=True)
    assert len(seen) == 12 and "vp9-90p" not in seen


def test_rendition_above_its_cap_is_found_at_its_worst_segment() -> None:
    store = MemoryStore()
    plan = store_real(store)
    rates = {r.id: r.cap_bps for r in plan.video}
    presentation = publish_plan(store, plan).presentation
    sizes = {track.rendition.id: track.segment_bps() for track in presentation.video}
    assert all(max(sizes[id]) <= cap for id, cap in rates.items())
    tight_bps = int(max(sizes["vp9-90p"]) / 1.2)
    low = tuple(replace(r, cap_bps=tight_bps, buffer_bits=tight_bps) if r.id == "vp9-90p" else r for r in plan.video)
    store.delete(base(store) + "release.json")
    publish_plan(store, replace(plan, video=low))

    worst = 1 + sizes["vp9-90p"].index(max(sizes["vp9-90p"]))
    (found,) = verify(store, "film").findings
    assert found.object == layout.track_segment("film", "vp9-90p", worst)
    assert f"cap of {tight_bps // 1000} kb/s" in found.message
