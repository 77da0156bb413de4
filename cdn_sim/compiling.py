"""Compile kernels where numba is installed, and run them as plain Python where it is not.

Kernels are plain functions over numpy arrays and numbers. With ``headend[sim]`` they are compiled once per machine and
kept in a cache folder; without it, or with ``NUMBA_DISABLE_JIT=1``, the same source runs about a hundred times slower.
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
"""Whether kernels are compiled here."""


_SOURCES = (
    "batch.py",
    "compiling.py",
    "engine.py",
    "simulation.py",
    "steering.py",
    "kernels/*.py",
    "players/*.py",
    "policies/*.py",
)
"""Files that kernels are made of."""


def _cache_folder() -> Path:
    """A folder for this version of the kernels: numba itself notices changes in the calling file only."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for pattern in _SOURCES:
        for source in sorted(folder.glob(pattern)):
            digest.update(source.read_bytes())
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "headend" / "kernels" / digest.hexdigest()[:16]


if COMPILES and not os.environ.get("NUMBA_CACHE_DIR"):
    _numba.config.CACHE_DIR = str(_cache_folder())


_BORROWING: dict[str, Any] = {"_nrt": False}
"""Kernels change arrays of their callers, and neither make nor keep any, so numba need not count references to them.

That counting is atomic, and takes a fifth of the engine's time.
"""


def compiled(kernel: Kernel) -> Kernel:
    """Compile a kernel when it is first called, and keep the result on disk."""
    made: Kernel = _numba.njit(cache=True, nogil=True, **_BORROWING)(kernel) if COMPILES else kernel
    return made


def called(kernel: Kernel) -> Kernel:
    """Compile a kernel that others call, once for all of them: for large ones, that would slow compilation down."""
    made: Kernel = _numba.njit(nogil=True, **_BORROWING)(kernel) if COMPILES else kernel
    return made


def inlined(kernel: Kernel) -> Kernel:
    """Compile a kernel as part of those that call it."""
    made: Kernel = _numba.njit(inline="always")(kernel) if COMPILES else kernel
    return made


@inlined
def whole(value: float, unit: float) -> int:
    """How many whole units are in a value of 0 or more: exactly ``value // unit``, which takes ten times as long."""
    count = int(value / unit)
    if count * unit > value:  # the quotient was rounded up
        count -= 1
    return count


def is_warm() -> bool:
    """Whether the engine was compiled on this machine before."""
    return COMPILES and any(Path(_numba.config.CACHE_DIR).glob("**/engine.advance*.nbi"))
