"""From a film master to a playing title: the Python API and the command.

``headend.core`` is what every room stands on; ``headend.app`` stands on all of them. Between the two lie the rooms:
``ladders``, ``encoder``, ``packager``, ``origin`` and ``cdn_sim``. Imports go down only.
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
    """Load the Python API when it is asked for: ``headend --help`` needs none of it."""
    if name in __all__:
        from headend.app import api
        from headend.core import errors

        return getattr(api, name, None) or getattr(errors, name)
    raise AttributeError(f"module 'headend' has no attribute {name!r}")
