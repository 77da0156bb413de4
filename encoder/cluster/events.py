"""The events that a runner sends while tasks run."""

from dataclasses import dataclass
from typing import Any

from headend.core.errors import HeadendError


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """Progress of a running task.

    Attributes:
        task: Its id.
        frames: Frames done.
        job: Id of the task's job.
    """

    task: str
    frames: int
    job: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A task is done.

    Attributes:
        receipt: What the worker returned; a `headend.core.media.Receipt` for an encode task.
        job: Id of the task's job.
    """

    receipt: Any
    job: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A run of a task has failed.

    Attributes:
        task: Its id.
        attempt: Number of the run, from 1.
        worker: Address of the worker; empty if unknown.
        error: What happened.
        last: Whether this was the last attempt; otherwise the task is retried.
        job: Id of the task's job.
    """

    task: str
    attempt: int
    worker: str
    error: HeadendError
    last: bool
    job: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message for the user, such as why a worker gets no tasks or what the job waits for.

    Attributes:
        text: One line.
        job: Id of the job; empty if the message is about the cluster.
    """

    text: str
    job: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Sent about once a second, whether anything has happened or not."""


Event = TaskProgress | Done | Failed | Notice | Tick
