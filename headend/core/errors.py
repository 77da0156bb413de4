"""Every error that headend raises on purpose.

HeadendError
├── ConfigError          what was asked for is wrong: a flag, a ladder, a slug      exit 2
├── MasterError          the master can't be used                                   exit 3
│   └── DamagedMaster    parts of it can't be decoded as they were made
├── EncodingError        a job's tasks could not be finished                        exit 4
│   ├── ToolFailed       a child process failed (carries argv, status, stderr)
│   │   └── CommandRefused it does not take the command: headend's own fault
│   ├── WorkerUnfit      this machine can't run the task; another one may
│   ├── ChunkRejected    an encoded chunk is not what the plan asked for
│   │   └── PlanMismatch no attempt would make it so: headend's own fault
│   ├── TaskCrashed      a task met an unexpected error: a fault of headend
│   └── Cancelled        the task was told to stop
├── QualityRefused       a release does not look or sound as the rules want         exit 6
├── PackagingError       a release can't be described or does not verify            exit 4
└── StorageError         the store refused or lost something                        exit 5
    ├── ObjectMissing    no such object
    └── StoreUnavailable the store can't be reached or answers with a fault that may pass

The message says what to do; facts carry the evidence. The form ``(message, **facts)`` survives pickling, which
keyword-only constructors do not, so that errors cross Dask whole.
"""

from typing import Any, ClassVar

_OWN_FAULT = "This is a fault of headend, not of the master: please report it with the output of --verbose."


class HeadendError(Exception):
    """The root of the tree.

    Args:
        message: One line that says what is wrong and what to do.
        **facts: Evidence, as plain data; shown with ``--verbose``.
    """

    retryable: ClassVar[bool] = False
    """Whether the same call may go through later."""
    advice: ClassVar[str] = ""
    """Text that is appended to every message of this kind."""

    def __init__(self, message: str, **facts: Any) -> None:
        # An error that comes out of a pickle has its advice already.
        self.message = message if message.endswith(self.advice) else f"{message}. {self.advice}"
        super().__init__(self.message)
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.facts)

    def __str__(self) -> str:
        return self.message


class ConfigError(HeadendError):
    """What was asked for is wrong: a flag, a ladder, a title's name."""


class MasterError(HeadendError):
    """The master can't be used."""


class DamagedMaster(MasterError):
    """Parts of the master can't be decoded as they were made; ``damage`` in the facts says which."""


class EncodingError(HeadendError):
    """A job's tasks could not be finished."""


class ToolFailed(EncodingError):
    """A child process failed; ``argv``, ``status`` and ``stderr`` (its tail) are in the facts."""

    retryable = True


class CommandRefused(ToolFailed):
    """FFmpeg does not know an option, a filter or a codec, or can't use it so; it would say the same every time."""

    retryable = False
    advice = _OWN_FAULT


class WorkerUnfit(EncodingError):
    """This machine can't run the task, whatever the task is: its scratch disk is full, it has another FFmpeg.

    It gets no more tasks for a while, and the task goes elsewhere.
    """

    retryable = True


class ChunkRejected(EncodingError):
    """An encoded chunk is not what the plan asked for."""

    retryable = True


class PlanMismatch(ChunkRejected):
    """What the encoder makes of the plan's command is not what the plan says; every attempt would end the same."""

    retryable = False
    advice = _OWN_FAULT


class TaskCrashed(EncodingError):
    """A task met an exception that headend does not raise on purpose."""

    advice = _OWN_FAULT


class Cancelled(EncodingError):
    """The task was told to stop and its child processes are gone."""


class QualityRefused(HeadendError):
    """A release is complete, but does not look or sound as the rules want; ``release`` in the facts says which."""


class PackagingError(HeadendError):
    """A release can't be described or does not verify."""


class StorageError(HeadendError):
    """The store refused or lost something."""


class ObjectMissing(StorageError):
    """The store has no such object; ``key`` is in the facts."""


class StoreUnavailable(StorageError):
    """The store can't be reached, or answers with a fault that may pass."""

    retryable = True


def _rebuild(kind: type[HeadendError], message: str, facts: dict[str, Any]) -> HeadendError:
    return kind(message, **facts)
