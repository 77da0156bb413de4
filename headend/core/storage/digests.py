"""A cache of the digests of local files, by path, size and times.

It saves hashing a master of hundreds of gigabytes in every command. The cache is in the user's cache folder and may be
deleted at any time.
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from headend.core import user_cache

SETTLED_S = 2.0
"""If a file was changed more recently than this, it may change again without getting a new timestamp."""


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
    entry = f"digests/{sha256(os.fsencode(path)).hexdigest()}.json"
    known = _read(entry)
    if known is not None and known == Known(*before, known.digest):
        return known.digest
    digest = compute()
    now_ns = time.time_ns()
    settled = max(before[2], before[3]) < now_ns - SETTLED_S * 1e9
    if settled and _state(path) == before:
        with suppress(UnicodeError):
            user_cache.write(entry, json.dumps(asdict(Known(*before, digest))).encode())
    return digest


def _state(path: Path) -> tuple[str, int, int, int, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def _read(entry: str) -> Known | None:
    try:
        return Known(**json.loads(user_cache.read(entry) or b""))
    except (ValueError, TypeError):
        return None
