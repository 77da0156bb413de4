"""The worker's side: run a task, report its progress, and stop it when it is cancelled."""

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import get_worker, secede

from headend.core.errors import HeadendError

TELL_S = 1.0
"""How often a task tells how far it is, at most: thousands of tasks talk to one scheduler."""
_GOING = frozenset({"running", "paused", "init", "closing_gracefully"})
"""States of a worker in which its tasks go on."""


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task as a worker meets it.

    Attributes:
        task: What to do.
        attempt: From 1.
        worker: The worker's address.
        folder: Where scratch files may lie.
        cancelled: Becomes true when the task is to stop.
        on_frames: Gets the number of frames done.
        on_encoded: Called when what remains needs next to no CPU and memory, so that the next task may begin.
        on_wait: Gets a line for people when the task has to wait for something, such as the store.
        name: The run's own: the task's id, the attempt and something random; empty if it has none.
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


def on_worker(perform: Perform, task: Any, attempt: int, topic: str) -> None:
    """Carry out a task on a Dask worker.

    What it tells goes to a topic: its key, and the frames it has done, None once it has encoded, a line for people, or
    at last the pickle of what it returns. Dask's own way for results would leave them on the worker until they are
    asked for; then one that freezes keeps back those of others, which Dask asks for in the same breath.
    """
    worker = get_worker()
    key = worker.get_current_task()
    told_s = 0.0

    def cancelled() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state == "cancelled" or worker.status.name not in _GOING

    def on_frames(frames: int) -> None:
        nonlocal told_s
        if time.monotonic() - told_s >= TELL_S:
            told_s = time.monotonic()
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
