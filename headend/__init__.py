"""Shared ground and front door: the nouns, the store, the one path of a master, and the command.

Comes in: a master's URL and what a person asked for. Goes out: a published release.
This package knows every room; the rooms (``ladders``, ``encoder``, ``packager``, ``origin``) know only its
lower floors: ``errors``, ``timing``, ``media``, ``settings``, ``layout``, ``documents``, ``records``,
``storage`` and ``process``.
"""

__version__ = "0.1.0"
