"""Run a task on a Dask worker, report its progress, and stop it when it is cancelled."""

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import get_worker, secede

from headend.core.errors import HeadendError

PROGRESS_S = 1.0
"""Minimum time between two progress reports of a task: thousands of tasks report to one scheduler."""
_ALIVE = frozenset({"running", "paused", "init", "closing_gracefully"})
"""States of a worker in which its tasks keep running."""


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One attempt at a task, on the worker.

    Attributes:
        task: The task.
        attempt: From 1.
        worker: The worker's address.
        folder: Folder for scratch files.
        cancelled: Returns True once the task must stop.
        on_frames: Called with the number of frames done.
        on_encoded: Called when the rest of the task needs hardly any CPU and memory, so that the next task can start.
        on_wait: Called with a line for the user when the task waits for something, such as the store.
        name: A unique name: the task's id, the attempt and a random part; may be empty.
    """

    task: Any
    attempt: int
    worker: str
    folder: Path
    cancelled: Callable[[], bool]
    on_frames: Callable[[int], None]
    on_encoded: Callable[[], None]
    on_wait: Callable[[str], None] = lambda _: None
    name: str = ""


Perform = Callable[[TaskRun], Any]


def run_on_worker(perform: Perform, task: Any, attempt: int, topic: str) -> None:
    """Run a task on a Dask worker.

    A report is published to the topic, as a pair of the task's key and a value: the number of frames done (an int),
    None once the task has encoded, a line for the user (a str), or at the end the pickled result (bytes). Results are
    not returned through Dask: it gathers those of several workers at once, so one frozen worker would delay all of
    them.
    """
    worker = get_worker()
    key = worker.get_current_task()
    reported_s = 0.0

    def cancelled() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state == "cancelled" or worker.status.name not in _ALIVE

    def on_frames(frames: int) -> None:
        nonlocal reported_s
        if time.monotonic() - reported_s >= PROGRESS_S:
            reported_s = time.monotonic()
            worker.log_event(topic, (key, frames))

    def on_encoded() -> None:
        secede()
        worker.log_event(topic, (key, None))

    def on_wait(line: str) -> None:
        worker.log_event(topic, (key, line))

    folder = Path(worker.local_directory)
    try:
        result = perform(
            TaskRun(task, attempt, worker.address, folder, cancelled, on_frames, on_encoded, on_wait, str(key))
        )
    except HeadendError as error:
        error.facts.setdefault("worker", worker.address)
        raise
    worker.log_event(topic, (key, pickle.dumps(result)))
