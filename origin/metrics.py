"""The origin's metrics, in addition to those of its HTTP server."""

from headend.core.http.cmcd import CmcdCounts
from headend.core.metrics import Registry

_BUFFER_BUCKETS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_THROUGHPUT_BUCKETS_BPS = (250e3, 500e3, 1e6, 2e6, 4e6, 8e6, 16e6, 32e6, 64e6, 128e6)


class Metrics:
    """The origin's counters.

    Args:
        registry: Registry that exports them; None for a new one.

    Attributes:
        registry: Registry that exports them.
        lookups: Requested files, by whether and where they were found.
        reads: Reads of the store, by result.
        retries: Retried reads.
        disk: Events of the disk cache.
        denied: Requests whose token does not cover them.
        lease_faults: Leases that could not be stored.
    """

    def __init__(self, registry: Registry | None = None) -> None:
        self.registry = registry = registry or Registry("headend_origin")
        self.lookups = registry.counter(
            "lookups", "Requested files: hit, disk, miss, shared (already being read) or absent.", "result"
        )
        self.reads = registry.counter(
            "store_reads", "Reads of the store: ok, missing, damaged, refused or unavailable.", "result"
        )
        self.retries = registry.counter("store_retries", "Retried reads of the store.")
        self.disk = registry.counter(
            "disk_cache", "Files in the disk cache: kept, evicted, damaged or failed.", "result"
        )
        self.denied = registry.counter("denied", "Requests whose token does not cover them.", "reason")
        self.lease_faults = registry.counter(
            "lease_faults", "Leases that could not be stored; their viewers are served anyway."
        )
        self._requests = registry.counter("cmcd_requests", "Requests with CMCD, by type of object.", "object")
        self._starved = registry.counter("cmcd_starved", "Requests of players whose buffer ran empty.")
        self._buffer = registry.histogram(
            "cmcd_buffer_seconds", "Media in players' buffers.", _BUFFER_BUCKETS_S
        ).labels()
        self._throughput = registry.histogram(
            "cmcd_throughput_bps", "Throughput measured by players.", _THROUGHPUT_BUCKETS_BPS
        ).labels()

    def count_cmcd(self, report: CmcdCounts) -> None:
        """Count a player's CMCD report."""
        self._requests.inc(report.object)
        if report.starved:
            self._starved.inc()
        if report.buffer_s is not None:
            self._buffer.observe(report.buffer_s)
        if report.throughput_bps is not None:
            self._throughput.observe(report.throughput_bps)
