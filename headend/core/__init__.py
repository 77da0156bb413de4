"""The ground that every room stands on: nouns, exact time, documents, layout, storage, HTTP, caches, access, keys.

Comes in: nothing of headend's own but ``headend`` itself. Goes out: types and functions for ``ladders``, ``encoder``,
``packager``, ``origin``, ``cdn_sim`` and ``headend.app``. Nothing here imports any of them.
"""
