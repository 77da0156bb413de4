"""Caching for servers: keeps values, and bounds the load that misses put on an upstream.

It takes keys and functions that read their values. It provides cached values, one upstream read for many clients, and
bodies that are sent on while they arrive. It knows nothing of routes, stores or titles.

`segmented_lru` caches in memory, `disk_cache` keeps files by digest, `single_flight` coalesces reads and bounds their
number, `receiving` turns an upstream read into a body for many readers, `spilling` moves bodies of slow readers to
disk, `circuit_breaker` spares a failing upstream.
"""
