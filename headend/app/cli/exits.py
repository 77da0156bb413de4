"""The exit statuses of the command, and the errors that lead to them."""

from enum import IntEnum

from headend.core.errors import (
    ConfigError,
    EncodingError,
    HeadendError,
    MasterError,
    PackagingError,
    QualityRefused,
    StorageError,
)


class Status(IntEnum):
    """Exit statuses; 70 is EX_SOFTWARE of sysexits(3); 130, 141 and 143 are 128 plus the signal's number."""

    DONE = 0
    FAULTY = 1
    USAGE_ERROR = 2
    MASTER = 3
    ENCODING = 4
    STORAGE = 5
    QUALITY = 6
    UNEXPECTED = 70
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


MEANING = {
    Status.DONE: "done",
    Status.FAULTY: "a check failed: verify, replay, keys check or doctor",
    Status.USAGE_ERROR: "usage error, such as an unknown option, ladder or title",
    Status.MASTER: "the master can't be used",
    Status.ENCODING: "encoding or packaging failed",
    Status.STORAGE: "the store can't be reached, or reading or writing it failed",
    Status.QUALITY: "the release is complete but fails the quality rules; it is not published",
    Status.UNEXPECTED: "internal error: please report it",
    Status.INTERRUPTED: "interrupted (Ctrl-C); run the same command again to continue",
    Status.PIPE_CLOSED: "the reader of the output has gone, as in 'headend jobs | head -1'",
    Status.TERMINATED: "terminated (SIGTERM); run the same command again to continue",
}

_BY_ERROR: tuple[tuple[type[HeadendError], Status], ...] = (
    (ConfigError, Status.USAGE_ERROR),
    (MasterError, Status.MASTER),
    (EncodingError, Status.ENCODING),
    (PackagingError, Status.ENCODING),
    (StorageError, Status.STORAGE),
    (QualityRefused, Status.QUALITY),
)


class Terminated(KeyboardInterrupt):
    """SIGTERM was received; it is handled as cleanly as Ctrl-C."""


def status_of(error: BaseException) -> Status:
    """Return the exit status for an error."""
    if isinstance(error, Terminated):
        return Status.TERMINATED
    if isinstance(error, KeyboardInterrupt):
        return Status.INTERRUPTED
    return next((status for kind, status in _BY_ERROR if isinstance(error, kind)), Status.UNEXPECTED)
