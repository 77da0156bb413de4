"""The origin's metrics, in addition to those of its HTTP server."""

from headend.core.http.cmcd import CmcdCounts
from headend.core.metrics import Registry

_BUFFER_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_BPS = (250e3, 500e3, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6, 128e6)


class Metrics:
    """The origin's counters.

    Args:
        registry: Where they are exported.

    Attributes:
        registry: The same.
        lookups: Files wanted.
        reads: Reads of the store.
        retries: Reads that were tried again.
        disk: What happened to files in the disk cache.
        denied: Requests that their tokens do not cover.
        lease_faults: Leases that could not be stored.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry = registry or Registry("headend_origin")
        self.lookups = registry.counter(
            "lookups", "Files wanted: hit, disk, miss, shared (being read) or absent.", "result"
        )
        self.reads = registry.counter(
            "store_reads", "Reads of the store: ok, missing, damaged, refused or unavailable.", "result"
        )
        self.retries = registry.counter("store_retries", "Reads of the store that were tried again.")
        self.disk = registry.counter(
            "disk_cache", "Files in the disk cache: kept, evicted, damaged or failed.", "result"
        )
        self.denied = registry.counter("denied", "Requests that their tokens do not cover.", "reason")
        self.lease_faults = registry.counter(
            "lease_faults", "Leases that could not be stored; no viewer is refused for that."
        )
        self._played = registry.counter("cmcd_requests", "Requests in which players report (CMCD).", "object")
        self._starved = registry.counter("cmcd_starved", "Requests of players whose buffer ran empty.")
        self._buffer = registry.histogram("cmcd_buffer_seconds", "Media in players' buffers.", _BUFFER_S).labels()
        self._throughput = registry.histogram("cmcd_throughput_bps", "Throughput as players measure it.", _BPS).labels()

    def told(self, told: CmcdCounts) -> None:
        """Count what a player reports of itself."""
        self._played.inc(told.object)
        if told.starved:
            self._starved.inc()
        if told.buffer_s is not None:
            self._buffer.observe(told.buffer_s)
        if told.throughput_bps is not None:
            self._throughput.observe(told.throughput_bps)
