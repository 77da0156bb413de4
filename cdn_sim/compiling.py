"""Compiles kernels with numba if it is installed; otherwise they run as plain Python.

Kernels are functions of numpy arrays and numbers. With ``headend[sim]`` they are compiled once per installation, and
cached; without it, or with ``NUMBA_DISABLE_JIT=1``, the same code runs about a hundred times slower.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from headend.core import user_cache

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Array = NDArray[Any]

try:
    _numba: Any = import_module("numba")
except ImportError:  # the extra is not installed
    _numba = None
COMPILES = _numba is not None and not _numba.config.DISABLE_JIT
"""Whether kernels are compiled."""


_SOURCES = (
    "batch.py",
    "compiling.py",
    "outcomes.py",
    "steering.py",
    "engine/*.py",
    "kernels/*.py",
    "players/*.py",
    "policies/*.py",
)
"""Source files of the kernels."""
UNUSED_S = 30 * 86_400.0
"""How long compiled kernels are kept after their last use."""


def _cache_folder(base: Path) -> Path:
    """Cache folder for these source files, below ``base``.

    numba only notices changes in the calling file, and compiles again if that file has another path or time. With both
    in the folder's name, `is_warm` is false before the first simulation in a new checkout.
    """
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for pattern in _SOURCES:
        for source in sorted(folder.glob(pattern)):
            digest.update(f"{source} {source.stat().st_mtime_ns} ".encode() + source.read_bytes())
    return base / digest.hexdigest()[:16]


def _use(folder: Path) -> None:
    """Mark a cache folder as used now, and remove those beside it that nothing has used for `UNUSED_S`.

    Every version of the source files and every checkout has its own folder. A lock keeps a process from removing a
    folder that another one is about to use.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        for other in folder.parent.iterdir():
            if other.is_dir() and time.time() - other.stat().st_mtime > UNUSED_S:
                shutil.rmtree(other, ignore_errors=True)


if COMPILES and not os.environ.get("NUMBA_CACHE_DIR"):
    with suppress(OSError, RuntimeError):  # RuntimeError: the user has no home; then numba chooses a folder
        _folder = _cache_folder(user_cache.folder() / "kernels")
        _numba.config.CACHE_DIR = str(_folder)
        _use(_folder)


_BORROWING: dict[str, Any] = {"_nrt": False}
"""Kernels only change their callers' arrays and allocate none, so numba's reference counting can be off.

It is atomic and would take a fifth of the engine's time.
"""


def compiled(kernel: Kernel) -> Kernel:
    """Compile a kernel at its first call, and cache the result on disk."""
    function: Kernel = _numba.njit(cache=True, nogil=True, **_BORROWING)(kernel) if COMPILES else kernel
    return function


def called(kernel: Kernel) -> Kernel:
    """Compile a kernel as a function that other kernels call; for kernels too large to inline."""
    function: Kernel = _numba.njit(nogil=True, **_BORROWING)(kernel) if COMPILES else kernel
    return function


def inlined(kernel: Kernel) -> Kernel:
    """Inline a kernel into the kernels that call it."""
    function: Kernel = _numba.njit(inline="always")(kernel) if COMPILES else kernel
    return function


@inlined
def whole(value: float, unit: float) -> int:
    """``value // unit`` for a value of 0 or more, ten times faster."""
    count = int(value / unit)
    if count * unit > value:  # the quotient was rounded up
        count -= 1
    return count


def is_warm() -> bool:
    """Whether the engine is already compiled in this machine's cache."""
    return COMPILES and any(Path(_numba.config.CACHE_DIR).glob("**/loop.advance*.nbi"))
