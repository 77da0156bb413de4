"""A worker gets what fits, the most urgent first, and nothing waits for ever."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.scheduling import Board, Worker, misfit, slot_bytes, slot_count
from headend.media import EncodeTask
from tests.support.encodes import task_of

GB = 1_000_000_000


def task(name: str, gigabytes: float = 1.0) -> EncodeTask:
    return replace(task_of((), [name]), id=name, memory_bytes=int(gigabytes * GB))


def names(placed: list[tuple[EncodeTask, str]]) -> list[str]:
    return [each.id for each, _ in placed]


def board(*tasks: EncodeTask, workers: list[Worker]) -> Board:
    made = Board(tasks)
    made.see(workers)
    return made


def test_the_most_urgent_begin_first_and_no_worker_has_more_than_its_threads() -> None:
    made = board(*(task(f"t{n}") for n in range(5)), workers=[Worker("a", 2), Worker("b", 1)])

    placed = made.place()

    assert names(placed) == ["t0", "t1", "t2"]
    assert sorted(address for _, address in placed) == ["a", "a", "b"]
    assert made.place() == []
    made.ended("t1")
    assert names(made.place()) == ["t3"]


def test_a_worker_runs_what_fits_into_its_memory() -> None:
    made = board(task("large", 6), task("other", 6), task("small", 2), workers=[Worker("a", 3, 8 * GB)])

    assert names(made.place()) == ["large"]
    made.ended("large")
    assert names(made.place()) == ["other", "small"]


def test_small_tasks_overtake_a_large_one_but_not_on_the_worker_that_is_kept_for_it() -> None:
    workers = [Worker("a", 2, 8 * GB), Worker("b", 2, 4 * GB)]
    made = board(task("first", 5), task("large", 8), *(task(f"s{n}", 1) for n in range(9)), workers=workers)

    placed = made.place()
    assert {t.id: a for t, a in placed} == {"first": "a", "s0": "b", "s1": "b"}
    made.ended("first")
    assert names(made.place()) == ["large"]


def test_results_on_their_way_free_core_and_memory_but_do_not_pile_up() -> None:
    made = board(*(task(f"t{n}", 4) for n in range(4)), workers=[Worker("a", 1, 4 * GB)])

    assert names(made.place()) == ["t0"]
    made.encoded("t0")
    assert names(made.place()) == ["t1"]
    made.encoded("t1")
    assert made.place() == []
    made.ended("t0")
    assert names(made.place()) == ["t2"]
    made.ended("t1")
    assert not made.finished


def test_a_failed_task_goes_to_the_front() -> None:
    made = board(task("a"), task("b"), workers=[Worker("w", 1)])
    made.place()
    made.again("a")

    assert names(made.place()) == ["a"]


def test_a_task_that_fits_nowhere_is_named() -> None:
    workers = [Worker("a", 4, 8 * GB), Worker("b", 1, 4 * GB)]

    assert misfit([task("fits", 8)], workers) is None
    assert misfit([task("fits"), task("large", 9)], workers) == task("large", 9)
    assert misfit([task("large", 9)], [*workers, Worker("c", 1)]) is None
    assert misfit([], workers) is None

    made = board(task("large", 9), task("small", 1), workers=workers)
    assert names(made.place()) == ["small"]
    assert made.stuck is None
    made.ended("small")
    assert made.place() == []
    assert made.stuck == task("large", 9)
    made.see([])
    assert made.stuck is None  # others may come


def test_slots_are_threads_and_their_usual_share_of_memory() -> None:
    workers = [Worker("a", 4, 16 * GB), Worker("b", 1, 4 * GB), Worker("c", 2, 2 * GB)]

    assert slot_count(workers) == 7
    assert slot_bytes(workers) == 4 * GB
    assert slot_bytes([Worker("a", 4)]) is None
    assert slot_bytes([]) is None


@settings(deadline=None)
@given(
    st.lists(st.floats(0.1, 8), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(1, 4), st.floats(8, 20)), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_everything_is_done_once_and_no_worker_is_ever_overfull(
    sizes: list[float], capacities: list[tuple[int, float]], chance: object
) -> None:
    workers = {f"w{n}": Worker(f"w{n}", threads, int(gb * GB)) for n, (threads, gb) in enumerate(capacities)}
    made = board(*(task(f"t{n}", size) for n, size in enumerate(sizes)), workers=list(workers.values()))
    running: dict[str, tuple[EncodeTask, str]] = {}
    done: list[str] = []
    while not made.finished:
        running |= {each.id: (each, address) for each, address in made.place()}
        assert running
        for address, worker in workers.items():
            mine = [each.memory_bytes for each, at in running.values() if at == address]
            assert len(mine) <= worker.threads
            assert sum(mine) <= (worker.memory_bytes or 0)
        chosen = chance.choice(sorted(running))  # type: ignore[attr-defined]
        del running[chosen]
        made.ended(chosen)
        done.append(chosen)
    assert sorted(done) == sorted(f"t{n}" for n in range(len(sizes)))
