"""Compiles kernels with numba if it is installed; otherwise they run as plain Python.

Kernels are functions of numpy arrays and numbers. With ``headend[sim]`` they are compiled once per installation, and
cached; without it, or with ``NUMBA_DISABLE_JIT=1``, the same code runs about a hundred times slower.
"""

import hashlib
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

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


def _cache_folder() -> Path:
    """Cache folder for these source files.

    numba only notices changes in the calling file, and compiles again if that file has another path or time. With both
    in the folder's name, `is_warm` is false before the first simulation in a new checkout.
    """
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for pattern in _SOURCES:
        for source in sorted(folder.glob(pattern)):
            digest.update(f"{source} {source.stat().st_mtime_ns} ".encode() + source.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "headend" / "kernels" / digest.hexdigest()[:16]


if COMPILES and not os.environ.get("NUMBA_CACHE_DIR"):
    _numba.config.CACHE_DIR = str(_cache_folder())


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
