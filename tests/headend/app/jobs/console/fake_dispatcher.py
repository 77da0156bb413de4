"""A console over a queue in memory, with a dispatcher's state that a test sets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count

from headend.app.jobs.console.app import Console, Server
from headend.app.jobs.console.rights import Tokens
from headend.app.jobs.console.view import RunningJob, RunRecord, WorkerRecord
from headend.app.jobs.model import Account, Change, Progress, State
from headend.app.jobs.queue import Queue
from headend.core import prices
from headend.core.storage.memory import MemoryStore
from tests.headend.app.jobs.makers import AT, make_request


@dataclass(slots=True)
class FakeDispatcher:
    """The state that a dispatcher would report."""

    here: tuple[WorkerRecord, ...] = ()
    done: tuple[RunRecord, ...] = ()
    running_jobs: tuple[RunningJob, ...] = ()
    fence: int = 3
    who: str = "ann@desk"

    def workers(self) -> tuple[WorkerRecord, ...]:
        return self.here

    def running(self) -> tuple[RunningJob, ...]:
        return self.running_jobs

    def runs(self) -> tuple[RunRecord, ...]:
        return self.done


def busy_dispatcher(now_s: float, jobs: list[str]) -> FakeDispatcher:
    """Four workers that run some jobs, with one failed attempt."""
    workers = tuple(WorkerRecord(f"tcp://10.0.0.{n}:4000{n}", 2, 2, 8 << 30, n << 30) for n in range(1, 5))
    runs = []
    for number in range(60):
        worker = workers[number % 4].worker
        began_s = now_s - 560 + number // 8 * 75 + number % 8 * 4
        ended_s = began_s + 60 + number * 7 % 15
        job = jobs[number * 7 // 2 % len(jobs)]
        runs.append(
            RunRecord(
                number, job, f"title {job[-2:]}", f"chunk {number} of avc-1080p-6000k", 1, worker, began_s,
                None if ended_s > now_s else ended_s, number == 13,
            )
        )  # fmt: skip
    far = (Progress(AT, 0.1 + 0.3 * n, 240, 24 + 72 * n, 2, 12, n, 96.4, 1.93, 1260.0 / (n + 1)) for n in count())
    return FakeDispatcher(
        workers, tuple(runs), tuple(RunningJob(job, one) for job, one in zip(jobs, far, strict=False))
    )


def put(queue: Queue, title: str, *changes: tuple[State, str], priority: int = 50, share: float | None = None) -> str:
    """Queue a job and bring it into a state."""
    job = queue.read(queue.add(make_request(title), priority=priority, labels=[("season", "2")]).id)
    history = (*job.history, *(Change(state, AT, why) for state, why in changes))
    progress = None if share is None else Progress(AT, share, 240, int(240 * share), 8, 12, 1, 96.4, 1.93, 1260.0)
    account = (
        Account((("av1", 5000.0), ("avc", 1200.0)), 6300.0, 31.0, 6000.0, 4_100_000_000, 3100) if share else Account()
    )
    status = replace(job.status, history=history, progress=progress, account=account, fence=3)
    queue.write(replace(job, state=history[-1].state, history=history, status=status))
    return job.id


@contextmanager
def console(queue: Queue, view: FakeDispatcher, tokens: Tokens | None = None, *, port: int = 0) -> Iterator[Server]:
    """A console, on a free port by default."""
    with Server(
        lambda: Console(queue, view, prices.load("aws"), tokens or Tokens(), "s3://films/vod"), "127.0.0.1", port
    ) as server:
        yield server


def make_queue() -> Queue:
    """Return an empty queue."""
    return Queue(MemoryStore())
