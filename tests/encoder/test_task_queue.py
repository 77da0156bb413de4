"""Tasks of all jobs go to workers where they fit, in the right order, and no task waits for ever."""

import time
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from encoder.scheduling import Worker
from encoder.task_queue import BACKOFF_S, COOLDOWN_S, FREE_FAILURES, Blame, Run, TaskQueue
from headend.core.settings import ATTEMPTS

GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Task:
    id: str
    memory_bytes: int = GB
    cost: float = 1.0

    @property
    def label(self) -> str:
        return f"task {self.id}"


def task(name: str, gigabytes: float = 1.0) -> Task:
    return Task(name, int(gigabytes * GB))


def queue(*tasks: Task, workers: list[Worker]) -> TaskQueue:
    task_queue = TaskQueue()
    task_queue.add("job", tasks)
    task_queue.set_workers(workers)
    return task_queue


def names(placed: list[Run]) -> list[str]:
    return [run.task.id for run in placed]


def number(task_queue: TaskQueue, name: str) -> int:
    return next(run.number for run in task_queue.runs if run.task.id == name)


def test_the_most_urgent_tasks_begin_first_and_no_worker_has_more_than_its_threads() -> None:
    task_queue = queue(*(task(f"t{n}") for n in range(5)), workers=[Worker("a", 2), Worker("b", 1)])

    placed = task_queue.place(0)

    assert names(placed) == ["t0", "t1", "t2"]
    assert sorted(run.worker for run in placed) == ["a", "a", "b"]
    assert task_queue.place(0) == []
    task_queue.done(number(task_queue, "t1"))
    assert names(task_queue.place(0)) == ["t3"]


def test_a_worker_runs_what_fits_into_its_memory() -> None:
    task_queue = queue(task("large", 6), task("other", 6), task("small", 2), workers=[Worker("a", 3, 8 * GB)])

    assert names(task_queue.place(0)) == ["large"]
    task_queue.done(number(task_queue, "large"))
    assert names(task_queue.place(0)) == ["other", "small"]


def test_small_tasks_overtake_a_large_one_but_not_on_the_worker_that_is_kept_for_it() -> None:
    workers = [Worker("a", 2, 8 * GB), Worker("b", 2, 4 * GB)]
    task_queue = queue(task("first", 5), task("large", 8), *(task(f"s{n}", 1) for n in range(9)), workers=workers)

    placed = task_queue.place(0)
    assert {run.task.id: run.worker for run in placed} == {"first": "a", "s0": "b", "s1": "b"}
    task_queue.done(number(task_queue, "first"))
    assert names(task_queue.place(0)) == ["large"]


def test_storing_results_frees_core_and_memory_but_results_do_not_pile_up() -> None:
    task_queue = queue(*(task(f"t{n}", 4) for n in range(4)), workers=[Worker("a", 1, 4 * GB)])

    assert names(task_queue.place(0)) == ["t0"]
    task_queue.encoded(number(task_queue, "t0"))
    assert names(task_queue.place(0)) == ["t1"]
    task_queue.encoded(number(task_queue, "t1"))
    assert task_queue.place(0) == []
    task_queue.done(number(task_queue, "t0"))
    assert names(task_queue.place(0)) == ["t2"]
    task_queue.done(number(task_queue, "t1"))
    assert not task_queue.finished("job")


def test_a_task_that_fits_nowhere_is_named_when_nothing_else_runs() -> None:
    task_queue = queue(task("large", 9), task("small", 1), workers=[Worker("a", 4, 8 * GB), Worker("b", 1, 4 * GB)])

    assert names(task_queue.place(0)) == ["small"]
    assert task_queue.stuck("job") is None
    task_queue.done(number(task_queue, "small"))
    assert task_queue.place(0) == []
    assert task_queue.stuck("job") == task("large", 9)
    task_queue.set_workers([])
    assert task_queue.stuck("job") is None  # others may join
    task_queue.set_workers([Worker("c", 1, 10 * GB)])
    assert names(task_queue.place(0)) == ["large"]


def test_workers_that_join_get_work_and_those_that_left_get_none() -> None:
    task_queue = queue(*(task(f"t{n}") for n in range(6)), workers=[Worker("a", 1)])
    assert [run.worker for run in task_queue.place(0)] == ["a"]

    task_queue.set_workers([Worker("a", 1), Worker("b", 2)])
    assert [run.worker for run in task_queue.place(0)] == ["b", "b"]
    task_queue.set_workers([Worker("b", 2)])
    task_queue.done(number(task_queue, "t0"))
    assert task_queue.place(0) == []


# --- failures -----------------------------------------------------------------------------------------------------


def test_a_failed_task_goes_to_the_front_after_a_wait_and_preferably_to_another_worker() -> None:
    task_queue = queue(task("a"), task("b"), task("c"), workers=[Worker("w", 1), Worker("v", 1)])
    assert [run.worker for run in task_queue.place(0)] == ["v", "w"]

    assert task_queue.failed(number(task_queue, "a"), Blame.TASK, 0)

    assert names(task_queue.place(0)) == ["c"]
    assert task_queue.wakes_at_s == BACKOFF_S[0]
    task_queue.done(number(task_queue, "b"))
    task_queue.done(number(task_queue, "c"))
    again = task_queue.place(BACKOFF_S[0])
    assert [(run.task.id, run.attempt, run.worker) for run in again] == [("a", 2, "w")]


def test_each_failure_waits_longer_and_the_last_one_is_reported() -> None:
    task_queue, now_s = queue(task("a"), workers=[Worker("w", 1)]), 0.0
    for attempt in range(1, ATTEMPTS):
        assert [run.attempt for run in task_queue.place(now_s)] == [attempt]
        assert task_queue.failed(number(task_queue, "a"), Blame.TASK, now_s)
        assert task_queue.place(now_s + BACKOFF_S[attempt - 1] - 0.01) == []
        now_s += BACKOFF_S[attempt - 1]
    assert [run.attempt for run in task_queue.place(now_s)] == [ATTEMPTS]
    assert not task_queue.failed(number(task_queue, "a"), Blame.TASK, now_s)


def test_an_interrupted_task_keeps_its_attempts_but_not_for_ever() -> None:
    task_queue, now_s = queue(task("a"), workers=[Worker("w", 1)]), 0.0
    for _ in range(FREE_FAILURES):
        assert [run.attempt for run in task_queue.place(now_s)] == [1]
        assert task_queue.failed(number(task_queue, "a"), Blame.NOBODY, now_s)
        now_s += BACKOFF_S[0]
    task_queue.place(now_s)
    assert not task_queue.failed(number(task_queue, "a"), Blame.NOBODY, now_s)


def test_a_faulty_worker_pauses_and_its_task_goes_elsewhere_without_an_attempt() -> None:
    task_queue = queue(task("a"), task("b"), task("c"), workers=[Worker("full", 1), Worker("good", 1)])
    task_queue.place(0)

    assert task_queue.failed(next(run.number for run in task_queue.runs_on("full")), Blame.WORKER, 0)

    assert task_queue.place(0) == []
    task_queue.done(next(run.number for run in task_queue.runs_on("good")))
    assert [(run.worker, run.attempt) for run in task_queue.place(0)] == [("good", 1)]
    assert [run.worker for run in task_queue.place(COOLDOWN_S)] == ["full"]


def test_if_all_workers_are_faulty_the_job_fails() -> None:
    task_queue = queue(task("a"), workers=[Worker("full", 1), Worker("too", 1)])
    task_queue.place(0)
    assert task_queue.failed(number(task_queue, "a"), Blame.WORKER, 0)
    task_queue.place(0)
    assert not task_queue.failed(number(task_queue, "a"), Blame.WORKER, 0)


# --- jobs ---------------------------------------------------------------------------------------------------------


def test_jobs_of_one_priority_share_and_an_urgent_one_overtakes() -> None:
    task_queue = TaskQueue()
    task_queue.set_workers([Worker("w", 4)])
    task_queue.add("long", [task(f"l{n}") for n in range(20)])
    task_queue.add("other", [task(f"o{n}") for n in range(20)])

    assert sorted(run.job for run in task_queue.place(0)) == ["long", "long", "other", "other"]
    task_queue.add("urgent", [task("u0"), task("u1")], priority=90)
    for name in ("l0", "o0", "l1"):
        task_queue.done(number(task_queue, name))
    assert [run.job for run in task_queue.place(0)] == ["urgent", "urgent", "long"]


def test_a_priority_may_change() -> None:
    task_queue = queue(*(task(f"t{n}") for n in range(3)), workers=[Worker("w", 1)])
    task_queue.add("other", [task("o")])
    task_queue.prioritise("other", 51)
    assert names(task_queue.place(0)) == ["o"]


def test_a_removed_job_frees_its_slots() -> None:
    task_queue = queue(*(task(f"t{n}") for n in range(3)), workers=[Worker("w", 2)])
    task_queue.add("other", [task("o0"), task("o1")])
    task_queue.place(0)
    assert task_queue.failed(number(task_queue, "t0"), Blame.TASK, 0)

    stopped = task_queue.remove("job")

    assert {run.job for run in stopped} <= {"job"}
    assert task_queue.finished("job")
    assert [run.job for run in (*task_queue.runs, *task_queue.place(99))] == ["other", "other"]
    assert task_queue.counts().total() == 2


# --- at large -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.1, 8), st.sampled_from("abc")), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(1, 4), st.floats(8, 20)), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_everything_is_done_once_and_no_worker_is_ever_overfull(
    sizes: list[tuple[float, str]], capacities: list[tuple[int, float]], chance: object
) -> None:
    workers = {f"w{n}": Worker(f"w{n}", threads, int(gb * GB)) for n, (threads, gb) in enumerate(capacities)}
    task_queue = TaskQueue()
    task_queue.set_workers(workers.values())
    for job in "abc":
        task_queue.add(job, [task(f"{job}{n}", size) for n, (size, owner) in enumerate(sizes) if owner == job])
    done: list[str] = []
    now_s = 0.0
    while not all(task_queue.finished(job) for job in "abc"):
        task_queue.place(now_s)
        if task_queue.wakes_at_s is not None and not task_queue.runs:
            now_s = task_queue.wakes_at_s
            continue
        assert task_queue.runs
        for address, worker in workers.items():
            mine = [run.task.memory_bytes for run in task_queue.runs_on(address)]
            assert len(mine) <= worker.threads
            assert sum(mine) <= (worker.memory_bytes or 0)
        chosen = chance.choice(sorted(task_queue.runs, key=lambda run: run.task.id))  # type: ignore[attr-defined]
        if chosen.attempt < ATTEMPTS and chance.random() < 0.2:  # type: ignore[attr-defined]
            assert task_queue.failed(chosen.number, Blame.TASK, now_s)
        else:
            task_queue.done(chosen.number)
            done.append(chosen.task.id)
    assert sorted(done) == sorted(f"{owner}{n}" for n, (_, owner) in enumerate(sizes))


def test_the_first_placement_on_a_thousand_workers_looks_at_each_task_once() -> None:
    tasks = [task(f"t{n}", 0.5 + n % 40 / 100) for n in range(20_000)]
    task_queue = queue(*tasks, workers=[Worker(f"w{n}", 16, 8 * GB) for n in range(1000)])

    started_s = time.process_time()
    placed = task_queue.place(0)
    took_s = time.process_time() - started_s

    assert len(placed) > 9_000  # memory is scarce, not threads
    # Quadratic work took over ten seconds for these numbers.
    assert took_s < 5


def test_tasks_added_later_queue_behind_all_others_of_their_job() -> None:
    task_queue = queue(task("t0"), task("t1"), workers=[Worker("a", 1)])
    task_queue.add("other", [task("o0")])

    task_queue.extend("job", [task("m0"), task("m1")])
    begun = []
    while (placed := task_queue.place(0)) and placed:
        begun += names(placed)
        task_queue.done(placed[0].number)

    assert [name for name in begun if name != "o0"] == ["t0", "t1", "m0", "m1"]
    assert task_queue.finished("job")
