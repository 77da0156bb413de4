"""The origin: the store's HTTP face, for players and for caches in front of it.

Comes in: a store with published releases, and HTTP/1.1 requests. Goes out: entry points that lead to a title's current
release, and the immutable files of every release, as RFC 9110 has it; health, and metrics for Prometheus.
Who may see what is `access`, by `tokens` and `leases`; `reducing` leaves out of manifests what a plan doesn't hold.
The way of a request: `app` (routes), `access`, `handlers`, `library` (store, memory), `answers` and `freshness`,
`connections`.
This room knows nothing of encoding or packaging; HTTP/2, HTTP/3 and TLS belong to a terminator in front.
"""
