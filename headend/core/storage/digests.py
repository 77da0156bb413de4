"""A cache of digests of local files, by path, size and times.

So a master of hundreds of gigabytes is hashed once, not by every command. The cache lies in the user's cache folder and
may be deleted at any time.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

SETTLED_S = 2.0
"""A file that changed less than this ago may change again without a new timestamp."""


@dataclass(frozen=True, slots=True)
class Known:
    """The digest of a file, and the attributes that identify the file's state."""

    path: str
    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int
    digest: str


def cached(path: Path, compute: Callable[[], str]) -> str:
    """The digest of a file: the cached one if the file is unchanged, else a new one.

    Args:
        path: An absolute path.
        compute: Reads the file and returns its digest.
    """
    before = _state(path)
    entry = _folder() / f"{sha256(os.fsencode(path)).hexdigest()}.json"
    known = _read(entry)
    if known is not None and known == Known(*before, known.digest):
        return known.digest
    digest = compute()
    now_ns = time.time_ns()
    settled = max(before[2], before[3]) < now_ns - SETTLED_S * 1e9
    if settled and _state(path) == before:
        _write(entry, Known(*before, digest))
    return digest


def _state(path: Path) -> tuple[str, int, int, int, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "headend" / "digests"


def _read(entry: Path) -> Known | None:
    try:
        return Known(**json.loads(entry.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _write(entry: Path, known: Known) -> None:
    try:
        entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = entry.with_name(f"{entry.name}.{os.getpid()}")
        partial.write_text(json.dumps(asdict(known)))
        partial.replace(entry)
    except (OSError, UnicodeError):
        return  # it will be computed again
