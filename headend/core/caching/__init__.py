"""Caching for servers: what is kept, and how misses reach an upstream without overloading it.

Comes in: keys, and ways to read what is behind them. Goes out: cached values, one upstream read for many clients, and
bodies that are sent on while they arrive. It knows nothing of routes, stores or titles.

`segmented_lru` decides what stays in memory, `disk_cache` keeps files by digest, `single_flight` coalesces reads and
bounds their number, `receiving` turns an upstream read into a body for many readers, `circuit_breaker` leaves a failing
upstream alone.
"""
