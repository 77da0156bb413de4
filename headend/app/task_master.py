"""How a task gets at its master: unchanged, waited for while S3 is away, and with a folder to work in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from encoder import cluster
from headend.core.media import Master
from headend.core.settings import StoreSettings
from headend.core.storage import masters, patiently

LEAST_PATIENCE_S = 60.0
"""How long a master in S3 is waited for at least, when it can't be reached."""


def patience_s(store: StoreSettings) -> float:
    """How long a task waits for a master or for keys that can't be reached."""
    return max(LEAST_PATIENCE_S, store.patience_s)


@contextmanager
def opened(master: Master, store: StoreSettings, run: cluster.TaskRun) -> Iterator[tuple[Path, masters.Source]]:
    """Open a task's master while the block runs.

    Args:
        master: The file.
        store: Says where S3 is, and how long it is waited for.
        run: The task, and how it is watched.

    Yields:
        An empty folder that goes with the block, and the master as FFmpeg reads it.

    Raises:
        MasterError: The master is gone, or is not the file that the task was planned for.
        StorageError: It could not be reached for too long.
    """
    endpoint_url, wait_s = store.endpoint_url, patience_s(store)
    patiently(lambda: masters.check_unchanged(master, endpoint_url), wait_s, run.cancelled, run.on_wait)
    with (
        TemporaryDirectory(prefix="headend-", dir=run.folder) as folder,
        masters.opened(master, endpoint_url, patience_s=wait_s, on_wait=run.on_wait) as source,
    ):
        yield Path(folder), source
