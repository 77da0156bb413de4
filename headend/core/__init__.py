"""The foundation of all other packages.

It has the shared data types, exact time, documents, the store's layout, storage, HTTP, caching, access control, keys,
codecs, manifests, metrics and child processes.
``ladders``, ``encoder``, ``packager``, ``origin``, ``cdn_sim`` and ``headend.app`` import it. It imports none of them.
"""
