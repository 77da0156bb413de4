"""Events of running tasks."""

from dataclasses import dataclass
from typing import Any

from headend.core.errors import HeadendError


@dataclass(frozen=True, slots=True)
class Advance:
    """A running task has come further.

    Attributes:
        task: Its id.
        frames: Frames done.
        job: Whose task it is.
    """

    task: str
    frames: int
    job: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """A task is done.

    Attributes:
        receipt: What the worker returned; of encoding, a `headend.core.media.Receipt`.
        job: Whose task it is.
    """

    receipt: Any
    job: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """A run of a task has failed.

    Attributes:
        task: Its id.
        attempt: From 1.
        worker: Where it ran; an empty string when the cluster does not say.
        error: What happened.
        last: Whether no other attempt follows.
        job: Whose task it is.
    """

    task: str
    attempt: int
    worker: str
    error: HeadendError
    last: bool
    job: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people should know: a worker that is left out, or what everything waits for.

    Attributes:
        text: One line.
        job: Whose task it is about; empty if it is about the cluster.
    """

    text: str
    job: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """About a second has passed, whether anything has happened or not."""


Event = Advance | Done | Failed | Notice | Tick
