"""Shared ground and front door: the nouns, the store, the one path of a master, and the command.

Comes in: a master's URL and what a person asked for. Goes out: a published release.
This package knows every room; the rooms (``ladders``, ``encoder``, ``packager``, ``origin``) know only its
lower floors: ``errors``, ``timing``, ``media``, ``settings``, ``layout``, ``documents``, ``records``,
``storage`` and ``process``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headend.api import Event, Submission, command_job, list_jobs, queue, show_job, submit

__version__ = "0.1.0"
__all__ = ["Event", "Submission", "__version__", "command_job", "list_jobs", "queue", "show_job", "submit"]


def __getattr__(name: str) -> Any:
    """Load the Python API when it is asked for: ``headend --help`` needs none of it."""
    if name in __all__:
        from headend import api

        return getattr(api, name)
    raise AttributeError(f"module 'headend' has no attribute {name!r}")
