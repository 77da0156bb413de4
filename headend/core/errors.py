"""All errors that headend raises on purpose.

HeadendError
├── ConfigError          the request is wrong: an option, a ladder, a title's name  exit 2
├── MasterError          the master can't be used                                   exit 3
│   └── DamagedMaster    parts of it can't be decoded correctly
├── EncodingError        a job's tasks could not be finished                        exit 4
│   ├── ToolFailed       a child process failed (carries argv, status, stderr)
│   │   └── CommandRefused it rejected its arguments: a fault of headend
│   ├── WorkerUnfit      this machine can't run the task; another one may
│   ├── ChunkRejected    an encoded chunk differs from the plan
│   │   └── PlanMismatch retrying can't help: a fault of headend
│   ├── TaskCrashed      a task raised an unexpected exception: a fault of headend
│   └── Cancelled        the task was cancelled
├── QualityRefused       a release violates a quality rule                          exit 6
├── PackagingError       a release can't be described or does not verify            exit 4
└── StorageError         the store rejected a request or lost data                  exit 5
    ├── ObjectMissing    no such object
    └── StoreUnavailable the store can't be reached, or fails temporarily

Messages say what happened and what to do; facts are the evidence, as data. All errors can be pickled, so that Dask can
transfer them.
"""

from typing import Any, ClassVar

from headend.core.shortening import shortened

_OWN_FAULT = "This is a fault of headend, not of the master: please report it with the output of --verbose."


class HeadendError(Exception):
    """Base class of all errors.

    Args:
        message: One line that says what is wrong and what to do; long values in it are shortened.
        **facts: Evidence, as plain data; shown with ``--verbose``.
    """

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later."""
    advice: ClassVar[str] = ""
    """Text appended to every message of this class."""

    def __init__(self, message: str, **facts: Any) -> None:
        # An unpickled error already has its advice.
        message = shortened(message)
        self.message = message if message.endswith(self.advice) else f"{message}. {self.advice}"
        super().__init__(self.message)
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.facts)

    def __str__(self) -> str:
        return self.message


class ConfigError(HeadendError):
    """The request is wrong: an option, a ladder, a title's name."""


class MasterError(HeadendError):
    """The master can't be used."""


class DamagedMaster(MasterError):
    """Parts of the master can't be decoded correctly; the fact ``damage`` lists them."""


class EncodingError(HeadendError):
    """A job's tasks could not be finished."""


class ToolFailed(EncodingError):
    """A child process failed; the facts have ``argv``, ``status`` and the end of ``stderr``."""

    retryable = True


class CommandRefused(ToolFailed):
    """FFmpeg rejected an option, a filter or a codec; retrying would fail the same way."""

    retryable = False
    advice = _OWN_FAULT


class WorkerUnfit(EncodingError):
    """This machine can't run tasks, for example because its scratch disk is full or it has another FFmpeg.

    It gets no more tasks for a while, and the task runs elsewhere.
    """

    retryable = True


class ChunkRejected(EncodingError):
    """An encoded chunk differs from the plan."""

    retryable = True


class PlanMismatch(ChunkRejected):
    """The encoder's output for the plan's command contradicts the plan; retrying can't help."""

    retryable = False
    advice = _OWN_FAULT


class TaskCrashed(EncodingError):
    """A task raised an exception that headend does not raise on purpose."""

    advice = _OWN_FAULT


class Cancelled(EncodingError):
    """The task was cancelled and its child processes have ended."""


class QualityRefused(HeadendError):
    """A release is complete but violates a quality rule; the fact ``release`` has its id."""


class PackagingError(HeadendError):
    """A release can't be described or does not verify."""


class StorageError(HeadendError):
    """The store rejected a request or lost data."""


class ObjectMissing(StorageError):
    """The store has no such object; the fact ``key`` has its key."""


class StoreUnavailable(StorageError):
    """The store can't be reached, or fails temporarily."""

    retryable = True


def _rebuild(kind: type[HeadendError], message: str, facts: dict[str, Any]) -> HeadendError:
    return kind(message, **facts)
