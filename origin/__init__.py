"""The origin: the store's HTTP face, for players and for caches in front of it.

Comes in: a store with published releases, and HTTP/1.1 requests. Goes out: entry points that lead to a title's current
release, the immutable files of every release, pages for browsers, health, and metrics for Prometheus. Serving HTTP,
caching and token checks are in `headend.core` (``http``, ``caching``, ``access``); routes, policy,
reading the store and the pages are here.

A request goes through `app` (routes, access), `handlers`, `library` (the store, cached) and back as a response. This
package knows nothing of encoding or packaging; HTTP/2, HTTP/3 and TLS belong to a terminator in front.
"""
