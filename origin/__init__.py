"""The origin: the store's HTTP face, for players and for caches in front of it.

Comes in: a store with published releases, and HTTP/1.1 requests. Goes out: entry points that lead to a title's current
release, and the immutable files of every release, as RFC 9110 has it; health, and metrics for Prometheus.
The way of a request: `app` (routes), `handlers`, `library` (store, memory), `answers` and `freshness`, `connections`.
This room knows nothing of encoding or packaging; HTTP/2, HTTP/3 and TLS belong to a terminator in front.
"""
