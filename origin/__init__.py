"""The origin: serves the store over HTTP/1.1 to players and to caches in front of it.

Input: a store with published releases, and requests. Output: entry points of each title's current release, the
immutable files of every release, pages for browsers, health checks, and metrics for Prometheus. A request passes `app`
(routes, access) and `handlers`, which read the store through `library`, a cache. `licences` is a separate server, which
sends content keys to players with tokens.

This package must not import the encoder, the packager, the ladders or the CDN simulation. The HTTP server, caches and
token checks are in `headend.core` (``http``, ``caching``, ``access``). TLS, HTTP/2 and HTTP/3 are left to a reverse
proxy.
"""
