import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from headend.core import documents, layout
from headend.core.caching import circuit_breaker
from headend.core.errors import ObjectMissing, StorageError, StoreUnavailable
from headend.core.media import Current
from origin import catalogue, library, reads
from origin.library import Library
from origin.metrics import Metrics
from origin.releases import RequestedFile
from origin.sources import Damaged
from tests.origin.releases import PICTURE, RELEASE, SEGMENTS, TITLE, WatchedStore, put_release

KEY = layout.track_segment(TITLE, PICTURE, 1)
POINTER = layout.current(TITLE)
AWAY = StoreUnavailable("the store is away")
Result = TypeVar("Result")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def pointing(release: str) -> bytes:
    return documents.write(Current(release, "", "", ()))


def wanted(number: int = 1, *, title: str = TITLE) -> RequestedFile:
    return RequestedFile(title, None, PICTURE, f"{number}.m4s")


def use(store: WatchedStore, work: Callable[[Library, Clock], Awaitable[Result]]) -> Result:
    async def main() -> Result:
        clock = Clock()
        held = Library(store, Metrics(), clock=clock)
        try:
            return await work(held, clock)
        finally:
            await held.close()

    return asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def test_a_hundred_clients_that_want_one_cold_segment_cause_one_read(store: WatchedStore) -> None:
    async def work(held: Library, _: Clock) -> None:
        files = await asyncio.gather(*(held.file(wanted()) for _ in range(100)))
        assert {file.plain.read() for file in files} == {SEGMENTS[0]}

    use(store, work)
    assert store.reads[KEY] == 1
    assert store.reads[layout.track_index(TITLE, PICTURE)] == 1


def test_the_first_of_many_clients_may_disconnect(store: WatchedStore) -> None:
    async def work(held: Library, _: Clock) -> None:
        await held.file(wanted(2))
        store.gate.clear()
        first = asyncio.create_task(held.file(wanted()))
        await until(lambda: store.reads[KEY] == 1)
        second = asyncio.create_task(held.file(wanted()))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        store.gate.set()
        assert (await second).plain.read() == SEGMENTS[0]

    use(store, work)
    assert store.reads[KEY] == 1


def test_files_that_were_read_are_cached(store: WatchedStore) -> None:
    async def work(held: Library, _: Clock) -> None:
        file = await held.file(wanted())
        assert held.cached(KEY) is file

    use(store, work)


@pytest.mark.parametrize("body", [SEGMENTS[0][:-1], SEGMENTS[0] + b"x", b"x" + SEGMENTS[0][1:], b""])
def test_a_segment_that_differs_from_the_release_is_refused_and_not_cached(store: WatchedStore, body: bytes) -> None:
    store.put(KEY, body)

    async def work(held: Library, _: Clock) -> None:
        with pytest.raises(Damaged):
            await held.file(wanted())
        store.put(KEY, SEGMENTS[0])
        assert (await held.file(wanted())).plain.read() == SEGMENTS[0]

    use(store, work)


def test_an_init_segment_that_is_cut_short_is_refused(store: WatchedStore) -> None:
    store.put(layout.track_init(TITLE, PICTURE), b"ftyp")
    with pytest.raises(Damaged):
        use(store, lambda held, _: held.file(RequestedFile(TITLE, None, PICTURE, "init.mp4")))


def test_a_segment_outside_the_release_causes_no_read(store: WatchedStore) -> None:
    store.put(layout.track_segment(TITLE, PICTURE, 4), b"left behind by another run")
    with pytest.raises(ObjectMissing):
        use(store, lambda held, _: held.file(wanted(4)))
    assert store.reads[layout.track_segment(TITLE, PICTURE, 4)] == 0


def test_a_missing_object_is_cached_only_briefly(store: WatchedStore) -> None:
    pointer = layout.current("later")

    async def work(held: Library, clock: Clock) -> None:
        for _ in range(3):
            with pytest.raises(ObjectMissing):
                await held.current("later")
        assert store.reads.total() == 1  # one listing, and no read of a pointer that is in no listing
        put_release(store, title="later")
        clock.now_s += catalogue.REFRESH_S
        assert await held.current("later") == RELEASE
        assert store.reads[pointer] == 1

    use(store, work)


def test_a_new_release_is_seen_after_a_moment(store: WatchedStore) -> None:
    async def work(held: Library, clock: Clock) -> None:
        assert await held.current(TITLE) == RELEASE
        put_release(store, release="fedcba9876543210")
        assert await held.current(TITLE) == RELEASE
        clock.now_s += library.POINTER_S
        assert await held.current(TITLE) == "fedcba9876543210"

    use(store, work)


def test_the_last_known_release_is_served_while_the_store_is_unreachable(store: WatchedStore) -> None:
    async def work(held: Library, clock: Clock) -> None:
        await held.current(TITLE)
        store.fault = AWAY
        for _ in range(5):
            clock.now_s += 3600
            assert await held.current(TITLE) == RELEASE

    use(store, work)


def test_an_unpublished_title_is_404(store: WatchedStore) -> None:
    async def work(held: Library, clock: Clock) -> None:
        await held.current(TITLE)
        store.delete(POINTER)
        clock.now_s += library.POINTER_S
        with pytest.raises(ObjectMissing):
            await held.current(TITLE)

    use(store, work)


def test_the_circuit_breaker_lets_one_request_through_at_intervals(store: WatchedStore) -> None:
    async def work(held: Library, clock: Clock) -> None:
        async def fail() -> None:
            with pytest.raises(StoreUnavailable):
                await held.file(wanted())

        store.fault = AWAY
        for _ in range(20):
            await fail()
        assert store.reads.total() == circuit_breaker.FAILURES
        clock.now_s += circuit_breaker.PROBE_EVERY_S
        for _ in range(20):
            await fail()
        assert store.reads.total() == circuit_breaker.FAILURES + 1
        store.fault = None
        clock.now_s += circuit_breaker.PROBE_EVERY_S
        assert (await held.file(wanted())).plain.read() == SEGMENTS[0]

    use(store, work)


def test_missing_objects_do_not_open_the_circuit_breaker(store: WatchedStore) -> None:
    async def work(held: Library, _: Clock) -> None:
        for number in range(3 * circuit_breaker.FAILURES):
            with pytest.raises(ObjectMissing):
                await held.current(f"nothing-{number}")
        assert await held.current(TITLE) == RELEASE

    use(store, work)


def test_clients_get_retry_after_when_there_are_too_many_reads(store: WatchedStore) -> None:
    async def work(held: Library, _: Clock) -> None:
        for number in range(reads.QUEUE):
            put_release(store, title=f"title-{number}")
        await held.titles("zzz", 1)
        store.gate.clear()
        waiting = [asyncio.create_task(held.current(f"title-{n}", f"client-{n}")) for n in range(reads.QUEUE)]
        await until(lambda: len(held._reads.documents) == reads.QUEUE)
        with pytest.raises(StoreUnavailable, match="too many reads"):
            await held.current(TITLE)
        store.gate.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await held.current(TITLE) == RELEASE

    use(store, work)


def test_reads_of_a_store_that_does_not_answer_time_out(store: WatchedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "REFRESH_WAIT_S", 0.01)

    async def work(held: Library, clock: Clock) -> None:
        await held.current(TITLE)
        clock.now_s += library.POINTER_S
        store.gate.clear()
        try:
            assert await held.current(TITLE) == RELEASE
        finally:
            store.gate.set()

    use(store, work)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        documents.write(Current("a\r\nSet-Cookie: a=b", "", "", ())),
        documents.write(Current("../..", "", "", ())),
    ],
)
def test_a_damaged_pointer_is_an_error(store: WatchedStore, content: bytes) -> None:
    store.put(POINTER, content)
    with pytest.raises(StorageError) as raised:
        use(store, lambda held, _: held.current(TITLE))
    assert not isinstance(raised.value, ObjectMissing)


def test_only_titles_with_a_pointer_are_listed(store: WatchedStore) -> None:
    put_release(store, title="another")
    put_release(store, title="unpublished", current=False)
    assert use(store, lambda held, _: held.titles("", 10)) == (("another", TITLE), None)


def test_titles_are_paged(store: WatchedStore) -> None:
    for number in range(5):
        put_release(store, title=f"title-{number}")

    async def work(held: Library, _: Clock) -> None:
        pages, last = [], ""
        while last is not None:
            titles, last = await held.titles(last, 2)
            pages.append(titles)
        assert pages == [(TITLE, "title-0"), ("title-1", "title-2"), ("title-3", "title-4")]

    use(store, work)
    assert store.reads[f"list {layout.published()}"] == 1


def test_one_client_can_not_use_all_reads(store: WatchedStore) -> None:
    async def work(held: Library, _: Clock) -> None:
        for number in range(reads.QUEUE):
            put_release(store, title=f"title-{number}")
        await held.titles("zzz", 1)
        store.gate.clear()
        greedy = [asyncio.create_task(held.current(f"title-{n}", "greedy")) for n in range(reads.QUEUE)]
        await until(lambda: len(held._reads.documents) == reads.QUEUE_PER_CLIENT)
        with pytest.raises(StoreUnavailable, match="too many reads"):
            await held.current(TITLE, "greedy")
        honest = asyncio.create_task(held.current(TITLE, "honest"))
        await asyncio.sleep(0)
        store.gate.set()
        assert await honest == RELEASE
        await asyncio.gather(*greedy, return_exceptions=True)

    use(store, work)


def test_random_names_cost_no_read_and_no_memory(store: WatchedStore) -> None:
    async def work(held: Library, _: Clock) -> None:
        await held.file(wanted())
        await held.current(TITLE)
        before = store.reads.total()
        for number in range(1000):
            with pytest.raises(ObjectMissing):
                await held.current(f"random-{number}", "stranger")
            with pytest.raises(ObjectMissing):
                await held.release(TITLE, f"random-{number}", "stranger")
        assert store.reads.total() - before == 1  # the listing of the title's releases

    use(store, work)
