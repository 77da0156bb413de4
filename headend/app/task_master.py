"""Opening a task's master: check that it is unchanged, wait while S3 is unreachable, and make a scratch folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import cluster
from headend.core.media import Master
from headend.core.settings import StoreSettings
from headend.core.storage import masters, with_retries

MIN_PATIENCE_S = 60.0
"""Shortest wait for a master in S3 that can't be reached."""


def patience_s(store: StoreSettings) -> float:
    """Return how long a task waits for a master or keys that can't be reached."""
    return max(MIN_PATIENCE_S, store.patience_s)


@contextmanager
def opened(master: Master, store: StoreSettings, run: cluster.TaskRun) -> Iterator[tuple[Path, masters.Source]]:
    """Open a task's master while the block runs.

    Args:
        master: The file.
        store: Names the S3 endpoint, and how long to wait for it.
        run: The task, and its callbacks.

    Yields:
        An empty folder, which is removed after the block, and the master as FFmpeg reads it.

    Raises:
        MasterError: The master is gone, or has changed since the task was planned.
        StorageError: S3 could not be reached in time.
    """
    endpoint_url, wait_s = store.endpoint_url, patience_s(store)
    with_retries(lambda: masters.check_unchanged(master, endpoint_url), wait_s, run.cancelled, run.on_wait)
    with (
        TemporaryDirectory(prefix="headend-", dir=run.folder) as folder,
        masters.opened(master, endpoint_url, patience_s=wait_s, on_wait=run.on_wait) as source,
    ):
        yield Path(folder), source
