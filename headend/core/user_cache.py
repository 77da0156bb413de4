"""Small files in the user's cache folder, which may be deleted at any time.

Source:
    XDG Base Directory Specification, 0.8.
"""

import math
import os
import time
from contextlib import suppress
from pathlib import Path

from headend.core.files import write_whole


def folder() -> Path:
    """Headend's folder in the user's cache folder; it may not exist."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "headend"


def read(name: str, *, max_age_s: float = math.inf) -> bytes | None:
    """Read a file of the folder; None if it is not there, is too old or can't be read.

    Args:
        name: Path below the folder.
        max_age_s: Longest time since it was written.
    """
    try:
        path = folder() / name
        return path.read_bytes() if time.time() - path.stat().st_mtime <= max_age_s else None
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return None


def write(name: str, content: bytes) -> None:
    """Write a file of the folder as a whole, if that is possible: nothing depends on it.

    Args:
        name: Path below the folder.
        content: What to write.
    """
    with suppress(OSError, RuntimeError):
        path = folder() / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, content)
