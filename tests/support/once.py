"""What all processes of a test run share: the first one that needs it makes it, and the others wait."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "HEADEND_TEST_FOLDER"
"""Environment variable: the folder of this run, which the process that starts the others makes and removes."""


def make_folder() -> None:
    """Make the folder of this run."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="headend-tests-")


def remove_folder() -> None:
    """Remove it."""
    shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


@contextmanager
def locked(name: str) -> Iterator[Path]:
    """Hold a lock of this run, and yield the folder of this run."""
    if FOLDER not in os.environ:  # outside of pytest, as in scripts of docs/
        make_folder()
        atexit.register(remove_folder)
    folder = Path(os.environ[FOLDER])
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` has filled, in this process or in another one; tests must not change it."""
    with locked(name) as run:
        folder, complete = run / name, run / f"{name}.complete"
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            complete.touch()
    return folder
