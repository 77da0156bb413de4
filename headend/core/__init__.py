"""The foundation of all packages: data types, exact time, documents, layout, storage, HTTP, caches, access, keys.

It takes nothing from other headend packages. It provides types and functions for ``ladders``, ``encoder``,
``packager``, ``origin``, ``cdn_sim`` and ``headend.app``, and imports none of them.
"""
