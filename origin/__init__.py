"""The origin: serves the store over HTTP/1.1 to players and to caches in front of it.

In: a store with published releases, and requests. Out: entry points of each title's current release, the immutable
files of every release, pages for browsers, health checks, and metrics for Prometheus. A request passes `app` (routes,
access) and `handlers`, which read the store through `library`, a cache.

This package imports no encoding or packaging code. The HTTP server, caches and token checks are in `headend.core`
(``http``, ``caching``, ``access``); TLS, HTTP/2 and HTTP/3 are left to a reverse proxy.
"""
