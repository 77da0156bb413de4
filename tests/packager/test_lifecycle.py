"""A title after its first release: after any operation, everything visible is complete."""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from encoder.identities import task_id
from headend.core import documents, holds, layout
from headend.core.errors import ConfigError, StorageError, StoreUnavailable
from headend.core.media import Codec, EncodePlan
from headend.core.storage.base import ObjectInfo, Store
from headend.core.storage.memory import MemoryStore
from packager import garbage, lifecycle
from packager.conformance import references
from packager.presentation import assemble
from packager.publishing import hold, manifests, publish, release_id
from packager.reading import current_release, load_presentation, published_titles, read_pointer
from packager.stored_parts import find_stored_parts, merge_parts, remove_receipts
from tests.support.makers import make_audio_rendition, make_video_rendition
from tests.support.releases import make_grid, make_plan, store_synthetic
from tests.support.waiting import wait_until

RATE = Fraction(24000, 1001)
VIDEO = tuple(
    make_video_rendition(id=id, codec=codec, frame_rate=RATE, average_bps=50_000, default=codec is Codec.AVC)
    for id, codec in (("avc-a", Codec.AVC), ("vp9-a", Codec.VP9), ("av1-a", Codec.AV1))
)
SOUND = (make_audio_rendition(id="aac-en"), make_audio_rendition(id="aac-fr", track_index=2, language="fr"))
LATER = timedelta(days=30)


def plan_with(video: int = 3, audio: int = 2) -> EncodePlan:
    """Make a plan whose tasks have unique ids, like the planner, so that receipts of two plans do not collide."""
    plan = make_plan(make_grid(frame_count=200), VIDEO[:video], SOUND[:audio])
    tasks = (replace(task, id=task_id(plan, task.chunk, task.renditions)) for task in plan.tasks)
    return replace(plan, tasks=tuple(tasks))


def submit(
    store: Store, plan: EncodePlan, *, at: str, held: bool = False, sleep: Callable[[float], None] = lambda _: None
) -> str:
    """Publish as a job does after its tasks."""
    finish = hold if held else publish
    with holds.held(store, "film", tracks=plan.tracks.values(), reason="submit", sleep=sleep):
        store_synthetic(store, plan)
        stored = find_stored_parts(store, plan)
        placed = finish(store, assemble(plan, merge_parts(store, stored, plan.tracks)), submitted_at=at)
        remove_receipts(store, stored)
    return placed.presentation.release


@dataclass(frozen=True, slots=True)
class OldStore(MemoryStore):
    """A store whose objects have the age that a test sets."""

    ages: dict[str, datetime] = field(default_factory=dict)

    def head(self, key: str) -> ObjectInfo:
        info = MemoryStore.head(self, key)
        return replace(info, modified=self.ages.get(key, info.modified))

    def age(self, by: timedelta) -> None:
        for info in list(self.list("")):
            self.ages[info.key] = info.modified - by


@pytest.fixture
def store() -> OldStore:
    return OldStore()


def edit(store: Store, name: str) -> None:
    """Publish an edited label."""
    release = current_release(store, "film")
    before = load_presentation(store, "film", release)
    names = [track.id for track in (*before.video, *before.audio)]
    with holds.held(store, "film", tracks=names, releases=[release], reason="edit"):
        audio = tuple(replace(track, rendition=replace(track.rendition, name=name)) for track in before.audio)
        publish(store, replace(before, audio=audio), reason="relabelled")


def kept_releases(store: Store) -> set[str]:
    """Complete releases that are not deleted."""
    found: dict[str, set[str]] = {}
    for info in store.list(layout.releases("film")):
        release, _, name = info.key.removeprefix(layout.releases("film")).partition("/")
        found.setdefault(release, set()).add(name)
    return {name for name, files in found.items() if "release.json" in files and "deleted.json" not in files}


def check_release(store: Store, release: str, keys: Collection[str]) -> None:
    """All objects that a release names exist, and its name is the digest of its manifests."""
    files = manifests(load_presentation(store, "film", release))
    assert release_id(files) == release
    for name in files:
        key = f"{layout.release_path('film', release)}/{name}"
        assert set(references(key, store.get(key))) <= set(keys)


def tracks_in(store: Store) -> set[str]:
    return set(store.folders(layout.tracks("film")))


# --- list, roll back, withdraw, delete ----------------------------------------------------------------------------


def test_releases_are_listed_with_what_is_current_and_why(store: OldStore) -> None:
    one = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    two = submit(store, plan_with(), at="2026-01-02T00:00:00+00:00")
    rows = {row.release: row for row in lifecycle.releases(store, "film")}
    assert rows.keys() == {one, two}
    assert (rows[two].is_current, rows[one].is_current) == (True, False)
    assert (rows[one].tracks, rows[two].tracks, rows[one].reason) == (3, 5, "submitted")
    assert 0 < rows[one].size_bytes < rows[two].size_bytes
    assert rows[one].until and not rows[two].until
    with pytest.raises(ConfigError, match="'other' has no release"):
        lifecycle.releases(store, "other")


def test_a_former_release_can_be_restored_and_older_jobs_do_not_replace_it(store: OldStore) -> None:
    one = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    submit(store, plan_with(), at="2026-01-02T00:00:00+00:00")
    assert lifecycle.make_current(store, "film", one).release == one
    submit(store, plan_with(2), at="2026-01-03T00:00:00+00:00")
    assert current_release(store, "film") == one
    with pytest.raises(ConfigError, match="has no release 'nothing'"):
        lifecycle.make_current(store, "film", "nothing")


def test_a_release_with_a_missing_object_can_not_be_restored(store: OldStore) -> None:
    one = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    two = submit(store, plan_with(2, 1), at="2026-01-02T00:00:00+00:00")
    store.delete(layout.track_index("film", "aac-fr"))
    with pytest.raises(ConfigError, match="lacks a track"):
        lifecycle.make_current(store, "film", one)
    assert current_release(store, "film") == two


def test_an_unpublished_title_is_not_listed_and_can_be_published_again(store: OldStore) -> None:
    one = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    lifecycle.withdraw(store, "film")
    assert published_titles(store) == ()
    with pytest.raises(ConfigError, match="is not published"):
        lifecycle.withdraw(store, "film")
    lifecycle.make_current(store, "film", one)
    assert published_titles(store) == ("film",)


def test_the_current_release_is_not_deleted(store: OldStore) -> None:
    one = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    with pytest.raises(ConfigError, match="is the current one of 'film'"):
        lifecycle.delete(store, "film", one)
    two = submit(store, plan_with(2), at="2026-01-02T00:00:00+00:00")
    assert lifecycle.delete(store, "film", one) == (one,)
    assert lifecycle.delete(store, "film", one) == ()
    assert lifecycle.delete(store, "film") == (two,)
    assert published_titles(store) == ()
    # Publishing removes the mark.
    lifecycle.make_current(store, "film", one)
    assert not next(row for row in lifecycle.releases(store, "film") if row.is_current).deleted_at


def test_repackaging_by_the_same_headend_changes_nothing(store: OldStore) -> None:
    one = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    assert lifecycle.repackage(store, "film").presentation.release == one
    assert len(lifecycle.releases(store, "film")) == 1


def test_repackaging_by_another_headend_makes_a_release_over_the_same_tracks(
    store: OldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headend.core.manifests import hls

    one = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    before = {info.key: info.etag for info in store.list(layout.tracks("film"))}
    honest = hls.multivariant
    monkeypatch.setattr(hls, "multivariant", lambda outline, **form: honest(outline, **form) + "# of tomorrow\n")
    two = lifecycle.repackage(store, "film").presentation.release
    assert two != one and current_release(store, "film") == two
    assert {info.key: info.etag for info in store.list(layout.tracks("film"))} == before


# --- held releases ------------------------------------------------------------------------------------------------


def test_a_held_release_is_complete_but_not_current(store: OldStore) -> None:
    shown = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    held = submit(store, plan_with(2), at="2026-01-02T00:00:00+00:00", held=True)
    assert current_release(store, "film") == shown
    assert {row.release: bool(row.held_since) for row in lifecycle.releases(store, "film")} == {
        held: True,
        shown: False,
    }
    lifecycle.make_current(store, "film", held)
    assert current_release(store, "film") == held
    assert not any(row.held_since for row in lifecycle.releases(store, "film"))


def test_a_title_whose_only_release_is_held_is_not_published(store: OldStore) -> None:
    held = submit(store, plan_with(1), at="2026-01-02T00:00:00+00:00", held=True)
    assert (published_titles(store), read_pointer(store, "film")) == ((), None)
    # The same request without --hold publishes the stored release.
    assert submit(store, plan_with(1), at="2026-01-03T00:00:00+00:00") == held
    assert (published_titles(store), lifecycle.releases(store, "film")[0].held_since) == (("film",), "")


def test_holding_the_current_release_changes_nothing(store: OldStore) -> None:
    shown = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    assert submit(store, plan_with(1), at="2026-01-02T00:00:00+00:00", held=True) == shown
    [row] = lifecycle.releases(store, "film")
    assert (row.is_current, row.held_since) == (True, "")


@pytest.mark.parametrize("published_before", [False, True])
def test_gc_keeps_a_held_release_until_it_is_published_or_deleted(store: OldStore, *, published_before: bool) -> None:
    later = datetime.now(UTC) + LATER
    if published_before:
        submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    held = submit(store, plan_with(2), at="2026-01-02T00:00:00+00:00", held=True)
    garbage.remove(store, "film", keep=0, at=later)
    load_presentation(store, "film", held)
    lifecycle.delete(store, "film", held)
    garbage.remove(store, "film", keep=0, at=later)
    assert held not in store.folders(layout.releases("film"))


def test_a_hold_of_a_killed_publisher_expires(store: OldStore) -> None:
    held = submit(store, plan_with(2), at="2026-01-02T00:00:00+00:00", held=True)
    mark = store.get(layout.held("film", held))
    lifecycle.make_current(store, "film", held)
    store.put(layout.held("film", held), mark)
    assert not lifecycle.releases(store, "film")[0].held_since
    submit(store, plan_with(1), at="2999-01-03T00:00:00+00:00")
    assert garbage.find(store, "film", keep=0, at=datetime.now(UTC) + LATER).releases == (held,)


# --- garbage ------------------------------------------------------------------------------------------------------


def test_nothing_is_removed_before_its_grace_period_is_over(store: OldStore) -> None:
    submit(store, plan_with(), at="2026-01-01T00:00:00+00:00")
    submit(store, plan_with(1), at="2026-01-02T00:00:00+00:00")
    found = garbage.find(store, "film", keep=0)
    assert (found.releases, found.tracks, found.objects) == ((), (), ())
    later = datetime.now(UTC) + LATER
    going = garbage.find(store, "film", keep=0, at=later)
    assert set(going.tracks) == {"vp9-a", "av1-a"}
    assert len(going.releases) == 1
    assert going.size_bytes == sum(store.head(key).size_bytes for key in going.objects)
    garbage.remove(store, "film", keep=0, at=later)
    assert tracks_in(store) == {"avc-a", "aac-en", "aac-fr"}
    assert garbage.find(store, "film", keep=0, at=later).objects == ()
    load_presentation(store, "film", current_release(store, "film"))


def test_gc_keeps_the_given_number_of_former_releases(store: OldStore) -> None:
    names = [submit(store, plan_with(n), at=f"2026-01-0{n}T00:00:00+00:00") for n in (1, 2, 3)]
    later = datetime.now(UTC) + LATER
    assert garbage.find(store, "film", keep=2, at=later).releases == ()
    assert garbage.find(store, "film", keep=1, at=later).releases == (names[0],)
    lifecycle.delete(store, "film", names[1])
    assert set(garbage.find(store, "film", keep=2, at=later).releases) == {names[1]}


def test_gc_removes_every_object_of_a_deleted_title(store: OldStore) -> None:
    submit(store, plan_with(), at="2026-01-01T00:00:00+00:00")
    lifecycle.delete(store, "film")
    assert garbage.remove(store, "film").objects == ()
    garbage.remove(store, "film", at=datetime.now(UTC) + LATER)
    assert list(store.list("")) == []


def test_gc_keeps_holds_of_running_work_and_removes_those_of_killed_work(store: OldStore) -> None:
    submit(store, plan_with(), at="2026-01-01T00:00:00+00:00")
    submit(store, plan_with(1), at="2026-01-02T00:00:00+00:00")
    later = datetime.now(UTC) + LATER
    with holds.held(store, "film", tracks=["vp9-a"], reason="submit"):
        assert garbage.find(store, "film", keep=0, at=later).tracks == ("av1-a",)
    key = layout.hold("film", "dead")
    store.put(key, documents.write(holds.Hold("submit", "", ("vp9-a",))))
    store.ages[key] = datetime.now(UTC) - timedelta(days=8)
    going = garbage.find(store, "film", keep=0, at=later)
    assert set(going.tracks) == {"av1-a", "vp9-a"} and key in going.objects


def test_gc_keeps_a_release_that_running_work_may_publish_again(store: OldStore) -> None:
    plan = plan_with()
    old = submit(store, plan, at="2026-01-01T00:00:00+00:00")
    submit(store, plan_with(1), at="2026-01-02T00:00:00+00:00")
    later = datetime.now(UTC) + LATER
    with holds.held(store, "film", tracks=plan.tracks.values(), reason="submit"):
        assert garbage.find(store, "film", keep=0, at=later).releases == ()
        store.put(layout.deleted("film", old), documents.write(lifecycle.Deleted("2026-01-03T00:00:00+00:00")))
        store.delete(layout.release_document("film", old))
        assert garbage.find(store, "film", keep=0, at=later).releases == (), (
            "an earlier gc was killed while it removed it"
        )
    assert garbage.find(store, "film", keep=0, at=later).releases == (old,)


@dataclass(frozen=True, slots=True)
class ObservedStore(OldStore):
    """A store that calls functions right after the releases of the film have been listed."""

    then: deque[Callable[[], None]] = field(default_factory=deque)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        infos = tuple(MemoryStore.list(self, prefix, after=after))
        if prefix == layout.releases("film"):
            while self.then:
                self.then.pop()()
        return iter(infos)


def test_gc_keeps_the_tracks_of_work_that_ends_while_it_looks() -> None:
    store, plan = ObservedStore(), plan_with(3, audio=1)
    submit(store, plan_with(3), at="2026-01-01T00:00:00+00:00")
    submit(store, plan_with(1), at="2026-01-02T00:00:00+00:00")
    with ExitStack() as hold:
        hold.enter_context(holds.held(store, "film", tracks=plan.tracks.values(), reason="submit"))

        def end_work() -> None:
            stored = find_stored_parts(store, plan)
            publish(store, assemble(plan, merge_parts(store, stored, plan.tracks)))
            hold.close()

        store.then.append(end_work)
        garbage.remove(store, "film", keep=0, at=datetime.now(UTC) + LATER)
    assert set(plan.tracks.values()) <= tracks_in(store)
    check_release(store, current_release(store, "film"), {info.key for info in store.list("")})


def test_gc_keeps_receipts_of_running_work(store: OldStore) -> None:
    plan = plan_with(1)
    later = datetime.now(UTC) + LATER
    with holds.held(store, "film", tracks=plan.tracks.values(), reason="submit"):
        store_synthetic(store, plan)
        garbage.remove(store, "film", keep=0, at=later)
        assert find_stored_parts(store, plan).missing(plan.tracks) == []
    garbage.remove(store, "film", keep=0, at=later)
    assert list(store.list(layout.receipts("film"))) == []


def test_work_that_begins_during_a_sweep_waits_for_it(store: OldStore) -> None:
    waited: list[float] = []
    with holds.sweeping(store, "film") as _:
        (marker,) = store.list(layout.sweeps("film"))

        def sleep(seconds: float) -> None:
            waited.append(seconds)
            store.ages[marker.key] = marker.modified + timedelta(seconds=len(waited))  # it is written again

        with (
            pytest.raises(StoreUnavailable, match="headend gc is removing"),
            holds.held(store, "film", tracks=["t"], reason="submit", sleep=sleep),
        ):
            pass
        assert len(waited) == holds.WAIT_S
    assert not list(store.list(layout.holds("film")))
    with holds.held(store, "film", tracks=["t"], reason="submit", sleep=waited.append):
        assert len(waited) == holds.WAIT_S


def test_work_does_not_wait_for_a_killed_sweep(store: OldStore) -> None:
    key = layout.sweep("film", "0123456789abcdef")
    store.put(key, b"{}")
    store.age(timedelta(seconds=holds.SWEEP_S - 3))
    waited: list[float] = []
    with holds.held(store, "film", tracks=["t"], reason="submit", sleep=waited.append):
        assert 3 <= len(waited) <= 5
    store.age(LATER)
    garbage.remove(store, "film", keep=0)
    assert not list(store.list(layout.sweeps("film")))


def test_a_sweep_shows_that_it_is_alive_and_stops_if_it_can_not(
    store: OldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "REFRESH_S", 0.01)
    with holds.sweeping(store, "film") as sweep:
        (first,) = store.list(layout.sweeps("film"))
        wait_until(lambda: next(store.list(layout.sweeps("film"))).modified > first.modified)
        sweep.check()
    assert not list(store.list(layout.sweeps("film")))

    monkeypatch.setattr(holds, "REFRESH_S", 60)
    submit(store, plan_with(3), at="2026-01-01T00:00:00+00:00")
    lifecycle.delete(store, "film")
    before = tracks_in(store)
    monkeypatch.setattr(holds, "STALLED_S", -1)
    with pytest.raises(StoreUnavailable, match="headend gc could not write"):
        garbage.remove(store, "film", keep=0, at=datetime.now(UTC) + LATER)
    assert tracks_in(store) == before


def test_gc_removes_nothing_if_a_release_has_no_document(store: OldStore) -> None:
    one = submit(store, plan_with(), at="2026-01-01T00:00:00+00:00")
    store.delete(layout.release_document("film", one))
    store.age(timedelta(hours=2))
    with pytest.raises(StorageError, match="the tracks that 'film' needs are unknown"):
        garbage.find(store, "film")


def test_tracks_that_are_needed_are_not_listed(store: OldStore) -> None:
    submit(store, plan_with(), at="2026-01-01T00:00:00+00:00")
    listed: list[str] = []

    @dataclass(frozen=True, slots=True)
    class Watching(MemoryStore):
        def list(self, prefix: str, *, after: str = "") -> object:  # type: ignore[override]
            listed.append(prefix)
            return store.list(prefix, after=after)

        def folders(self, prefix: str) -> tuple[str, ...]:
            return store.folders(prefix)

    garbage.find(Watching(store._objects), "film")
    assert not any("/tracks/" in prefix for prefix in listed)


# --- any sequence -------------------------------------------------------------------------------------------------


class Killed(Exception):
    pass


@dataclass(frozen=True, slots=True)
class MortalStore(OldStore):
    """A store whose user is killed after a number of writes."""

    writes_left: list[int] = field(default_factory=lambda: [1_000_000])

    def put(self, key: str, data: bytes) -> None:
        self._spend()
        MemoryStore.put(self, key, data)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        self._spend()
        return MemoryStore.put_if_absent(self, key, data)

    def delete(self, key: str) -> None:
        self._spend()
        MemoryStore.delete(self, key)

    def _spend(self) -> None:
        if self.writes_left[0] <= 0:
            raise Killed
        self.writes_left[0] -= 1


@pytest.mark.parametrize("writes", range(1, 12))
def test_a_partly_removed_release_can_not_be_restored(writes: int) -> None:
    store = MortalStore()
    one = submit(store, plan_with(1), at="2026-01-01T00:00:00+00:00")
    lifecycle.withdraw(store, "film")
    store.writes_left[0] = writes
    with pytest.raises(Killed):
        garbage.remove(store, "film", keep=0, at=datetime.now(UTC) + LATER)
    store.writes_left[0] = 1_000_000
    for info in list(store.list(layout.sweeps("film"))):
        store.delete(info.key)
    try:
        lifecycle.make_current(store, "film", one)
    except ConfigError:
        assert writes > 1
        return
    files = {f"{layout.release_path('film', one)}/{name}" for name in manifests(load_presentation(store, "film", one))}
    assert files <= {info.key for info in store.list("")}


class TitleMachine(RuleBasedStateMachine):
    """Submits, edits, rollbacks, deletes, sweeps and kills in any order."""

    @initialize()
    def start(self) -> None:
        self.store = MortalStore()
        self.hours = 0
        self.made: set[str] = set()
        self.bytes: dict[str, bytes] = {}

    def time(self) -> str:
        self.hours += 1
        return (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self.hours)).isoformat()

    @rule(video=st.integers(1, 3), audio=st.integers(0, 2), writes=st.none() | st.integers(0, 60))
    def submit(self, video: int, audio: int, writes: int | None) -> None:
        self.mortally(writes, lambda: submit(self.store, plan_with(video, audio), at=self.time()))

    @precondition(lambda self: self.known())
    @rule(data=st.data(), writes=st.none() | st.integers(0, 10))
    def roll(self, data: st.DataObject, writes: int | None) -> None:
        release = data.draw(st.sampled_from(sorted(self.known())))
        self.mortally(writes, lambda: lifecycle.make_current(self.store, "film", release))

    @precondition(lambda self: self.current())
    @rule(name=st.sampled_from(["One", "Two"]), writes=st.none() | st.integers(0, 20))
    def relabel(self, name: str, writes: int | None) -> None:
        self.mortally(writes, lambda: edit(self.store, name))

    @precondition(lambda self: self.known())
    @rule(data=st.data(), whole=st.booleans(), writes=st.none() | st.integers(0, 5))
    def delete(self, data: st.DataObject, whole: bool, writes: int | None) -> None:
        release = None if whole else data.draw(st.sampled_from(sorted(self.known())))
        self.mortally(writes, lambda: lifecycle.delete(self.store, "film", release))

    @precondition(lambda self: self.current())
    @rule()
    def withdraw(self) -> None:
        lifecycle.withdraw(self.store, "film")

    @rule(keep=st.integers(0, 2), days=st.sampled_from([0, 3, 30]), writes=st.none() | st.integers(0, 40))
    def collect(self, keep: int, days: int, writes: int | None) -> None:
        at = datetime.now(UTC) + timedelta(days=days)
        before = self.current()
        self.mortally(writes, lambda: garbage.remove(self.store, "film", keep=keep, at=at))
        assert self.current() == before

    def mortally(self, writes: int | None, act: object) -> None:
        self.store.writes_left[0] = 1_000_000 if writes is None else writes
        try:
            act()  # type: ignore[operator]
        except (Killed, ConfigError):
            pass
        finally:
            self.store.writes_left[0] = 1_000_000
        for prefix in (layout.holds("film"), layout.sweeps("film")):  # time passes, so killed processes count as dead
            for info in list(self.store.list(prefix)):
                MemoryStore.delete(self.store, info.key)

    def current(self) -> str:
        pointer = read_pointer(self.store, "film")
        return pointer.release if pointer else ""

    def known(self) -> set[str]:
        return {
            name
            for name in self.store.folders(layout.releases("film"))
            if layout.release_document("film", name) in self.store._objects
        }

    @invariant()
    def what_is_visible_or_kept_is_complete(self) -> None:
        if not hasattr(self, "store"):
            return
        for release in kept_releases(self.store) | ({self.current()} - {""}):
            check_release(self.store, release, self.store._objects.keys())

    @invariant()
    def no_address_has_changed_what_it_gives(self) -> None:
        if not hasattr(self, "store"):
            return
        for key, (data, _) in self.store._objects.items():
            if "/tracks/" in key or ("/releases/" in key and not key.endswith(".json")):
                assert self.bytes.setdefault(key, data) == data, key


TestTitle = TitleMachine.TestCase
TestTitle.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
