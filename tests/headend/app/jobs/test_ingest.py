from collections.abc import Sequence

import pytest

from headend.app.jobs.ingest import Watcher, slug
from headend.core.errors import ConfigError
from headend.core.storage.memory import MemoryStore

OPTIONS = ("title", "audio", "subtitles", "ladder")


class Desk:
    """Receives a watcher's submissions."""

    def __init__(self) -> None:
        self.jobs: dict[str, tuple[str, ...]] = {}

    def __call__(self, words: Sequence[str], job: str) -> None:
        if "--title=refused" in words:
            raise ConfigError("no such title")
        self.jobs[job] = tuple(words)


class Clock:
    """A clock that tests advance."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_watcher(ingest: MemoryStore, store: MemoryStore, desk: Desk, clock: Clock) -> Watcher:
    return Watcher(ingest, store, lambda key: f"s3://ingest/{key}", desk, OPTIONS, clock=clock)


def test_a_growing_file_is_not_queued(desk: Desk, clock: Clock) -> None:
    ingest, store = MemoryStore(), MemoryStore()
    watcher = make_watcher(ingest, store, desk, clock)
    for size in range(1, 5):
        ingest.put("a film.mov", b"x" * size)
        clock.now_s += 50
        assert watcher.scan() == ()
    clock.now_s += 60
    [taken] = watcher.scan()
    assert list(desk.jobs.values()) == [("--title=a-film", "--", "s3://ingest/a film.mov")]
    assert taken.job in desk.jobs


def test_a_done_marker_queues_a_file_without_waiting(desk: Desk, clock: Clock) -> None:
    ingest = MemoryStore()
    watcher = make_watcher(ingest, MemoryStore(), desk, clock)
    ingest.put("one.mov", b"x")
    ingest.put("one.mov.done", b"")
    assert len(watcher.scan()) == 1


def test_a_restart_and_a_second_watcher_queue_nothing_twice(desk: Desk, clock: Clock) -> None:
    ingest, store = MemoryStore(), MemoryStore()
    ingest.put("one.mov", b"x")
    ingest.put("one.mov.done", b"")
    assert len(make_watcher(ingest, store, desk, clock).scan()) == 1
    assert make_watcher(ingest, store, desk, clock).scan() == ()
    # If it is killed after the job was queued, before the record was made, the same id is used again.
    make_watcher(ingest, MemoryStore(), desk, clock).scan()
    assert len(desk.jobs) == 1


def test_a_new_delivery_under_the_same_name_is_a_new_job(desk: Desk, clock: Clock) -> None:
    ingest, store = MemoryStore(), MemoryStore()
    watcher = make_watcher(ingest, store, desk, clock)
    ingest.put("one.mov.done", b"")
    for content in (b"x", b"yy"):
        ingest.put("one.mov", content)
        assert len(watcher.scan()) == 1
    assert len(desk.jobs) == 2


def test_a_sidecar_sets_the_options_of_submit(desk: Desk, clock: Clock) -> None:
    ingest = MemoryStore()
    ingest.put("in/one.mov", b"x")
    ingest.put("in/one.mov.done", b"")
    ingest.put("in/one.toml", b'title = "film"\naudio = ["1:en", "2:fr"]\nsubtitles = ["one.de.srt:de"]\n')
    make_watcher(ingest, MemoryStore(), desk, clock).scan()
    [words] = desk.jobs.values()
    assert words == (
        "--title=film",
        "--audio=1:en",
        "--audio=2:fr",
        "--subtitles=s3://ingest/in/one.de.srt:de",
        "--",
        "s3://ingest/in/one.mov",
    )


@pytest.mark.parametrize(
    ("sidecar", "why"),
    [
        (b"title = ", "is not TOML"),
        (b'title = "refused"', "no such title"),
        (b"\xff", "is not TOML"),
        (b'titel = "one"', "did you mean 'title'"),
        (b'from = "x.csv"', "is not an option"),
    ],
)
def test_a_refused_file_is_reported_once_and_skipped(sidecar: bytes, why: str, desk: Desk, clock: Clock) -> None:
    ingest = MemoryStore()
    ingest.put("one.mov", b"x")
    ingest.put("one.mov.done", b"")
    ingest.put("one.toml", sidecar)
    watcher = make_watcher(ingest, MemoryStore(), desk, clock)
    [taken] = watcher.scan()
    assert why in taken.why and not taken.job
    assert watcher.scan() == ()

    ingest.put("one.toml", b'title = "one"')
    assert [again.job for again in watcher.scan()] == list(desk.jobs)
    ingest.put("one.toml", b'title = "two"')
    assert watcher.scan() == (), "a file is taken once"


def test_other_files_are_not_masters(desk: Desk, clock: Clock) -> None:
    ingest = MemoryStore()
    for key in ("notes.txt", "one.srt", "one.toml"):
        ingest.put(key, b"x")
        ingest.put(f"{key}.done", b"")
    assert make_watcher(ingest, MemoryStore(), desk, clock).scan() == ()


def test_titles_are_derived_from_file_names() -> None:
    assert slug("My Film (2026)_v3") == "my-film-2026-v3"
    with pytest.raises(ConfigError, match="no title can be derived"):
        slug("_")


def test_removed_files_are_forgotten(desk: Desk, clock: Clock) -> None:
    ingest = MemoryStore()
    watcher = make_watcher(ingest, MemoryStore(), desk, clock)
    for day in range(20):
        ingest.put(f"film-{day}.mov", b"x")
        ingest.put(f"film-{day}.mov.done", b"")
        assert len(watcher.scan()) == 1
        assert watcher.scan() == ()
        assert len(watcher.remembered) == 1
        ingest.delete(f"film-{day}.mov")
        ingest.delete(f"film-{day}.mov.done")
    watcher.scan()
    assert not watcher.remembered
    # A file that reappears is found in the store and not queued again.
    assert len(desk.jobs) == 20
