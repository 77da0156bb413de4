"""Turn film masters into streaming titles: the Python API and the command line.

``headend.core`` is the lowest layer. Above it are ``ladders``, ``encoder``, ``packager``, ``origin`` and ``cdn_sim``,
which don't import each other, and above those is ``headend.app``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headend.app.api import Event, Submission, command_job, list_jobs, queue, show_job, submit
    from headend.core.errors import (
        ConfigError,
        EncodingError,
        HeadendError,
        MasterError,
        PackagingError,
        QualityRefused,
        StorageError,
    )

__version__ = "0.1.0"
__all__ = [
    "ConfigError",
    "EncodingError",
    "Event",
    "HeadendError",
    "MasterError",
    "PackagingError",
    "QualityRefused",
    "StorageError",
    "Submission",
    "__version__",
    "command_job",
    "list_jobs",
    "queue",
    "show_job",
    "submit",
]


def __getattr__(name: str) -> Any:
    """Import the Python API on first use: ``headend --help`` doesn't need it."""
    if name in __all__:
        from headend.app import api
        from headend.core import errors

        return getattr(api, name, None) or getattr(errors, name)
    raise AttributeError(f"module 'headend' has no attribute {name!r}")
